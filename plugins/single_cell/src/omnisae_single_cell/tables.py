"""Vectors that an h5ad file holds already: `X`, a layer, or an `obsm` table such as another model's embedding."""

from typing import TYPE_CHECKING

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
        super().__init__({name: cells.table(name) for name in cells.tables()}, cells.fingerprint())
        self._batch = config.batch_size

    def batch_size(self) -> int:
        return self._batch


def cells_of(dataset: Dataset, reader: str) -> H5adDataset:
    """The dataset, which must be of this plug-in. Raises ConfigError otherwise."""
    if not isinstance(dataset, H5adDataset):
        raise ConfigError(
            f"extractor.type {reader!r} reads cells, and the dataset is a {type(dataset).__name__}",
            "set dataset.type to single_cell.h5ad",
        )
    return dataset
