"""Race omnisae against other libraries and judge the targets.

python -m benchmarks.bench            # everything, about twenty minutes: `make bench`
python -m benchmarks.bench --quick    # less than six minutes: `make bench QUICK=1`
python -m benchmarks.bench --only topk engine
python -m benchmarks.bench --page     # docs/speed.md and its pictures, from the stored runs
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.bench import data, environment, machine, plan, results, tables, targets
from benchmarks.bench.race import Race, run

QUICK_SECONDS = 330
"""After so many seconds a QUICK run begins no further round, whatever is left."""


def main() -> None:
    options = _options()
    if sys.platform != "linux":
        raise SystemExit(f"the benchmark measures and stops processes as Linux does, and this is {sys.platform}")
    if options.page:
        from benchmarks.bench import page

        page.write()
        return
    kind = "quick" if options.quick else "full"
    races = [race for race in _planned(options.quick) if not options.only or race.name in options.only]
    environment.ensure(kind)
    bench(kind, races, partial=bool(options.only))


def bench(kind: str, races: Sequence[Race], partial: bool = False) -> None:
    """Run the races, print and store what they measured, and end with one line a target."""
    started = time.monotonic()
    record: dict[str, Any] = {
        "kind": kind,
        "finished": False,
        "machine": machine.machine(),
        **machine.occasion(),
        "races": {},
    }
    file = results.path(kind, record["date"])
    print(f"{record['machine']}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="omnisae-bench-") as temporary:
        folder = Path(temporary)
        for race in races:
            left = QUICK_SECONDS - (time.monotonic() - started) if kind == "quick" else float("inf")
            record["races"][race.name] = found = run(
                replace(race, seconds=min(race.seconds, left)), _data(folder, race), folder / "logs"
            )
            _print(found)
            record["seconds"] = round(time.monotonic() - started, 1)
            if not partial:
                results.write(file, record)
    rows = targets.judge(record["races"], "partial" if partial else kind)
    if not partial:
        results.write(file, record | {"finished": True})
        results.write(results.FOLDER / results.TARGETS, targets.as_json(rows))
        results.prune(kind)
    print(f"{record['seconds']:.0f} s; {'not stored, being partial' if partial else f'stored in {file}'}")
    if kind == "quick":
        print(plan.LEFT_OUT)
    if not record["machine"]["gpu"]:
        print("No GPU is at hand: the targets on a GPU were left out.")
    print()
    for row in rows:
        print(row.line())


def _planned(quick: bool) -> list[Race]:
    if quick:
        return plan.quick() + (plan.gpu((16_384,), (1_024,)) if machine.gpu() else [])
    return plan.full() + (plan.gpu((16_384, 131_072), (1_024, 2_048, 4_096)) if machine.gpu() else [])


def _data(folder: Path, race: Race) -> Path:
    """The folder of the data of the race's width, written the first time it is asked for."""
    width = race.setting.width
    made = folder / f"width-{width}"
    if not made.exists():
        rows = plan.ROWS if width == plan.BASE.width else plan.FEWER_ROWS
        data.write(made, rows, width, plan.HELD_OUT)
    return made


def _print(found: dict[str, Any]) -> None:
    print(f"{found['title']}: {found['setting']}")
    print(f"{found['took']['all']:.0f} s, of which {found['took']['building']:.0f} s went by before the first step")
    print(tables.text(*tables.speeds(found)))
    if curve := tables.curve_rows(found):
        print()
        print(tables.text(tables.CURVE_HEADS, curve))
    print(flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less than six minutes, the same targets")
    parser.add_argument("--only", nargs="+", metavar="RACE", help="these races alone, printed but not stored")
    parser.add_argument("--page", action="store_true", help="write docs/speed.md from the stored runs, and stop")
    return parser.parse_args()


if __name__ == "__main__":
    main()
