"""Lines of one level through a map of values (marching squares, Lorensen & Cline 1987 in the plane)."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

FINE = 80
"""Longest side of the map through which outlines are drawn."""
TOP, RIGHT, BOTTOM, LEFT = range(4)

# Corners count 1, 2, 4, 8 from the upper left one clockwise where they lie inside. Lines enter a cell at the first edge
# and leave it at the second, with the inside on one hand, so that the lines of neighbouring cells meet end to end.
LINES: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((LEFT, TOP),), 2: ((TOP, RIGHT),), 4: ((RIGHT, BOTTOM),), 8: ((BOTTOM, LEFT),),
    14: ((TOP, LEFT),), 13: ((RIGHT, TOP),), 11: ((BOTTOM, RIGHT),), 7: ((LEFT, BOTTOM),),
    3: ((LEFT, RIGHT),), 12: ((RIGHT, LEFT),), 6: ((TOP, BOTTOM),), 9: ((BOTTOM, TOP),),
    5: ((LEFT, TOP), (RIGHT, BOTTOM)), 10: ((TOP, RIGHT), (BOTTOM, LEFT)),
    16 + 5: ((RIGHT, TOP), (LEFT, BOTTOM)), 16 + 10: ((TOP, LEFT), (BOTTOM, RIGHT)),
}  # fmt: skip
"""With 16 the middle of a cell with two opposite corners inside lies inside, too: they are one."""

Line = Float[np.ndarray, "point 2"]


def smooth(values: Float[np.ndarray, "row column"], height: int, width: int) -> Float[np.ndarray, "y x"]:
    """Values of tokens between their middles, bilinear; beyond the outermost middles they stay, as the report's smooth
    heatmaps have it."""
    down, across = _weights(height, values.shape[0]), _weights(width, values.shape[1])
    return np.asarray(down @ values.astype(np.float64) @ across.T)


def outlines(field: Float[np.ndarray, "y x"], level: float) -> list[Line]:
    """Closed lines (x, y), in units of pixels from the upper left corner, around where a map exceeds a level; they
    follow the map's edge where it does so there."""
    edge = np.pad(np.asarray(field, dtype=np.float64), 1, mode="edge")
    ringed = np.minimum(edge, 2 * level - edge)
    ringed[1:-1, 1:-1] = field
    following = _following(ringed, level)
    lines = []
    while following:
        first, at = following.popitem()
        crossed = [first]
        while at != first:
            crossed.append(at)
            at = following.pop(at)
        lines.append(_places(ringed, level, np.array(crossed)))
    return [np.clip(line, 0, (field.shape[1], field.shape[0])) for line in lines]


def mask_outlines(mask: Bool[np.ndarray, "y x"]) -> list[Line]:
    """The outlines of a mask, in units of its pixels."""
    return outlines(mask.astype(np.float64), 0.5)


def path(lines: Sequence[Line], across: float = 1.0, down: float = 1.0) -> str:
    """Lines as an SVG path in whole numbers, after multiplication with a scale in x and y; each corner is given by its
    distance from the one before, and what lies straight between two corners is left out."""
    parts = []
    for line in lines:
        corners = np.round(_corners(line) * (across, down)).astype(np.int64)
        steps = np.diff(corners, axis=0)
        moved = steps[(steps != 0).any(axis=1)].tolist()
        if len(moved) > 1:
            x, y = corners[0].tolist()
            parts.append(f"M{x} {y}l" + " ".join(f"{dx} {dy}" for dx, dy in moved) + "z")
    return "".join(parts)


def _following(field: Float[np.ndarray, "y x"], level: float) -> dict[int, int]:
    """For each crossed edge the next one along its line. Edges to the right of a point have even numbers, edges below
    it odd ones."""
    inside = (field > level).astype(np.uint8)
    code = inside[:-1, :-1] + 2 * inside[:-1, 1:] + 4 * inside[1:, 1:] + 8 * inside[1:, :-1]
    rows, at = np.nonzero((code != 0) & (code != 15))
    kinds, corners = (
        code[rows, at],
        field[rows, at] + field[rows, at + 1] + field[rows + 1, at + 1] + field[rows + 1, at],
    )
    kinds = kinds + np.where(((kinds == 5) | (kinds == 10)) & (corners / 4 > level), 16, 0)
    columns = field.shape[1]
    edges = {TOP: 0, LEFT: 1, RIGHT: 3, BOTTOM: 2 * columns}
    following: dict[int, int] = {}
    for point, kind in zip((2 * (rows * columns + at)).tolist(), kinds.tolist(), strict=True):
        for entered, left in LINES[kind]:
            following[point + edges[entered]] = point + edges[left]
    return following


def _places(field: Float[np.ndarray, "y x"], level: float, crossed: Int[np.ndarray, " edge"]) -> Line:
    """Where a level crosses edges, linearly between their two ends. The ring around the map lies at half a pixel
    beyond its middles, which is its edge."""
    points, down = np.divmod(crossed, 2)
    y, x = np.divmod(points, field.shape[1])
    one, other = field[y, x], field[y + down, x + 1 - down]
    share = (level - one) / (other - one)
    return np.stack([x + share * (1 - down) - 0.5, y + share * down - 0.5], axis=1)


def _corners(line: Line) -> Line:
    before, after = line - np.roll(line, 1, axis=0), np.roll(line, -1, axis=0) - line
    bends = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-9
    return line[bends] if bends.sum() > 2 else line


@lru_cache(maxsize=64)
def _weights(pixels: int, tokens: int) -> Float[np.ndarray, "pixel token"]:
    place = np.clip((np.arange(pixels) + 0.5) * tokens / pixels - 0.5, 0, tokens - 1)
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(place[:, None] - np.arange(tokens)[None, :])))
