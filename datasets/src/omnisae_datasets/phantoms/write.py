"""Writing the world as a hospital's export and VinDr's table would be: DICOM files by study, and what is in them."""

import csv
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omnisae_datasets.phantoms.anatomy import HEIGHT, KINDS, ORDER, SCANNERS, WIDTH, Laterality, Patient, View, patient
from omnisae_datasets.phantoms.dicom import save
from omnisae_datasets.phantoms.render import Box, render

EPOCH = 1_700_000_000
"""Every file's time of change, so that the same world has the same fingerprint on every machine."""

README = """# The world `phantoms`

{n} pictures (seed {seed}) of breasts that do not exist: exams of four views, with lesions and confounders planted.

- `images/<study>/<image>.dicom`: digital mammograms, {height} × {width}. Three makers with an encoding of their own:
  Northlight (12 bit, MONOCHROME2, window), Meridian (14 bit, MONOCHROME1, rescale and window), Aster (12 bit, VOI
  lookup table, RLE lossless). They carry names and ids, invented ones, as real files do.
- `finding_annotations.csv`: a row a box, in the columns of VinDr-Mammo (a picture without finding has one row).
- `truth.csv`: image_id, patient, laterality, view, `has_<lesion>` (0 or 1), `marker` (a lead letter lies in the air),
  `scanner`, `implant`, `density` (0 to 1).

Planted confounders: the lead letter lies beside {with_mass:.0%} of the breasts with a mass and {without:.0%} of the
others; masses are more frequent with some scanners ({rates}).
"""
BOXES = (
    "study_id", "series_id", "image_id", "laterality", "view_position", "height", "width", "breast_birads",
    "breast_density", "finding_categories", "finding_birads", "xmin", "ymin", "xmax", "ymax", "split",
)  # fmt: skip


def write(out: Path, n: int, seed: int) -> None:
    """Write `n` pictures and all that is known of them below `out`, which must not hold them already."""
    boxes: list[dict[str, Any]] = []
    truth: list[dict[str, Any]] = []
    for number in range(n):
        who = patient(seed, number // 4)
        side, view = ORDER[number % 4]
        study, image = _name(seed, "study", number // 4), _name(seed, "image", number)
        picture, found = render(who, side, view, seed)
        path = out / "images" / study / f"{image}.dicom"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, picture, who, side, view, (study, f"{study} {side} {view}", image))
        about = {"study_id": study, "image_id": image, "laterality": side, "view_position": view}
        boxes += _rows(about, who, side, found)
        truth.append(_truth(image, who, side, view, found))
    _table(out / "finding_annotations.csv", BOXES, boxes)
    _table(out / "truth.csv", tuple(truth[0]), truth)
    from omnisae_datasets.phantoms.anatomy import MARKER_WITH_MASS, MARKER_WITHOUT, MASS_RATE

    rates = ", ".join(f"{name} {rate:.0%}" for name, rate in zip(SCANNERS, MASS_RATE, strict=True))
    words = {"with_mass": MARKER_WITH_MASS, "without": MARKER_WITHOUT, "rates": rates}
    (out / "README.md").write_text(README.format(n=n, seed=seed, height=HEIGHT, width=WIDTH, **words))
    (out / "world.json").write_text(json.dumps({"world": "phantoms", "n": n, "seed": seed}) + "\n")
    for path in out.rglob("*"):
        if path.is_file():
            os.utime(path, (EPOCH, EPOCH))


def _name(seed: int, kind: str, number: int) -> str:
    """A name as VinDr's files have: 32 hex digits that say nothing."""
    return hashlib.md5(f"phantoms {seed} {kind} {number}".encode(), usedforsecurity=False).hexdigest()


def _rows(about: dict[str, Any], who: Patient, side: Laterality, found: Sequence[Box]) -> list[dict[str, Any]]:
    breast = who.breasts[side]
    common = about | {
        "series_id": about["study_id"],
        "height": HEIGHT,
        "width": WIDTH,
        "breast_birads": f"BI-RADS {4 if any(b.kind == 'Mass' for b in found) else 3 if found else 1}",
        "breast_density": f"DENSITY {'ABCD'[min(int(breast.density * 4), 3)]}",
        "split": "training",
    }
    if not found:
        return [common | {"finding_categories": "['No Finding']"}]
    place = [{"xmin": b.left, "ymin": b.top, "xmax": b.right, "ymax": b.bottom} for b in found]
    return [
        common | at | {"finding_categories": f"['{b.kind}']", "finding_birads": "BI-RADS 4"}
        for b, at in zip(found, place, strict=True)
    ]


def _truth(image: str, who: Patient, side: Laterality, view: View, found: Sequence[Box]) -> dict[str, Any]:
    breast = who.breasts[side]
    kinds = {box.kind for box in found}
    return {
        "image_id": image,
        "patient": who.number,
        "laterality": side,
        "view": view,
        **{f"has_{kind}": int(kind in kinds) for kind in KINDS},
        "marker": int(who.marker[side, view]),
        "scanner": SCANNERS[who.scanner],
        "implant": int(breast.implant),
        "density": f"{breast.density:.4f}",
    }


def _table(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(columns), lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)
