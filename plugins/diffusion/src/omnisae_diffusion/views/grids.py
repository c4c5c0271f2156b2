"""What an edit does to pictures: before and after, by strength, within a painted area. PNG figures for studies."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from omnisae.figure import Figure
from omnisae.report.words import percent, plural, short
from omnisae_diffusion.views import told
from omnisae_diffusion.views.canvas import SIDE, Picture, Row, Scale, Tile, checked, same_number, sheet, sizes
from omnisae_diffusion.views.difference import LEVELS, coloured, difference, table
from omnisae_diffusion.views.outline import outlined, scaled

WORDS = f"mean absolute difference over colours, of {LEVELS} levels"
LEAST = 96
"""Side of the pictures in a sweep of many strengths, at least."""
ACROSS = 1152
"""Pixels that a sweep is wide, about."""


def before_after(
    before: Sequence[Picture],
    after: Sequence[Picture],
    labels: Sequence[str],
    *,
    seeds: Sequence[int] | None = None,
    control: Sequence[Picture] | None = None,
    control_name: str = "control",
    headings: tuple[str, str] = ("before", "after"),
    ceiling: float | None = None,
    side: int = SIDE,
    title: str = "Before and after",
) -> Figure:
    """Rows of before, after and their difference (mean |after − before| over colours, in levels of 0 to 255), on one
    scale for the whole grid: 0 to `ceiling`, or to the grid's largest difference. `seeds` are those from which both
    pictures of a row began. With `control` (say, the same push in a random direction), two more columns: it, and its
    difference from before, on the same scale.

    Raises OmnisaeError where numbers or sizes do not fit, or a picture is not uint8 (y, x, 3).
    """
    same_number(len(before), "before", after=after, labels=labels, seeds=seeds, control=control)
    checked(before, "before")
    arms = {headings[1]: checked(after, "after")}
    if control is not None:
        arms[control_name] = checked(control, "control")
    gaps = {arm: _gaps(before, pictures, f"{arm}: ") for arm, pictures in arms.items()}
    top = _ceiling([gap for found in gaps.values() for gap in found], ceiling)
    rows, said = [], []
    for i, name in enumerate(told.named(labels, seeds)):
        tiles = [Tile(before[i])]
        for arm, pictures in arms.items():
            gap = gaps[arm][i]
            tiles += [Tile(pictures[i]), Tile(coloured(gap, top), f"mean {told.mean(gap)}")]
        rows.append(Row(name, tiles))
        said.append(f"{name}: " + ", ".join(f"{arm} {told.seen(gaps[arm][i])}" for arm in arms))
    means = ", ".join(f"{arm} {told.over(found)}" for arm, found in gaps.items())
    caption = (
        f"{plural(len(before), 'row')} of {sizes(before, side)}{told.same_seeds(seeds)}. Difference from "
        f"{headings[0]}: {WORDS}, on one scale, 0 to {short(top)}; its mean over all: {means}."
    )
    heads = [headings[0], *(head for arm in arms for head in (arm, "difference"))]
    return _figure(heads, rows, said, top, side, caption, title)


def painted(
    before: Sequence[Picture],
    after: Sequence[Picture],
    mask: Sequence[Bool[np.ndarray, "y x"]],
    labels: Sequence[str],
    *,
    seeds: Sequence[int] | None = None,
    ceiling: float | None = None,
    side: int = SIDE,
    title: str = "Painted here",
) -> Figure:
    """Rows of before, the painted area's outline over it, after, and their difference as in `before_after`, with its
    mean inside and outside the area. A mask may be coarser than its picture (the denoiser's grid): each of its cells
    covers the same share of the picture.

    Raises OmnisaeError where numbers or sizes do not fit, or a picture is not uint8 (y, x, 3).
    """
    same_number(len(before), "before", after=after, mask=mask, labels=labels, seeds=seeds)
    checked(before, "before")
    checked(after, "after")
    gaps = _gaps(before, after)
    areas = [scaled(one, gap.shape) for one, gap in zip(mask, gaps, strict=True)]
    rest = [~area for area in areas]
    top = _ceiling(gaps, ceiling)
    rows, said = [], []
    for i, name in enumerate(told.named(labels, seeds)):
        inside, outside = told.mean(gaps[i], areas[i]), told.mean(gaps[i], rest[i])
        tiles = [Tile(before[i]), Tile(outlined(before[i], areas[i], side)), Tile(after[i])]
        rows.append(Row(name, [*tiles, Tile(coloured(gaps[i], top), f"in {inside}, out {outside}")]))
        share = percent(float(areas[i].mean()))
        said.append(f"{name}: painted {share} of it, mean difference {inside} inside and {outside} outside")
    caption = (
        f"{plural(len(before), 'row')} of {sizes(before, side)}{told.same_seeds(seeds)}. Outlined: the painted area. "
        f"Difference: {WORDS}, on one scale, 0 to {short(top)}; its mean {told.over(gaps, areas)} inside the area and "
        f"{told.over(gaps, rest)} outside."
    )
    return _figure(["before", "painted", "after", "difference"], rows, said, top, side, caption, title)


def sweep(
    pictures: Sequence[Sequence[Picture]],
    strengths: Sequence[float],
    labels: Sequence[str],
    *,
    seeds: Sequence[int] | None = None,
    below: Sequence[Sequence[str]] | None = None,
    unchanged: float | None = 0.0,
    side: int | None = None,
    title: str = "By strength",
) -> Figure:
    """A row for each seed or prompt, a column for each strength: `pictures[row][column]`. `below` are short texts
    under the pictures, such as a classifier's answers. `unchanged` is the strength that leaves the model as it is;
    where it is among the columns, the text says how far the others lie from it. `side`: by default, what lets the
    columns fit a page.

    Raises OmnisaeError where numbers do not fit, or a picture is not uint8 (y, x, 3).
    """
    same_number(len(pictures), "pictures", labels=labels, seeds=seeds, below=below)
    texts = below if below is not None else [[""] * len(strengths)] * len(pictures)
    for i, row in enumerate(pictures):
        same_number(len(strengths), "strengths", **{f"pictures[{i}]": row, f"below[{i}]": texts[i]})
        checked(row, f"pictures[{i}]")
    side = side if side is not None else max(LEAST, min(SIDE, ACROSS // len(strengths)))
    names, heads = told.named(labels, seeds), [told.strength(one, strengths) for one in strengths]
    rows = [Row(name, list(map(Tile, pictures[i], texts[i]))) for i, name in enumerate(names)]
    caption = (
        f"{plural(len(pictures), 'row')} by {plural(len(strengths), 'strength')}, "
        f"{sizes([one for row in pictures for one in row], side)}{told.same_seeds(seeds)}."
    )
    alt = f"Pictures in {plural(len(pictures), 'row')} at the strengths {', '.join(heads)}. "
    if unchanged is not None and unchanged in strengths:
        at = list(strengths).index(unchanged)
        caption += f" {heads[at]} leaves the model as it is."
        stays = [row[at] for row in pictures]
        far = [
            f"{head} {told.over(_gaps(stays, [row[k] for row in pictures], f'strength {head}: '))}"
            for k, head in enumerate(heads)
            if k != at
        ]
        alt += f"Mean difference from strength {heads[at]}, of {LEVELS} levels: {', '.join(far)}. "
    said = [f"{name}: {', '.join(texts[i])}" if below is not None else name for i, name in enumerate(names)]
    return Figure("image/png", sheet(heads, rows, side=side), caption, alt + told.spoken(said), title)


def _figure(
    heads: Sequence[str], rows: Sequence[Row], said: Sequence[str], top: float, side: int, caption: str, title: str
) -> Figure:
    """A grid with a scale of differences."""
    alt = f"Pictures {' / '.join(heads)} in {plural(len(rows), 'row')}; {WORDS}. {told.spoken(said)}"
    data = sheet(heads, rows, side=side, scale=Scale(table(), top, f"difference, mean over colours, of {LEVELS}"))
    return Figure("image/png", data, caption, alt, title)


def _gaps(before: Sequence[Picture], after: Sequence[Picture], what: str = "") -> list[Float[np.ndarray, "y x"]]:
    return [
        difference(b, a, f"{what}pictures of row {i + 1}") for i, (b, a) in enumerate(zip(before, after, strict=True))
    ]


def _ceiling(gaps: Sequence[Float[np.ndarray, "y x"]], ceiling: float | None) -> float:
    """The end of the grid's one scale; one level where nothing differs more."""
    return float(ceiling) if ceiling is not None else max(float(max(gap.max() for gap in gaps)), 1.0)
