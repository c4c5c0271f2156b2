"""Layouts of a timm model's tensors, found from facts the model holds: its grid of patches, its prefix tokens, the
width and reduction of its stages, what kind of module it is. Where these do not decide, the layout must be declared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omnisae.errors import HookError
from omnisae.hooks.point import View
from omnisae_vision.probing import Grid, Probe

Declared = tuple[str, dict[str, int]]

CHANNELS_FIRST = (nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


@dataclass(frozen=True)
class Stage:
    """A stage of a model that has several: its width and the grids that its reduction makes of the picture."""

    width: int
    grids: frozenset[Grid]


class Layouts:
    """The layouts of one model at one picture size. `batch` is the number of examples in the tensors shown to it."""

    def __init__(self, model: nn.Module, picture: Grid, batch: int, device: torch.device) -> None:
        self._model, self._picture, self._batch = model, picture, batch
        self._probe = Probe(model, batch, device)
        self._grid = _patch_grid(model)
        self._prefix = _prefix(model)
        self._stages = _stages(model, picture)

    def find(self, path: str, view: View, shape: Sequence[int]) -> Declared:
        """Pattern and sizes of a tensor. Raises HookError where the model does not decide them."""
        if not shape or shape[0] != self._batch:
            raise self._undecided(path, view, shape, f"its first dimension is not the batch of {self._batch} pictures")
        if len(shape) == 2:
            return "example d", {}
        found = None
        if len(shape) == 3:
            found = self._tokens(path, view, shape)
        if len(shape) == 4:
            found = self._maps(path, view, shape)
        if found is None:
            raise self._undecided(path, view, shape, "the model's grid and stages do not tell where y and x lie")
        return found

    def _tokens(self, path: str, view: View, shape: Sequence[int]) -> Declared | None:
        """Rows of patches, with or without the prefix tokens in front."""
        length, width = shape[1], shape[2]
        if length == width and width not in self._widths():  # an attention matrix
            return None
        grids = {self._grid} if self._grid is not None else set()
        grids |= {grid for stage in self._stages if stage.width == width for grid in stage.grids}
        prefix = sum(count for _, count in self._prefix)
        fits = {(grid, n) for grid in grids for n in {0, prefix} if grid[0] * grid[1] + n == length}
        if len(fits) != 1:
            return None
        grid, n = next(iter(fits))
        if not hasattr(self._model, "num_prefix_tokens") and not self._in_order(path, view, shape, grid, n):
            return None  # as Hiera's tokens, which stand in the order of its mask units
        if n == 0:
            return "example (y x) d", {"y": grid[0], "x": grid[1]}
        sizes = dict(self._prefix) | {"y": grid[0], "x": grid[1]}
        return f"example ({' + '.join(f'[{role}]' for role, _ in self._prefix)} + y x) d", sizes

    def _in_order(self, path: str, view: View, shape: Sequence[int], grid: Grid, skip: int) -> bool:
        return self._probe.in_order(path, view, tuple(shape), self._picture, grid, skip)

    def _maps(self, path: str, view: View, shape: Sequence[int]) -> Declared | None:
        """Maps with the channels first or last."""
        first, last = (shape[2], shape[3]), (shape[1], shape[2])
        could = [found for found, grid in (("example d y x", first), ("example y x d", last)) if self._is_grid(grid)]
        kind = _channels(self._model.get_submodule(path), shape)
        if kind is None:
            kind = self._by_stage(shape) or self._by_growing(path, view, shape)
        if kind is None or kind not in could:
            return None
        y, x = first if kind == "example d y x" else last
        return kind, {"y": y, "x": x}

    def _is_grid(self, grid: Grid) -> bool:
        """Whether the picture, or the model's patches, can have been reduced to this grid alike in y and x."""
        if self._grid is not None and not self._stages_differ():
            return grid == self._grid
        height, width = self._picture
        return any(
            grid[0] in _reduced(height, r) and grid[1] in _reduced(width, r) for r in range(1, max(height, width) + 1)
        )

    def _stages_differ(self) -> bool:
        return len({stage.grids for stage in self._stages}) > 1

    def _by_stage(self, shape: Sequence[int]) -> str | None:
        first = any(stage.width == shape[1] and (shape[2], shape[3]) in stage.grids for stage in self._stages)
        last = any(stage.width == shape[3] and (shape[1], shape[2]) in stage.grids for stage in self._stages)
        if first == last:
            return None
        return "example d y x" if first else "example y x d"

    def _by_growing(self, path: str, view: View, shape: Sequence[int]) -> str | None:
        """Which dimensions grow with the picture; None where the model takes one size only."""
        grown = self._probe.growth(path, view, tuple(shape), self._picture)
        if grown == ({2}, {3}):
            return "example d y x"
        return "example y x d" if grown == ({1}, {2}) else None

    def _widths(self) -> set[int]:
        return {
            int(w) for name in ("embed_dim", "num_features") if isinstance(w := getattr(self._model, name, None), int)
        }

    def _undecided(self, path: str, view: View, shape: Sequence[int], reason: str) -> HookError:
        facts = [f"pictures of {self._picture[0]} × {self._picture[1]}"]
        facts += [f"a grid of {self._grid[0]} × {self._grid[1]} patches"] if self._grid else []
        facts += [f"{count} {role} token(s)" for role, count in self._prefix]
        return HookError(
            f"hook point {path!r}: the layout of its {view}, a tensor of shape {list(shape)}, cannot be found: "
            f"{reason} ({', '.join(facts)})",
            "declare it under `hooks:`, e.g. layout: 'example (y x) d', sizes: {y: 14, x: 14}; or hook a whole block",
        )


def _channels(module: nn.Module, shape: Sequence[int]) -> str | None:
    """What kind of module it is decides, where it works on channels in one known place."""
    if isinstance(module, CHANNELS_FIRST) or type(module).__name__.endswith(("2d", "2dFp32")):
        return "example d y x"
    if isinstance(module, nn.Linear) and shape[3] in (module.in_features, module.out_features):
        return "example y x d"
    if isinstance(module, nn.LayerNorm) and tuple(module.normalized_shape) == (shape[3],):
        return "example y x d"
    return None


def _patch_grid(model: nn.Module) -> Grid | None:
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    return (int(grid[0]), int(grid[1])) if isinstance(grid, (tuple, list)) and len(grid) == 2 else None


def _prefix(model: nn.Module) -> tuple[tuple[str, int], ...]:
    """The special tokens in front of the patches, in their order. One role, prefix, where they are of unknown kinds."""
    total = int(getattr(model, "num_prefix_tokens", 0) or 0)
    held = [
        ("cls", int(getattr(model, "cls_token", None) is not None)),
        ("dist", int(getattr(model, "dist_token", None) is not None)),
        ("register", int(t.shape[1]) if isinstance(t := getattr(model, "reg_token", None), Tensor) else 0),
    ]
    known = tuple((role, count) for role, count in held if count)
    if sum(count for _, count in known) == total:
        return known
    return (("prefix", total),) if total else ()


def _stages(model: nn.Module, picture: Grid) -> list[Stage]:
    info = getattr(model, "feature_info", None) or ()
    entries = info if isinstance(info, list) else getattr(info, "info", ())
    found = []
    for entry in entries:
        if isinstance(entry, Mapping) and isinstance(entry.get("reduction"), int) and "num_chs" in entry:
            r = entry["reduction"]
            grids = frozenset((y, x) for y in _reduced(picture[0], r) for x in _reduced(picture[1], r))
            found.append(Stage(int(entry["num_chs"]), grids))
    return found


def _reduced(length: int, r: int) -> set[int]:
    return {length // r, -(-length // r)} - {0}
