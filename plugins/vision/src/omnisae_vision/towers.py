"""What is known of a vision tower's tokens at one picture size, whichever library built it."""

from dataclasses import dataclass

from omnisae_vision.probing import Grid

Roles = tuple[tuple[str, int], ...]
"""Special tokens in their order: role and number."""


@dataclass(frozen=True)
class Stage:
    """A stage of a model that has several: its width and the grids that its reduction makes of the picture."""

    width: int
    grids: frozenset[Grid]


@dataclass(frozen=True)
class Tower:
    """Facts by which layouts are found.

    `front` and `back` are the special tokens before and after the patches. `queries` are numbers of learnt queries by
    which the tower pools. `raster` says that patches are known to stand row by row, so that no trial is needed.
    `packed` says that all pictures of a batch stand one after another along the first dimension; `merge` is then the
    side of the square of patches that stand together, as they will be merged. `widths` are widths of tokens, which tell
    a token of as many values as there are tokens from a row of an attention matrix.
    """

    picture: Grid
    grid: Grid | None = None
    front: Roles = ()
    back: Roles = ()
    queries: frozenset[int] = frozenset()
    stages: tuple[Stage, ...] = ()
    widths: frozenset[int] = frozenset()
    raster: bool = False
    packed: bool = False
    merge: int = 1

    @property
    def special(self) -> int:
        """The number of special tokens."""
        return sum(count for _, count in (*self.front, *self.back))

    @property
    def staged(self) -> bool:
        """Whether its stages have different grids."""
        return len({stage.grids for stage in self.stages}) > 1


def reduced(length: int, r: int) -> set[int]:
    """What a reduction by `r` can make of a length."""
    return {length // r, -(-length // r)} - {0}


def reductions(picture: Grid) -> set[Grid]:
    """All grids that a reduction alike in y and x can make of a picture."""
    height, width = picture
    return {(y, x) for r in range(1, max(height, width) + 1) for y in reduced(height, r) for x in reduced(width, r)}


def stage(picture: Grid, width: int, reduction: int) -> Stage:
    """The stage of this width, at a picture reduced by so much."""
    y, x = reduced(picture[0], reduction), reduced(picture[1], reduction)
    return Stage(width, frozenset((a, b) for a in y for b in x))


def tokens(tower: Tower, grid: Grid, special: bool) -> tuple[str, dict[str, int]]:
    """The run of tokens along a dimension, as a pattern, and its sizes."""
    sizes = {"y": grid[0], "x": grid[1]}
    if not special:
        return "y x", sizes
    front, back = ([f"[{role}]" for role, _ in roles] for roles in (tower.front, tower.back))
    return " + ".join([*front, "y x", *back]), dict((*tower.front, *tower.back)) | sizes
