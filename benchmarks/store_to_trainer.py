"""Training from a cold store, beside the same training on batches that lie in memory already.

    python benchmarks/store_to_trainer.py [--dtype bfloat16 int8 float32] [--windows 6] [--latents 8192] [--folder DIR]

Both sides are the trainer's own loop and one TopK autoencoder of --latents latents over --width dimensions: `memory`
is given fp32 batches and only hands them over; `store` reads a store of which the kernel was told to forget every file
(`posix_fadvise(DONTNEED)` after `fsync`) before each window. Windows of as many steps as a pool has batches take
turns, so that what else the machine does falls on both. A store's window begins with its first pool read, as all but
the first of a training do; within it, the next pool is read. While memory has its turn, nothing is read. `ratio` is
the median over the store's windows of (tokens/s / mean of the memory windows before and after): 1 is as fast, 0.9 is
the aim. `CPU` is that of the process, all threads, a step; `from disk` the share of what was read that the kernel
counts as read from the disk (over 100 % where it reads ahead past the window; a cache below the kernel stays).
"""

import argparse
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from store import forget, write

from omnisae.autoencoders.configs import TopKConfig
from omnisae.config import AutoencoderConfig, AuxKConfig, TrainConfig
from omnisae.store.source import TokenStream
from omnisae.store.store import Store
from omnisae.tokens.filter import TokenFilter
from omnisae.training import launch
from omnisae.training.checkpoint import Identity
from omnisae.training.jobs import Job
from omnisae.training.learner import Learner
from omnisae.training.loop import Loop

POOL = 65_536
RATE = 1e-4


class Memory(TokenStream):
    """Batches that lie in memory, over and over."""

    def __init__(self, batches: list[torch.Tensor]) -> None:
        self._batches, self._read = batches, 0

    def next(self) -> torch.Tensor:
        self._read += 1
        return self._batches[(self._read - 1) % len(self._batches)]

    def state(self) -> dict[str, Any]:
        return {"read": self._read}

    def restore(self, state: dict[str, Any]) -> None:
        self._read = state["read"]

    def where(self) -> str:
        return "memory"


@dataclass(frozen=True)
class Window:
    """What some steps took."""

    rate: float  # tokens/s
    cpu: float  # ms a step, all threads
    disk: int  # bytes from the disk


def main() -> None:
    """Write the stores, train in turns, print a line a dtype."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="omnisae-train-", dir=options.folder))
    rows = max(4, options.windows) * POOL
    print(f"{options.latents} latents over {options.width} dimensions, k {options.k}, batches of {options.batch}")
    heads = f"{'dtype':9} {'memory':>10} {'store':>10} {'ratio':>6}   {'lowest to highest':18}"
    print(f"{heads} {'CPU: memory':>11} {'store':>8} {'from disk':>10}", flush=True)
    try:
        for dtype in options.dtype:
            compare(write(folder / dtype, rows, options.width, dtype), options, folder / "out")
            shutil.rmtree(folder / dtype)
    finally:
        shutil.rmtree(folder)


def compare(store: Store, options: argparse.Namespace, out: Path) -> None:
    """Print the line of one store."""
    source = store.stream(TokenFilter(), batch=options.batch, seed=1, pool=POOL)
    batches = [source.next().clone() for _ in range(16)]
    source.close()
    parts = AutoencoderConfig(latents=options.latents, activation=TopKConfig(k=options.k), auxk=AuxKConfig(k=0))
    config = TrainConfig(tokens=10**9, batch=options.batch, precision=options.precision)
    mesh = launch.start(config)
    learner = Learner(Job("job", "h", parts, 0), batches[0], mesh, config)
    stream = store.stream(TokenFilter(), batch=options.batch, seed=0, pool=POOL)
    loops = [
        Loop([learner], {"h": given}, config, out, Identity("k", {}), mesh, lambda event: None)
        for given in (Memory(batches), stream)
    ]
    window(loops[0], options.batch, 4)
    memory, cold = [window(loops[0], options.batch)], []
    for _ in range(options.windows):
        forget(store)
        window(loops[1], options.batch, 1)
        cold.append(window(loops[1], options.batch))
        loops[1].feeds["h"].close()
        memory.append(window(loops[0], options.batch))
    ratios = [
        2 * one.rate / (before.rate + after.rate)
        for one, before, after in zip(cold, memory[:-1], memory[1:], strict=True)
    ]
    read = statistics.median(one.disk for one in cold) / (POOL * store.row_bytes)
    rate, ours = (statistics.median(one.rate for one in windows) for windows in (memory, cold))
    cpu, our_cpu = (statistics.median(one.cpu for one in windows) for windows in (memory, cold))
    print(
        f"{store.manifest.dtype:9} {rate:10,.0f} {ours:10,.0f} {statistics.median(ratios):6.3f}   "
        f"({min(ratios):.3f} to {max(ratios):.3f})   {cpu:8.1f} ms {our_cpu:5.1f} ms {read:10.0%}",
        flush=True,
    )


def window(loop: Loop, batch: int, steps: int | None = None) -> Window:
    """Some steps of the loop, with the reading of the device's scalars at their end."""
    steps = steps or POOL // batch
    disk, cpu, start = from_disk(), time.process_time(), time.perf_counter()
    for _ in range(steps):
        loop._learn(loop.done, RATE)
        loop.done += 1
    loop._read()
    seconds, busy = time.perf_counter() - start, time.process_time() - cpu
    return Window(steps * batch / seconds, 1e3 * busy / steps, from_disk() - disk)


def from_disk() -> int:
    """Bytes that this process had read from the disk; 0 where the system does not count them."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", nargs="+", default=["bfloat16", "int8", "float32"])
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--latents", type=int, default=8192)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--windows", type=int, default=6, help="of the store, each between two of memory")
    parser.add_argument("--precision", default="exact", choices=["exact", "mixed", "bf16"])
    parser.add_argument("--folder", type=Path, default=None, help="where stores are written (default: temporary)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
