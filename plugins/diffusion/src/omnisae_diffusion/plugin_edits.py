"""Operations that this plug-in offers. No torch here: `build` imports what is heavy."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from omnisae.plugins.kinds import InterventionConfig

if TYPE_CHECKING:
    from omnisae.interventions.operation import Operation


class _ByTable(InterventionConfig):
    """What operations by a table of latents have in common."""

    table: Path = Field(description="the table that a selection wrote (.safetensors)")
    weights: dict[str, dict[float, float]] = Field(
        default={},
        description="how much of the change tokens take, by axis: {branch: {0: -1, 1: 1}} by step (0 where not named), "
        "{timestep: {900: 0, 500: 1}} by scheduler time, linear between",
    )
    paint: Path | None = Field(
        default=None, description="a grey picture (.png), or .npy, of how much tokens along y and x take: white is 1"
    )
    gated: bool = Field(
        default=False, description="leave pictures untouched, bit for bit, in which the table's gate finds no concept"
    )

    def _place(self) -> dict[str, Any]:
        from omnisae.interventions.weights import Along, painted_from
        from omnisae_diffusion.selection.table import LatentTable

        weights = [Along(axis, table) for axis, table in self.weights.items()]
        painted = [painted_from(self.paint)] if self.paint is not None else []
        return {"table": LatentTable.load(self.table), "weights": (*weights, *painted), "gated": self.gated}


class EraseConfig(_ByTable):
    """Turn a concept's latents round where they exceed their usual level at that time (SAeUron)."""

    type: Literal["diffusion.erase"] = "diffusion.erase"
    strength: float = Field(default=-1.0, description="γ: codes become γ · mean of the concept · code; 0 switches off")
    relative: bool = Field(default=False, description="codes become γ · code, whatever the concept's mean")

    def build(self) -> "Operation":
        from omnisae_diffusion.operations import Erase

        return Erase(strength=self.strength, relative=self.relative, **self._place())


class SteerConfig(_ByTable):
    """Add a direction of codes: from pairs of prompts (SAEdit), or a concept's own prompt (Concept Steerers)."""

    type: Literal["diffusion.steer"] = "diffusion.steer"
    strength: float = Field(default=1.0, description="what the direction is multiplied by; negative: away from it")
    ramp: Literal["none", "saedit"] = Field(
        default="none", description="saedit: grows exponentially with the generation, up to 15 · strength"
    )
    positions: tuple[int, int] | None = Field(
        default=None, description="only tokens of the prompt from the first to before the second of these"
    )

    def build(self) -> "Operation":
        from omnisae_diffusion.operations import Steer

        return Steer(strength=self.strength, ramp=self.ramp, positions=self.positions, **self._place())


class DeactivateConfig(_ByTable):
    """Switch a concept's latents off in prompts that have it, and leave all others untouched (ItD)."""

    type: Literal["diffusion.deactivate"] = "diffusion.deactivate"
    strength: float = Field(default=1.0, description="share of the classifier's factor: 1 is the paper's")

    def build(self) -> "Operation":
        from omnisae_diffusion.operations import Deactivate

        return Deactivate(strength=self.strength, **self._place())


EDITS: tuple[type[InterventionConfig], ...] = (EraseConfig, SteerConfig, DeactivateConfig)
