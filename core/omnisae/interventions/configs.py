"""The components that core offers from this room. No torch here: `build` imports what is heavy."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from omnisae.plugins.component import Component
from omnisae.plugins.kinds import InterventionConfig

if TYPE_CHECKING:
    from omnisae.interventions.operation import Operation


class _OnLatents(InterventionConfig):
    """What all operations on latents have in common."""

    latent: int | tuple[int, ...] = Field(description="the latent, or several")
    gate: float | None = Field(default=None, description="only tokens where the latent exceeds this (raw units)")
    mask: dict[str, tuple[int, int]] = Field(
        default={}, description="only tokens within these half-open ranges, by axis, e.g. {y: [0, 7]}"
    )

    sign: Literal[1, -1] | None = Field(
        default=None, description="of signed codes: only positive (1) or negative ones (−1), as magnitudes; none: both"
    )

    def _place(self) -> dict[str, Any]:
        from omnisae.interventions.operation import several

        return {"latents": several(self.latent), "gate": self.gate, "mask": self.mask, "sign": self.sign}


class _Weighted(_OnLatents):
    """Operations of which a token may take a part."""

    weights: dict[str, dict[float, float]] = Field(
        default={},
        description="how much of the change tokens take, by axis: {branch: {0: -1, 1: 1}} by step (0 where not named); "
        "along an axis of whole forwards by what they are told, linear between: {time: {900: 0, 500: 1}}",
    )
    paint: Path | None = Field(
        default=None, description="a grey picture (.png), or .npy, of how much tokens along y and x take: white is 1"
    )

    def _place(self) -> dict[str, Any]:
        from omnisae.interventions.weights import Along, Painted, painted_from

        weights: list[Along | Painted] = [Along(axis, table) for axis, table in self.weights.items()]
        weights += [painted_from(self.paint)] if self.paint is not None else []
        return {**super()._place(), "weights": tuple(weights)}


class _InUnits(_Weighted):
    """Operations whose amounts have a unit."""

    unit: Literal["raw", "max", "quantile", "concept_mean"] = Field(
        default="raw", description="what amounts are counted in: raw, or each latent's maximum, quantile, concept mean"
    )
    quantile: float | None = Field(default=None, ge=0, le=1, description="level of the quantile")
    concept: str | None = Field(default=None, description="concept of the concept mean")

    def _place(self) -> dict[str, Any]:
        return {**super()._place(), "unit": self.unit, "quantile": self.quantile, "concept": self.concept}


class ScaleConfig(_InUnits):
    """Multiply latents; an amount of 0 switches them off."""

    type: Literal["core.scale"] = "core.scale"
    amount: float = Field(default=0.0, description="the factor")

    def build(self) -> "Operation":
        from omnisae.interventions.operation import Scale

        return Scale(amount=self.amount, **self._place())


class AddConfig(_InUnits):
    """Add to latents, also where they are silent."""

    type: Literal["core.add"] = "core.add"
    amount: float = Field(description="what is added")

    def build(self) -> "Operation":
        from omnisae.interventions.operation import Add

        return Add(amount=self.amount, **self._place())


class SetConfig(_InUnits):
    """Set latents to a value, also where they are silent."""

    type: Literal["core.set"] = "core.set"
    amount: float = Field(description="the value")

    def build(self) -> "Operation":
        from omnisae.interventions.operation import Set

        return Set(amount=self.amount, **self._place())


class ClampConfig(_InUnits):
    """Keep latents between two bounds."""

    type: Literal["core.clamp"] = "core.clamp"
    low: float | None = Field(default=None, description="the lower bound; none: there is none")
    high: float | None = Field(default=None, description="the upper bound; none: there is none")

    def build(self) -> "Operation":
        from omnisae.interventions.operation import Clamp

        return Clamp(low=self.low, high=self.high, **self._place())


class ZeroOthersConfig(_OnLatents):
    """Switch off every latent but these."""

    type: Literal["core.zero_others"] = "core.zero_others"

    def build(self) -> "Operation":
        from omnisae.interventions.operation import ZeroOthers

        return ZeroOthers(**self._place())


COMPONENTS: tuple[type[Component], ...] = (ScaleConfig, AddConfig, SetConfig, ClampConfig, ZeroOthersConfig)
