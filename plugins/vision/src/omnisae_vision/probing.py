"""Trying a model out to see how a module's tensors follow the picture."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from omnisae.hooks.point import View
from omnisae.tokens.arrange import flatten
from omnisae.tokens.layout import Layout

Grid = tuple[int, int]


class Probe:
    """Forwards of `batch` pictures through a model, in which one module is watched on its first call.

    `forward` runs the model as the extractor does, from pictures (example, 3, y, x) on the device in the model's dtype.
    """

    def __init__(self, model: nn.Module, forward: Callable[[Tensor], Any], batch: int, device: torch.device) -> None:
        self._model, self._forward, self._batch, self._device = model, forward, batch, device

    def growth(self, path: str, view: View, shape: tuple[int, ...], picture: Grid) -> tuple[set[int], set[int]] | None:
        """The dimensions that change in a taller and in a wider picture; None if the model takes one size."""
        height, width = picture
        base = [tuple(t.shape) for t in self._try(path, view, self._blank(picture))]
        taller = [tuple(t.shape) for t in self._try(path, view, self._blank((2 * height, width)))]
        wider = [tuple(t.shape) for t in self._try(path, view, self._blank((height, 2 * width)))]
        if shape not in base or not len(base) == len(taller) == len(wider):
            return None
        i = base.index(shape)
        if not len(shape) == len(taller[i]) == len(wider[i]):
            return None
        return _changed(shape, taller[i]), _changed(shape, wider[i])

    def batch_dimensions(self, path: str, view: View, shape: tuple[int, ...], picture: Grid) -> set[int]:
        """The dimensions that change when there is one picture more."""
        more = torch.zeros(self._batch + 1, 3, *picture)
        base, larger = (self._try(path, view, x) for x in (self._blank(picture), more))
        i = next((i for i, t in enumerate(base) if tuple(t.shape) == shape), None)
        return set() if i is None or len(base) != len(larger) else _changed(shape, tuple(larger[i].shape))

    def in_order(self, path: str, view: View, shape: tuple[int, ...], picture: Grid, layout: Layout) -> bool:
        """Whether a layout says truly where tokens lie: a change in one cell of the picture must move that cell's most.

        Each picture of the batch is changed in a cell of its own; most must agree. Where patches overlap a neighbour
        may move as much, so the cell's token need only move half as far as the one that moves the most; but twice as
        far as the token in the middle, or the trial says nothing.
        """
        rows, columns = layout.sizes["y"], layout.sizes["x"]
        plain, changed, cells = self._planted(picture, (rows, columns))
        before, after = (self._tensor(path, view, x, shape) for x in (plain, changed))
        if before is None or after is None:
            return False
        one, other = flatten(before, layout), flatten(after, layout)
        moved = (other.values - one.values).float().norm(dim=1)
        names = [axis.name for axis in layout.axes]
        places = one.coords[:, [names.index("y"), names.index("x")]]
        agree = 0
        for i, cell in enumerate(cells):
            mine = (one.example == i) & (one.role == 0)
            own = float(moved[mine & (places == torch.tensor(cell, device=places.device)).all(1)].max())
            agree += own >= 0.5 * float(moved[mine].max()) and own > 2 * float(moved[mine].median())
        return 2 * agree > self._batch

    def _planted(self, picture: Grid, grid: Grid) -> tuple[Tensor, Tensor, list[Grid]]:
        """Pictures of noise, the same with one cell brightened in each, and which cell."""
        draw = torch.Generator().manual_seed(0)
        plain = torch.randn(1, 3, *picture, generator=draw).repeat(self._batch, 1, 1, 1)
        changed, cells = plain.clone(), []
        high, wide = max(picture[0] // grid[0], 1), max(picture[1] // grid[1], 1)
        for i in range(self._batch):
            y, x = (grid[0] * (2 * i + 1)) // (2 * self._batch + 1), (grid[1] * (self._batch - i)) // (self._batch + 1)
            changed[i, :, y * high : (y + 1) * high, x * wide : (x + 1) * wide] += 4.0
            cells.append((y, x))
        return plain, changed, cells

    def _tensor(self, path: str, view: View, pictures: Tensor, shape: tuple[int, ...]) -> Tensor | None:
        return next((t for t in self._try(path, view, pictures) if tuple(t.shape) == shape), None)

    def _blank(self, picture: Grid) -> Tensor:
        return torch.zeros(self._batch, 3, *picture)

    def _try(self, path: str, view: View, pictures: Tensor) -> list[Tensor]:
        """All tensors that pass a module on its first call; none where the model refuses such pictures before it."""
        seen: list[list[Tensor]] = []

        def look(module: nn.Module, args: Any, kwargs: Any, made: Any) -> None:
            seen.append([t.clone() for t in _leaves((args, kwargs) if view == "input" else made)])

        handle = self._model.get_submodule(path).register_forward_hook(look, with_kwargs=True)
        weight = next(self._model.parameters())
        try:
            with torch.inference_mode():
                self._forward(pictures.to(device=self._device, dtype=weight.dtype))
        except Exception:  # models of one size raise whatever they like, often long after the module has fired
            pass
        finally:
            handle.remove()
        return seen[0] if seen else []


def _changed(shape: tuple[int, ...], other: tuple[int, ...]) -> set[int]:
    return {d for d, (a, b) in enumerate(zip(shape, other, strict=True)) if a != b}


def _leaves(found: Any) -> Iterator[Tensor]:
    if isinstance(found, Tensor):
        yield found
    elif isinstance(found, Mapping):
        for item in found.values():
            yield from _leaves(item)
    elif isinstance(found, (tuple, list)):
        for item in found:
            yield from _leaves(item)
