"""Writing the world as a survey would: a FITS file a galaxy with a band in each extension, and a catalogue of votes."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from omnisae_datasets.galaxies.morphology import DETECTORS, SCALE, SIDE, WEST_WITH_MERGER, WEST_WITHOUT, Galaxy, galaxy
from omnisae_datasets.galaxies.render import BANDS, MINIMUM, STRETCH, Bands, Q, render
from omnisae_datasets.galaxies.tree import TREE
from omnisae_datasets.galaxies.votes import votes

EPOCH = 1_700_000_000
"""Every file's time of change, so that the same world has the same fingerprint on every machine."""
TILE = 102_018_000

README = """# The world `galaxies`

{n} galaxies (seed {seed}) that do not exist, as a survey would publish them.

- `cutouts/<id>.fits`: cut-outs of {side} × {side} pixels of {scale} arcseconds; the bands g, r, z (nanomaggies) in an
  extension each, with a celestial WCS. Ids are Euclid's: tile, right ascension, declination; in file names a southern
  declination is written NEG, in the catalogue `-`.
- `catalogue.fits`: a row a galaxy: id_str, right_ascension, declination, redshift, mag_r, radius_arcsec, detector, and
  the votes of some forty simulated volunteers in Galaxy Zoo's form: `<question>_<answer>` and `<question>_total-votes`.
  One row in a hundred has no cut-out.
- `truth.csv`: what was drawn: kind, edge_on, arms, clockwise, bar, bulge, ratio, merger, detector, ...

Shown with minimum {minimum}, stretch {stretch}, Q {q} (Lupton et al. 2004), z in red, r in green, g in blue.
Planted confounder: the detector `west`, whose pictures hold stray light, saw {west:.0%} of the mergers and {other:.0%}
of the others.
"""


def write(out: Path, n: int, seed: int) -> None:
    """Write `n` galaxies and all that is known of them below `out`, which must not hold them already."""
    home = out / "cutouts"
    home.mkdir(parents=True, exist_ok=True)
    rows, truth = [], []
    for number in range(n + max(n // 100, 1)):
        one = galaxy(seed, number)
        rows.append(_row(one, votes(one, seed)))
        if number >= n:
            continue
        _save(home / f"{name(one).replace('-', 'NEG')}.fits", render(one, seed), one)
        truth.append(_truth(one))
    _catalogue(out / "catalogue.fits", rows)
    with (out / "truth.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(truth[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(truth)
    shown = {"side": SIDE, "scale": SCALE, "minimum": MINIMUM, "stretch": STRETCH, "q": Q}
    rates = {"west": WEST_WITH_MERGER, "other": WEST_WITHOUT}
    (out / "README.md").write_text(README.format(n=n, seed=seed, **shown, **rates))
    (out / "world.json").write_text(json.dumps({"world": "galaxies", "n": n, "seed": seed}) + "\n")
    for path in out.rglob("*"):
        if path.is_file():
            os.utime(path, (EPOCH, EPOCH))


def name(one: Galaxy) -> str:
    """A galaxy's id in the catalogue."""
    return f"{TILE + one.number}_{round(one.ra * 1e7)}_{round(one.dec * 1e7)}"


def _save(path: Path, bands: Bands, one: Galaxy) -> None:
    """A FITS file with a band in each extension, whole numbers with a scale, as archives keep them."""
    units = [fits.PrimaryHDU()]
    units[0].header["OBJECT"] = name(one)
    for band, pixels in zip(BANDS, bands, strict=True):
        step = float(np.abs(pixels).max()) / 32_000
        unit = fits.ImageHDU(np.round(pixels / step).astype(">i2"), name=band)
        header = unit.header
        header["BSCALE"], header["BZERO"], header["BUNIT"] = step, 0.0, "nanomaggy"
        header["FILTER"] = band
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
        header["CRPIX1"] = header["CRPIX2"] = SIDE / 2 + 0.5
        header["CRVAL1"], header["CRVAL2"] = one.ra, one.dec
        header["CDELT1"], header["CDELT2"] = -SCALE / 3600, SCALE / 3600
        units.append(unit)
    fits.HDUList(units).writeto(path)


def _row(one: Galaxy, count: dict[str, int]) -> dict[str, Any]:
    totals = {f"{q.name}_total-votes": sum(count[column] for column in q.columns) for q in TREE}
    return {
        "id_str": name(one),
        "right_ascension": one.ra,
        "declination": one.dec,
        "redshift": one.redshift,
        "mag_r": one.magnitude,
        "radius_arcsec": one.radius * SCALE,
        "detector": DETECTORS[one.west],
        **count,
        **totals,
    }


def _catalogue(path: Path, rows: list[dict[str, Any]]) -> None:
    """A FITS binary table."""
    table = Table({column: [row[column] for row in rows] for column in rows[0]})
    for column in table.colnames:
        if table[column].dtype.kind == "i":
            table[column] = table[column].astype(np.int16)
    fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(table)]).writeto(path)


def _truth(one: Galaxy) -> dict[str, Any]:
    return {
        "id": name(one),
        "kind": one.kind,
        "redshift": f"{one.redshift:.5f}",
        "radius": f"{one.radius:.4f}",
        "magnitude": f"{one.magnitude:.4f}",
        "ratio": f"{one.ratio:.4f}",
        "bulge": f"{one.bulge:.4f}",
        "edge_on": int(one.edge_on),
        "arms": one.arms,
        "clockwise": int(one.clockwise),
        "bar": f"{one.bar:.4f}",
        "merger": int(one.companion is not None),
        "detector": DETECTORS[one.west],
    }
