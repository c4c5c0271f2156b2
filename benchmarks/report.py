"""How long a report of 2,000 latents takes: `python benchmarks/report.py [--profile]`.

Trains 4,096 latents on the world `shapes` so that more than 2,000 live, and builds the report of 2,000 with 16 top and
8 random examples each, as `omnisae report` does. Prints seconds of the wall and of the processor.
"""

import argparse
import cProfile
import os
import pstats
import tempfile
import time
from pathlib import Path

from omnisae.config_file import load
from omnisae.pipeline import run
from omnisae.stages import report

CONFIG = Path(__file__).parents[1] / "configs/vision/quickstart.yaml"
OVERRIDES = {
    "autoencoder": {
        "latents": 4096,
        "activation": {"type": "core.batchtopk", "k": 64},
        "auxk": {"k": 512, "dead_after": 8_000},
    },
    "train": {"tokens": 1_000_000, "batch": 4096, "lr": 2e-3},
    "score": {"controls": {"pca": 0, "random": 0, "neurons": False, "permutations": 19}, "effects": 0},
}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--profile", action="store_true", help="print what took the time")
    options = asked.parse_args()
    config = load(CONFIG)
    config = type(config).model_validate(config.model_dump(exclude_unset=True, mode="json") | OVERRIDES)
    with tempfile.TemporaryDirectory() as folder:
        run(config, Path(folder) / "run", stages=("extract", "train", "encode", "score"))
        from omnisae.run import open_run

        opened = open_run(Path(folder) / "run")
        profile = cProfile.Profile() if options.profile else None
        wall, own = time.perf_counter(), os.times()
        if profile:
            profile.enable()
        report(opened, opened.jobs[0])
        if profile:
            profile.disable()
        now, seconds = os.times(), time.perf_counter() - wall
        spent = sum(now[:4]) - sum(own[:4])
        pages = len(list((Path(folder) / "run/report/data/pages").rglob("*.js")))
        print(f"report of {pages} latents: {seconds:.1f} s, {spent:.1f} s of the processor")
        if profile:
            pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


if __name__ == "__main__":
    main()
