"""The components that core offers from this room. No torch here: `build` imports what is heavy."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from omnisae.errors import ConfigError, DatasetError
from omnisae.plugins.component import Component
from omnisae.plugins.kinds import DatasetByType, DatasetConfig, ExtractorConfig

if TYPE_CHECKING:
    from omnisae.extract.dataset import Dataset
    from omnisae.extract.table import TableExtractor
    from omnisae.extract.table_dataset import TableDataset


class TableDatasetConfig(DatasetConfig):
    """Vectors in a file, one row an example: .npy, or .parquet with columns of numbers or one of lists."""

    type: Literal["core.table"] = "core.table"
    path: Path = Field(description="the .npy or .parquet file")
    id: str | None = Field(default=None, description="parquet column that names the examples; none: the row number")
    ids: Path | None = Field(default=None, description="text file with one id a line, for .npy; none: the row number")
    vectors: str | tuple[str, ...] | None = Field(
        default=None, description="parquet columns that make up the vector; none: those of lists, or all numeric ones"
    )
    labels: tuple[str, ...] = Field(default=(), description="parquet columns that are labels")
    labels_file: Path | None = Field(default=None, description="CSV whose further columns are labels")
    labels_id: str = Field(default="id", description="column of that CSV which names the examples")

    def build(self) -> "TableDataset":
        from omnisae.extract.table_dataset import read_table

        return read_table(
            self.path,
            id_column=self.id,
            ids=self.ids,
            vectors=self.vectors,
            labels=self.labels,
            labels_file=self.labels_file,
            labels_id=self.labels_id,
        )


class JoinedConfig(DatasetConfig):
    """Several datasets as one, such as two corpora to compare: a column tells which one each example is from."""

    type: Literal["core.joined"] = "core.joined"
    parts: dict[str, DatasetByType] = Field(
        min_length=2, description="the datasets by name; an example's id begins with it: natural/cat-17"
    )
    column: str = Field(default="corpus", min_length=1, description="the column that holds these names")

    @field_validator("parts")
    @classmethod
    def _named(cls, parts: dict[str, DatasetConfig]) -> dict[str, DatasetConfig]:
        for name in parts:
            if not name or "/" in name:
                raise ValueError(
                    f"a part is called {name!r}; a name is not empty and has no '/', which follows it in ids"
                )
        return parts

    def build(self) -> "Dataset":
        from omnisae.extract.joined import Joined

        return Joined(self.column, {name: part.build() for name, part in self.parts.items()})


class VectorsConfig(ExtractorConfig):
    """The vectors of the examples as they are, with no model: hook `at: vectors`, or one of `tables`."""

    type: Literal["core.vectors"] = "core.vectors"
    tables: dict[str, Path] = Field(
        default={}, description="further .npy tables by name, row by row of the dataset; hook them by that name"
    )

    def build(self, dataset: "Dataset") -> "TableExtractor":
        import hashlib

        from omnisae.extract.table import TableExtractor
        from omnisae.extract.table_dataset import TableDataset, matrix_of

        own = {"vectors": dataset.matrix} if isinstance(dataset, TableDataset) else {}
        if not own and not self.tables:
            raise ConfigError(
                f"core.vectors finds no vectors: the dataset is a {type(dataset).__name__}",
                "name .npy files under `extractor.tables`, or use the dataset core.table",
            )
        found = {name: matrix_of(path) for name, path in self.tables.items()}
        for name, matrix in found.items():
            if len(matrix) != len(dataset):
                raise DatasetError(
                    f"table {name!r} ({self.tables[name]}) has {len(matrix)} rows for {len(dataset)} examples",
                    "give one row an example, in the dataset's order",
                )
        digest = hashlib.sha256(dataset.fingerprint().encode())
        for name, path in sorted(self.tables.items()):
            digest.update(f"{name} {path.name} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
        return TableExtractor({**own, **found}, digest.hexdigest())


COMPONENTS: tuple[type[Component], ...] = (TableDatasetConfig, JoinedConfig, VectorsConfig)
