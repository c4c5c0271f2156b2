"""Trying a model out to see how a module's tensors follow the picture."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from omnisae.hooks.point import View

Grid = tuple[int, int]


class Probe:
    """Forwards of `batch` pictures through a model, in which one module is watched on its first call."""

    def __init__(self, model: nn.Module, batch: int, device: torch.device) -> None:
        self._model, self._batch, self._device = model, batch, device

    def growth(self, path: str, view: View, shape: tuple[int, ...], picture: Grid) -> tuple[set[int], set[int]] | None:
        """The dimensions that change in a taller and in a wider picture; None if the model takes one size."""
        height, width = picture
        try:
            base = [tuple(t.shape) for t in self._watch(path, view, self._blank(picture))]
            taller = [tuple(t.shape) for t in self._watch(path, view, self._blank((2 * height, width)))]
            wider = [tuple(t.shape) for t in self._watch(path, view, self._blank((height, 2 * width)))]
        except Exception:  # models of one size raise whatever they like
            return None
        if shape not in base or not len(base) == len(taller) == len(wider):
            return None
        i = base.index(shape)
        if not len(shape) == len(taller[i]) == len(wider[i]):
            return None
        return {d for d, n in enumerate(taller[i]) if n != shape[d]}, {
            d for d, n in enumerate(wider[i]) if n != shape[d]
        }

    def in_order(self, path: str, view: View, shape: tuple[int, ...], picture: Grid, grid: Grid, skip: int) -> bool:
        """Whether tokens stand row by row: a change in one cell of the picture must move that cell's token the most.

        `skip` tokens stand in front. Each picture of the batch is changed in a cell of its own; most must agree.
        """
        draw = torch.Generator().manual_seed(0)
        plain = torch.randn(1, 3, *picture, generator=draw).repeat(self._batch, 1, 1, 1)
        changed, cells = plain.clone(), []
        high, wide = max(picture[0] // grid[0], 1), max(picture[1] // grid[1], 1)
        for i in range(self._batch):
            y, x = (grid[0] * (2 * i + 1)) // (2 * self._batch + 1), (grid[1] * (self._batch - i)) // (self._batch + 1)
            changed[i, :, y * high : (y + 1) * high, x * wide : (x + 1) * wide] += 4.0
            cells.append(y * grid[1] + x)
        before, after = (self._tensor(path, view, x, shape) for x in (plain, changed))
        if before is None or after is None:
            return False
        moved = (after - before).float()[:, skip:].norm(dim=2).argmax(dim=1).tolist()
        return 2 * sum(int(a == b) for a, b in zip(moved, cells, strict=True)) > self._batch

    def _tensor(self, path: str, view: View, pictures: Tensor, shape: tuple[int, ...]) -> Tensor | None:
        return next((t for t in self._watch(path, view, pictures) if tuple(t.shape) == shape), None)

    def _blank(self, picture: Grid) -> Tensor:
        return torch.zeros(self._batch, 3, *picture)

    def _watch(self, path: str, view: View, pictures: Tensor) -> list[Tensor]:
        """All tensors that pass a module on its first call."""
        seen: list[list[Tensor]] = []

        def look(module: nn.Module, given: Any, made: Any) -> None:
            seen.append([t.clone() for t in _leaves(given if view == "input" else made)])

        handle = self._model.get_submodule(path).register_forward_hook(look)
        try:
            weight = next(self._model.parameters())
            with torch.inference_mode():
                self._model(pictures.to(device=self._device, dtype=weight.dtype))
        finally:
            handle.remove()
        return seen[0]


def _leaves(found: Any) -> Iterator[Tensor]:
    if isinstance(found, Tensor):
        yield found
    elif isinstance(found, Mapping):
        for item in found.values():
            yield from _leaves(item)
    elif isinstance(found, (tuple, list)):
        for item in found:
            yield from _leaves(item)
