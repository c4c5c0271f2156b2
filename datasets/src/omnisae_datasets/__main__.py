"""Write a world into a folder: python -m omnisae_datasets shapes --out DIR [--n 2000] [--seed 0]"""

import argparse
import sys
from pathlib import Path

from omnisae.errors import DatasetError, OmnisaeError
from omnisae_datasets.worlds import WORLDS, find


def main(words: list[str] | None = None) -> int:
    """The exit status: 0, or 2 after an error that is printed."""
    parser = argparse.ArgumentParser(
        prog="python -m omnisae_datasets", description="Write a small world with known truth."
    )
    worlds = parser.add_subparsers(dest="world", required=True, metavar="WORLD")
    for name in WORLDS:
        world = find(name)
        one = worlds.add_parser(name, help=world.about)
        one.add_argument("--out", type=Path, required=True, help="a folder that does not exist yet, or is empty")
        one.add_argument("--n", type=int, default=world.n, help=f"how many {world.noun} (%(default)s)")
        one.add_argument("--seed", type=int, default=world.seed, help="(%(default)s)")
    asked = parser.parse_args(words)
    try:
        _write(asked.world, asked.out, asked.n, asked.seed)
    except OmnisaeError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _write(name: str, out: Path, n: int, seed: int) -> None:
    if n < 1 or seed < 0:
        raise DatasetError(f"--n is {n} and --seed {seed}; at least 1 and 0 are needed", "give other numbers")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out} exists and is not an empty folder", "name another folder with --out")
    world = find(name)
    out.mkdir(parents=True, exist_ok=True)
    world.write(out, n, seed)
    print(f"{n} {world.noun} in {out}")


if __name__ == "__main__":
    sys.exit(main())
