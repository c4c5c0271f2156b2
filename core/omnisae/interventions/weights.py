"""Weights: how much of an operation's change a token takes, by where it lies."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from omnisae.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from omnisae.interventions.operation import Tokens


class Weighting(ABC):
    """A weight for every token."""

    @abstractmethod
    def check(self, sizes: Mapping[str, int | None], ticks: Mapping[str, tuple[float, ...]]) -> None:
        """Raises ConfigError where it does not fit tokens on axes of these sizes; `ticks` are those of told axes."""

    @abstractmethod
    def of(self, tokens: "Tokens") -> Float[Tensor, " token"]:
        """The weights of tokens, by their coordinates and by what their forward was told."""


@dataclass(frozen=True)
class Along(Weighting):
    """Weights along one axis. Of an axis along which whole forwards lie, `table` maps what a forward is told (not the
    step's number) to a weight, linear between entries and constant beyond them, so that the same table serves runs of
    another number of steps. Of any other axis it maps steps to weights; steps that it does not name have the weight 0.
    """

    axis: str
    table: Mapping[float, float]

    def check(self, sizes: Mapping[str, int | None], ticks: Mapping[str, tuple[float, ...]]) -> None:
        if self.axis not in sizes:
            raise ConfigError(f"the weights name axis {self.axis!r}", did_you_mean(self.axis, sizes))
        if not self.table:
            raise ConfigError(f"the weights along {self.axis!r} are empty", "give at least one weight")
        for step, weight in self.table.items():
            if not (math.isfinite(step) and math.isfinite(weight)):
                raise ConfigError(
                    f"the weights along {self.axis!r} give {step:g} the weight {weight:g}", "give finite numbers"
                )
        size = sizes[self.axis]
        if self.axis in ticks:
            return
        for step in self.table:
            if step != int(step) or step < 0 or (size is not None and step >= size):
                raise ConfigError(
                    f"the weights along {self.axis!r} name step {step:g}",
                    f"steps are whole numbers from 0 to {'…' if size is None else size - 1}",
                )

    def of(self, tokens: "Tokens") -> Float[Tensor, " token"]:
        keys = sorted(self.table)
        if self.axis in tokens.given:
            told, back = torch.unique(tokens.given[self.axis], return_inverse=True)
            known = np.interp(told.double().cpu().numpy(), keys, [self.table[key] for key in keys])
            return torch.from_numpy(known).float().to(back.device)[back]
        column = tokens.coords[:, tokens.axes.index(self.axis)]
        weight = torch.zeros(len(column), device=column.device)
        for key in keys:
            weight[column == int(key)] = self.table[key]
        return weight


@dataclass(frozen=True, eq=False)
class Painted(Weighting):
    """Weights painted over two axes: `picture` is brought to their sizes, each place taking the mean over the pixels
    that it touches. Tokens that do not lie on both axes have the weight 0."""

    picture: Float[np.ndarray, "y x"]
    axes: tuple[str, str] = ("y", "x")

    def check(self, sizes: Mapping[str, int | None], ticks: Mapping[str, tuple[float, ...]]) -> None:
        for axis in self.axes:
            if axis not in sizes:
                raise ConfigError(f"a picture of weights lies over axis {axis!r}", did_you_mean(axis, sizes))
        if self.picture.ndim != 2 or not self.picture.size or not np.isfinite(self.picture).all():
            raise ConfigError(
                f"a picture of weights has the shape {list(self.picture.shape)}, or values that are no numbers",
                "give one finite number a pixel",
            )

    def of(self, tokens: "Tokens") -> Float[Tensor, " token"]:
        y, x = (tokens.coords[:, tokens.axes.index(axis)].long() for axis in self.axes)
        placed = (y >= 0) & (x >= 0)
        weight = torch.zeros(len(placed), device=placed.device)
        if not bool(placed.any()):
            return weight
        # Of a forward whose sizes are not at hand, what its tokens reach.
        high, wide = (tokens.sizes.get(axis, int(at.max()) + 1) for axis, at in zip(self.axes, (y, x), strict=True))
        whole = torch.as_tensor(np.ascontiguousarray(self.picture), dtype=torch.float32)
        grid = torch.nn.functional.adaptive_avg_pool2d(whole[None, None], (high, wide))[0, 0].to(placed.device)
        weight[placed] = grid[y[placed], x[placed]]
        return weight


def painted_from(path: Path) -> Painted:
    """The weights in a file: .npy as they are, or a picture's grey values from 0 (black) to 1 (white; of 16 bits, too).

    Raises ConfigError where it cannot be read.
    """
    try:
        if path.suffix == ".npy":
            return Painted(np.asarray(np.load(path, allow_pickle=False), dtype=np.float32))
        with Image.open(path) as opened:
            if opened.mode.startswith("I"):  # which `convert` would clip at 255
                return Painted(np.asarray(opened, dtype=np.float32) / 65535)
            return Painted(np.asarray(opened.convert("L"), dtype=np.float32) / 255)
    except (OSError, EOFError, SyntaxError, TypeError, ValueError) as error:
        raise ConfigError(f"paint: {path} cannot be read: {error}", "give a grey picture (.png) or .npy") from error


def weighted(
    old: Float[Tensor, "token chosen"], new: Float[Tensor, "token chosen"], weight: Float[Tensor, " token"]
) -> Float[Tensor, "token chosen"]:
    """old + w · (new − old); bit for bit the old at weight 0 and the new at weight 1."""
    w = weight[:, None]
    mixed = old + w * (new - old)
    return torch.where(w == 0, old, torch.where(w == 1, new, mixed))
