"""What extraction costs beside the bare model's forward, on the same batches, in one run.

    python benchmarks/extraction_overhead.py [--model vit_small_patch16_224] [--at blocks.11] [--batches 4] [--rounds 5]

The same prepared batches go, round after round and by turns, through

    forward    the model alone: what `model(pictures)` costs in inference mode
    extract    the extractor: the same forward, read at the hook points, taken apart into tokens
    store      the same, and the tokens written into a store on disk

so that whatever else the machine does falls on all alike; printed is the median, over rounds, of each one's seconds
over those of `forward` in the same round. The forward stops after the last hook point, so hook the last block, as the
default does, or what is saved there hides what is spent. Then pictures are decoded from JPEG files of 500 × 375 by as
many processes as `omnisae extract` starts, and by one: `cores` is the processor time over the wall-clock time; and the
whole stage runs, from files to store: `stage` is its seconds over those of the bare forward on as many pictures.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from omnisae.config import HookConfig
from omnisae.extract.dataset import Dataset
from omnisae.extract.gather import gather
from omnisae.extract.loading import batches, workers_for
from omnisae.extract.module import ModuleExtractor
from omnisae.hooks.point import HookPoint
from omnisae.store.writer import StoreWriter
from omnisae.tokens.filter import TokenFilter

LIMIT = 1.10
"""Extraction may cost this many times the bare forward."""
CONTENT = TokenFilter(roles=("content",))

Batch = tuple[tuple[int, ...], Any]
Ways = dict[str, Callable[[Batch], object]]


def main() -> None:
    """Print the table."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="omnisae-extraction-") as folder:
        run(options, Path(folder))


def run(options: argparse.Namespace, folder: Path) -> None:
    """Measure, and print."""
    dataset = photographs(folder / "pictures", options.batches * options.batch_size)
    extractor = build(options, dataset)
    points = extractor.resolve([HookConfig(at=at) for at in options.at])
    loaded = list(batches(dataset, extractor, range(len(dataset)), 0))
    writing = writers(folder / "stores", points)
    took = by_turns(ways(extractor, points, writing), loaded, options.rounds)
    print(
        f"{options.model}, {', '.join(options.at)}, batches of {options.batch_size}, {torch.get_num_threads()} threads"
    )
    for name, seconds in took.items():
        each = [a / b for a, b in zip(seconds, took["forward"], strict=True)]
        over = f"  over {LIMIT}" if name == "extract" and statistics.median(each) > LIMIT else ""
        rate = len(dataset) / statistics.median(seconds)
        spread = f"{min(each):.3f} to {max(each):.3f}"
        print(
            f"{name:14} {rate:8.1f} pictures/s  {statistics.median(each):6.3f} of forward ({spread}){over}", flush=True
        )
    many = photographs(folder / "many", options.pictures)
    for count in sorted({1, max(workers_for(len(many)), 1)}):
        rate, cores = decoding(many, extractor, count)
        print(f"decode by {count:<4} {rate:8.1f} pictures/s  {cores:6.2f} cores", flush=True)
    whole = stage(many, extractor, points, folder / "whole")
    bare = statistics.median(took["forward"]) * len(many) / len(dataset)
    print(f"{'stage':14} {len(many) / whole:8.1f} pictures/s  {whole / bare:6.3f} of forward")


def ways(extractor: ModuleExtractor, points: Sequence[HookPoint], writing: dict[str, StoreWriter]) -> Ways:
    """What is done to a batch, by name."""

    done = {point.name: 0 for point in points}

    def forward(batch: Batch) -> object:
        with torch.inference_mode():
            return extractor.forward(batch[1].to(extractor.device))

    def extract(batch: Batch) -> object:
        return extractor.extract(batch[0], batch[1], points)

    def store(batch: Batch) -> None:
        tokens = extractor.extract(batch[0], batch[1], points).tokens
        for point in points:
            found, writer = tokens[point.name], writing[point.name]
            kept = found.take(CONTENT.keep(found.example, found.coords, found.role, point.roles))
            kept.example.add_(done[point.name] - batch[0][0])  # every round writes anew: examples are numbered on
            done[point.name] += len(batch[0])
            writer.append(kept, done[point.name])

    return {"forward": forward, "extract": extract, "store": store}


def by_turns(does: Ways, loaded: Sequence[Batch], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way over all batches, by round, after a round that warms up. The order turns every round."""
    took: dict[str, list[float]] = {name: [] for name in does}
    names = list(does)
    for n in range(rounds + 1):
        for name in names[n % len(names) :] + names[: n % len(names)]:
            start = time.perf_counter()
            for batch in loaded:
                does[name](batch)
            took[name].append(time.perf_counter() - start)
    return {name: seconds[1:] for name, seconds in took.items()}


def decoding(dataset: Dataset, extractor: ModuleExtractor, workers: int) -> tuple[float, float]:
    """Pictures read and prepared in a second by so many processes, and the cores that they kept busy."""
    before, start = os.times(), time.perf_counter()
    found = sum(len(rows) for rows, _ in batches(dataset, extractor, range(len(dataset)), workers))
    seconds, after = time.perf_counter() - start, os.times()
    busy = sum(after[:4]) - sum(before[:4])  # of this process and of those that it has waited for
    return found / seconds, busy / seconds


def stage(dataset: Dataset, extractor: ModuleExtractor, points: Sequence[HookPoint], folder: Path) -> float:
    """Seconds from files to finished stores."""
    writing = writers(folder, points)
    start = time.perf_counter()
    gather(dataset, extractor, points, writing)
    return time.perf_counter() - start


def writers(folder: Path, points: Sequence[HookPoint]) -> dict[str, StoreWriter]:
    """A store for each hook point, in the dtype that runs use by default."""
    return {
        point.name: StoreWriter.open(folder / point.name, point, key="bench", dtype="bfloat16", shard_mb=512, about={})
        for point in points
    }


def photographs(folder: Path, count: int) -> Dataset:
    """JPEG files of 500 × 375, smooth as photographs are, in an image folder."""
    from omnisae_vision.plugin_datasets import ImageFolderConfig

    folder.mkdir(parents=True)
    for i, picture in enumerate(pictures(count)):
        picture.save(folder / f"{i:06}.jpg", quality=90)
    return ImageFolderConfig(root=str(folder)).build()


def build(options: argparse.Namespace, dataset: Dataset) -> ModuleExtractor:
    """A timm model with random weights: what they are changes no time."""
    from omnisae_vision.plugin import TimmConfig
    from omnisae_vision.timm_extractor import TimmExtractor

    return TimmExtractor(TimmConfig(model=options.model, batch_size=options.batch_size, device=options.device), dataset)


def pictures(count: int) -> Iterator[Image.Image]:
    """Pictures of 500 × 375, smooth as photographs are."""
    draw = np.random.default_rng(0)
    for _ in range(count):
        coarse = draw.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        fine = draw.normal(0, 6, (375, 500, 3))
        smooth = np.asarray(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC), dtype=float)
        yield Image.fromarray((smooth + fine).clip(0, 255).astype(np.uint8))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vit_small_patch16_224")
    parser.add_argument("--at", nargs="*", default=["blocks.11"])
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=512, help="pictures decoded, and sent through the whole stage")
    parser.add_argument("--device", default="auto")
    return parser.parse_args()


if __name__ == "__main__":
    main()
