"""The single-cell plug-in's configs. No torch, anndata or scvi here: `build` imports what is heavy."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from omnisae.plugins.hookspecs import hookimpl
from omnisae.plugins.kinds import DatasetConfig, ExtractorConfig, VisualizerConfig

if TYPE_CHECKING:
    from omnisae.extract.dataset import Dataset
    from omnisae.extract.extractor import Extractor
    from omnisae.report.visualizer import Visualizer


class H5adConfig(DatasetConfig):
    """Cells of an h5ad file or a Zarr folder; columns of `obs` are the concepts."""

    type: Literal["single_cell.h5ad"] = "single_cell.h5ad"
    path: str = Field(
        description="an .h5ad file or .zarr folder, scanpy:pbmc68k_reduced (real cells that scanpy brings along), or "
        "world:cells"
    )
    concepts: tuple[str, ...] | None = Field(
        None,
        description="obs columns: each category is a concept, True and False one, a number a fraction; none: all "
        "categorical ones",
    )
    exclude: tuple[str, ...] = Field((), description="obs columns to leave out of `concepts`")
    group: str | None = Field(None, description="obs column (donor, batch) whose cells stay on one side of a split")
    var_names: str | None = Field(None, description="var column with the gene names; none: the index")
    genes: str = Field("X", description="where genes are measured: X, raw, layers/<name>, or log/ and one of these")
    embeddings: tuple[str, ...] = Field(("X_umap",), description="obsm tables that a report may draw, where present")
    backed: bool = Field(False, description="leave X, raw and layers on disk and read rows when asked for")

    def build(self) -> "Dataset":
        from omnisae_single_cell.h5ad import H5adDataset

        return H5adDataset(self)


class TableConfig(ExtractorConfig):
    """Vectors that the file holds already. Hook points: `X`, `raw`, `layers/<name>`, `obsm/<name>`, and `log/` before a
    table of counts for the logarithm of normalised counts."""

    type: Literal["single_cell.table"] = "single_cell.table"
    batch_size: int = Field(1024, gt=0, description="cells read at a time")

    def build(self, dataset: "Dataset") -> "Extractor":
        from omnisae_single_cell.tables import CellTables

        return CellTables(self, dataset)


class ScviConfig(ExtractorConfig):
    """The encoder of an scvi-tools model, loaded or trained on the dataset's counts. Hook points: its modules."""

    type: Literal["single_cell.scvi"] = "single_cell.scvi"
    model: Literal["SCVI", "LinearSCVI"] = Field("SCVI", description="the scvi-tools class")
    checkpoint: str | None = Field(
        None, description="folder that scvi-tools' save() wrote; none: train on this dataset"
    )
    counts: str = Field("X", description="where raw counts are: X, or layers/<name>")
    batch_key: str | None = Field(None, description="obs column of batches, when the model is trained here")
    n_latent: int = Field(10, gt=0, description="size of the model's own latent space, when it is trained here")
    n_hidden: int = Field(128, gt=0, description="width of its hidden layers, when it is trained here")
    n_layers: int = Field(1, gt=0, description="number of its hidden layers, when it is trained here")
    epochs: int = Field(50, gt=0, description="epochs, when it is trained here")
    seed: int = Field(0, description="seed of its training and of its sampling")
    batch_size: int = Field(256, gt=0, description="cells that go through the model at once")

    def build(self, dataset: "Dataset") -> "Extractor":
        from omnisae_single_cell.scvi_encoder import ScviExtractor

        return ScviExtractor(self, dataset)


class TopGenesConfig(VisualizerConfig):
    """The genes whose expression sets a latent's cells apart."""

    type: Literal["single_cell.top_genes"] = "single_cell.top_genes"
    genes: int = Field(15, gt=0, description="genes listed")

    def build(self) -> "Visualizer":
        from omnisae_single_cell.top_genes import TopGenes

        return TopGenes(self.genes)


@hookimpl
def omnisae_extractors() -> list[type[ExtractorConfig]]:
    return [TableConfig, ScviConfig]


@hookimpl
def omnisae_datasets() -> list[type[DatasetConfig]]:
    return [H5adConfig]


@hookimpl
def omnisae_visualizers() -> list[type[VisualizerConfig]]:
    return [TopGenesConfig]
