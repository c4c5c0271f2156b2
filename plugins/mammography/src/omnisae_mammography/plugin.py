"""What this plug-in offers. No torch here: `build` imports what is heavy."""

import re
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from omnisae.plugins.hookspecs import hookimpl
from omnisae.plugins.kinds import DatasetConfig, ExtractorConfig, StudyConfig, VisualizerConfig
from omnisae_vision.plugin import TimmConfig

if TYPE_CHECKING:
    from omnisae.extract.dataset import Dataset
    from omnisae.extract.extractor import Extractor
    from omnisae.report.visualizer import Visualizer
    from omnisae.studies.study import Study


class Columns(BaseModel):
    """Which column of the table says what. A column that is not named is not read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str = Field(description="the picture: its path below `images`, with or without ending, or its file's name")
    patient: str | None = Field(None, description="the patient, or the exam where every patient has one; never shown")
    laterality: str | None = Field(None, description="L or R, LEFT or RIGHT")
    view: str | None = Field(None, description="CC, MLO, …")
    concept: str | None = Field(
        None, description="what was found there: a word, or a list such as ['Mass', 'Skin Thickening']"
    )
    box: tuple[str, str, str, str] | None = Field(
        None, description="left, top, right and bottom of the box, in pixels of the picture as it is stored"
    )
    mask: str | None = Field(None, description="the file of the mask below `root`: PNG or DICOM, not 0 where it is")
    attributes: tuple[str, ...] = Field(
        (), description="columns whose words become concepts `column=word`, and which a report may show"
    )
    normal: tuple[str, ...] = Field(("No Finding", ""), description="words of `concept` that mean nothing was found")
    prefix: bool = Field(False, description="the picture's file name only begins with what the table calls it")
    delimiter: str | None = Field(None, description="what stands between columns; none: a comma, a tab in .tsv")


PRESETS: dict[str, Columns] = {
    "vindr": Columns(
        image="image_id",
        patient="study_id",
        laterality="laterality",
        view="view_position",
        concept="finding_categories",
        box=("xmin", "ymin", "xmax", "ymax"),
        attributes=("breast_birads", "breast_density"),
    ),
    "cbis": Columns(
        image="image file path",
        patient="patient_id",
        laterality="left or right breast",
        view="image view",
        concept="abnormality type",
        mask="ROI mask file path",
        attributes=("pathology", "assessment"),
    ),
    "inbreast": Columns(
        image="File Name",
        laterality="Laterality",
        view="View",
        attributes=("ACR", "Bi-Rads"),
        prefix=True,
        delimiter=";",
    ),
}
"""VinDr-Mammo's finding_annotations.csv, CBIS-DDSM's *_case_description_*.csv, INbreast's INbreast.csv."""


class ExamsConfig(DatasetConfig):
    """Mammograms: DICOM files or 16-bit PNG, in exams of several views, with boxes and masks from a table.

    Nothing that names a person leaves this dataset: pictures are called by a hash of their path.
    """

    type: Literal["mammography.exams"] = "mammography.exams"
    root: str = Field(description="the folder, or a world: 'world:phantoms'")
    images: str | None = Field(
        None, description="the pictures' folder below `root`; none: `images` where there is one, else `root` itself"
    )
    table: str | None = Field(None, description="table below `root` of what is known of the pictures")
    columns: Literal["vindr", "cbis", "inbreast"] | Columns = Field(
        "vindr", description="the table's columns: those of a known collection, or a mapping of your own"
    )
    contours: str | None = Field(
        None, description="folder below `root` of INbreast's contours: one OsiriX XML property list a picture"
    )
    pattern: str | None = Field(
        None,
        description="regular expression over the picture's path, with the groups patient, exam, laterality or view, "
        "for pictures of which neither table nor DICOM header tells them",
    )
    patient: Literal["known", "picture"] = Field(
        "known", description="picture: where no patient is known, every picture is a patient of its own"
    )
    window: Literal["file", "full"] | tuple[float, float] = Field(
        "file",
        description="file: the VOI table or first window that the file names; full: from the darkest to the brightest "
        "value; or centre and width, in values after the rescale",
    )
    face: Literal["left", "stored"] = Field(
        "left", description="left: turn pictures so that the chest wall lies on the left; stored: as the file has them"
    )
    keep: Literal["all", "breast"] = Field(
        "all", description="breast: blacken everything but the breast, markers and burned-in text among it"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.pattern is not None:
            try:
                groups = set(re.compile(self.pattern).groupindex)
            except re.error as error:
                raise ValueError(f"dataset.pattern is no regular expression: {error}") from error
            if not groups or groups - {"patient", "exam", "laterality", "view"}:
                raise ValueError(
                    "dataset.pattern must have named groups out of patient, exam, laterality and view, e.g. "
                    r"'(?P<patient>\d+)_(?P<laterality>[LR])_(?P<view>CC|MLO)'"
                )
        if isinstance(self.window, tuple) and not self.window[1] > 0:
            raise ValueError(f"dataset.window has the width {self.window[1]:g}, which must be above 0")
        return self

    @property
    def mapping(self) -> Columns:
        """The table's columns, a preset looked up."""
        return PRESETS[self.columns] if isinstance(self.columns, str) else self.columns

    def build(self) -> "Dataset":
        from omnisae_mammography.exams import Exams

        return Exams(self)


class MammographyTimmConfig(TimmConfig):
    """Any timm CNN or ViT on mammograms: 16-bit grey, the breast's tokens alone, full size in bands, Mammo-CLIP's
    checkpoints."""

    type: Literal["mammography.timm"] = "mammography.timm"
    fit: Literal["pad", "stretch"] = Field(
        "pad", description="pad: keep the picture's shape and fill up with air; stretch: fill the size"
    )
    grey: tuple[float, float] | None = Field(
        None, description="mean and standard deviation of grey values in [0, 1]; none: the checkpoint's, else timm's"
    )
    air: float = Field(0.05, ge=0, lt=1, description="grey value up to which a pixel counts as air")
    tissue: Literal["all", "largest", "off"] = Field(
        "largest",
        description="whose tokens are kept. largest: the largest bright area, the breast; all: whatever is brighter "
        "than air, markers too; off: every token",
    )
    share: float = Field(0.25, gt=0, le=1, description="share of a token's cell that must be kept tissue")
    tile: int | None = Field(
        None,
        gt=0,
        description="rows of the expanded maps computed at a time (EfficientNet's kind of models): the same result in "
        "less memory; none: all at once",
    )

    def build(self, dataset: "Dataset") -> "Extractor":
        from omnisae_mammography.extractor import MammographyTimm

        return MammographyTimm(self, dataset)


class RankingConfig(StudyConfig):
    """Which latents go with a finding: ranked by their mean within it (Mammo-SAE), and by how far it differs."""

    type: Literal["mammography.ranking"] = "mammography.ranking"
    concepts: tuple[str, ...] | None = Field(None, description="binary concepts; none: all with enough examples")
    top: int = Field(10, gt=0, description="latents of each ranking that are compared and shown")
    draws: int = Field(500, ge=50, description="bootstrap draws of whole groups behind each interval")

    def build(self) -> "Study":
        from omnisae_mammography.ranking import Ranking

        return Ranking(self.concepts, self.top, self.draws)


class LocalisationConfig(StudyConfig):
    """Where a concept's best latent points: IoU, pointing game and FROC, beside exchanged maps and random boxes."""

    type: Literal["mammography.localisation"] = "mammography.localisation"
    concepts: tuple[str, ...] | None = Field(None, description="concepts that have regions; none: all")
    threshold: float = Field(
        0.3, gt=0, lt=1, description="share of a map's largest value above which it is lit (Mammo-SAE: 0.3)"
    )
    least: int = Field(10, ge=1, description="pixels that a lit area must have to count (Mammo-SAE: 10)")
    rates: tuple[float, ...] = Field(
        (0.25, 0.5, 1.0, 2.0, 4.0), min_length=1, description="false positives an image at which sensitivity is read"
    )
    draws: int = Field(500, ge=50, description="bootstrap draws of whole groups behind each interval")

    def build(self) -> "Study":
        from omnisae_mammography.localisation import Localisation

        return Localisation(self.concepts, self.threshold, self.least, self.rates, self.draws)


class CurvesConfig(StudyConfig):
    """How few latents carry the model's own diagnosis: its AUROC with only the top k kept, and with them removed."""

    type: Literal["mammography.curves"] = "mammography.curves"
    concepts: tuple[str, ...] | None = Field(
        None, description="the model's outputs, as its checkpoint or extractor.targets calls them; none: all"
    )
    k: tuple[int, ...] = Field((1, 2, 5, 10, 20, 50, 100), min_length=1, description="how many latents, each in turn")
    by: Literal["contrast", "mean"] = Field(
        "contrast",
        description="contrast: the largest standardised differences; mean: the largest means within the finding and "
        "within its absence, taken by turns (Mammo-SAE)",
    )
    error: bool = Field(False, description="keep what the autoencoder does not explain; no: drop it, as Mammo-SAE does")
    random: int = Field(3, ge=1, description="draws of as many random living latents behind the control")
    most: int | None = Field(None, gt=1, description="test examples used, in their order; none: all")
    draws: int = Field(500, ge=50, description="bootstrap draws of whole groups behind each interval")

    def build(self) -> "Study":
        from omnisae_mammography.curves import Curves

        return Curves(self)


class LesionsConfig(VisualizerConfig):
    """A latent over a mammogram with the lesions that are known, beside the other view of the same breast."""

    type: Literal["mammography.lesions"] = "mammography.lesions"
    threshold: float = Field(
        0.3, gt=0, lt=1, description="share of the latent's largest value in the picture above which a box is drawn"
    )
    height: int = Field(384, ge=64, le=2048, description="height of a drawing in pixels")

    def build(self) -> "Visualizer":
        from omnisae_mammography.lesions import Lesions

        return Lesions(self.threshold, self.height)


@hookimpl
def omnisae_datasets() -> list[type[DatasetConfig]]:
    return [ExamsConfig]


@hookimpl
def omnisae_extractors() -> list[type[ExtractorConfig]]:
    return [MammographyTimmConfig]


@hookimpl
def omnisae_studies() -> list[type[StudyConfig]]:
    return [RankingConfig, LocalisationConfig, CurvesConfig]


@hookimpl
def omnisae_visualizers() -> list[type[VisualizerConfig]]:
    return [LesionsConfig]
