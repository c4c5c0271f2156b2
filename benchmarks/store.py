"""Reading a store, beside a plain sequential read of the same bytes in the same run.

    python benchmarks/store.py [--rows 262144] [--width 768] [--dtype float32 bfloat16 int8] [--repeat 9] [--folder DIR]

Two baselines read the shard files from front to back with `os.readv`, a batch's bytes at a time, without any shuffle:
`plain` into one buffer of a batch, over and over, so that what was read never leaves the processor's cache and nobody
keeps it; `kept` into a buffer of a pool, as whoever mixes rows must. For narrower stores all sides convert every value
to fp32 (int8 times its token's step), the baselines into one preallocated buffer; they read no coordinates. Readers
take turns, each repetition beginning with another one, and a ratio is the median over the repetitions of (reader's
rate / baseline's rate): 1 is as fast, 0.8 is the aim. `cold` asks the kernel to forget the files
(`posix_fadvise(DONTNEED)`) before every reading; a cache below the kernel (a virtual machine's host, a disk
controller) stays. On a busy machine two reading threads get more of it than one. `CPU` is that of the process, all
threads, for a batch: what reading takes from a step that computes beside it.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from omnisae.hooks.point import HookPoint
from omnisae.store.packed import DTYPES
from omnisae.store.store import Store
from omnisae.store.writer import StoreWriter
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter

TOKENS = 256  # per example, on a grid of 16 × 16


def main() -> None:
    """Write a store per dtype, read it every way, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=262_144)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--pool", type=int, default=65_536)
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16", "int8"], choices=sorted(DTYPES))
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1, help="torch's threads, for both sides")
    parser.add_argument("--folder", type=Path, default=None, help="where to write (default: the temporary folder)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folder = Path(tempfile.mkdtemp(prefix="omnisae-store-", dir=options.folder))
    print(f"{options.rows:,} rows of {options.width}, batches of {options.batch}, pools of {options.pool:,}")
    heads = (
        f"{'dtype':9} {'cache':5} {'reader':10} {'rows/s':>12} {'GB/s':>6} {'CPU ms':>7} {'of plain':>9} {'of kept':>8}"
    )
    print(f"{heads}   (of plain: lowest to highest)")
    try:
        for dtype in options.dtype:
            store = write(folder / dtype, options.rows, options.width, dtype)
            for cache in ("warm", "cold"):
                compare(store, dtype, cache, options)
    finally:
        shutil.rmtree(folder)


def write(path: Path, rows: int, width: int, dtype: str) -> Store:
    """A store of random activations."""
    hook = HookPoint(name="h", at=("h",), pattern="example (y x) d", sizes={"y": 16, "x": 16}, width=width)
    writer = StoreWriter.open(path, hook, key="benchmark", dtype=dtype, shard_mb=128, about={})
    generator = torch.Generator().manual_seed(0)
    steps = torch.arange(16, dtype=torch.int32)
    coords = torch.cartesian_prod(steps, steps)
    for first in range(0, rows // TOKENS, 16):
        example = torch.arange(first, first + 16).repeat_interleave(TOKENS)
        values = torch.randn(len(example), width, generator=generator)
        role = torch.zeros(len(example), dtype=torch.uint8)
        writer.append(TokenBatch(values, example, coords.repeat(16, 1), role), first + 16)
    return writer.finish()


def compare(store: Store, dtype: str, cache: str, options: argparse.Namespace) -> None:
    """Print the rates of all readers, which take turns."""
    stream = store.stream(TokenFilter(), batch=options.batch, seed=0, pool=options.pool)
    steps = store.tokens // options.batch

    def fresh() -> int:
        """A stream that has read nothing ahead before the clock starts."""
        cold = store.stream(TokenFilter(), batch=options.batch, seed=0, pool=options.pool)
        rows = sum(len(cold.next()) for _ in range(steps))
        cold.close()
        return rows

    readers: dict[str, Callable[[], int]] = {
        "plain": plain_reader(store, options.batch, options.batch),
        "kept": plain_reader(store, options.batch, options.pool),
        "sequential": lambda: sum(len(batch) for batch in store.sequential(TokenFilter(), batch=options.batch)),
        "stream": fresh if cache == "cold" else lambda: sum(len(stream.next()) for _ in range(steps)),
    }
    rates: dict[str, list[float]] = {name: [] for name in readers}
    cpu: dict[str, list[float]] = {name: [] for name in readers}
    if cache == "warm":
        for reader in readers.values():
            reader()
    names = list(readers)
    for turn in range(options.repeat if cache == "warm" else max(4, options.repeat // 3)):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            if cache == "cold":
                time.sleep(0.5)  # whatever still reads ahead comes to its end
                forget(store)
            start, busy = time.perf_counter(), time.process_time()
            rows = readers[name]()
            rates[name].append(rows / (time.perf_counter() - start))
            cpu[name].append(1e3 * (time.process_time() - busy) * options.batch / rows)
    for name, values in rates.items():
        plain, kept = (ratios(values, rates[baseline]) for baseline in ("plain", "kept"))
        rate = statistics.median(values)
        print(
            f"{dtype:9} {cache:5} {name:10} {rate:12,.0f} {rate * store.row_bytes / 1e9:6.2f} "
            f"{statistics.median(cpu[name]):7.2f} "
            f"{statistics.median(plain):9.2f} {statistics.median(kept):8.2f}   ({min(plain):.2f} to {max(plain):.2f})",
            flush=True,
        )


def ratios(rates: list[float], baseline: list[float]) -> list[float]:
    """Repetition by repetition."""
    return [one / other for one, other in zip(rates, baseline, strict=True)]


def plain_reader(store: Store, batch: int, rows: int) -> Callable[[], int]:
    """Reads every shard from front to back, a batch's bytes at a time, into a buffer of `rows`, round and round."""
    raw = torch.zeros((rows, store.hook.width), dtype=DTYPES[store.manifest.dtype])
    wide = torch.zeros((batch, store.hook.width))
    step = torch.rand(batch, 1) if raw.dtype == torch.int8 else None
    buffers = [memoryview(part.view(torch.uint8).numpy()).cast("B") for part in raw.split(batch)]

    def read() -> int:
        turn = 0
        for number in range(len(store.manifest.shards)):
            descriptor = os.open(store.file(number), os.O_RDONLY)
            try:
                while got := os.readv(descriptor, [buffers[turn]]):
                    if raw.dtype != torch.float32:
                        found = raw[turn * batch :][: got // store.row_bytes]
                        wide[: len(found)].copy_(found)
                        if step is not None:
                            wide[: len(found)].mul_(step[: len(found)])
                    turn = (turn + 1) % len(buffers)
            finally:
                os.close(descriptor)
        return store.tokens

    return read


def forget(store: Store) -> None:
    """Ask the kernel to drop the store's files from its cache."""
    for number in range(len(store.manifest.shards)):
        descriptor = os.open(store.file(number), os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


if __name__ == "__main__":
    main()
