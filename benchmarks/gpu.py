"""One GPU: the training step against the encoder's product alone, and against eai-sparsify with its Triton decoder.

.venv/bin/python -m benchmarks.gpu              # 16 k and 131 k latents, 1,024 to 4,096 dimensions, k 64
PYTHONPATH=core benchmarks/.venv/bin/python -m benchmarks.gpu   # with eai-sparsify, once `make bench` installed it
.venv/bin/python -m benchmarks.gpu --profile    # also where the time of a step goes, kernel by kernel

Contestants run one after the other, each through its own public training step (see `benchmarks/bench/contestants`).
Seconds are the device's: between two batches asked for, without waiting in between. Where there is no CUDA device it
says so and ends well. `--device cpu` rehearses the program on toy sizes; its figures mean nothing.
"""

import argparse
import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import torch
from benchmarks.bench.baton import Batches, Finished
from benchmarks.bench.contestants import floor, ours
from benchmarks.bench.contestants.contestant import SAMPLE, Contestant
from benchmarks.bench.setting import Setting
from torch import Tensor

WARM = 5
"""Steps before the clock starts: kernels are compiled, memory is taken."""
TARGETS = {"of the product": 0.60, "over eai-sparsify": 1.3}

Build = Callable[[Setting, Tensor, dict[str, Any]], Contestant]


class Clock(Iterator[Tensor]):
    """Batches, and when each was asked for."""

    def __init__(self, batches: Iterator[Tensor], steps: int, device: str) -> None:
        self._batches, self._left, self._device = batches, WARM + steps + 1, device
        self._marks: list[Any] = []

    def __next__(self) -> Tensor:
        if self._device == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter())
        self._left -= 1
        if self._left == 0:
            raise Finished
        return next(self._batches)

    def milliseconds(self) -> list[float]:
        """Of each step after the warm ones."""
        marks = self._marks[WARM:]
        if self._device == "cuda":
            torch.cuda.synchronize()
            return [a.elapsed_time(b) for a, b in pairwise(marks)]
        return [1000 * (b - a) for a, b in pairwise(marks)]


def main() -> None:
    options = _options()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("No CUDA device is here: nothing was measured.")
        return
    if options.device == "cuda":
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, batch {options.batch}, k {options.k}")
    for latents in options.latents:
        for width in options.widths:
            for rule in options.rules:
                race(Setting(rule, latents, width, options.k, options.batch, device=options.device), options)


def race(setting: Setting, options: argparse.Namespace) -> None:
    """All contestants on one setting, and their ratios."""
    print(f"\n{setting.rule}, {setting.latents:,} latents, width {setting.width:,}")
    rows = torch.randn(max(SAMPLE, 2 * setting.batch), setting.width, device=setting.device)
    took: dict[str, float] = {}
    for name, (build, more) in contestants(setting).items():
        try:
            took[name] = measure(name, build, setting, rows, more, options)
        except torch.OutOfMemoryError:
            print(f"  {name:20} does not fit into this device's memory")
        gc.collect()
        if setting.device == "cuda":
            torch.cuda.empty_cache()
    for mode in ("exact", "mixed", "bf16"):
        step = took.get(f"omnisae {mode}")
        for what, other in (("of the product", "product bf16"), ("over eai-sparsify", "eai-sparsify")):
            if step and other in took:
                ratio = took[other] / step
                judged = "met" if ratio >= TARGETS[what] else "short"
                print(f"  {mode:5} {ratio:5.2f} {what} (target {TARGETS[what]}: {judged})")


def contestants(setting: Setting) -> dict[str, tuple[Build, dict[str, Any]]]:
    found: dict[str, tuple[Build, dict[str, Any]]] = {"product bf16": (floor.build, {"kind": "bf16"})}
    for precision in ("exact", "mixed", "bf16"):
        found[f"omnisae {precision}"] = (ours.build, {"precision": precision})
    if setting.rule == "topk" and find_spec("sparsify"):
        from benchmarks.bench.contestants import sparsify

        found["eai-sparsify"] = (sparsify.build, {})
    elif setting.rule == "topk":
        print("  eai-sparsify is not installed here: see the top of benchmarks/gpu.py")
    return found


def measure(
    name: str, build: Build, setting: Setting, rows: Tensor, more: dict[str, Any], options: argparse.Namespace
) -> float:
    """The median milliseconds of a step."""
    torch.set_float32_matmul_precision("highest")  # eai-sparsify sets another, and leaves it so
    cuda = setting.device == "cuda"
    before = torch.cuda.memory_allocated() if cuda else 0
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    contestant = build(setting, rows, more)
    clock = Clock(Batches(rows, setting.batch), options.steps, setting.device)
    watching = options.profile and name.startswith("omnisae")
    with _profiler(cuda) if watching else nullcontext() as profile, suppress(Finished):
        contestant.train(clock)
    spent = clock.milliseconds()
    median = statistics.median(spent)
    peak = f"{(torch.cuda.max_memory_allocated() - before) / 2**30:6.1f} GiB at most" if cuda else ""
    spread, speed = f"({min(spent):.2f} to {max(spent):.2f})", 1000 * setting.batch / median
    print(f"  {name:20} {median:9.2f} ms {spread:20} {speed:12,.0f} tokens/s {peak}", flush=True)
    if watching:
        order = "self_cuda_time_total" if cuda else "self_cpu_time_total"
        print(profile.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=60))
    return median


def _profiler(cuda: bool) -> Any:
    from torch.profiler import ProfilerActivity, profile

    return profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", type=int, nargs="+", default=[16_384, 131_072])
    parser.add_argument("--widths", type=int, nargs="+", default=[1024, 2048, 4096])
    parser.add_argument("--rules", nargs="+", default=["topk", "batchtopk"], choices=["topk", "batchtopk"])
    parser.add_argument("--k", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16_384)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    options = parser.parse_args()
    if options.device == "cpu":
        os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
    return options


if __name__ == "__main__":
    main()
