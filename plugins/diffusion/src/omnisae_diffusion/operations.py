"""Operations by tables of latents: erasing (SAeUron), deactivating where present (ItD), steering along directions
(SAEdit, Concept Steerers). Each by its paper's formula; what the autoencoder does not explain is kept, unless the edit
drops it.
"""

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from omnisae.autoencoders.codes import Codes
from omnisae.errors import ConfigError
from omnisae.interventions.operation import Known, Operation, Tokens, weight_of
from omnisae.interventions.sparse import block_of, with_block
from omnisae.interventions.weights import Weighting, weighted
from omnisae_diffusion.selection import itd, pairs, presence
from omnisae_diffusion.selection.table import LatentTable

Ramp = Literal["none", "saedit"]


@dataclass(frozen=True, kw_only=True)
class ByTable(Operation):
    """An operation on the latents of a table, of which each token takes the part that `weights` say.

    `gated`: only in examples (each branch of guidance apart) in which the table's gate finds the concept at this time;
    all others keep their bits.
    """

    table: LatentTable
    strength: float
    weights: tuple[Weighting, ...] = ()
    gated: bool = False
    latents: tuple[int, ...] = ()
    """The table's latents; found by `prepared`, as what follows, here and in subclasses."""
    speak: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    """By entry of the table, what each activation counts for the concept; the last column is the bias."""

    def prepared(self, known: Known) -> Self:
        ticks = known.ticks.get(self.table.axis or "")
        self.table.check(known.identity() if known.identity else "", known.latents, ticks)
        if self.table.axis is not None and self.table.axis not in known.axes:
            raise ConfigError(
                f"the table of {self.table.concept!r} lies along {self.table.axis!r}, and the hook point along "
                f"{', '.join(known.axes) or 'no axis'}",
                "use a table that was selected at this hook point",
            )
        for axis, size in self.table.grid.items():
            if known.sizes.get(axis) != size:
                raise ConfigError(
                    f"the map of {self.table.concept!r} has {size} places along {axis!r}, and the hook point "
                    f"{known.sizes.get(axis, 'no such axis')}",
                    "use a map that was made at this hook point, for pictures of this size",
                )
        for one in self.weights:
            one.check(known.sizes, known.ticks)
        ready = replace(self, latents=tuple(self.table.latents.tolist()))
        if not self.gated:
            return ready
        rows = [np.append(gate.weights, gate.bias) for gate in presence.gates(self.table)]
        return replace(ready, speak=torch.from_numpy(np.stack(rows)).float())

    def apply(self, codes: Codes, tokens: Tokens) -> Codes:
        present = self._present(tokens) if self.gated and len(codes) else None
        if present is not None and not bool(present.any()):
            return codes
        old = block_of(codes, self.latents)
        new = self.change(old, tokens)
        if present is not None:
            new = torch.where(present[:, None], new, old)
        return with_block(codes, self.latents, self._shared(old, new, tokens))

    def _shared(self, old: Tensor, new: Tensor, tokens: Tokens) -> Tensor:
        """The new values, of which each token takes the part that the weights say."""
        return weighted(old, new, weight_of(self.weights, tokens).to(old)) if self.weights else new

    def _present(self, tokens: Tokens) -> Bool[Tensor, " token"]:
        """Whether the concept is there, by token: told for each example and branch by its mean activation."""
        x = tokens.activations
        if x is None:
            raise ConfigError("the gate looks at activations, and there are none at hand", "edit by an artifact")
        speak = self.speak.to(x)
        place = self.time_of(tokens).to(x.device).clamp(min=0)
        each = (x[:, : speak.shape[1] - 1] * speak[place, :-1]).sum(dim=1)
        group = tokens.example.to(x.device).long()
        if "branch" in tokens.axes:
            branch = tokens.coords[:, tokens.axes.index("branch")].to(group).clamp(min=0)
            group = group * (int(branch.max()) + 1) + branch
        content = (tokens.role == 0).to(each)
        count = each.new_zeros(int(group.max()) + 1).index_add(0, group, content)
        total = torch.zeros_like(count).index_add(0, group, each * content)
        return (total / count.clamp(min=1))[group] + speak[place, -1] > 0

    @abstractmethod
    def change(self, old: Float[Tensor, "token chosen"], tokens: Tokens) -> Float[Tensor, "token chosen"]:
        """The new values of the table's latents, as if every token took part in full."""

    def entry_of(self, tokens: Tokens) -> Int[Tensor, " token"]:
        """The number of the table's entry for every token; −1 where it has no place there."""
        at = self.time_of(tokens)
        for axis, size in self.table.grid.items():
            step = tokens.coords[:, tokens.axes.index(axis)].long().to(at.device)
            at = torch.where((at < 0) | (step < 0), -1, at * size + step)
        return at

    def time_of(self, tokens: Tokens) -> Int[Tensor, " token"]:
        """The number of the table's time for every token, by what its forward was told or where it lies."""
        axis = self.table.axis
        if axis is None:
            return torch.zeros(len(tokens.example), dtype=torch.int64, device=tokens.coords.device)
        if axis in tokens.given:
            told, back = torch.unique(tokens.given[axis], return_inverse=True)
            return torch.from_numpy(self.table.places(told.double().cpu().numpy())).to(back.device)[back]
        return tokens.coords[:, tokens.axes.index(axis)].long()

    def laid_out(self, what: Literal["gates", "targets"], absent: float) -> Float[Tensor, "entry chosen"]:
        """One number of each entry's latents, `absent` for latents that an entry does not name."""
        place = {latent: i for i, latent in enumerate(self.latents)}
        found = np.full((len(self.table.entries), len(self.latents)), absent, dtype=np.float32)
        for row, entry in zip(found, self.table.entries, strict=True):
            row[[place[int(latent)] for latent in entry.latents]] = getattr(entry, what)
        return torch.from_numpy(found)


@dataclass(frozen=True, kw_only=True)
class Erase(ByTable):
    """SAeUron's edit: where z_i exceeds its gate at this time (its mean over all concepts), z_i ← γ · μ_i(t, D_c) ·
    z_i.

    `strength` is γ: −1 in the paper for styles, down to −30 for objects. Latents that are silent, and tokens in which
    none of the table's latents exceeds its gate, keep their bits. `relative` leaves out μ_i: z_i ← γ · z_i, which does
    not depend on the scale of the activations; 0 then switches off.
    """

    strength: float = -1.0
    relative: bool = False
    gates: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    targets: Tensor = field(default_factory=lambda: torch.zeros(0, 0))

    def prepared(self, known: Known) -> Self:
        ready = super().prepared(known)
        return replace(ready, gates=ready.laid_out("gates", np.inf), targets=ready.laid_out("targets", 0.0))

    def change(self, old: Tensor, tokens: Tokens) -> Tensor:
        entry = self.entry_of(tokens).to(old.device)
        gates = self.gates.to(old)[entry.clamp(min=0)]
        scale = self.strength * (1.0 if self.relative else self.targets.to(old)[entry.clamp(min=0)])
        acts = (old > gates) & (old > 0) & (entry >= 0)[:, None]
        return torch.where(acts, scale * old, old)


@dataclass(frozen=True, kw_only=True)
class Steer(ByTable):
    """A direction in code space: z ← z + strength · g, also where latents are silent. g stands in the table: SAEdit's
    first singular vector for all tokens, or Concept Steerers' codes position by position.

    `ramp` "saedit" lets the strength grow with the generation: min(exp(u·s) − 1, s), s = 15 · strength, u from 0 at the
    first scheduler time to 1 at the last. On the unconditional branch Concept Steerers subtract: weights along
    `branch`.
    """

    strength: float = 1.0
    ramp: Ramp = "none"
    positions: tuple[int, int] | None = None
    """Only tokens at these positions (half-open); None: all."""
    ticks: tuple[float, ...] = ()
    targets: Tensor = field(default_factory=lambda: torch.zeros(0, 0))

    def prepared(self, known: Known) -> Self:
        ready = super().prepared(known)
        ticks = known.ticks.get("timestep", ())
        if self.ramp == "saedit" and not ticks:
            raise ConfigError(
                "ramp: saedit follows the generation, and the hook point has no axis timestep",
                "steer in the denoiser (at: prompt_embeds), or set ramp: none",
            )
        if self.positions is not None and "position" not in known.axes:
            raise ConfigError(
                f"positions {list(self.positions)} are named, and the hook point lies along {', '.join(known.axes)}",
                "steer where prompts are read, or paint a mask over y and x",
            )
        return replace(ready, targets=ready.laid_out("targets", 0.0), ticks=tuple(ticks))

    def change(self, old: Tensor, tokens: Tokens) -> Tensor:
        entry = self.entry_of(tokens).to(old.device)
        place = entry.clamp(min=0, max=len(self.targets) - 1)
        added = self.targets.to(old)[place] * self._amount(tokens).to(old)[:, None]
        inside = (entry >= 0) & (entry < len(self.targets))
        if self.positions is not None:
            at = tokens.coords[:, tokens.axes.index("position")].to(old.device)
            inside = inside & (at >= self.positions[0]) & (at < self.positions[1])
        return torch.where(inside[:, None] & (added != 0), old + added, old)

    def _amount(self, tokens: Tokens) -> Tensor:
        if self.ramp == "none":
            return torch.full((len(tokens.example),), self.strength)
        told, back = torch.unique(tokens.given["timestep"], return_inverse=True)
        first, last = self.ticks[0], self.ticks[-1]
        span = (first - last) or 1.0
        progress = [min(max((first - float(time)) / span, 0.0), 1.0) for time in told]
        return torch.tensor([pairs.strength(u, self.strength) for u in progress])[back.cpu()]


@dataclass(frozen=True, kw_only=True)
class Deactivate(ByTable):
    """Interpret-then-Deactivate: in prompts that its zero-shot classifier says have the concept, the concept's latents
    are multiplied by the classifier's factor (−8); prompts without it are untouched, bit for bit.

    `strength` scales the factor's change: 1 is the paper's. The paper replaces the tokens by the reconstruction; edit
    with `error=False` for that.
    """

    strength: float = 1.0
    gate: itd.Gate | None = None
    known: Known | None = None

    def prepared(self, known: Known) -> Self:
        if known.decode is None:
            raise ConfigError("the classifier reconstructs, and no decoder is at hand", "edit by an artifact")
        return replace(super().prepared(known), gate=itd.gate_of(self.table), known=known)

    def apply(self, codes: Codes, tokens: Tokens) -> Codes:
        gate, x = self.gate, tokens.activations
        if gate is None or x is None or self.known is None or self.known.decode is None:
            raise ConfigError("the zero-shot classifier needs the activations themselves", "edit by an artifact")
        prompts = int(tokens.example.max()) + 1 if len(tokens.example) else 0
        has = torch.bincount(tokens.example[tokens.role == 0], minlength=prompts) > 0
        error = torch.full((prompts,), -np.inf, device=x.device)
        rows = tokens.example[tokens.role == 0].unique()
        place = torch.full((prompts,), -1, dtype=torch.int64, device=x.device)
        place[rows] = torch.arange(len(rows), device=x.device)
        counted = tokens.role == 0
        found = gate.error(x, codes, self.known.decode, place[tokens.example].clamp(min=0), len(rows), counted)
        error[rows] = found.to(error)
        present = (gate.present(error) & has)[tokens.example] & counted
        old = block_of(codes, gate.latents)
        factor = 1.0 + self.strength * (gate.factor - 1.0)
        new = torch.where(present[:, None].to(old.device) & (old != 0), old * factor, old)
        return with_block(codes, gate.latents, self._shared(old, new, tokens))

    def change(self, old: Tensor, tokens: Tokens) -> Tensor:
        return old
