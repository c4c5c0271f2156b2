"""What this plug-in offers. No torch here: `build` imports what is heavy."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from omnisae.plugins.hookspecs import hookimpl
from omnisae.plugins.kinds import DatasetConfig, ExtractorConfig, StudyConfig, VisualizerConfig

if TYPE_CHECKING:
    from omnisae.extract.dataset import Dataset
    from omnisae.extract.extractor import Extractor
    from omnisae.report.visualizer import Visualizer
    from omnisae.studies.study import Study


class Homology(BaseModel):
    """How homologous proteins are found, so that no split divides them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["auto", "mmseqs", "kmers"] = Field(
        "auto",
        description="mmseqs: easy-cluster of MMseqs2; kmers: proteins that share k-mers; auto: mmseqs if installed",
    )
    identity: float = Field(0.3, gt=0, le=1, description="of mmseqs: least identity of two proteins of one cluster")
    coverage: float = Field(0.8, gt=0, le=1, description="of mmseqs: least share of both that is aligned")
    k: int = Field(4, ge=2, le=8, description="of kmers: their length")
    shared: float = Field(
        0.07, gt=0, le=1, description="of kmers: share of the shorter protein's k-mers that makes two proteins kin"
    )
    common: float = Field(
        0.02, gt=0, le=1, description="of kmers: k-mers in more than this share of the proteins are motifs, not kinship"
    )


class ProteinsConfig(DatasetConfig):
    """Proteins from FASTA, JSON-lines or UniProt's files, their annotated features as concepts of residues."""

    type: Literal["protein.sequences"] = "protein.sequences"
    root: str = Field(".", description="folder in which the files below lie, or 'world:motifs'")
    sequences: str = Field(
        description="FASTA (.fasta, .fa, .faa), .jsonl, a UniProt table (.tsv) or flat text (.txt); each also as .gz"
    )
    annotations: tuple[str, ...] = Field(
        (),
        description="files that tell of features: UniProt tables (.tsv), flat text (.txt, .dat) or GFF (.gff, .gff3)",
    )
    letters: dict[str, dict[str, str]] = Field(
        {}, description="of JSON-lines: track of per_residue, then letter to concept, e.g. topology: {H: Transmembrane}"
    )
    unknown_letters: str = Field("?", description="letters of these tracks that tell that nothing is known")
    where: dict[str, str] = Field({}, description="keep records whose column or JSON field has this value")
    nonstandard: Literal["keep", "mask", "refuse", "skip"] = Field(
        "keep",
        description="residues beyond the twenty: keep (the model's own token, or its unknown); mask: X; refuse the "
        "file; skip the protein and report it",
    )
    duplicates: Literal["refuse", "first", "keep"] = Field(
        "refuse", description="the same sequence under two ids: refuse the file, keep the first, or keep both"
    )
    bounds: Literal["refuse", "drop"] = Field(
        "refuse", description="features beyond the end of a sequence: refuse the file, or drop and count them"
    )
    least: int = Field(10, gt=0, description="proteins that must have a concept for it to be one")
    family: str | None = Field("Protein families", description="column of families, concepts of whole proteins")
    group_by: str | None = Field(None, description="CSV with an id and columns by whose groups one may split")
    homology: Homology | None = Field(
        None, description="cluster homologous proteins: the column `homology`, which no split may then divide"
    )
    structures: str | None = Field(
        None, description="folder of <id>.cif or .pdb, also .gz and AF-<id>-F1-model_v4; drawn in the report"
    )

    def build(self) -> "Dataset":
        from omnisae_protein.dataset import Proteins

        return Proteins(self)


class EsmConfig(ExtractorConfig):
    """Protein language models: fair-esm's by name or .pt file, ESM checkpoints of transformers, ESM-C and T5 encoders.

    Hook points: any module; its tokens are residues, with BOS and EOS as roles `bos` and `eos`, padding left out.
    """

    type: Literal["protein.esm"] = "protein.esm"
    checkpoint: str = Field(
        description="fair-esm's name (esm2_t33_650M_UR50D), a local .pt, a folder or hub id of transformers, "
        "'world:motifs', or a .safetensors of python -m omnisae_protein.pretrain"
    )
    library: Literal["auto", "fair-esm", "transformers"] = Field(
        "auto", description="auto: fair-esm for its names, .pt and worlds; otherwise transformers"
    )
    untrained: bool = Field(
        False, description="the architecture with random weights (nothing is downloaded): to try a config out"
    )
    window: int = Field(1022, gt=0, description="most residues that go through the model in one piece")
    overlap: int = Field(
        128,
        ge=0,
        description="residues that two windows of a longer protein share; each is read where its context is wider",
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="precision of the model")
    device: str = Field("auto", description="auto, cpu, cuda, mps")
    batch_size: int = Field(64, gt=0, description="proteins taken together and sorted by length")
    batch_tokens: int = Field(16_384, gt=0, description="most tokens of one forward, padding among them")
    masked: float = Field(0.15, gt=0, lt=1, description="share of residues that the masked-LM loss asks for")

    def build(self, dataset: "Dataset") -> "Extractor":
        from omnisae_protein.esm import build

        return build(self)


class DomainsConfig(StudyConfig):
    """InterPLM's domain F1: residues found precisely, domains found at all."""

    type: Literal["protein.domains"] = "protein.domains"
    thresholds: tuple[float, ...] = Field(
        (0.0, 0.15, 0.5, 0.6, 0.8), min_length=1, description="on activations divided by their maximum on select"
    )
    instances: int = Field(5, gt=0, description="instances a concept must have on either side")
    controls: bool = Field(True, description="give the model's own neurons to the concepts, too")

    def build(self) -> "Study":
        from omnisae_protein.domain_study import Domains

        return Domains(self)


class ProbesConfig(StudyConfig):
    """Logistic probes on one latent or a few, over as many residues of a concept as others."""

    type: Literal["protein.probes"] = "protein.probes"
    k: tuple[int, ...] = Field((1, 8), min_length=1, description="numbers of latents")
    residues: int = Field(1000, ge=5, description="residues of a concept that are drawn on either side, at most")

    def build(self) -> "Study":
        from omnisae_protein.residue_probes import Probes

        return Probes(self)


class PatternsConfig(StudyConfig):
    """In what manner latents fire along proteins: points, motifs, periods, whole proteins."""

    type: Literal["protein.patterns"] = "protein.patterns"
    share: float = Field(0.1, ge=0, lt=1, description="of a latent's maximum above which a residue counts")
    proteins: int = Field(5, gt=0, description="test proteins in which a latent must exceed it")

    def build(self) -> "Study":
        from omnisae_protein.patterns import Patterns

        return Patterns(self)


class FitnessConfig(StudyConfig):
    """Fitness from few measured variants: ridge regression on pooled latents, beside the same on activations."""

    type: Literal["protein.fitness"] = "protein.fitness"
    assay: str = Field(description="CSV of ProteinGym's form (mutated_sequence, DMS_score), or world:motifs/assay.csv")
    labels: tuple[int, ...] = Field((24, 96, 384), min_length=1, description="numbers of measured variants that fit")
    repeats: int = Field(20, ge=2, description="splits into variants that fit and variants that judge")

    def build(self) -> "Study":
        from omnisae_protein.fitness import Fitness

        return Fitness(self)

    def reads(self) -> Sequence[Path]:
        from omnisae_protein.assays import locate

        return (locate(self.assay),)


class SteeringConfig(StudyConfig):
    """Whether a concept's residues become likelier where its latent is switched on."""

    type: Literal["protein.steering"] = "protein.steering"
    concepts: tuple[str, ...] | None = Field(None, description="concepts of residues; none: those found best")
    most: int = Field(8, gt=0, description="how many of them, where none are named")
    strength: float = Field(1.0, gt=0, description="what is added, in multiples of the latent's maximum")
    proteins: int = Field(24, ge=3, description="test proteins without the concept")
    masked: float = Field(0.15, gt=0, lt=1, description="share of their residues that the model is asked for")
    controls: int = Field(3, gt=0, description="latents of like frequency beside each")

    def build(self) -> "Study":
        from omnisae_protein.steering import Steering

        return Steering(self)


class LogoConfig(VisualizerConfig):
    """A sequence logo of the residues around a latent's strongest places."""

    type: Literal["protein.logo"] = "protein.logo"
    around: int = Field(10, ge=1, le=30, description="residues to either side")
    proteins: int = Field(60, ge=5, description="test proteins, the strongest")

    def build(self) -> "Visualizer":
        from omnisae_protein.logo import Logo

        return Logo(self.around, self.proteins)


class StructureConfig(VisualizerConfig):
    """The protein's C-alpha trace, coloured by the latent. Needs biotite and dataset.structures."""

    type: Literal["protein.structure"] = "protein.structure"

    def build(self) -> "Visualizer":
        from omnisae_protein.structure_view import Structure

        return Structure()


class ResiduesConfig(VisualizerConfig):
    """The sequence with the latent's strength over each residue, and its annotations beneath."""

    type: Literal["protein.residues"] = "protein.residues"
    columns: int = Field(30, ge=10, le=200, description="residues a line")

    def build(self) -> "Visualizer":
        from omnisae_protein.residue_track import Residues

        return Residues(self.columns)


@hookimpl
def omnisae_datasets() -> list[type[DatasetConfig]]:
    return [ProteinsConfig]


@hookimpl
def omnisae_extractors() -> list[type[ExtractorConfig]]:
    return [EsmConfig]


@hookimpl
def omnisae_studies() -> list[type[StudyConfig]]:
    return [DomainsConfig, ProbesConfig, PatternsConfig, FitnessConfig, SteeringConfig]


@hookimpl
def omnisae_visualizers() -> list[type[VisualizerConfig]]:
    return [ResiduesConfig, LogoConfig, StructureConfig]
