"""What this plug-in offers. No torch here: `build` imports what is heavy."""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from omnisae.plugins.hookspecs import hookimpl
from omnisae.plugins.kinds import DatasetConfig, ExtractorConfig, StudyConfig, VisualizerConfig
from omnisae_galaxies.trees import TREES, Question, Tree, fault
from omnisae_vision.plugin import TimmConfig

if TYPE_CHECKING:
    from omnisae.extract.dataset import Dataset
    from omnisae.extract.extractor import Extractor
    from omnisae.report.visualizer import Visualizer
    from omnisae.studies.study import Study


class Stretch(BaseModel):
    """How fluxes become grey values: asinh (Lupton et al. 2004), which keeps colours at every brightness."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minimum: float | None = Field(
        None, description="flux that is black; none: each picture's own sky (sigma-clipped median, band by band)"
    )
    stretch: float | None = Field(
        None, gt=0, description="flux over which the scale is linear; none: `sigmas` times each picture's own noise"
    )
    sigmas: float = Field(10.0, gt=0, description="for stretch none: standard deviations of the sky's noise")
    q: float = Field(8.0, gt=0, description="how strongly bright parts are pressed together")
    weights: tuple[float, ...] | None = Field(
        None, description="factor of each of `bands` before the stretch; none: 1 each"
    )


class Votes(BaseModel):
    """Votes in a decision tree: which columns hold them, and when a question counts as asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tree: Literal["decals", "cosmic_dawn", "gz2"] | dict[str, Question] = Field(
        description="a known tree, or questions with their answers, and the answer that leads to each"
    )
    kind: Literal["counts", "fractions"] = Field("counts", description="what the columns hold")
    column: str = Field(
        "{question}_{answer}", description="what an answer's column is called, e.g. {question}-dr5_{answer}_fraction"
    )
    total: str | None = Field(
        None,
        description="for fractions: what the column with a question's number of votes is called, e.g. "
        "{question}_total-votes",
    )
    minimum_votes: int = Field(5, ge=1, description="votes below which a question counts as not asked")
    reach: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of all voters that must have been led to a question (the product of fractions on its path) "
        "for it to count as asked",
    )
    clean: float | None = Field(
        None,
        gt=0.5,
        le=1,
        description="also make clean samples: a concept clean:<question>_<answer> that is 1 from this fraction on, 0 "
        "where at most one minus it gave the answer (of those asked, or of all voters), and unknown between",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        wrong = fault(self.questions)
        if wrong is not None or not self.questions:
            raise ValueError(f"votes.tree: {wrong or 'it has no question'}")
        for name, pattern, words in (("column", self.column, ("question", "answer")), ("total", self.total, ())):
            needed = ("{question}", *(f"{{{word}}}" for word in words if word != "question"))
            if pattern is not None and not all(word in pattern for word in needed):
                raise ValueError(f"votes.{name} is {pattern!r}; it must hold {' and '.join(needed)}")
        led_to = [name for name, question in self.questions.items() if question.after is not None]
        if self.kind == "fractions" and self.total is None and self.reach is None and led_to:
            raise ValueError(
                f"votes.kind is fractions, and nothing says when {led_to[0]!r} was asked: give votes.total, the "
                "columns with the numbers of votes, or votes.reach, e.g. 0.5"
            )
        return self

    @property
    def questions(self) -> Tree:
        """The tree, a known one looked up."""
        return TREES[self.tree] if isinstance(self.tree, str) else self.tree


class CutoutsConfig(DatasetConfig):
    """Galaxies: FITS, JPEG or PNG cut-outs, with a catalogue of votes, classes and measurements."""

    type: Literal["galaxies.cutouts"] = "galaxies.cutouts"
    root: str = Field(description="the folder, or a world: 'world:galaxies'")
    images: str | None = Field(
        None,
        description="the cut-outs' folder below `root`; none: `cutouts` or `images` where there is one, else `root`",
    )
    bands: tuple[str, ...] = Field(
        (),
        description="of FITS files: one band (grey), or three in the order red, green, blue. Each is an extension's "
        "name or number, a filter's name, or EXTENSION:PLANE of a cube; none: all planes of the first image",
    )
    stretch: Stretch = Field(Stretch(), description="how fluxes of FITS files become grey values")
    pixel_scale: float | str | None = Field(
        None, description="arcseconds a pixel, or the catalogue's column that holds it; none: from the WCS"
    )
    catalogue: str | None = Field(None, description="catalogue below `root`: CSV, FITS table or parquet")
    id: str = Field("id_str", description="the catalogue's column that names the cut-out's file, without its ending")
    minus: Literal["kept", "NEG"] = Field(
        "kept", description="NEG: a minus sign in one id is NEG in the other (Euclid's file names and catalogues)"
    )
    votes: Votes | None = Field(None, description="the votes in the catalogue")
    fractions: tuple[str, ...] = Field(
        (), description="further columns of fractions, or of 0 and 1, that become concepts"
    )
    classes: tuple[str, ...] = Field((), description="columns of words: a concept column=word each, shown in reports")
    numbers: tuple[str, ...] = Field(
        (), description="columns of measurements such as redshift, size, magnitude: not concepts, but confounders"
    )
    position: tuple[str, str] | None = Field(
        None, description="columns of right ascension and declination in degrees; none: from the WCS"
    )
    group: str | None = Field(None, description="column by which galaxies belong together (tile, field)")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.bands) not in (0, 1, 3):
            raise ValueError(f"dataset.bands names {len(self.bands)} bands; one is shown in grey, three in colour")
        weights = self.stretch.weights
        if weights is not None and len(weights) != (len(self.bands) or len(weights)):
            raise ValueError(f"dataset.stretch.weights has {len(weights)} values for {len(self.bands)} bands")
        if self.catalogue is None:
            given = [
                name
                for name in ("votes", "fractions", "classes", "numbers", "position", "group")
                if getattr(self, name)
            ]
            if given or isinstance(self.pixel_scale, str):
                raise ValueError(
                    f"dataset.{(given or ['pixel_scale'])[0]} names columns of a catalogue, and none is given; set "
                    "dataset.catalogue"
                )
        if isinstance(self.pixel_scale, float) and not self.pixel_scale > 0:
            raise ValueError(f"dataset.pixel_scale is {self.pixel_scale:g}; it must be above 0")
        return self

    def build(self) -> "Dataset":
        from omnisae_galaxies.cutouts import Cutouts

        return Cutouts(self)


class ZoobotConfig(TimmConfig):
    """Any timm model on cut-outs, zoobot's encoders above all: from the hub, or out of zoobot's own checkpoints."""

    type: Literal["galaxies.zoobot"] = "galaxies.zoobot"
    model: str = Field(
        description="timm's name of the encoder, e.g. convnext_nano, or hf_hub:mwalmsley/zoobot-encoder-convnext_nano"
    )
    checkpoint: str | None = Field(
        None,
        description="local .ckpt of zoobot (its encoder is taken, its head dropped), .safetensors or .pth, or "
        "'world:galaxies'",
    )
    normalise: Literal["model", "unit"] = Field(
        "model",
        description="model: grey values as the checkpoint's configuration says; unit: from 0 to 1, as zoobot trained "
        "encoders before its version 2",
    )

    def build(self, dataset: "Dataset") -> "Extractor":
        from omnisae_galaxies.zoobot import Zoobot

        return Zoobot(self, dataset)


class EmbeddingsConfig(ExtractorConfig):
    """Embeddings that were computed elsewhere, joined to the cut-outs by id: hook `at:` the name of their column."""

    type: Literal["galaxies.embeddings"] = "galaxies.embeddings"
    table: str = Field(description="the table: .parquet with an id and columns of vectors, or .npy with `ids`")
    id: str = Field("id_str", description="for .parquet: the column that names the galaxy")
    ids: str | None = Field(None, description="for .npy: a text file with an id in every line; its hook is `vectors`")
    columns: tuple[str, ...] = Field((), description="for .parquet: columns of vectors; none: all there are")
    minus: Literal["kept", "NEG"] = Field(
        "kept", description="NEG: a minus sign in one id is NEG in the other, as in dataset.minus"
    )

    def build(self, dataset: "Dataset") -> "Extractor":
        from omnisae_galaxies.embeddings import embeddings

        return embeddings(self, dataset)


class ConsistencyConfig(StudyConfig):
    """Does a latent stay the same when the picture is turned, or mirrored?"""

    type: Literal["galaxies.consistency"] = "galaxies.consistency"
    most: int = Field(400, ge=20, description="test examples that are turned and mirrored, a fixed random part of all")
    least: int = Field(10, ge=5, description="of these, those in which a latent must fire for it to be judged")
    top: int = Field(10, ge=1, description="latents in the table of those that mirroring changes most")

    def build(self) -> "Study":
        from omnisae_galaxies.consistency import Consistency

        return Consistency(self.most, self.least, self.top)


class GalleryConfig(VisualizerConfig):
    """The strongest galaxies of a latent side by side, each with a scale bar and its leading votes."""

    type: Literal["galaxies.gallery"] = "galaxies.gallery"
    examples: int = Field(12, ge=1, le=60, description="how many galaxies")
    columns: int = Field(3, ge=1, le=12, description="how many side by side")
    side: int = Field(120, ge=64, le=512, description="side of a picture on the page, in pixels of CSS")
    votes: int = Field(2, ge=0, le=6, description="lines of votes below each picture")

    def build(self) -> "Visualizer":
        from omnisae_galaxies.gallery import Gallery

        return Gallery(self.examples, self.columns, self.side, self.votes)


class SaliencyConfig(VisualizerConfig):
    """Contours of a latent over the cut-out, for hook points with the axes y and x."""

    type: Literal["galaxies.saliency"] = "galaxies.saliency"
    levels: tuple[float, ...] = Field(
        (0.25, 0.5, 0.75), min_length=1, description="contours, as shares of the latent's largest value anywhere"
    )
    side: int = Field(224, ge=64, le=1024, description="pixels along the longer side of a drawing")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not all(0 < level < 1 for level in self.levels):
            raise ValueError(f"levels are {list(self.levels)}; they must lie between 0 and 1")
        return self

    def build(self) -> "Visualizer":
        from omnisae_galaxies.saliency import Saliency

        return Saliency(self.levels, self.side)


class SkyConfig(VisualizerConfig):
    """Where on the sky the galaxies lie, coloured by the latent."""

    type: Literal["galaxies.sky"] = "galaxies.sky"
    points: int = Field(6000, gt=0, description="galaxies drawn at most, a fixed random part of the scored ones")
    projection: Literal["auto", "plain", "mollweide"] = Field(
        "auto", description="auto: the whole sky (Mollweide) where galaxies lie more than 60 degrees apart, else plain"
    )

    def build(self) -> "Visualizer":
        from omnisae_galaxies.sky import Sky

        return Sky(self.points, self.projection)


@hookimpl
def omnisae_datasets() -> list[type[DatasetConfig]]:
    return [CutoutsConfig]


@hookimpl
def omnisae_extractors() -> list[type[ExtractorConfig]]:
    return [ZoobotConfig, EmbeddingsConfig]


@hookimpl
def omnisae_studies() -> list[type[StudyConfig]]:
    return [ConsistencyConfig]


@hookimpl
def omnisae_visualizers() -> list[type[VisualizerConfig]]:
    return [GalleryConfig, SaliencyConfig, SkyConfig]
