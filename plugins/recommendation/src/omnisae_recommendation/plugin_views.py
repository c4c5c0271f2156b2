"""Configs of the visualizers. No torch here: `build` imports what is heavy."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from omnisae.plugins import VisualizerConfig

if TYPE_CHECKING:
    from omnisae.report.visualizer import Visualizer


class SequenceConfig(VisualizerConfig):
    """A history, item by item, with the latent's strength at each."""

    type: Literal["recommendation.sequence"] = "recommendation.sequence"
    events: int = Field(24, gt=0, description="events drawn, around the strongest where there are more")

    def build(self) -> "Visualizer":
        from omnisae_recommendation.views.sequence import Events

        return Events(self.events)


class ItemsConfig(VisualizerConfig):
    """The items at whose events a latent fires, and the concepts that are common among them."""

    type: Literal["recommendation.items"] = "recommendation.items"
    items: int = Field(15, gt=0, description="items listed")
    concepts: int = Field(8, gt=0, description="concepts listed")

    def build(self) -> "Visualizer":
        from omnisae_recommendation.views.items import Items

        return Items(self.items, self.concepts)


VIEWS: list[type[VisualizerConfig]] = [SequenceConfig, ItemsConfig]
