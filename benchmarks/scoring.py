"""How long scoring takes: latents × concepts × tokens, made up on disk.

    python benchmarks/scoring.py                        # 16,384 latents × 200 concepts × 1 M tokens, k = 32
    python benchmarks/scoring.py --controls --width 512 # and the controls, which are dense products of the width

Prints the seconds of each part (by the clock, and of work on all cores) and the peak of memory. Codes follow
a power law over latents, every concept has latents that follow it, and labels are intervals with instances, of which a
token carries two on average.
"""

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch

from omnisae.concepts.annotations import Annotations, Interval, Region
from omnisae.concepts.configs import AurocConfig, IouConfig
from omnisae.concepts.controls import controls
from omnisae.concepts.level import levels
from omnisae.concepts.score import score
from omnisae.config import ControlsConfig, ScoreConfig
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.extractor import Extractor
from omnisae.hooks.point import HookPoint
from omnisae.postings.postings import Postings
from omnisae.postings.writer import PostingsWriter
from omnisae.store.source import TokenSource
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter

LENGTH = 256


class MadeUp(Dataset):
    """Every example has intervals of random concepts."""

    def __init__(self, examples: int, concepts: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._ids = [f"e{i}" for i in range(examples)]
        self.names = [f"concept {i}" for i in range(concepts)]
        per_example = 16
        self.which = rng.integers(0, concepts, (examples, per_example))
        self.start = rng.integers(0, LENGTH - 32, (examples, per_example))
        self.length = rng.integers(1, 64, (examples, per_example))

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def load(self, row: int) -> Example:
        return Example(row, self._ids[row], None)

    def fingerprint(self) -> str:
        return "made up"

    def annotations(self) -> Annotations:
        def regions(row: int) -> list[Region]:
            return [
                Region(self.names[c], i, Interval("position", int(s), int(s + n)))
                for i, (c, s, n) in enumerate(zip(self.which[row], self.start[row], self.length[row], strict=True))
            ]

        return Annotations(self._ids, {}, regions, self.names)


class Nothing(Extractor):
    def resolve(self, hooks: Any) -> list[HookPoint]:
        raise NotImplementedError

    def fingerprint(self) -> str:
        return "nothing"

    def prepare(self, example: Example) -> Any:
        raise NotImplementedError

    def extract(self, rows: Any, inputs: Any, hooks: Any) -> Any:
        raise NotImplementedError


class Noise(TokenSource):
    """The same 64 k random activations over and over, so that reading costs nothing."""

    def __init__(self, hook: HookPoint, split: np.ndarray) -> None:
        self.hook, self._split = hook, split
        self._values = torch.randn(1 << 16, hook.width, generator=torch.Generator().manual_seed(0))

    def fingerprint(self) -> str:
        return "noise"

    def sequential(self, keep: TokenFilter, examples: Any = None, batch: int = 4096) -> Iterator[TokenBatch]:
        rows = np.flatnonzero(examples) if examples is not None else np.arange(len(self._split))
        tokens, at = np.repeat(rows, LENGTH), 0
        for start in range(0, len(tokens), batch):
            example = torch.from_numpy(tokens[start : start + batch])
            values = self._values[at : at + len(example)]
            at = 0 if at + 2 * batch > len(self._values) else at + batch
            zeros = torch.zeros(len(example), 1, dtype=torch.int32)
            yield TokenBatch(values[: len(example)], example, zeros, zeros[:, 0].to(torch.uint8))

    def stream(self, keep: TokenFilter, examples: Any = None, **rest: Any) -> Any:
        raise NotImplementedError


def write(out: Path, hook: HookPoint, dataset: MadeUp, split: np.ndarray, latents: int, k: int) -> Postings:
    """Codes of k latents a token by a power law; under a concept, one of its four latents fires as well."""
    rng = np.random.default_rng(1)
    weights = np.cumsum(1.0 / np.arange(20, latents + 20) ** 0.8)
    order = rng.permutation(latents)
    concepts = len(dataset.names)
    with PostingsWriter(out, hook, TokenFilter(), latents, split) as writer:
        rows = np.flatnonzero(split)
        for start in range(0, len(rows), 16):
            part = rows[start : start + 16]
            n = len(part) * LENGTH
            found = order[np.searchsorted(weights, rng.random((n, k)) * weights[-1])]
            for i, row in enumerate(part):
                for c, s, length in zip(dataset.which[row], dataset.start[row], dataset.length[row], strict=True):
                    tokens = np.arange(i * LENGTH + s, i * LENGTH + min(s + length, LENGTH))
                    found[tokens, rng.integers(0, k)] = (c + concepts * rng.integers(0, 4, len(tokens))) % latents
            found.sort(axis=1)
            first = np.ones(found.shape, dtype=bool)
            first[:, 1:] = np.diff(found, axis=1) > 0
            writer.append(
                np.repeat(part, LENGTH),
                np.tile(np.arange(LENGTH), len(part))[:, None],
                np.zeros(n, np.uint8),
                np.r_[0, np.cumsum(first.sum(axis=1))],
                found[first],
                rng.exponential(size=int(first.sum())).astype(np.float32),
            )
        return writer.finish({})


def peak() -> float:
    """GiB of resident memory at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def spent(clock: float, work: float) -> str:
    """Seconds since then, by the clock and of work, and the peak of memory."""
    return f"{time.perf_counter() - clock:.1f} s ({time.process_time() - work:.1f} s of work), peak {peak():.2f} GiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", type=int, default=16_384)
    parser.add_argument("--concepts", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--width", type=int, default=512, help="of the model, for the controls")
    parser.add_argument("--controls", action="store_true", help="time the controls too")
    parser.add_argument("--permutations", type=int, default=499)
    args = parser.parse_args()
    examples = args.tokens // LENGTH
    split = np.r_[np.tile([1, 2], examples // 2 + 1)[:examples], np.zeros(256)].astype(np.uint8)
    hook = HookPoint(
        name="made-up", at=("m",), pattern="example position d", sizes={"position": LENGTH}, width=args.width
    )
    dataset = MadeUp(len(split), args.concepts, 0)
    folder = Path(tempfile.mkdtemp(prefix="scoring-"))
    try:
        clock = time.perf_counter()
        postings = write(folder / "codes", hook, dataset, split, args.latents, args.k)
        seconds = time.perf_counter() - clock
        print(f"made up {len(postings.value):,} codes of {postings.n_tokens:,} tokens in {seconds:.1f} s")
        print(
            f"{torch.get_num_threads()} threads of torch, {numba.get_num_threads()} of numba; {peak():.2f} GiB so far"
        )
        off = ControlsConfig(neurons=False, pca=0, random=0, permutations=args.permutations)
        config = ScoreConfig(metrics=(AurocConfig(), IouConfig()), controls=off)
        source = Noise(hook, split)
        small = ScoreConfig(metrics=(AurocConfig(),), controls=off)
        warm(folder, hook, small)
        steps: dict[str, float] = {}
        clock = begin = time.perf_counter()
        work = time.process_time()

        def observe(event: dict[str, Any]) -> None:
            nonlocal clock
            now = time.perf_counter()
            steps[event["step"]] = steps.get(event["step"], 0.0) + now - clock
            clock = now

        score(postings, dataset, Nothing(), source, config, folder, observe=observe)
        print(f"score: {spent(begin, work)}")
        for step, seconds in steps.items():
            print(f"  {step}: {seconds:.1f} s")
        if args.controls:
            clock, work = time.perf_counter(), time.process_time()
            found, _, _ = levels(postings, dataset, Nothing(), config)
            wanted = ControlsConfig(permutations=args.permutations)
            told = controls(postings, source, found, np.array(config.thresholds), wanted, 0)
            print(f"controls ({told.units}): {spent(clock, work)}")
    finally:
        shutil.rmtree(folder)


def warm(folder: Path, hook: HookPoint, config: ScoreConfig) -> None:
    """A little run first, so that compiling is not timed."""
    dataset = MadeUp(64, 4, 0)
    split = np.tile([1, 2], 32).astype(np.uint8)
    clock = time.perf_counter()
    score(
        write(folder / "warm", hook, dataset, split, 64, 8),
        dataset,
        Nothing(),
        Noise(hook, split),
        config,
        folder / "w",
    )
    print(f"a little run, compiling included: {time.perf_counter() - clock:.1f} s")


if __name__ == "__main__":
    main()
