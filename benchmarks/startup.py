"""Start-up: how long `omnisae --help` and `omnisae plugins` take, beside a bare Python. Prints seconds and ratios.

python benchmarks/startup.py [RUNS]
"""

import subprocess
import sys
from time import perf_counter

LIMIT = 0.4
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "omnisae --help": ["-m", "omnisae", "--help"],
    "omnisae plugins": ["-m", "omnisae", "plugins"],
    "omnisae schema": ["-m", "omnisae", "schema"],
}


def seconds(arguments: list[str], runs: int) -> list[float]:
    """Wall-clock seconds of each run, after one that warms the file cache."""
    took = []
    for _ in range(runs + 1):
        start = perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        took.append(perf_counter() - start)
    return sorted(took[1:])


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    bare = None
    print(f"{'command':<18} {'best':>7} {'median':>7} {'worst':>7} {'of bare':>8}")
    for name, arguments in COMMANDS.items():
        took = seconds(arguments, runs)
        median = took[len(took) // 2]
        bare = bare or median
        note = f"  over {LIMIT} s" if median > LIMIT and name in ("omnisae --help", "omnisae plugins") else ""
        print(f"{name:<18} {took[0]:>6.3f}s {median:>6.3f}s {took[-1]:>6.3f}s {median / bare:>7.1f}x{note}")


if __name__ == "__main__":
    main()
