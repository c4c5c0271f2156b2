"""Finding the pictures of a collection, and what they are called: a hash of their path, never the path."""

import hashlib
import os
import sys
from pathlib import Path

from omnisae.errors import DatasetError
from omnisae_mammography.pixels import PICTURES

ENDINGS = (".dcm", ".dicom", ".ima", *PICTURES)
MAGIC_AT, MAGIC = 128, b"DICM"
SALT = "OMNISAE_SALT"
"""Environment variable that goes into every hash, for collections whose paths could be guessed."""


def find(home: Path) -> list[str]:
    """The paths below `home`, with `/`, of all DICOM files and pictures, sorted. Raises DatasetError where there is
    none."""
    if not home.is_dir():
        raise DatasetError(f"there is no folder {home}", "name the folder of pictures in dataset.root")
    found = []
    for folder, inner, files in os.walk(home, followlinks=True):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        here = Path(folder)
        found += [(here / name).relative_to(home).as_posix() for name in files if _is_picture(here / name)]
    if not found:
        raise DatasetError(
            f"{home} holds no mammogram", f"files end in {', '.join(ENDINGS)}, or have no ending and are DICOM"
        )
    return sorted(found)


def pseudonym(kind: str, word: str) -> str:
    """What a picture, a patient or an exam is called: 12 hex digits, which tell nothing without the path or word."""
    salt = os.environ.get(SALT, "")
    return hashlib.sha256(f"{salt}\n{kind}\n{word}".encode()).hexdigest()[:12]


def _is_picture(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    if path.suffix.lower() in ENDINGS:
        return True
    if path.suffix and not path.suffix[1:].isdigit():
        return False
    try:
        with path.open("rb") as file:
            file.seek(MAGIC_AT)
            return file.read(4) == MAGIC
    except OSError:
        return False


def main(arguments: list[str]) -> int:
    """`python -m omnisae_mammography ROOT NAME …`: the paths of pictures, on this machine's screen alone."""
    if len(arguments) < 2:
        print("usage: python -m omnisae_mammography ROOT NAME …", file=sys.stderr)
        return 2
    home = Path(arguments[0])
    names = {pseudonym("picture", path): path for path in find(home / "images" if (home / "images").is_dir() else home)}
    for name in arguments[1:]:
        print(names.get(name, f"there is no picture {name!r} (is {SALT} set as it was?)"))
    return 0
