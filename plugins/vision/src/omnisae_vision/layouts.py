"""Layouts of a vision tower's tensors, found from facts the model holds: its grid of patches, its special tokens, the
width and reduction of its stages, what kind of module it is. Where facts leave it open, a trial decides: a change in
one cell of the picture must move that cell's token the most. Where that fails too, the layout must be declared."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import nn

from omnisae.errors import HookError
from omnisae.hooks.point import View
from omnisae.tokens.layout import Layout
from omnisae_vision.probing import Grid, Probe
from omnisae_vision.towers import Tower, reductions, tokens

Declared = tuple[str, dict[str, int]]

MOST_SPECIAL = 16
"""Special tokens of unknown kinds that are looked for beside the patches."""
CHANNELS_FIRST = (nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


class Layouts:
    """The layouts of one model at one picture size. `batch` is the number of pictures in the tensors shown to it."""

    def __init__(self, model: nn.Module, tower: Tower, probe: Probe, batch: int) -> None:
        self._model, self._tower, self._probe, self._batch = model, tower, probe, batch

    def find(self, path: str, view: View, shape: Sequence[int]) -> Declared:
        """Pattern and sizes of a tensor. Raises HookError where the model does not decide them."""
        found = None
        if len(shape) == 4 and shape[0] == self._batch:
            found = self._maps(path, view, shape)
        elif len(shape) == 2 and shape[0] == self._batch:
            found = "example d", {}
        elif len(shape) in (2, 3):
            found = self._rows(path, view, shape)
        if found is None:
            raise self._undecided(path, view, shape)
        return found

    def _rows(self, path: str, view: View, shape: Sequence[int]) -> Declared | None:
        """Rows of tokens, with or without special ones."""
        arranged = self._arrangement(path, view, shape)
        if arranged is None:
            return None
        pattern, length = arranged
        if length == shape[-1] and length not in self._tower.widths:  # an attention matrix
            return None
        known = list(self._known(length, shape[-1]))
        if not self._tower.raster:
            known = [fit for fit in known if self._in_order(path, view, shape, pattern, fit)]
        if not known and length in self._tower.queries:
            return pattern.replace("({})", "[query]"), {"query": length}
        fits = known or [fit for fit in self._thinkable(length) if self._in_order(path, view, shape, pattern, fit)]
        return (pattern.format(fits[0][0]), fits[0][1]) if len(fits) == 1 else None

    def _arrangement(self, path: str, view: View, shape: Sequence[int]) -> tuple[str, int] | None:
        """Where the examples lie, with a gap for the run of tokens, and the run's length."""
        if len(shape) == 2:
            length, rest = divmod(shape[0], self._batch)
            return ("(example {}) d", length) if self._tower.packed and not rest else None
        first, second = shape[0] == self._batch, shape[1] == self._batch
        if first and second:
            dims = self._probe.batch_dimensions(path, view, tuple(shape), self._tower.picture)
            first, second = dims == {0}, dims == {1}
        if first:
            return "example ({}) d", shape[1]
        return ("({}) example d", shape[0]) if second else None

    def _known(self, length: int, width: int) -> Iterator[Declared]:
        """Runs of tokens of this length that the model's own grid and stages allow."""
        tower = self._tower
        if tower.packed:
            yield from self._packed(length)
            return
        grids = {tower.grid} if tower.grid is not None else set()
        grids |= {grid for stage in tower.stages if stage.width == width for grid in stage.grids}
        yield from self._runs(tower, grids, length)

    def _thinkable(self, length: int) -> Iterator[Declared]:
        """Runs of tokens of this length over any reduction of the picture, or with special tokens of unknown kinds."""
        tower = self._tower
        yield from self._runs(tower, reductions(tower.picture) - {(1, 1)}, length)
        if tower.special:
            behind = replace(tower, front=tower.back, back=tower.front)
            yield from self._runs(behind, reductions(tower.picture) - {(1, 1)}, length, bare=False)
        if tower.grid is not None and not tower.special:
            y, x = tower.grid
            extra = length - y * x
            if 0 < extra <= MOST_SPECIAL:
                sizes = {"special": extra, "y": y, "x": x}
                yield from (("[special] + y x", sizes), ("y x + [special]", sizes))

    def _runs(self, tower: Tower, grids: set[Grid], length: int, bare: bool = True) -> Iterator[Declared]:
        """Runs over these grids: with the tower's special tokens, and if `bare` without any."""
        for grid in sorted(grids):
            for special in sorted({0, tower.special} if bare else {tower.special}):
                if grid[0] * grid[1] + special == length:
                    yield tokens(tower, grid, special > 0)

    def _packed(self, length: int) -> Iterator[Declared]:
        """Patches by the squares in which they will be merged, or merged already."""
        (rows, columns), m = self._tower.grid or (0, 0), self._tower.merge
        sizes = {"y": rows // m, "x": columns // m}
        if length == rows * columns:
            yield ("y x", sizes) if m == 1 else ("y x row column", sizes | {"row": m, "column": m})
        elif length * m * m == rows * columns:
            yield "y x", sizes

    def _in_order(self, path: str, view: View, shape: Sequence[int], pattern: str, fit: Declared) -> bool:
        layout = Layout(pattern.format(fit[0]), fit[1])
        return self._probe.in_order(path, view, tuple(shape), self._tower.picture, layout)

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
        if self._tower.grid is not None and not self._tower.staged:
            return grid == self._tower.grid
        return grid in reductions(self._tower.picture)

    def _by_stage(self, shape: Sequence[int]) -> str | None:
        stages = self._tower.stages
        first = any(stage.width == shape[1] and (shape[2], shape[3]) in stage.grids for stage in stages)
        last = any(stage.width == shape[3] and (shape[1], shape[2]) in stage.grids for stage in stages)
        if first == last:
            return None
        return "example d y x" if first else "example y x d"

    def _by_growing(self, path: str, view: View, shape: Sequence[int]) -> str | None:
        """Which dimensions grow with the picture; None where the model takes one size only."""
        grown = self._probe.growth(path, view, tuple(shape), self._tower.picture)
        if grown == ({2}, {3}):
            return "example d y x"
        return "example y x d" if grown == ({1}, {2}) else None

    def _undecided(self, path: str, view: View, shape: Sequence[int]) -> HookError:
        tower = self._tower
        facts = [f"pictures of {tower.picture[0]} × {tower.picture[1]}", f"{self._batch} in the batch"]
        facts += [f"a grid of {tower.grid[0]} × {tower.grid[1]} patches"] if tower.grid else []
        facts += [f"{count} {role} token(s)" for role, count in (*tower.front, *tower.back)]
        return HookError(
            f"hook point {path!r}: the layout of its {view}, a tensor of shape {list(shape)}, cannot be found: "
            f"{self._reason(shape)} ({', '.join(facts)})",
            "declare it under `hooks:`, e.g. layout: 'example (y x) d', sizes: {y: 14, x: 14}; or hook a whole block",
        )

    def _reason(self, shape: Sequence[int]) -> str:
        if len(shape) == 3 and shape[0] == 1:
            return "all pictures of the batch stand one after another in one sequence"
        if self._batch not in shape[:2] and not self._tower.packed:
            return "none of its first dimensions is the batch"
        return "the model's grid and stages do not tell where y and x lie"


def _channels(module: nn.Module, shape: Sequence[int]) -> str | None:
    """What kind of module it is decides, where it works on channels in one known place."""
    if isinstance(module, CHANNELS_FIRST) or type(module).__name__.endswith(("2d", "2dFp32")):
        return "example d y x"
    if isinstance(module, nn.Linear) and shape[3] in (module.in_features, module.out_features):
        return "example y x d"
    if isinstance(module, nn.LayerNorm) and tuple(module.normalized_shape) == (shape[3],):
        return "example y x d"
    return None
