"""Datasets of vectors that lie in a file: a row an example."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from omnisae.errors import DatasetError, did_you_mean
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.labels import Columns, read_labels

if TYPE_CHECKING:
    from omnisae.concepts.annotations import Annotations


class TableDataset(Dataset):
    """Vectors, ids and label columns. `matrix` has the shape (example, width)."""

    def __init__(self, ids: Sequence[str], matrix: Any, columns: Columns, fingerprint: str) -> None:
        seen: dict[str, int] = {}
        for row, name in enumerate(ids):
            if seen.setdefault(name, row) != row:
                raise DatasetError(
                    f"the id {name!r} names rows {seen[name]} and {row}", "give every example its own id"
                )
        self._ids, self.matrix, self.columns, self._fingerprint = list(ids), matrix, columns, fingerprint
        self._concepts, notes = columns.concepts()
        self._notes = [*columns.notes, *notes]

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def load(self, row: int) -> Example:
        return Example(row, self._ids[row], self.matrix[row])

    def fingerprint(self) -> str:
        return self._fingerprint

    def annotations(self) -> "Annotations":
        from omnisae.concepts.annotations import Annotations

        return Annotations(self._ids, self._concepts)

    def groups(self, column: str) -> Sequence[str]:
        if column not in self.columns.values:
            return super().groups(column)
        # An example of unknown group is a group of its own.
        return [f"?{i}" if value is None else value for i, value in enumerate(self.columns.values[column])]

    def group_columns(self) -> Sequence[str]:
        return list(self.columns.values)

    def labels(self) -> Mapping[str, Sequence[str]]:
        return {
            name: ["" if value is None else value for value in column] for name, column in self.columns.values.items()
        }

    def notes(self) -> Sequence[str]:
        return self._notes


def read_table(
    path: Path,
    *,
    id_column: str | None = None,
    ids: Path | None = None,
    vectors: str | Sequence[str] | None = None,
    labels: Sequence[str] = (),
    labels_file: Path | None = None,
    labels_id: str = "id",
) -> TableDataset:
    """A dataset from a .npy matrix or a .parquet table, with labels from its own columns and from a CSV.

    Raises DatasetError where a file cannot be read, is of another form, or its ids or labels do not fit.
    """
    if not path.exists():
        raise DatasetError(f"{path} does not exist", "check the path; it is relative to where the command runs")
    if path.suffix == ".npy":
        matrix, names, columns = _read_npy(path, ids)
    elif path.suffix in (".parquet", ".pq"):
        matrix, names, columns = _read_parquet(path, id_column, vectors, labels)
    else:
        raise DatasetError(f"{path} is neither .npy nor .parquet", "save the vectors as one of these")
    if labels_file is not None:
        columns = columns.joined(read_labels(labels_file, names, labels_id))
    files = [file for file in (path, ids, labels_file) if file is not None]
    settings = [id_column, vectors, list(labels), labels_id]
    return TableDataset(names, matrix, columns, _fingerprint(files, settings))


def matrix_of(path: Path) -> Any:
    """The matrix of a .npy file, memory-mapped. Raises DatasetError where it is none of numbers with two dimensions."""
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read as .npy: {error}", "save it anew with numpy.save") from None
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiub":
        raise DatasetError(
            f"{path} holds {matrix.dtype} of shape {list(matrix.shape)}; wanted are numbers of shape (example, width)",
            "save a matrix with one row an example",
        )
    return matrix


def _read_npy(path: Path, ids: Path | None) -> tuple[Any, list[str], Columns]:
    matrix = matrix_of(path)
    if ids is None:
        return matrix, [str(row) for row in range(len(matrix))], Columns()
    if not ids.exists():
        raise DatasetError(f"{ids} does not exist", "it is a text file with one id a line")
    names = ids.read_text(encoding="utf-8").split("\n")
    names = names[:-1] if names and not names[-1] else names
    if len(names) != len(matrix):
        raise DatasetError(
            f"{ids} has {len(names)} ids and {path} {len(matrix)} rows", "give one id a row, in their order"
        )
    return matrix, [name.strip() for name in names], Columns()


def _read_parquet(
    path: Path, id_column: str | None, vectors: str | Sequence[str] | None, labels: Sequence[str]
) -> tuple[Any, list[str], Columns]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DatasetError(f"{path} cannot be read as parquet: {error}", "save it anew") from None
    wanted = [vectors] if isinstance(vectors, str) else list(vectors or ())
    for column in (*([id_column] if id_column else []), *labels, *wanted):
        if column not in table.column_names:
            raise DatasetError(f"{path} has no column {column!r}", did_you_mean(column, table.column_names))
    names = [str(row) for row in range(len(table))]
    if id_column:
        names = [str(value) for value in table[id_column].to_pylist()]
    if not wanted:
        taken = {id_column, *labels}
        wanted = [name for name in table.column_names if name not in taken and _is_vector(table[name].type)]
        wanted = wanted or [name for name in table.column_names if name not in taken and _is_number(table[name].type)]
    if not wanted:
        raise DatasetError(f"{path} has no numeric column beside id and labels", "name the columns under `vectors`")
    matrix = np.concatenate([_block(path, name, table[name]) for name in wanted], axis=1)
    columns = {
        name: [None if value is None else str(value) for value in _plain(table[name].to_pylist())] for name in labels
    }
    return matrix, names, Columns(columns)


def _block(path: Path, name: str, column: Any) -> "np.ndarray[Any, Any]":
    """One column of numbers, or of vectors of equal length, as a matrix."""
    if _is_number(column.type):
        return np.asarray(column.to_numpy(), dtype=np.float32).reshape(-1, 1)
    rows = column.to_pylist()
    widths = {None if row is None else len(row) for row in rows}
    if not _is_vector(column.type) or len(widths) != 1 or None in widths:
        raise DatasetError(
            f"{path}: column {name!r} holds no vectors of one length (lengths {', '.join(sorted(map(str, widths)))})",
            "name columns of numbers, or one of lists of equal length",
        )
    return np.array(rows, dtype=np.float32)


def _is_vector(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _plain(values: list[Any]) -> list[Any]:
    """Booleans as 0 and 1, so that a column of them is one concept."""
    return [int(value) if isinstance(value, bool) else value for value in values]


def _fingerprint(files: Sequence[Path], settings: Any) -> str:
    facts = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    return hashlib.sha256(json.dumps([facts, settings]).encode()).hexdigest()
