"""Operations on codes, by which an artifact edits its model: scale, add, set, clamp, zero all others."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from omnisae.autoencoders.codes import Codes
from omnisae.errors import ArtifactError, ConfigError, did_you_mean
from omnisae.interventions.sparse import block_of, only_entries, with_block
from omnisae.interventions.weights import Weighting, weighted
from omnisae.postings.poles import Sign

Unit = Literal["raw", "max", "quantile", "concept_mean"]
Latents = int | Sequence[int]


@dataclass(frozen=True, slots=True)
class Known:
    """What an artifact knows, by which an operation is checked and its units resolved before the model runs.

    `statistics` are numbers per latent: `max`, `quantile:0.99`, `concept_mean:<concept>`. Where codes are `signed`,
    these are about positive codes, and `negative:max` and so on about the magnitudes of negative ones. `ticks` are the
    values at the steps of axes along which whole forwards lie. `identity` gives a hash of the artifact's autoencoder,
    by which what was made for it (tables of latents) knows it. `encode` and `decode` are the artifact's own.
    """

    latents: int
    axes: tuple[str, ...]
    statistics: Mapping[str, Float[Tensor, " latent"]] = field(default_factory=dict)
    signed: bool = False
    ticks: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    sizes: Mapping[str, int | None] = field(default_factory=dict)
    identity: Callable[[], str] | None = None
    encode: Callable[[Float[Tensor, "token width"]], Codes] | None = None
    decode: Callable[[Codes], Float[Tensor, "token width"]] | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """Where the tokens lie whose codes are changed: example within the batch, coordinates on `axes`, role.

    `given` is what the forward was told along axes of whole forwards (the very value, of which the coordinate is the
    nearest tick), `activations` the raw activations that were encoded; None where they are not at hand. `sizes` are the
    numbers of steps along the axes in this forward.
    """

    example: Int[Tensor, " token"]
    coords: Int[Tensor, "token axis"]
    role: UInt8[Tensor, " token"]
    axes: tuple[str, ...]
    given: Mapping[str, Float[Tensor, " token"]] = field(default_factory=dict)
    activations: Float[Tensor, "token width"] | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)

    def take(self, rows: Tensor) -> "Tokens":
        """The rows that an index or a boolean mask picks."""
        return Tokens(
            self.example[rows],
            self.coords[rows],
            self.role[rows],
            self.axes,
            {name: value[rows] for name, value in self.given.items()},
            None if self.activations is None else self.activations[rows],
            self.sizes,
        )


class Operation(ABC):
    """A change of codes. Subclass it for a new one; `coords` tell it the step of each token on every axis."""

    def prepared(self, known: Known) -> "Operation":
        """This operation with its units resolved. Raises ConfigError or ArtifactError where it does not fit."""
        return self

    @abstractmethod
    def apply(self, codes: Codes, tokens: Tokens) -> Codes:
        """The new codes; the old ones stay untouched."""


@dataclass(frozen=True, kw_only=True)
class LatentOperation(Operation):
    """An operation on some latents. `amount` is in `unit`: raw activations, the latent's largest value (`max`), its
    quantile at level `quantile`, or its mean within the examples of `concept`.

    It acts on tokens where the latent exceeds `gate` (raw units; None: everywhere) and whose coordinate on each axis
    of `mask` lies in the half-open range given there (special tokens have none on their content's axes). `weights` say
    how much of the change each token takes, z + w · (z' − z), their product where there are several: 0 leaves a
    token's codes as they are to the last bit, −1 turns the change round.

    `sign` names one pole of latents whose codes are signed: 1 the positive codes, −1 the negative ones. The latent is
    then turned round, z = −code, so that all that is said of z is said of their magnitudes. None: the whole latent, z
    its code with whatever sign.
    """

    latents: tuple[int, ...]
    amount: float = 1.0
    unit: Unit = "raw"
    quantile: float | None = None
    concept: str | None = None
    gate: float | None = None
    mask: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    sign: Sign | None = None
    weights: tuple[Weighting, ...] = ()
    units: Float[Tensor, " chosen"] | None = None
    """What `unit` amounts to for each latent; found by `prepared`."""

    def prepared(self, known: Known) -> "LatentOperation":
        if len(set(self.latents)) != len(self.latents) or not self.latents:
            raise ConfigError(
                f"an operation on latents {list(self.latents)}", "name each latent once, and at least one"
            )
        for latent in self.latents:
            if not 0 <= latent < known.latents:
                raise ConfigError(f"there is no latent {latent}", f"the artifact has latents 0 to {known.latents - 1}")
        for axis, (start, stop) in self.mask.items():
            if axis not in known.axes:
                raise ConfigError(f"the mask names axis {axis!r}", did_you_mean(axis, known.axes))
            if not 0 <= start < stop:
                raise ConfigError(f"the mask's range on {axis!r} is {start} to {stop}", "give 0 ≤ start < stop")
        _check_sign(self, known)
        for one in self.weights:
            one.check(known.sizes, known.ticks)
        return replace(self, units=_units(self, known))

    def apply(self, codes: Codes, tokens: Tokens) -> Codes:
        old = self.turned(block_of(codes, self.latents))
        units = torch.ones(len(self.latents)) if self.units is None else self.units
        new = torch.where(self.where(old, tokens), self.change(old, units.to(old)), old)
        if self.weights:
            new = weighted(old, new, weight_of(self.weights, tokens).to(old))
        return with_block(codes, self.latents, self.turned(new))

    def turned(self, block: Float[Tensor, "token chosen"]) -> Float[Tensor, "token chosen"]:
        """Codes as the operation sees them: the other way round where it is about negative ones. Its own inverse."""
        return -block if self.sign == -1 else block

    @abstractmethod
    def change(
        self, old: Float[Tensor, "token chosen"], units: Float[Tensor, " chosen"]
    ) -> Float[Tensor, "token chosen"]:
        """The new values of the latents, as if every token took part. `units` is what 1 amounts to for each."""

    def where(self, old: Float[Tensor, "token chosen"], tokens: Tokens) -> Bool[Tensor, "token chosen"]:
        """Which latents change at which tokens."""
        within = in_mask(self.mask, tokens).to(old.device)[:, None].expand_as(old)
        return within if self.gate is None else within & (old > self.gate)


@dataclass(frozen=True, kw_only=True)
class Scale(LatentOperation):
    """z' = z · amount · unit. `amount` 0 switches a latent off. With a sign, the other pole stays as it is."""

    def change(self, old: Tensor, units: Tensor) -> Tensor:
        scaled = old * (self.amount * units)
        return scaled if self.sign is None else torch.where(old > 0, scaled, old)


@dataclass(frozen=True, kw_only=True)
class Add(LatentOperation):
    """z' = z + amount · unit."""

    def change(self, old: Tensor, units: Tensor) -> Tensor:
        return old + self.amount * units


@dataclass(frozen=True, kw_only=True)
class Set(LatentOperation):
    """z' = amount · unit, also where the latent was silent."""

    def change(self, old: Tensor, units: Tensor) -> Tensor:
        return (self.amount * units).expand_as(old)


@dataclass(frozen=True, kw_only=True)
class Clamp(LatentOperation):
    """z' = min(max(z, low · unit), high · unit); a bound of None does not bind."""

    low: float | None = None
    high: float | None = None

    def prepared(self, known: Known) -> LatentOperation:
        if self.low is None and self.high is None:
            raise ConfigError("a clamp without a bound changes nothing", "give a lower or an upper bound")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ConfigError(f"a clamp between {self.low} and {self.high}", "give a lower bound below the upper one")
        return super().prepared(known)

    def change(self, old: Tensor, units: Tensor) -> Tensor:
        new = old if self.low is None else torch.maximum(old, self.low * units)
        return new if self.high is None else torch.minimum(new, self.high * units)


@dataclass(frozen=True, kw_only=True)
class ZeroOthers(LatentOperation):
    """z'_j = 0 for every latent j but these. With a gate: at tokens where one of these exceeds it. With a sign, their
    other poles go too."""

    def change(self, old: Tensor, units: Tensor) -> Tensor:
        return old

    def apply(self, codes: Codes, tokens: Tokens) -> Codes:
        block = self.turned(block_of(codes, self.latents))
        chosen = self.where(block, tokens).any(dim=1)
        kept = torch.isin(codes.latents.long(), torch.as_tensor(self.latents, device=codes.latents.device))
        if self.sign is not None:
            kept = kept & (self.turned(codes.values) > 0)
        return only_entries(codes, kept | ~chosen[codes.tokens])


def scale(
    latent: Latents,
    by: float,
    *,
    unit: Unit = "raw",
    quantile: float | None = None,
    concept: str | None = None,
    gate: float | None = None,
    mask: Mapping[str, tuple[int, int]] | None = None,
    sign: Sign | None = None,
    weights: Sequence[Weighting] = (),
) -> Operation:
    """Multiply latents by a factor; 0 switches them off."""
    return Scale(
        latents=several(latent), amount=by, unit=unit, quantile=quantile, concept=concept, gate=gate,
        mask=mask or {}, sign=sign, weights=tuple(weights),
    )  # fmt: skip


def add(
    latent: Latents,
    amount: float,
    *,
    unit: Unit = "raw",
    quantile: float | None = None,
    concept: str | None = None,
    gate: float | None = None,
    mask: Mapping[str, tuple[int, int]] | None = None,
    sign: Sign | None = None,
    weights: Sequence[Weighting] = (),
) -> Operation:
    """Add to latents, also where they are silent."""
    return Add(
        latents=several(latent), amount=amount, unit=unit, quantile=quantile, concept=concept, gate=gate,
        mask=mask or {}, sign=sign, weights=tuple(weights),
    )  # fmt: skip


def set_to(
    latent: Latents,
    amount: float,
    *,
    unit: Unit = "raw",
    quantile: float | None = None,
    concept: str | None = None,
    gate: float | None = None,
    mask: Mapping[str, tuple[int, int]] | None = None,
    sign: Sign | None = None,
    weights: Sequence[Weighting] = (),
) -> Operation:
    """Set latents to a value, also where they are silent."""
    return Set(
        latents=several(latent), amount=amount, unit=unit, quantile=quantile, concept=concept, gate=gate,
        mask=mask or {}, sign=sign, weights=tuple(weights),
    )  # fmt: skip


def clamp(
    latent: Latents,
    low: float | None = None,
    high: float | None = None,
    *,
    unit: Unit = "raw",
    quantile: float | None = None,
    concept: str | None = None,
    gate: float | None = None,
    mask: Mapping[str, tuple[int, int]] | None = None,
    sign: Sign | None = None,
    weights: Sequence[Weighting] = (),
) -> Operation:
    """Keep latents between two bounds."""
    return Clamp(
        latents=several(latent), low=low, high=high, unit=unit, quantile=quantile, concept=concept, gate=gate,
        mask=mask or {}, sign=sign, weights=tuple(weights),
    )  # fmt: skip


def keep_only(
    latent: Latents,
    *,
    gate: float | None = None,
    mask: Mapping[str, tuple[int, int]] | None = None,
    sign: Sign | None = None,
) -> Operation:
    """Switch off every latent but these."""
    return ZeroOthers(latents=several(latent), gate=gate, mask=mask or {}, sign=sign)


def weight_of(weights: Sequence[Weighting], tokens: Tokens) -> Float[Tensor, " token"]:
    """How much of a change each token takes: the product of its weights."""
    product = torch.ones(len(tokens.example), device=tokens.coords.device)
    for one in weights:
        product = product * one.of(tokens).to(product)
    return product


def several(latent: Latents) -> tuple[int, ...]:
    """One latent or several, as a tuple."""
    return (latent,) if isinstance(latent, int) else tuple(int(one) for one in latent)


def in_mask(mask: Mapping[str, tuple[int, int]], tokens: Tokens) -> Bool[Tensor, " token"]:
    """The tokens whose coordinates lie within the mask's ranges."""
    within = torch.ones(len(tokens.example), dtype=torch.bool, device=tokens.coords.device)
    for axis, (start, stop) in mask.items():
        steps = tokens.coords[:, tokens.axes.index(axis)]
        within = within & (steps >= start) & (steps < stop)
    return within


def _check_sign(operation: LatentOperation, known: Known) -> None:
    """Raises ConfigError where the operation's sign does not fit the artifact's codes."""
    if operation.sign not in (None, 1, -1):
        raise ConfigError(f"an operation with sign {operation.sign}", "give 1 (positive codes), −1, or none (both)")
    if operation.sign == -1 and not known.signed:
        raise ConfigError(
            f"negative codes of latents {list(operation.latents)}: no code of this artifact is negative",
            "leave out sign",
        )
    if operation.sign is None and operation.unit != "raw" and known.signed:
        raise ConfigError(
            f"the unit {operation.unit!r} without a sign: positive and negative codes have one each",
            "give sign 1 or −1, or the amount in raw units",
        )


def _units(operation: LatentOperation, known: Known) -> Float[Tensor, " chosen"]:
    """What one unit amounts to for each latent of the operation."""
    if operation.unit == "raw":
        return torch.ones(len(operation.latents))
    name = of_sign(statistic(operation.unit, operation.quantile, operation.concept), operation.sign)
    if name not in known.statistics:
        raise ArtifactError(
            f"the unit {operation.unit!r} needs the statistic {name!r}, which the artifact does not hold",
            did_you_mean(name, known.statistics) + "; or give the amount in raw units",
        )
    return known.statistics[name][list(operation.latents)].float().cpu()


def statistic(unit: Unit, quantile: float | None = None, concept: str | None = None) -> str:
    """The name under which an artifact keeps what a unit amounts to. Raises ConfigError where a field is missing."""
    if unit == "quantile":
        if quantile is None or not 0 <= quantile <= 1:
            raise ConfigError(f"the unit 'quantile' with quantile: {quantile}", "give a level between 0 and 1")
        return f"quantile:{quantile:g}"
    if unit == "concept_mean":
        if concept is None:
            raise ConfigError("the unit 'concept_mean' without a concept", "name the concept")
        return f"concept_mean:{concept}"
    return unit


def of_sign(name: str, sign: Sign | None) -> str:
    """The name of a statistic of codes with this sign: that of positive ones is the plain name."""
    return f"negative:{name}" if sign == -1 else name
