"""Finding cut-outs, and what they are called: their path below the folder, without its ending."""

import os
from pathlib import Path

from omnisae.errors import DatasetError

FITS = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.fz")
PICTURES = (".jpg", ".jpeg", ".png")
ENDINGS = (*FITS, *PICTURES)


def find(home: Path, beside: tuple[Path, ...] = ()) -> list[str]:
    """The paths below `home`, with `/`, of all cut-outs, sorted; files in `beside` (catalogues) are none.

    Raises DatasetError where there is no folder, no cut-out, or two cut-outs of one id.
    """
    if not home.is_dir():
        raise DatasetError(
            f"there is no folder {home}", "name the folder of cut-outs in dataset.root or dataset.images"
        )
    found: dict[str, str] = {}
    for folder, inner, files in os.walk(home, followlinks=True):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in files:
            path = Path(folder) / name
            if name.startswith(".") or ending(name) is None or path in beside:
                continue
            relative = path.relative_to(home).as_posix()
            other = found.setdefault(identity(relative), relative)
            if other != relative:
                raise DatasetError(
                    f"{home / other} and {home / relative} are both called {identity(relative)!r}",
                    "keep one file a galaxy (several bands lie in one FITS file), or name one folder in dataset.images",
                )
    if not found:
        raise DatasetError(f"{home} holds no cut-out", f"files end in {', '.join(ENDINGS)} (upper or lower case)")
    return [found[name] for name in sorted(found)]


def identity(relative: str) -> str:
    """A cut-out's id."""
    return relative[: -len(ending(relative) or "")]


def ending(name: str) -> str | None:
    """The ending of a file of a kind that is read, the longest that fits; None for others."""
    return next((e for e in sorted(ENDINGS, key=len, reverse=True) if name.lower().endswith(e)), None)


def is_fits(name: str) -> bool:
    """Whether a file holds fluxes rather than a picture."""
    return (ending(name) or "") in FITS
