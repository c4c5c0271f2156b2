"""How long InterPLM's domain F1 takes: 10,240 latents × 150 concepts × 1 M residues, 32 codes each, made up on disk.

    python benchmarks/protein_domains.py [--latents 10240] [--concepts 150] [--tokens 1000000]

Prints the seconds of labels and of the study `protein.domains` (by the clock, and of work on all cores), and the peak
of memory. Codes and regions are those of benchmarks/scoring.py.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numba
import numpy as np
from scoring import LENGTH, MadeUp, Noise, Nothing, peak, spent, write

from omnisae.concepts.level import levels
from omnisae.config import ControlsConfig, ScoreConfig
from omnisae.hooks.point import HookPoint
from omnisae.studies.study import Material
from omnisae_protein.plugin import DomainsConfig


def material(folder: Path, hook: HookPoint, examples: int, latents: int, concepts: int, k: int) -> Material:
    """A made-up run on both sides of the split, scored by nothing yet but its labels."""
    split = np.r_[np.tile([1, 2], examples // 2 + 1)[:examples], np.zeros(4)].astype(np.uint8)
    dataset = MadeUp(len(split), concepts, 0)
    postings = write(folder, hook, dataset, split, latents, k)
    off = ControlsConfig(neurons=False, pca=0, random=0)
    clock, work = time.perf_counter(), time.process_time()
    found, _, _ = levels(postings, dataset, Nothing(), ScoreConfig(controls=off))
    print(f"{len(postings.value):,} codes of {postings.n_tokens:,} residues; labels: {spent(clock, work)}")
    return Material(
        postings=postings, source=Noise(hook, split), dataset=dataset, extractor=Nothing(), artifact=folder,
        levels=found, table={}, siblings=(), seed=0, folder=folder,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", type=int, default=10_240)
    parser.add_argument("--concepts", type=int, default=150)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--controls", action="store_true", help="give 512 neurons to the concepts, too")
    args = parser.parse_args()
    hook = HookPoint(name="made-up", at=("m",), pattern="example position d", sizes={"position": LENGTH}, width=512)
    study = DomainsConfig(controls=args.controls).build()
    folder = Path(tempfile.mkdtemp(prefix="domains-"))
    try:
        study.study(material(folder / "warm", hook, 64, 64, 4, 8))
        made = material(folder / "codes", hook, args.tokens // LENGTH, args.latents, args.concepts, args.k)
        print(f"{numba.get_num_threads()} threads of numba, {peak():.2f} GiB so far")
        clock, work = time.perf_counter(), time.process_time()
        study.study(made)
        print(f"domain F1 of {args.latents:,} latents × {args.concepts} concepts: {spent(clock, work)}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
