"""The drawings of steps that this plug-in offers. No torch here: `build` imports what is heavy."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from omnisae.plugins.kinds import VisualizerConfig

if TYPE_CHECKING:
    from omnisae.report.visualizer import Visualizer


class StripsConfig(VisualizerConfig):
    """Small heat maps, a step of the denoiser each, beside the plain picture."""

    type: Literal["diffusion.strips"] = "diffusion.strips"
    steps: int = Field(
        6, ge=2, le=16, description="steps that are drawn at most, evenly chosen, the latent's strongest among them"
    )
    frames: int = Field(
        100,
        ge=0,
        description="examples that are shown with the pictures on the way, at most: the model makes each anew; 0: none",
    )

    def build(self) -> "Visualizer":
        from omnisae_diffusion.views.strips import Strips

        return Strips(self.steps, self.frames)


class TrajectoryConfig(VisualizerConfig):
    """A latent's strength from noise to picture: mean and band over examples, and every drawn example's own line."""

    type: Literal["diffusion.trajectory"] = "diffusion.trajectory"
    top: int = Field(16, gt=0, description="examples in which the latent is strongest, drawn apart from all the scored")
    examples: int = Field(
        500, gt=1, description="scored examples that mean and band are taken over at most, evenly picked"
    )

    def build(self) -> "Visualizer":
        from omnisae_diffusion.views.trajectory import Trajectory

        return Trajectory(self.top, self.examples)


VIEWS: tuple[type[VisualizerConfig], ...] = (StripsConfig, TrajectoryConfig)
