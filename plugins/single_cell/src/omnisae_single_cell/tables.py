"""Vectors that a file of cells holds already: `X`, a layer, its logarithm, or an `obsm` table such as an embedding."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from omnisae.errors import ConfigError
from omnisae.extract.dataset import Dataset
from omnisae.extract.table import TableExtractor
from omnisae_single_cell.h5ad import H5adDataset

if TYPE_CHECKING:
    from omnisae_single_cell.plugin import TableConfig


class CellTables(TableExtractor):
    """One token a cell. A token is a row of the table that the hook point names."""

    def __init__(self, config: "TableConfig", dataset: Dataset) -> None:
        cells = cells_of(dataset, config.type)
        super().__init__({}, cells.fingerprint())
        self.tables = _Tables(cells)  # type: ignore[assignment]
        self._batch = config.batch_size

    def batch_size(self) -> int:
        return self._batch


class _Tables(Mapping[str, Any]):
    """A dataset's tables by name, each made when it is asked for: a logarithm is of counts alone, and takes memory."""

    def __init__(self, cells: H5adDataset) -> None:
        self._cells, self._names = cells, cells.tables()

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._cells.table(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def cells_of(dataset: Dataset, reader: str) -> H5adDataset:
    """The dataset, which must be of this plug-in. Raises ConfigError otherwise."""
    if not isinstance(dataset, H5adDataset):
        raise ConfigError(
            f"extractor.type {reader!r} reads cells, and the dataset is a {type(dataset).__name__}",
            "set dataset.type to single_cell.h5ad",
        )
    return dataset
