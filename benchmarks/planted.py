"""How many concepts of a finished run have a latent that beats the best neuron and the best principal component.

    python benchmarks/planted.py runs/shapes [runs/phantoms …] [--each]

The latent of each concept is the one that ranked first on the select examples, and so are neuron and component; all are
measured on the test examples: F1 for concepts of yes and no, |Spearman| for fractions. `--each` prints every concept.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RIVALS = ("neuron", "pca")


def beaten(folder: Path) -> list[tuple[str, str, str, float, float]]:
    """(level, concept, measure, latent's value, best rival's value) of every concept that was scored."""
    import pyarrow.parquet as pq

    about = {one["name"]: one for one in json.loads((folder / "concepts.json").read_text())["concepts"]}
    first: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in pq.read_table(folder / "concepts.parquet").to_pylist():
        first.setdefault((row["level"], row["concept"]), row)
    out = []
    for (level, name), row in first.items():
        if about[name]["kind"] == "fraction":
            rivals = [abs(about[name]["controls"][kind]["spearman"]) for kind in RIVALS]
            out.append((level, name, "|Spearman|", abs(row["spearman"]), max(rivals)))
        else:
            out.append((level, name, "F1", row["f1"], max(row[f"control_{kind}_f1"] for kind in RIVALS)))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--each", action="store_true")
    asked = parser.parse_args()
    for folder in asked.runs:
        found = beaten(folder)
        for measure in sorted({one[2] for one in found}):
            mine = [one for one in found if one[2] == measure]
            print(f"{folder}: {sum(one[3] > one[4] for one in mine)} of {len(mine)} by {measure}")
            for level, name, _, value, rival in mine if asked.each else ():
                print(f"  {'+' if value > rival else ' '} {value:.3f} against {rival:.3f}  {name} ({level})")


if __name__ == "__main__":
    main()
