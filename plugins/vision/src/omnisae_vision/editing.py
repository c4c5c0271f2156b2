"""Editing in a region: a latent switched on or off at some places of a picture, and nowhere else.

from omnisae_vision.editing import in_region

with in_region(sae, model, 17, {"y": (0, 4), "x": (0, 4)}):            # off in the upper left corner
    logits = model(pictures)
with in_region(sae, model, 17, masks, to=1.0, unit="max"):              # on where a mask says so
    logits = model(pictures)
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from omnisae.autoencoders.codes import Codes
from omnisae.concepts.coverage import coverage
from omnisae.errors import ConfigError, did_you_mean
from omnisae.interventions.operation import Known, Latents, Operation, Tokens, Unit, in_mask, scale, set_to
from omnisae.interventions.operation import add as add_to
from omnisae.interventions.sae import SAE
from omnisae.interventions.sparse import only_entries, take
from omnisae.postings.poles import Sign

Ranges = Mapping[str, tuple[int, int]]
Region = Ranges | Bool[Tensor, "y x"] | Bool[Tensor, "example y x"]
"""Half-open ranges of steps along axes, or a grid of tokens: one for every example, or one each."""


@contextmanager
def in_region(
    sae: SAE,
    model: nn.Module,
    latent: Latents,
    region: Region | Any,
    *,
    by: float | None = None,
    to: float | None = None,
    add: float | None = None,
    unit: Unit = "raw",
    quantile: float | None = None,
    concept: str | None = None,
    sign: Sign | None = None,
    outside: bool = False,
    error: bool = True,
    allow_other_model: bool = False,
) -> Iterator[None]:
    """Edit latents at the tokens of a region in every forward within the block; all other tokens keep their bits.

    Without more, the latents are switched off there. `by` multiplies them, `to` sets them, also where they are silent,
    and `add` adds, in `unit` (see `omnisae.scale`). A grid is anything that makes a tensor of bool; it has the size of
    the hook point's `y` and `x`, and with three dimensions one for each example of the batch. `outside` edits all
    content tokens but the region's. Special tokens lie in no region. Hooks are removed on every way out.

    Raises ConfigError where the region or the change does not fit, ArtifactError where the artifact does not belong to
    the model.
    """
    given = [name for name, value in (("by", by), ("to", to), ("add", add)) if value is not None]
    if len(given) > 1:
        raise ConfigError(f"in_region was given {' and '.join(given)}", "give one of them")
    how: dict[str, Any] = {"unit": unit, "quantile": quantile, "concept": concept, "sign": sign}
    if to is not None:
        operation = set_to(latent, to, **how)
    elif add is not None:
        operation = add_to(latent, add, **how)
    else:
        operation = scale(latent, 0.0 if by is None else by, **how)
    within = Within(operation, of(region), outside, _sizes(sae))
    with sae.edit(model, within, error=error, allow_other_model=allow_other_model):
        yield


@dataclass(frozen=True)
class Within(Operation):
    """An operation at the tokens of a region, or with `outside` at all other content tokens. `sizes` are the hook
    point's, where the layout knows them: a grid must have them."""

    operation: Operation
    region: Region
    outside: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)

    def prepared(self, known: Known) -> "Within":
        named = tuple(self.region) if isinstance(self.region, Mapping) else ("y", "x")
        for axis in named:
            if axis not in known.axes:
                raise ConfigError(f"the region names axis {axis!r}", did_you_mean(axis, known.axes))
        if isinstance(self.region, Mapping):
            for axis, (start, stop) in self.region.items():
                if not 0 <= start < stop:
                    raise ConfigError(
                        f"the region's range on {axis!r} is {start} to {stop}", "give 0 ≤ start < stop, in tokens"
                    )
        else:
            self._check_grid(self.region)
        return replace(self, operation=self.operation.prepared(known))

    def apply(self, codes: Codes, tokens: Tokens) -> Codes:
        inside = self.where(tokens).to(codes.offsets.device)
        rows = inside.nonzero()[:, 0]
        part = tokens.take(rows.to(tokens.coords.device))
        return merged(codes, rows, self.operation.apply(take(codes, rows), part))

    def where(self, tokens: Tokens) -> Bool[Tensor, " token"]:
        """The tokens that are edited."""
        content = (tokens.coords >= 0).all(dim=1)
        if isinstance(self.region, Mapping):
            inside = in_mask(self.region, tokens)
        else:
            inside = self._on_grid(self.region, tokens, content)
        return content & ~inside if self.outside else content & inside

    def _on_grid(
        self, grid: Bool[Tensor, "..."], tokens: Tokens, content: Bool[Tensor, " token"]
    ) -> Bool[Tensor, " token"]:
        y, x = (tokens.coords[:, tokens.axes.index(axis)].long() for axis in ("y", "x"))
        self._check_reach(grid, tokens, y, x)
        grid = grid.to(tokens.coords.device)
        y, x = y.clamp(min=0), x.clamp(min=0)
        found = grid[y, x] if grid.ndim == 2 else grid[tokens.example, y, x]
        return found & content

    def _check_grid(self, grid: Bool[Tensor, "..."]) -> None:
        if grid.dtype != torch.bool or grid.ndim not in (2, 3):
            raise ConfigError(
                f"the region is a grid of {grid.dtype} with {grid.ndim} dimensions",
                "give bool, [y, x] for all examples or [example, y, x] for each",
            )
        wanted = [self.sizes.get(axis) for axis in ("y", "x")]
        if None not in wanted and list(grid.shape[-2:]) != wanted:
            raise ConfigError(
                f"the region is a grid of {grid.shape[-2]} × {grid.shape[-1]} tokens (y, x), and the hook point has "
                f"{wanted[0]} × {wanted[1]}",
                "omnisae_vision.editing.covered makes a grid of a mask over pixels",
            )

    def _check_reach(
        self, grid: Bool[Tensor, "..."], tokens: Tokens, y: Int[Tensor, " token"], x: Int[Tensor, " token"]
    ) -> None:
        if not len(y):
            return
        examples = int(tokens.example.max()) + 1
        if grid.ndim == 3 and examples > len(grid):
            raise ConfigError(
                f"the region holds grids for {len(grid)} examples, and the batch has {examples}",
                "give one grid an example of the batch, or one for all",
            )
        if int(y.max()) >= grid.shape[-2] or int(x.max()) >= grid.shape[-1]:
            raise ConfigError(
                f"the region is a grid of {grid.shape[-2]} × {grid.shape[-1]} tokens (y, x), and tokens reach row "
                f"{int(y.max()) + 1} and column {int(x.max()) + 1}",
                "give a grid of the size of the picture's tokens",
            )


def of(region: Region | Any) -> Region:
    """A region as an edit takes it: ranges as they are, anything else as a tensor. One grid in a stack of one is for
    all examples."""
    if isinstance(region, Mapping):
        return region
    grid = torch.as_tensor(region)
    return grid[0] if grid.ndim == 3 and len(grid) == 1 else grid


def covered(mask: Bool[Any, "y x"], sae: SAE, share: float = 0.5) -> Bool[Tensor, "row column"]:
    """The tokens of whose cells a mask covers at least `share`. The mask lies over the picture as the model sees it
    (`extractor.place` brings one there from the raw picture). Raises ConfigError where the hook point has no grid."""
    sizes = _sizes(sae)
    if not {"y", "x"} <= set(sizes):
        raise ConfigError(
            f"the hook point {sae.info.hook.name!r} has no fixed grid of tokens along y and x",
            "edit at a hook point that has both, and whose layout gives their sizes",
        )
    return torch.from_numpy(coverage(np.asarray(mask, dtype=bool), sizes["y"], sizes["x"]) >= share - 1e-9)


def merged(codes: Codes, rows: Int[Tensor, " row"], part: Codes) -> Codes:
    """The codes in which the tokens `rows` (ascending) have the codes of `part`, and all others their own."""
    chosen = torch.zeros(len(codes), dtype=torch.bool, device=codes.offsets.device)
    chosen[rows] = True
    others = only_entries(codes, ~chosen[codes.tokens])
    tokens = torch.cat([others.tokens, rows[part.tokens]])
    order = tokens.argsort(stable=True)
    counts = torch.bincount(tokens, minlength=len(codes))
    return Codes(
        torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        torch.cat([others.latents, part.latents.to(others.latents.dtype)])[order],
        torch.cat([others.values, part.values.to(others.values.dtype)])[order],
        codes.width,
        codes.context,
    )


def _sizes(sae: SAE) -> dict[str, int]:
    return {name: size for name, size in sae.info.hook.known_sizes.items() if size is not None}
