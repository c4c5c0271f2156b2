"""Whether the tensors of a checkpoint fit a model: which do not, in words."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

SHOWN = 3
"""Tensors of a kind that an error names; the rest are counted."""


@dataclass(frozen=True)
class Misfit:
    """Tensors by which a checkpoint differs from a model. True where there are any."""

    missing: Shapes
    unknown: Shapes
    reshaped: Mapping[str, tuple[Shape, Shape]]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unknown or self.reshaped)

    def __str__(self) -> str:
        lines = [
            _line(
                "has another shape",
                "have other shapes",
                {name: f"{_sides(found)}, the model's {_sides(own)}" for name, (found, own) in self.reshaped.items()},
            ),
            _line("is missing", "are missing", {name: _sides(shape) for name, shape in self.missing.items()}),
            _line("is unknown", "are unknown", {name: _sides(shape) for name, shape in self.unknown.items()}),
        ]
        return "; ".join(line for line in lines if line)


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """The shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def compare(own: Shapes, found: Shapes) -> Misfit:
    """How the tensors `found` in a checkpoint differ from the model's `own`."""
    return Misfit(
        {name: shape for name, shape in own.items() if name not in found},
        {name: shape for name, shape in found.items() if name not in own},
        {name: (shape, own[name]) for name, shape in found.items() if name in own and own[name] != shape},
    )


def without_common_word(own: Shapes, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the word that all their names begin with, where the model knows more of them so.

    Checkpoints of a wrapper call every tensor of the model within `model.…` or `backbone.…`.
    """
    words = {name.partition(".")[0] for name in found}
    if len(words) == 1:
        shorter = {name.partition(".")[2]: tensor for name, tensor in found.items()}
        if "" not in shorter and len(shorter.keys() & own.keys()) > len(found.keys() & own.keys()):
            return shorter
    return dict(found)


def likeness(own: Shapes, found: Shapes) -> float:
    """The share of tensors, of either side, that both have by the same name and shape."""
    both = sum(found.get(name) == shape for name, shape in own.items())
    return both / max(len(own.keys() | found.keys()), 1)


def names_in_common(own: Shapes, found: Shapes) -> float:
    """The share of names, of either side, that both have."""
    return len(own.keys() & found.keys()) / max(len(own.keys() | found.keys()), 1)


def _line(one: str, several: str, tensors: Mapping[str, str]) -> str:
    if not tensors:
        return ""
    shown = ", ".join(f"{name} [{what}]" for name, what in list(tensors.items())[:SHOWN])
    more = f" and {len(tensors) - SHOWN} more" if len(tensors) > SHOWN else ""
    return f"{len(tensors)} {one if len(tensors) == 1 else several}: {shown}{more}"


def _sides(shape: Shape) -> str:
    return " × ".join(map(str, shape)) or "a number"
