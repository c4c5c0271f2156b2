"""What storing activations in fewer bits costs: explained variance on fp32 held-out tokens.

    python benchmarks/storage_cost.py [--seeds 3] [--tokens 400000] [--config configs/vision/quickstart.yaml ...]

The same activations are stored in every dtype; the same autoencoders (same seeds, same batches) learn from each store,
and all are judged on the same held-out tokens, in fp32. `rounding` is the share of the held-out variance that storing
alone takes away, without any autoencoder: Σ‖x − stored(x)‖² / Σ‖x − mean‖². `difference` is the explained variance
less that of the float32 store, seed by seed: its mean, lowest and highest; beside it, for comparison, by how much the
float32 store's own seeds differ among each other (highest less lowest). `planted` are sparse sums of known directions;
`planted, offset` the same with two dimensions that lie a hundred standard deviations off zero in every token, as the
residual streams of large transformers have them; the others are the hook points of the configs.
"""

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import BatchTopKConfig
from omnisae.config import AutoencoderConfig, AuxKConfig, TrainConfig
from omnisae.config_file import load
from omnisae.extract.split import TRAIN
from omnisae.hooks.point import HookPoint
from omnisae.postings.health import Reconstruction
from omnisae.run import Run
from omnisae.run_folder import RunFolder
from omnisae.stages import extract
from omnisae.store.packed import pack
from omnisae.store.store import Store
from omnisae.store.writer import StoreWriter
from omnisae.testing.planted import planted
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter
from omnisae.training.jobs import Job
from omnisae.training.trainer import train

Data = tuple[str, Store, np.ndarray, AutoencoderConfig, TrainConfig]
"""A name, the activations in fp32, which examples train, and what is trained."""

DTYPES = ("float32", "bfloat16", "float16", "int8")


def main() -> None:
    """A table for every source of activations."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="omnisae-cost-"))
    print(f"{options.seeds} seeds, {options.tokens:,} training tokens")
    heads = f"{'activations':30} {'dtype':9} {'bytes/token':>11} {'rounding':>10} {'EV':>8}"
    print(f"{heads}  {'difference (lowest to highest)':31} {'seeds':>8}", flush=True)
    try:
        for data in _data(options, folder):
            compare(data, options, folder)
    finally:
        shutil.rmtree(folder)


def compare(data: Data, options: argparse.Namespace, folder: Path) -> None:
    """Print the lines of one source."""
    name, whole, train_on, _, _ = data
    keep = TokenFilter(roles=whole.hook.roles)
    held_out = torch.cat([batch.values for batch in whole.sequential(keep, ~train_on)])
    reference: list[float] = []
    for dtype in DTYPES:
        store = copy(whole, folder / f"copy-{dtype}", dtype)
        found = [explained(autoencoder, held_out) for autoencoder in learn(data, store, options, folder / "train")]
        reference = reference or found
        apart = [one - other for one, other in zip(found, reference, strict=True)]
        rounded = pack(held_out, dtype).widen()
        size = sum(shard.bytes for shard in store.manifest.shards) / store.tokens
        print(
            f"{name:30} {dtype:9} {size:11,.0f} {lost(held_out, rounded):10.1e} {statistics.mean(found):8.4f}  "
            f"{statistics.mean(apart):+.5f} ({min(apart):+.5f} to {max(apart):+.5f}) "
            f"{max(reference) - min(reference):8.5f}",
            flush=True,
        )
        shutil.rmtree(store.path)


def learn(data: Data, store: Store, options: argparse.Namespace, out: Path) -> list[Autoencoder]:
    """One autoencoder a seed."""
    _, _, train_on, autoencoder, config = data
    keep = TokenFilter(roles=store.hook.roles)
    jobs = [Job(f"s{seed}", "h", autoencoder, seed) for seed in range(options.seeds)]
    sample = store.stream(keep, train_on, batch=min(16_384, options.tokens), seed=99).next()
    stream = store.stream(keep, train_on, batch=config.batch, seed=0)
    try:
        trained = train(jobs, {"h": stream}, {"h": sample}, config, out, key=store.manifest.dtype, progress=False)
    finally:
        shutil.rmtree(out)
    return list(trained.values())


def explained(autoencoder: Autoencoder, held_out: torch.Tensor) -> float:
    """Explained variance, by the definition that reports use."""
    sums = Reconstruction()
    for x in held_out.split(4096):
        codes = autoencoder.encode(x)
        sums.add(x.numpy(), autoencoder.decode(codes).detach().numpy(), len(codes.values))
    return sums.explained_variance


def lost(x: torch.Tensor, rounded: torch.Tensor) -> float:
    """The share of the variance that lies between two versions of the same tokens."""
    sums = Reconstruction()
    for one, other in zip(x.split(4096), rounded.split(4096), strict=True):
        sums.add(one.numpy(), other.numpy(), 0)
    return sums.sse / sums.spread


def copy(store: Store, path: Path, dtype: str) -> Store:
    """The same tokens in another dtype."""
    writer = StoreWriter.open(path, store.hook, key=dtype, dtype=dtype, shard_mb=64, about={})
    for batch in store.sequential(TokenFilter(roles=store.hook.roles)):
        writer.append(batch, int(batch.example[-1]))
    narrow = torch.zeros(0, len(store.hook.axes), dtype=torch.int32), torch.zeros(0, dtype=torch.uint8)
    empty = TokenBatch(torch.zeros(0, store.hook.width), torch.zeros(0, dtype=torch.int64), *narrow)
    writer.append(empty, store.manifest.examples)
    return writer.finish()


def _data(options: argparse.Namespace, folder: Path) -> Iterator[Data]:
    width, rows = options.width, 120_000
    x, _ = planted(width, 4 * width, 12, rows, 0)
    offset = x.clone()
    offset[:, [3, 70]] += 100 * x.std()
    hook = HookPoint(name="h", at=("h",), pattern="example d", sizes={}, width=width)
    parts = AutoencoderConfig(
        latents=4 * width, activation=BatchTopKConfig(k=12), auxk=AuxKConfig(k=64, dead_after=50_000)
    )
    config = TrainConfig(tokens=options.tokens, batch=2048, lr=2e-3)
    train_on = np.arange(rows) % 6 > 0
    for name, values in (("planted", x), ("planted, offset", offset)):
        writer = StoreWriter.open(folder / name, hook, key=name, dtype="float32", shard_mb=64, about={})
        narrow = torch.zeros(rows, 0, dtype=torch.int32), torch.zeros(rows, dtype=torch.uint8)
        writer.append(TokenBatch(values, torch.arange(rows), *narrow), rows)
        yield name, writer.finish(), train_on, parts, config
    for path in options.config:
        run = Run(load(path, overrides=["store.dtype=float32"]), RunFolder(folder / path.parent.name))
        run.folder.path.mkdir(parents=True)
        extract(run)
        point = run.points[0]
        learning = TrainConfig(tokens=options.tokens, batch=run.config.train.batch, lr=run.config.train.lr)
        name = f"{path.parent.name}, {point.name}"
        yield name, Store.open(run.folder.store(point.name)), run.split == TRAIN, run.config.autoencoder, learning


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=400_000)
    parser.add_argument("--width", type=int, default=128)
    quickstart = Path("configs/vision/quickstart.yaml")
    parser.add_argument("--config", type=Path, nargs="*", default=[quickstart])
    return parser.parse_args()


if __name__ == "__main__":
    main()
