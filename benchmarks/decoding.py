"""How busy decoding keeps the machine's cores, whatever format the pictures lie in.

    python benchmarks/decoding.py [--pictures 512] [--rounds 3]

The same JPEG pictures of 500 × 375 lie as files in a folder, in a WebDataset shard, and in a parquet file of Hugging
Face `datasets`; each is read and prepared for a model, by turns, by one process and by as many as `omnisae extract`
starts. Printed are medians: pictures a second; `cores`, the processor time of all processes over the wall-clock
time; and how many cores as many processes get that do nothing but spin, right afterwards: what there was to be had, for
others may use the machine, too.
"""

import argparse
import io
import multiprocessing
import statistics
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.extraction_overhead import decoding, pictures

from omnisae.extract.dataset import Dataset
from omnisae.extract.loading import workers_for


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="omnisae-decoding-") as folder:
        datasets = formats(Path(folder), options.pictures)
        run(datasets, options.rounds)


def run(datasets: dict[str, Dataset], rounds: int) -> None:
    """Measure, and print."""
    from omnisae_vision.plugin import TimmConfig
    from omnisae_vision.timm_extractor import TimmExtractor

    first = next(iter(datasets.values()))
    extractor = TimmExtractor(TimmConfig(model="resnet10t", image_size=224, device="cpu"), first)
    counts = sorted({1, max(workers_for(len(first)), 1)})
    found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for _ in range(rounds):
        for name, dataset in datasets.items():
            for count in counts:
                found.setdefault((name, count), []).append((*decoding(dataset, extractor, count), spinning(count)))
    for (name, count), each in found.items():
        rate, cores, spun = (statistics.median(values) for values in zip(*each, strict=True))
        print(f"{name:20} by {count}  {rate:8.1f} pictures/s  {cores:5.2f} cores (spinning: {spun:.2f})", flush=True)


def spinning(count: int, seconds: float = 1.0) -> float:
    """Cores that so many processes get that do nothing else."""
    with multiprocessing.get_context("fork").Pool(count) as pool:
        return sum(pool.map(_spin, [seconds] * count, chunksize=1)) / seconds


def _spin(seconds: float) -> float:
    start = time.process_time()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass
    return time.process_time() - start


def formats(folder: Path, count: int) -> dict[str, Dataset]:
    """The same pictures as each format holds them."""
    from omnisae_vision.plugin_datasets import HubDatasetConfig, ImageFolderConfig, WebDatasetConfig

    stored = list(jpegs(count))
    for name in ("files", "shards"):
        (folder / name).mkdir()
    for i, held in enumerate(stored):
        (folder / "files" / f"{i:06}.jpg").write_bytes(held)
    with tarfile.open(folder / "shards" / "0.tar", "w") as tar:
        for i, held in enumerate(stored):
            member = tarfile.TarInfo(f"{i:06}.jpg")
            member.size = len(held)
            tar.addfile(member, io.BytesIO(held))
    _parquet(folder / "pictures.parquet", stored)
    return {
        "vision.image_folder": ImageFolderConfig(root=str(folder / "files")).build(),
        "vision.webdataset": WebDatasetConfig(root=str(folder / "shards")).build(),
        "vision.hub_dataset": HubDatasetConfig(
            path=str(folder / "pictures.parquet"), cache=str(folder / "cache")
        ).build(),
    }


def jpegs(count: int) -> Sequence[bytes]:
    """Pictures as JPEG files hold them."""
    out = []
    for picture in pictures(count):
        held = io.BytesIO()
        picture.save(held, format="jpeg", quality=90)
        out.append(held.getvalue())
    return out


def _parquet(path: Path, stored: Sequence[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"image": [{"bytes": held, "path": None} for held in stored]}), path)


if __name__ == "__main__":
    main()
