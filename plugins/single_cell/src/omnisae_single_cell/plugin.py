"""The single-cell plug-in's configs. No torch, anndata or scvi here: `build` imports what is heavy."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from omnisae.plugins.hookspecs import hookimpl
from omnisae.plugins.kinds import DatasetConfig, ExtractorConfig, StudyConfig, VisualizerConfig

if TYPE_CHECKING:
    from omnisae.extract.dataset import Dataset
    from omnisae.extract.extractor import Extractor
    from omnisae.report.visualizer import Visualizer
    from omnisae.studies.study import Study


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


class GeneModelConfig(ExtractorConfig):
    """A masked language model over genes, such as Geneformer: a token is a gene in a cell, with the axis `gene`."""

    type: Literal["single_cell.gene_model"] = "single_cell.gene_model"
    model: str = Field(
        description="a folder saved by transformers, or for random weights geneformer-v1-10m, geneformer-v2-104m or "
        "geneformer-v2-316m"
    )
    settings: dict[str, Any] = Field({}, description="of a model with random weights: other values of its BertConfig")
    vocabulary: str = Field(
        description="JSON file {gene: number, <pad>: 0, <mask>: 1, …}, or dataset: a number for every measured gene, "
        "which only makes sense with random weights"
    )
    medians: str | None = Field(
        None, description="JSON file {gene: median of its expression above zero}; none: 1 for every gene"
    )
    gene_ids: str | None = Field(None, description="var column of the vocabulary's names; none: the index")
    least_match: float = Field(0.5, gt=0, le=1, description="share of the measured genes that the model must know")
    counts: str = Field("X", description="where raw counts are: X, raw, or layers/<name>")
    encoding: Literal["rank", "bins"] = Field(
        "rank",
        description="rank: genes in the order of scaled expression (Geneformer); bins: genes with a bin of expression "
        "each as token type, in no order (as scGPT)",
    )
    bins: int = Field(51, ge=3, description="for bins: how many, 0 among them")
    special: bool = Field(True, description="put <cls> before and <eos> behind, where the vocabulary has them")
    length: int | None = Field(None, gt=2, description="longest sequence; none: what the model can hold")
    mask: float = Field(0.15, gt=0, lt=1, description="share of a cell's genes that the loss asks for")
    seed: int = Field(0, description="seed of random weights and of the genes that the loss asks for")
    batch_size: int = Field(8, gt=0, description="cells that go through the model at once")
    device: str = Field("auto", description="auto, cpu, cuda, mps")

    def build(self, dataset: "Dataset") -> "Extractor":
        from omnisae_single_cell.gene_model import GeneModel

        return GeneModel(self, dataset)


class DifferentialExpressionConfig(StudyConfig):
    """The genes that a latent's strongest cells express more than all others."""

    type: Literal["single_cell.differential_expression"] = "single_cell.differential_expression"
    genes: int = Field(10, gt=0, description="genes chosen of each latent")
    latents: int = Field(1000, gt=0, description="latents looked at, those with the most cells of their own first")
    shown: int = Field(40, gt=0, description="rows of the table")

    def build(self) -> "Study":
        from omnisae_single_cell.differential_expression import DifferentialExpression

        return DifferentialExpression(self.genes, self.latents, self.shown)


class EnrichmentConfig(StudyConfig):
    """Gene-set enrichment of a latent's gene ranking, from a local GMT file, against random genes and other cells."""

    type: Literal["single_cell.enrichment"] = "single_cell.enrichment"
    sets: str = Field(description="a GMT file, or world:cells; the universe is the measured genes")
    least: int = Field(5, ge=2, description="measured genes that a set must have")
    most: int = Field(500, ge=2, description="measured genes that a set may have")
    draws: int = Field(999, ge=19, description="random sets, and shuffles of cells, behind each p")
    latents: int = Field(1000, gt=0, description="latents looked at, those with the most cells of their own first")
    shown: int = Field(40, gt=0, description="rows of the table")

    def build(self) -> "Study":
        from omnisae_single_cell.enrichment import Enrichment

        return Enrichment(self.sets, self.least, self.most, self.draws, self.latents, self.shown)

    def reads(self) -> Sequence[Path]:
        return () if self.sets.startswith("world:") else (Path(self.sets).expanduser(),)


class BatchConfig(StudyConfig):
    """Whether latents follow the batch within cell types."""

    type: Literal["single_cell.batch"] = "single_cell.batch"
    column: str = Field("batch", description="obs column that tells the batches apart; it must be among `concepts`")
    within: str | None = Field("cell_type", description="obs column of types that are held fixed; none: all cells")
    permutations: int = Field(199, ge=19, description="permutations of the batches behind each p")
    least: float = Field(0.2, ge=0, le=1, description="association from which a latent may be said to follow")
    q: float = Field(0.05, gt=0, lt=1, description="share of false discoveries that is allowed")
    shown: int = Field(20, gt=0, description="rows of the table")

    def build(self) -> "Study":
        from omnisae_single_cell.batch import Batch

        return Batch(self.column, self.within, self.permutations, self.least, self.q, self.shown)


class SpecificityConfig(StudyConfig):
    """Whether switching a latent off moves the logits of its own genes more than those of others."""

    type: Literal["single_cell.specificity"] = "single_cell.specificity"
    genes: int = Field(10, gt=0, description="a latent's own genes: those with the largest mean value on select")
    latents: int = Field(24, gt=0, description="latents switched off, the most frequent first")
    cells: int = Field(16, gt=0, description="test cells in which each is switched off, the strongest first")
    draws: int = Field(499, ge=19, description="random sets of genes behind each p")
    shown: int = Field(40, gt=0, description="rows of the table")

    def build(self) -> "Study":
        from omnisae_single_cell.specificity import Specificity

        return Specificity(self.genes, self.latents, self.cells, self.draws, self.shown)


class TopGenesConfig(VisualizerConfig):
    """The genes whose expression sets a latent's cells apart."""

    type: Literal["single_cell.top_genes"] = "single_cell.top_genes"
    genes: int = Field(15, gt=0, description="genes listed")

    def build(self) -> "Visualizer":
        from omnisae_single_cell.top_genes import TopGenes

        return TopGenes(self.genes)


class DotPlotConfig(VisualizerConfig):
    """The genes of a latent by type of cell: how many cells express them, and how much."""

    type: Literal["single_cell.dot_plot"] = "single_cell.dot_plot"
    column: str | None = Field(None, description="obs column of types, one of `concepts`; none: the first")
    genes: int = Field(10, gt=0, le=40, description="genes shown")
    types: int = Field(12, gt=0, le=60, description="types shown, those with the most test cells")

    def build(self) -> "Visualizer":
        from omnisae_single_cell.dot_plot import DotPlot

        return DotPlot(self.column, self.genes, self.types)


@hookimpl
def omnisae_extractors() -> list[type[ExtractorConfig]]:
    return [TableConfig, ScviConfig, GeneModelConfig]


@hookimpl
def omnisae_datasets() -> list[type[DatasetConfig]]:
    return [H5adConfig]


@hookimpl
def omnisae_studies() -> list[type[StudyConfig]]:
    return [DifferentialExpressionConfig, EnrichmentConfig, BatchConfig, SpecificityConfig]


@hookimpl
def omnisae_visualizers() -> list[type[VisualizerConfig]]:
    return [TopGenesConfig, DotPlotConfig]
