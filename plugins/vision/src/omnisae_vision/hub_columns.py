"""Columns of a Hugging Face dataset, also those within others (`objects.bbox`)."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from omnisae.errors import DatasetError, did_you_mean
from omnisae_vision import tables


class Column:
    """One column by its path. `field` is the config's, for errors. Raises DatasetError where there is none."""

    def __init__(self, data: Any, path: str, field: str) -> None:
        self._top, *self._within = path.split(".")
        feature = data.features.get(self._top)
        known: Sequence[str] = data.column_names
        for key in self._within:
            inner = _inside(feature)
            known = [f"{self._top}.{name}" for name in inner]
            feature = inner.get(key)
        if feature is None:
            raise DatasetError(f"dataset.{field}: the dataset has no column {path!r}", did_you_mean(path, known))
        self.path = path
        self.names: tuple[str, ...] = tuple(getattr(_element(feature), "names", None) or ())
        """What numbers stand for, where the dataset says so."""
        self._data = data.select_columns([self._top])

    @cached_property
    def values(self) -> list[Any]:
        """The whole column."""
        return [self._pick(one) for one in self._data[self._top]]

    @property
    def words(self) -> list[str]:
        """The whole column as a table would write it, numbers of classes by name, empty for unknown. Raises
        DatasetError where a value is not single."""
        return [self._word(row, one) for row, one in enumerate(self.values)]

    def __getitem__(self, row: int) -> Any:
        return self._pick(self._data[row][self._top])

    def _pick(self, held: Any) -> Any:
        for key in self._within:
            if isinstance(held, list):
                held = [one[key] for one in held]
            elif held is not None:
                held = held[key]
        return held

    def _word(self, row: int, value: Any) -> str:
        if self.names and isinstance(value, int):
            return self.names[value] if 0 <= value < len(self.names) else ""
        written = tables.text(value)
        if written is None:
            raise DatasetError(
                f"column {self.path!r}, row {row}: {type(value).__name__} is no single value",
                "name a column of numbers or words",
            )
        return written


def images(data: Any, column: str, field: str) -> "Stored":
    """A column of pictures as the bytes that are stored. Raises DatasetError where it holds none."""
    import datasets

    if column not in data.column_names:
        with_pictures = [name for name, one in data.features.items() if isinstance(one, datasets.Image)]
        raise DatasetError(
            f"dataset.{field}: the dataset has no column {column!r}",
            did_you_mean(column, with_pictures or data.column_names),
        )
    try:
        return Stored(data.select_columns([column]).cast_column(column, datasets.Image(decode=False)), column)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise DatasetError(
            f"dataset.{field}: column {column!r} holds {data.features[column]}, no pictures", "name another column"
        ) from error


class Stored:
    """Stored pictures by row: {bytes, path}, or None."""

    def __init__(self, data: Any, column: str) -> None:
        self._data, self._column = data, column

    def __getitem__(self, row: int) -> Any:
        return self._data[row][self._column]


def _element(feature: Any) -> Any:
    """What the innermost list of a feature holds."""
    while (inner := getattr(feature, "feature", None)) is not None and not isinstance(inner, dict):
        feature = inner
    return feature


def _inside(feature: Any) -> Mapping[str, Any]:
    """The columns within a column of objects, or of lists of them."""
    held = getattr(feature, "feature", feature)
    return held if isinstance(held, Mapping) else {}
