"""The drawings of pictures that this plug-in offers. No torch here: `build` imports what is heavy."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from omnisae.plugins.kinds import VisualizerConfig

if TYPE_CHECKING:
    from omnisae.report.visualizer import Visualizer


class ContourConfig(VisualizerConfig):
    """Outlines of where the smoothed latent exceeds a threshold, with the mask of the concept that it goes with."""

    type: Literal["vision.contour"] = "vision.contour"
    threshold: float = Field(
        0.5, gt=0, lt=1, description="the outlined level, as a share of the latent's largest value over all pictures"
    )
    examples: int = Field(6, gt=0, description="strongest pictures that are drawn")

    def build(self) -> "Visualizer":
        from omnisae_vision.views.contour import Contour

        return Contour(self.threshold, self.examples)


class CropsConfig(VisualizerConfig):
    """Crops of the most active patches with what is around them, each with its value."""

    type: Literal["vision.crops"] = "vision.crops"
    crops: int = Field(12, gt=0, description="crops that are drawn, the strongest first")
    context: int | None = Field(
        None, ge=0, description="patches shown on every side of the active one; none: an eighth of the picture's"
    )
    each: int = Field(2, gt=0, description="crops of one picture at most; they do not overlap")

    def build(self) -> "Visualizer":
        from omnisae_vision.views.crops import Crops

        return Crops(self.crops, self.context, self.each)


class ContactSheetConfig(VisualizerConfig):
    """The strongest pictures small in one figure, each plain and with the latent's heat."""

    type: Literal["vision.contact_sheet"] = "vision.contact_sheet"
    examples: int = Field(12, gt=0, description="strongest pictures that are drawn")

    def build(self) -> "Visualizer":
        from omnisae_vision.views.contact import ContactSheet

        return ContactSheet(self.examples)


class ClassEnergyConfig(VisualizerConfig):
    """How a latent's strength is shared out among the classes, beside what each class's number of pictures gives."""

    type: Literal["vision.class_energy"] = "vision.class_energy"
    column: str | None = Field(None, description="the dataset's column of classes; none: `class`, else the first one")
    bars: int = Field(12, gt=0, description="classes that are drawn, those with the largest share on select first")

    def build(self) -> "Visualizer":
        from omnisae_vision.views.energy import ClassEnergy

        return ClassEnergy(self.column, self.bars)


VISUALIZERS: tuple[type[VisualizerConfig], ...] = (ContourConfig, CropsConfig, ContactSheetConfig, ClassEnergyConfig)
