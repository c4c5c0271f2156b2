"""Studies that this plug-in offers. No torch here: `build` imports what is heavy."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from omnisae.plugins.kinds import StudyConfig
from omnisae_diffusion.plugin_classifier import ClassifierConfig
from omnisae_diffusion.plugin_distance import DistanceConfig

if TYPE_CHECKING:
    from omnisae.studies.study import Study


Way = Literal["turn", "map", "swap"]
Method = Literal["saeuron", "itd", "saedit", "steerers"]


class AttackConfig(BaseModel):
    """A search for noise, and other classes' prompts, that bring an erased concept back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    generations: int = Field(64, gt=0, description="pictures made in one search")
    restarts: int = Field(4, gt=0, description="searches, each with draws of its own")
    threshold: float = Field(0.5, gt=0, le=1, description="probability of the concept that counts as brought back")


class QualityConfig(BaseModel):
    """What the distance of generated pictures is taken from, and by which features."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    natural: str = Field(description="folder of natural pictures, or 'world:digits'")
    distance: DistanceConfig = Field(DistanceConfig(), description="FID and KID: on which features")
    most: int = Field(1000, gt=3, description="natural pictures read at most")


class _Judged(StudyConfig):
    """Studies in which a classifier looks at pictures."""

    column: str = Field(description="the dataset's column of concepts, a domain of the classifier, e.g. digit")
    concepts: tuple[str, ...] | None = Field(None, description="words of that column; none: all of them")
    classifier: ClassifierConfig = Field(description="what judges pictures")


class ErasureConfig(_Judged):
    """Is a concept gone from the pictures when its latents are turned round, and is all else kept?"""

    type: Literal["diffusion.erasure"] = "diffusion.erasure"
    across: tuple[str, ...] = Field((), description="columns of other domains that should be kept, e.g. ink")
    ways: tuple[Way, ...] = Field(
        ("turn", "map"),
        min_length=1,
        description="turn: SAeUron's latents, multiplied by a factor where they exceed their usual level; map: what "
        "the concept's codes have more or less than the others' at every time and place is taken away; "
        "swap: another concept is put in its place, the one that differs least first",
    )
    percentiles: tuple[float, ...] = Field(
        (97.0, 90.0),
        min_length=1,
        description="turn: percentiles of the score above which latents are chosen, mildest first",
    )
    strengths: tuple[float, ...] = Field(
        (-2.0, -4.0, -8.0), min_length=1, description="turn: factors of the latents' codes, mildest first"
    )
    map_strengths: tuple[float, ...] = Field(
        (-2.0, -4.0, -8.0), min_length=1, description="map: how often the difference is added, mildest first"
    )
    swap_strengths: tuple[float, ...] = Field(
        (1.0, 1.5), min_length=1, description="swap: how often the way to the other concept is added, mildest first"
    )
    gated: bool = Field(
        True, description="leave pictures untouched, bit for bit, in which the latents themselves tell of no concept"
    )
    left: float = Field(0.1, ge=0, le=1, description="share of own prompts that may still show the concept")
    select_left: float | None = Field(
        None, ge=0, le=1, description="the same on select prompts, at which no further way is tried; none: half of left"
    )
    loss: float = Field(3.0, ge=0, description="points that other prompts may lose")
    select_own: int = Field(48, gt=0, description="select pictures of the concept on which the way is chosen, at most")
    select_others: int = Field(96, gt=0, description="select pictures of others on which the way is chosen, at most")
    own: int = Field(64, gt=0, description="test pictures of the concept, at most")
    others: int = Field(160, gt=0, description="test pictures of others, at most")
    together: tuple[tuple[str, ...], ...] = Field((), description="concepts that are erased at once, group by group")
    sequence: tuple[str, ...] = Field((), description="concepts that are erased one after the other")
    attack: AttackConfig | None = Field(None, description="search for inputs that bring the first concept back")
    quality: QualityConfig | None = Field(None, description="distance of the pictures from natural ones")
    grid: int = Field(4, ge=0, description="pictures of each concept in the grids of before and after")

    def build(self) -> "Study":
        from omnisae_diffusion.evaluation.erasure import Erasure

        return Erasure(self)

    def reads(self) -> Sequence[Path]:
        return ()


class SteeringConfig(_Judged):
    """Does adding a concept's latents bring it into pictures of other prompts, the more the stronger?"""

    type: Literal["diffusion.steering"] = "diffusion.steering"
    way: Literal["map", "turn"] = Field(
        "map",
        description="map: what the concept's codes have more or less than the others' at every time and place is "
        "added; turn: the means of SAeUron's latents are, everywhere alike",
    )
    percentile: float = Field(
        97.0, gt=0, lt=100, description="turn: percentile of the score above which latents are chosen"
    )
    strengths: tuple[float, ...] = Field(
        (0.0, 1.0, 2.0, 3.0, 4.0), min_length=2, description="how often that is added, ascending"
    )
    pictures: int = Field(48, gt=0, description="test pictures of other prompts that are steered, at most")
    slider: int = Field(4, ge=0, description="pictures drawn at every strength")
    paint: bool = Field(True, description="also steer one half of the picture alone, and draw it")

    def build(self) -> "Study":
        from omnisae_diffusion.evaluation.steering import Steering

        return Steering(self)


class TimesConfig(StudyConfig):
    """How well is the model's activation explained at every scheduler time?"""

    type: Literal["diffusion.times"] = "diffusion.times"
    components: bool = Field(True, description="beside it, as many principal components as latents fire on average")

    def build(self) -> "Study":
        from omnisae_diffusion.evaluation.times import Times

        return Times(self.components)


class BlocksConfig(StudyConfig):
    """What does each hook point's autoencoder hold of the picture: layout, detail, colour?"""

    type: Literal["diffusion.blocks"] = "diffusion.blocks"
    pictures: int = Field(32, gt=1, description="test prompts whose pictures are made with each block's latents silent")

    def build(self) -> "Study":
        from omnisae_diffusion.evaluation.blocks import Blocks

        return Blocks(self.pictures)


class SelectionConfig(StudyConfig):
    """Which latents stand for a concept by each paper's formula, and do they tell it on prompts that chose nothing?"""

    type: Literal["diffusion.selection"] = "diffusion.selection"
    column: str = Field(description="the dataset's column of concepts, e.g. digit")
    concepts: tuple[str, ...] | None = Field(None, min_length=1, description="words of that column; none: all of them")
    methods: tuple[Method, ...] | None = Field(
        None,
        min_length=1,
        description="saeuron (along timestep), itd, saedit, steerers (along position); none: all that the hook point "
        "allows",
    )
    percentile: float = Field(
        97.0, gt=0, lt=100, description="saeuron: percentile of a step's scores above which latents are chosen"
    )
    k: int = Field(128, gt=0, description="itd: strongest latents of the concept (256 for styles in the paper)")
    k_retained: int | None = Field(None, gt=0, description="itd: strongest latents of each other prompt; none: k")
    factor: float = Field(-8.0, description="itd: what the latents' codes are multiplied by")
    pool: Literal["mean", "max"] = Field("mean", description="itd: how the classifier pools tokens")
    ratio_percentile: float = Field(
        99.5, gt=0, lt=100, description="saedit: percentile of a pair's ratios from which latents count"
    )
    match: tuple[str, ...] | None = Field(
        None, description="saedit: columns in which a pair's prompts agree; none: the dataset's other `concepts`"
    )
    pairs: int = Field(64, gt=0, description="saedit: pairs on each side of the split, at most")
    own: int = Field(64, gt=0, description="itd: prompts of the concept that the classifier sees on each side, at most")
    others: int = Field(160, gt=0, description="itd: test prompts of others that the classifier sees, at most")
    draws: int = Field(100, gt=0, description="random sets of latents beside the chosen ones")

    def build(self) -> "Study":
        from omnisae_diffusion.evaluation.selection import Selection

        return Selection(self)


STUDIES: tuple[type[StudyConfig], ...] = (ErasureConfig, SteeringConfig, SelectionConfig, TimesConfig, BlocksConfig)
