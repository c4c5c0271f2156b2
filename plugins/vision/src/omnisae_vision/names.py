"""Joining the ids of tables and masks to the pictures' ids."""

import warnings
from collections import Counter
from collections.abc import Sequence

from omnisae.errors import DatasetError


class Names:
    """The row of each id. An id is a picture's path without its ending; with the ending it means the same picture, and
    so does the file's name alone, with or without ending, where no two pictures share it."""

    def __init__(self, ids: Sequence[str], paths: Sequence[str]) -> None:
        self.ids = ids
        self._rows: dict[str, int] = {}
        bare = [path.rpartition("/")[2] for path in paths]
        for spelling in (bare, [name.rpartition(".")[0] for name in bare]):
            often = Counter(spelling)
            self._rows |= {name: row for row, name in enumerate(spelling) if often[name] == 1}
        self._rows |= {path: row for row, path in enumerate(paths)}
        self._rows |= {name: row for row, name in enumerate(ids)}

    def row(self, name: str) -> int | None:
        """The row of the picture that a table or a mask names so; None where there is none."""
        return self._rows.get(name)

    def join(self, names: Sequence[str], what: str) -> list[int | None]:
        """The row of every name. Raises DatasetError where none joins; warns, with counts, where some do not."""
        rows = [self.row(name) for name in names]
        lost = [name for name, row in zip(names, rows, strict=True) if row is None]
        if lost and len(lost) == len(names):
            raise DatasetError(
                f"none of the {len(names)} ids in {what} names one of the {len(self.ids)} pictures: "
                f"{_some(lost)} there, {_some(self.ids)} here",
                "an id is the picture's path below the folder without its ending",
            )
        if lost:
            warnings.warn(f"{what}: {len(lost)} of {len(names)} ids name no picture: {_some(lost)}", stacklevel=3)
        return rows


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:3]) + (" …" if len(names) > 3 else "")
