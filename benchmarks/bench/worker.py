"""A contestant's process: `python -m benchmarks.bench.worker SPEC`, with commands on stdin and replies on stdout.

Order of events: import the library, rehearse on a toy problem (so that code is compiled and thread pools stand), note
the resident memory, build the contestant, train as the baton allows.
"""

import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from benchmarks.bench import data, memory
from benchmarks.bench.baton import Batches, Baton, Finished, Rehearsal
from benchmarks.bench.contestants.contestant import Contestant
from benchmarks.bench.quality import dead_share, explained_variance, mean_max_cosine
from benchmarks.bench.setting import Setting


class Worker:
    """Builds the contestant and answers the parent's questions about it."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.setting = Setting(**spec["setting"])
        self.options, self.folder = spec["options"], Path(spec["data"])
        self.build = importlib.import_module(f"benchmarks.bench.contestants.{spec['module']}").build
        self.rows = data.read(self.folder, data.TRAIN).to(self.setting.device)
        self.contestant: Contestant | None = None
        self.peak = 0

    def run(self, words: Any, replies: Any) -> None:
        """Everything, until the parent closes the pipe."""
        self._rehearse()
        self._settle()
        self.baseline = memory.resident() if self.setting.device == "cpu" else torch.cuda.memory_allocated()
        self.contestant = self.build(self.setting, self.rows, self.options)
        batches = Batches(self.rows, self.setting.batch)
        baton = Baton(batches, self.answer, self._wait, words, replies)
        baton.reply({"ready": self.contestant.versions})
        with contextlib.suppress(Finished):
            self.contestant.train(baton)

    def answer(self, word: dict[str, Any]) -> Any:
        """Replies to `evaluate`, `settle`, `memory`, and whatever else the contestant knows."""
        match word["do"]:
            case "evaluate":
                return self._apart(self._evaluate)
            case "settle":
                self.peak = 0
                return self._settle()
            case "memory":
                return self._memory()
            case other:
                return self._apart(lambda: getattr(self.contestant, other)(self.folder))

    def _rehearse(self) -> None:
        toy = self.setting.toy()
        rows = torch.randn(8 * toy.batch, toy.width, generator=torch.Generator().manual_seed(0)).to(toy.device)
        contestant = self.build(toy, rows, self.options)
        with contextlib.suppress(Finished):
            contestant.train(Rehearsal(Batches(rows, toy.batch), 3))

    def _evaluate(self) -> dict[str, float]:
        held_out = data.read(self.folder, data.HELD_OUT)
        seen = [self.contestant.reconstruct(x.to(self.setting.device)) for x in held_out.split(self.setting.batch)]
        return {
            "explained_variance": explained_variance(held_out, torch.cat([one.x_hat.cpu() for one in seen])),
            "dead_share": dead_share(torch.stack([one.fired.cpu() for one in seen]).any(dim=0)),
            "mean_max_cosine": mean_max_cosine(self.contestant.directions().cpu(), data.read(self.folder, data.TRUTH)),
            "l0": sum(one.active for one in seen) / len(held_out),
        }

    def _memory(self) -> dict[str, int]:
        """Bytes. `extra` is what training needs beyond what it must keep.

        extra = peak resident memory during steps − resident memory before the contestant was built (libraries, code
        compiled in the rehearsal, and the data, all touched) − parameters and buffers − the optimiser's state.
        Gradients, activations and whatever a library sets aside for speed are extra.
        """
        peak = max(self.peak, self._peak())
        kept = [sum(t.numel() * t.element_size() for t in tensors) for tensors in self.contestant.kept()]
        return {
            "peak": peak,
            "baseline": self.baseline,
            "weights": kept[0],
            "optimiser": kept[1],
            "extra": peak - self.baseline - sum(kept),
        }

    def _apart(self, ask: Any) -> Any:
        """An answer whose own need of memory does not count as training's."""
        self.peak = max(self.peak, self._peak())
        with torch.no_grad():
            answer = ask()
        self._settle()
        return answer

    def _peak(self) -> int:
        return memory.peak() if self.setting.device == "cpu" else torch.cuda.max_memory_allocated()

    def _settle(self) -> None:
        memory.settle()
        if self.setting.device != "cpu":
            torch.cuda.reset_peak_memory_stats()

    def _wait(self) -> None:
        if self.setting.device != "cpu":
            torch.cuda.synchronize()


def main() -> None:
    _die_with_parent()
    # Libraries print as they please: the pipe to the parent must hold replies alone.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    Worker(json.loads(sys.argv[1])).run(sys.stdin, replies)


def _die_with_parent() -> None:
    """The parent stops its contestants between turns; one that it left behind would stand still for ever."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


if __name__ == "__main__":
    main()
