"""Finding pictures: ImageFolder's rules, with ids that tables and masks can name."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omnisae.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Found:
    """A picture: its path below the folder (with `/`), its class (None where folders are not classes)."""

    relative: str
    label: str | None

    @property
    def stem(self) -> str:
        return self.relative.rpartition(".")[0]


def find(root: Path, *, classes: bool, beside: tuple[Path, ...] = ()) -> list[Found]:
    """All pictures below `root`, in the order of their paths. Folders in `beside` (masks) hold none.

    With classes, as torchvision's ImageFolder: each folder directly below `root` is a class, pictures at any depth
    below belong to it, and a class without pictures is an error. Without class folders all pictures are taken, without
    class.
    Raises DatasetError.
    """
    if not root.is_dir():
        raise DatasetError(f"there is no folder {root}", "name the folder of pictures in dataset.root")
    folders = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".") and p not in beside)
    if not classes or not folders:
        found = [Found(relative, None) for relative in _walk(root, "", beside)]
        return found or _none(root)
    found, empty = [], []
    for name in folders:
        inside = [Found(relative, name) for relative in _walk(root, name, beside)]
        found += inside
        if not inside:
            empty.append(name)
    if not found:
        return _none(root)
    if empty:
        raise DatasetError(
            f"{len(empty)} of {len(folders)} class folders in {root} hold no picture: {_some(empty)}",
            "remove or fill them, or set dataset.classes: false if folders are not classes",
        )
    return found


def ids(found: list[Found]) -> list[str]:
    """The path without its ending; with it where two pictures differ by nothing else."""
    stems = Counter(f.stem for f in found)
    return [f.stem if stems[f.stem] == 1 else f.relative for f in found]


def endings() -> tuple[str, ...]:
    """The endings that torchvision's ImageFolder reads, in lower case."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    return tuple(IMG_EXTENSIONS)


def _walk(root: Path, below: str, beside: tuple[Path, ...]) -> Iterator[str]:
    known = endings()
    for folder, inner, files in os.walk(root / below, followlinks=True):
        here = Path(folder)
        inner[:] = sorted(name for name in inner if not name.startswith(".") and here / name not in beside)
        for name in sorted(files):
            if name.lower().endswith(known) and not name.startswith("."):
                yield (here / name).relative_to(root).as_posix()


def _none(root: Path) -> list[Found]:
    raise DatasetError(f"{root} holds no picture", f"pictures end in {', '.join(endings())} (upper or lower case)")


def _some(names: list[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (f" … ({len(names)} in all)" if len(names) > 5 else "")
