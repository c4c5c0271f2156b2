"""Reading a catalogue: CSV, FITS table or parquet, the columns that are named and no others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from omnisae.errors import DatasetError, UnreadableExample, did_you_mean
from omnisae_galaxies import fits_image
from omnisae_vision import tables

UNKNOWN = frozenset({"", "--", "na", "nan", "n/a", "null", "none"})


@dataclass(frozen=True)
class Catalogue:
    """Columns by name, all of one length: numbers (fp64, NaN where unknown) or words ("" where unknown)."""

    path: Path
    columns: Mapping[str, np.ndarray]
    known: Sequence[str]
    """The names of all columns of the file, whether read or not."""
    rows: int

    def __len__(self) -> int:
        return self.rows

    def __contains__(self, name: str) -> bool:
        return name in self.known

    def numbers(self, name: str) -> Float[np.ndarray, " row"]:
        """A column of numbers. Raises DatasetError, with the row, where it holds words."""
        found = self._column(name)
        if found.dtype.kind == "f":
            return found
        out = np.empty(len(found))
        for row, text in enumerate(found):
            try:
                out[row] = np.nan if text.lower() in UNKNOWN else float(text)
            except ValueError:
                raise DatasetError(
                    f"{self.path}, row {row + 1}: {name} is {str(text)!r}; a number is needed, or nothing",
                    "mend the row, or name the column under dataset.classes",
                ) from None
        return out

    def words(self, name: str) -> list[str]:
        """A column of words, "" where unknown. Whole numbers are written without a point."""
        found = self._column(name)
        if found.dtype.kind != "f":
            return ["" if text.lower() in UNKNOWN else str(text) for text in found]
        return ["" if np.isnan(value) else f"{value:.0f}" if value == round(value) else f"{value:g}" for value in found]

    def ids(self, name: str) -> list[str]:
        """A column of ids. Raises DatasetError where one is missing, or they were kept as floating-point numbers."""
        found = self._column(name)
        if found.dtype.kind == "f":
            raise DatasetError(
                f"{self.path}: the ids in {name!r} are floating-point numbers, which do not hold long ids exactly",
                "save them as text or as whole numbers",
            )
        for row, text in enumerate(found):
            if not text:
                raise DatasetError(f"{self.path}, row {row + 1}: there is no {name}", "every row needs an id")
        return [str(text) for text in found]

    def _column(self, name: str) -> np.ndarray:
        if name not in self.columns:
            raise DatasetError(f"{self.path} has no column {name!r}", did_you_mean(name, self.known))
        return self.columns[name]


def read(path: Path, wanted: Sequence[str], id: str) -> Catalogue:
    """A catalogue's columns out of `wanted`, as far as it has them. Ids keep every digit.

    Raises DatasetError where the file is missing, truncated or empty, or of another kind.
    """
    if not path.is_file():
        near = did_you_mean(path.name, (p.name for p in path.parent.iterdir())) if path.parent.is_dir() else ""
        raise DatasetError(f"dataset.catalogue: there is no file {path}", near)
    name = path.name.lower()
    if name.endswith((".parquet", ".pq")):
        known, raw = _parquet(path, wanted)
    elif name.endswith((".fits", ".fit", ".fits.gz", ".fits.fz")):
        known, raw = _fits(path, wanted)
    elif name.endswith((".csv", ".tsv")):
        table = tables.read(path)
        known, raw = list(table.columns), {name: table.columns[name] for name in wanted if name in table.columns}
    else:
        raise DatasetError(f"{path} is no catalogue that is read", "give a .csv, .tsv, .fits or .parquet file")
    columns = {column: _plain(np.asarray(values), column == id) for column, values in raw.items()}
    rows = len(next(iter(columns.values()), ()))
    if not rows:
        raise DatasetError(
            f"{path} has no rows, or none of the columns {', '.join(map(repr, wanted))}", did_you_mean(id, known)
        )
    return Catalogue(path, columns, known, rows)


def _plain(values: np.ndarray, is_id: bool) -> np.ndarray:
    """Numbers in fp64, everything else as text; ids as text, unless they are floating-point numbers."""
    if values.dtype.kind == "f" or (values.dtype.kind in "iub" and not is_id):
        return values.astype(np.float64)
    return np.array(["" if v is None else (v.decode() if isinstance(v, bytes) else str(v)).strip() for v in values])


def _parquet(path: Path, wanted: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        known = list(pq.read_schema(path).names)
        table = pq.read_table(path, columns=[name for name in dict.fromkeys(wanted) if name in known])
    except (OSError, pa.ArrowInvalid) as error:
        raise DatasetError(f"{path} cannot be read as parquet: {error}", "save it anew") from error
    return known, {name: _arrow(table[name]) for name in table.column_names}


def _arrow(column: Any) -> np.ndarray:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_floating(kind) or (column.null_count and (pa.types.is_integer(kind) or pa.types.is_boolean(kind))):
        return np.array([np.nan if v is None else float(v) for v in column.to_pylist()])
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return np.asarray(column.to_numpy())
    return np.array(column.to_pylist(), dtype=object)


def _fits(path: Path, wanted: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    from astropy.table import Table

    try:
        with fits_image.opened(path) as units:
            unit = next((one for one in units if not one.is_image), None)
            table = None if unit is None else Table.read(unit)
    except UnreadableExample as error:
        raise DatasetError(error.problem, "mend the catalogue, or fetch it again") from error
    if table is None:
        raise DatasetError(
            f"{path} holds no table (or is truncated before it)", "name the catalogue's file in dataset.catalogue"
        )
    found = {}
    for name in dict.fromkeys(wanted):
        if name in table.colnames:
            column = table[name]
            if column.ndim > 1:
                raise DatasetError(
                    f"{path}: {name!r} holds {' × '.join(map(str, column.shape[1:]))} values a row; one is needed",
                    "name a column of single values",
                )
            holes = np.asarray(getattr(column, "mask", False)) & np.ones(len(table), dtype=bool)
            values = np.asarray(getattr(column, "data", column))
            if holes.any():
                values = np.ma.getdata(values)
                values = (
                    np.where(holes, np.nan, values.astype(float))
                    if values.dtype.kind in "iubf"
                    else np.where(holes, b"" if values.dtype.kind == "S" else "", values)
                )
            found[name] = values
    return list(table.colnames), found
