"""Writing the world: a table of prompts with seeds, and the real digits that no model learnt from, as pictures."""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from omnisae_datasets.digits.inks import INKS, printed
from omnisae_datasets.digits.pictures import HELD_OUT, LABELS, SIDE, digits

EPOCH = 1_700_000_000
"""Every file's time of change, so that the same world has the same fingerprint on every machine."""

README = """# The world `digits`

{n} prompts (seed {seed}) for models that draw a digit in an ink, and {pictures} real pictures that they never saw.

- `prompts.csv`: id, prompt (such as `7 in neon`), label (the prompt's number, 0 to {last}: 4 × digit + ink), digit,
  ink, seed (of the noise that the picture starts from). Each {labels} in a row hold every prompt once.
- `natural/<ink>/<digit>-<number>.png`: every fifth of scikit-learn's digits, {side} × {side} RGB, in the four inks;
  the number is the digit's row there.
- `natural.csv`: id (a picture's path below `natural/` without its ending), ink, original (the handwritten digit: its
  four pictures belong together), `digit=0` to `digit=9` (0 or 1).

The handwritten digits are those of the UCI set *Optical Recognition of Handwritten Digits* (E. Alpaydin and C. Kaynak,
CC BY 4.0), as scikit-learn's `load_digits` gives them: 8 × 8 cells. The inks are made up.
"""


def write(out: Path, n: int, seed: int) -> None:
    """Write `n` prompts, and the digits that were held out, below `out`, which must not hold them already."""
    out.mkdir(parents=True, exist_ok=True)
    _table(out / "prompts.csv", [prompt(seed, number) for number in range(n)])
    natural = []
    for row, pixels in _natural():
        path = out / "natural" / f"{row['id']}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, compress_level=1)
        natural.append(row)
    _table(out / "natural.csv", natural)
    told = {"pictures": len(natural), "labels": len(LABELS), "last": len(LABELS) - 1, "side": SIDE}
    (out / "README.md").write_text(README.format(n=n, seed=seed, **told))
    (out / "world.json").write_text(json.dumps({"world": "digits", "n": n, "seed": seed}) + "\n")
    for path in out.rglob("*"):
        if path.is_file():
            os.utime(path, (EPOCH, EPOCH))


def prompt(seed: int, number: int) -> dict[str, Any]:
    """A row of `prompts.csv`: the same however many prompts are written. Every round holds each label once."""
    turn, place = divmod(number, len(LABELS))
    label = int(np.random.default_rng([seed, turn]).permutation(len(LABELS))[place])
    digit, ink = divmod(label, len(INKS))
    return {
        "id": f"{number:06d}",
        "prompt": LABELS[label],
        "label": label,
        "digit": digit,
        "ink": INKS[ink],
        "seed": int(np.random.default_rng([seed, number, 1]).integers(2**31)),
    }


def _natural() -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """A row of `natural.csv` and its picture."""
    known = digits(held_out=True)
    for ink in INKS:
        for row, (grey, digit) in enumerate(zip(known.grey, known.digit, strict=True)):
            number = f"{row * HELD_OUT:04d}"
            # Numbers of digits would be read as a quantity: which digit it is stands in columns of 0 and 1.
            which = {f"digit={other}": int(other == digit) for other in range(10)}
            pixels = np.round(printed(grey, ink) * 255).astype(np.uint8)
            yield {"id": f"{ink}/{digit}-{number}", "ink": ink, "original": f"row-{number}", **which}, pixels


def _table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
