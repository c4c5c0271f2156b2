"""Small heat maps as SVG, on the one colour scale of a latent."""

from collections import defaultdict

import numpy as np
from jaxtyping import Float

from omnisae.report.scale import colour

STEPS = 24
"""Colours in a heat map: cells of one colour are one path."""
COVER = 0.86
FINEST = 32
"""Cells along a side that a small heat map can show."""


def coarse(values: Float[np.ndarray, "y x"]) -> tuple[Float[np.ndarray, "y2 x2"], int]:
    """A map of at most FINEST cells a side, each the largest value of a block of tokens; and the block's side."""
    block = -(-max(values.shape) // FINEST)
    if block <= 1:
        return values, 1
    tall, wide = (-(-size // block) * block for size in values.shape)
    padded = np.zeros((tall, wide), dtype=values.dtype)
    padded[: values.shape[0], : values.shape[1]] = values
    return padded.reshape(tall // block, block, wide // block, block).max(axis=(1, 3)), block


def cells(values: Float[np.ndarray, "y x"], ceiling: float) -> str:
    """The tokens of a grid as squares of one unit, coloured by their share of `ceiling`; silent ones are left clear.
    Neighbours of one colour in a row are one rectangle."""
    share = np.minimum(values / max(ceiling, 1e-30), 1.0)
    level = np.where(values > 0, np.round(share * STEPS), -1).astype(int)
    by_level: dict[int, list[str]] = defaultdict(list)
    for y, row in enumerate(level.tolist()):
        start = 0
        for x in range(1, len(row) + 1):
            if x == len(row) or row[x] != row[start]:
                if row[start] >= 0:
                    by_level[row[start]].append(f"M{start} {y}h{x - start}v1h{start - x}z")
                start = x
    # Crisp edges: else light shines through between cells of one pixel or two.
    paths = "".join(
        f'<path d="{"".join(drawn)}" style="fill:{colour(step / STEPS)};fill-opacity:{COVER}"/>'
        for step, drawn in sorted(by_level.items())
    )
    return f'<g shape-rendering="crispEdges">{paths}</g>' if paths else ""
