"""The visualizers that core offers. No torch here: `build` imports what is heavy."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from omnisae.plugins.component import Component
from omnisae.plugins.kinds import VisualizerConfig

if TYPE_CHECKING:
    from omnisae.report.visualizer import Visualizer


class GridConfig(VisualizerConfig):
    """A heatmap over the example's picture, for hook points with the axes y and x."""

    type: Literal["core.grid"] = "core.grid"

    def build(self) -> "Visualizer":
        from omnisae.report.visualizers.grid import Grid

        return Grid()


class TrackConfig(VisualizerConfig):
    """The values along the one axis of a hook point, such as time or position."""

    type: Literal["core.track"] = "core.track"

    def build(self) -> "Visualizer":
        from omnisae.report.visualizers.track import Track

        return Track()


class BarsConfig(VisualizerConfig):
    """Ranked classes and features of the dataset: ranked on the select examples, measured on the test examples."""

    type: Literal["core.bars"] = "core.bars"
    bars: int = Field(12, gt=0, description="bars in a drawing")
    top: int = Field(200, gt=0, description="examples in which the latent is strongest that are compared with the rest")

    def build(self) -> "Visualizer":
        from omnisae.report.visualizers.bars import Bars

        return Bars(self.bars, self.top)


class ScatterConfig(VisualizerConfig):
    """The dataset's maps of its examples, coloured by the latent's strength."""

    type: Literal["core.scatter"] = "core.scatter"
    points: int = Field(4000, gt=0, description="points drawn at most, a fixed random part of the scored examples")

    def build(self) -> "Visualizer":
        from omnisae.report.visualizers.scatter import Map

        return Map(self.points)


class HistogramConfig(VisualizerConfig):
    """How often the latent takes which value, counts on a log scale."""

    type: Literal["core.histogram"] = "core.histogram"
    bins: int = Field(40, gt=1, description="bins between zero and the latent's largest value, at most")

    def build(self) -> "Visualizer":
        from omnisae.report.visualizers.histogram import Histogram

        return Histogram(self.bins)


COMPONENTS: tuple[type[Component], ...] = (GridConfig, TrackConfig, BarsConfig, ScatterConfig, HistogramConfig)
