"""Where a concept's best latent points: against boxes and masks, beside other pictures' maps and random places."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from omnisae.concepts.annotations import Mask
from omnisae.errors import DatasetError, UnreadableExample, did_you_mean
from omnisae.extract.split import TEST
from omnisae.figure import Figure
from omnisae.studies.resample import LEVELS, generator, permutations, weights
from omnisae.studies.study import Finding, Findings, Material, Study
from omnisae_mammography import maps
from omnisae_mammography.chart import curves
from omnisae_mammography.froc import Marks, curve, hits, sensitivity

Box = tuple[int, int, int, int]
OWN, OTHERS, PLACES = "latent", "other pictures' maps", "random boxes"
"""What is judged: the latent's maps; maps of other test pictures; boxes of the same sizes at random in the tissue."""


@dataclass(frozen=True)
class Truth:
    """The lesions of one concept in one picture, as the model saw it. Without a lesion there is no mask."""

    boxes: list[Box]
    mask: Bool[np.ndarray, "y x"] | None


@dataclass
class Score:
    """What one family of maps reached: a number a lesion, a number a picture with lesions, and marks for the curve."""

    iou: list[float] = field(default_factory=list)
    iou_rows: list[int] = field(default_factory=list)
    mask_iou: list[float] = field(default_factory=list)
    pointing: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    marks: Marks = field(default_factory=Marks)


class Localisation(Study):
    title = "Does the best latent of a finding point at the lesion?"
    about = (
        "The latent that ranked first on select pictures, on test pictures: its map is brought to the picture's size, "
        "what is brighter than a share of the map's largest value is lit, and lit areas are boxes (Mammo-SAE, Nakka "
        "2025). IoU of each true box with its match, IoU of lit pixels with the lesions' pixels, pointing game (the "
        "brightest pixel lies in a lesion; Zhang et al. 2016) and the free-response curve, whose marks are the areas "
        "ordered by their peak. Controls: the same latent's maps exchanged among test pictures, and boxes of the same "
        "sizes at random places of the tissue. Intervals draw whole groups."
    )

    def __init__(
        self, names: Sequence[str] | None, threshold: float, least: int, rates: Sequence[float], draws: int
    ) -> None:
        self.names, self.threshold, self.least = names, threshold, least
        self.rates, self.draws = sorted(rates), draws

    def study(self, material: Material) -> Findings:
        maps.check(material.postings.hook)
        rows = material.rows(TEST)
        best = self._best(material)
        truths, size, unread = _truths(material, rows, set(best))
        rows = np.array([row for row in rows.tolist() if row in truths], dtype=np.int64)
        findings: list[Finding] = []
        figures: list[Figure] = []
        table: list[dict[str, Any]] = []
        for name, latent in best.items():
            truth = [truths[int(row)].get(name, Truth([], None)) for row in rows]
            if not any(one.boxes for one in truth):
                continue
            scores = self._scores(material, name, latent, rows, truth, size)
            drawn = weights(material, rows, self.draws, generator(material, f"localisation {name}"))
            word = str(material.postings.poles.name(latent))
            findings += self._findings(name, word, scores, drawn)
            table += [{"concept": name, "latent": word, "of": k} | self._row(v, len(rows)) for k, v in scores.items()]
            figures.append(self._figure(name, word, scores, len(rows)))
        if not findings:
            raise DatasetError(
                "no region of a scored concept lies in a test picture", "give boxes or masks, or more examples"
            )
        notes = [f"{unread} test pictures could not be read again and were left out."] if unread else []
        return Findings(findings, figures=figures, tables={"On test pictures, by concept": table}, notes=notes)

    def _best(self, material: Material) -> dict[str, int]:
        """The list that ranked first on SELECT for each concept of regions."""
        known = set(material.annotations.region_concepts)
        if not known:
            raise DatasetError("the dataset knows no regions", "give a table with boxes or masks (dataset.table)")
        for name in self.names or ():
            if name not in known:
                raise DatasetError(f"no concept of regions is called {name!r}", did_you_mean(name, known))
        found: dict[str, int] = {}
        levels = material.table.get("level", np.full(len(material.table["concept"]), "token"))
        for name, number, level in zip(material.table["concept"], material.table["list"], levels, strict=True):
            if str(level) == "token" and str(name) in (self.names or known):
                found.setdefault(str(name), int(number))
        if not found:
            raise DatasetError("no concept of regions was scored", "see which were left out, and why, in concepts.json")
        return found

    def _scores(
        self,
        material: Material,
        name: str,
        latent: int,
        rows: Int[np.ndarray, " row"],
        truth: Sequence[Truth],
        size: tuple[int, int],
    ) -> dict[str, Score]:
        random = generator(material, f"localisation controls {name}")
        other = next(permutations(material, rows, 1, random))
        scores = {OWN: Score(), OTHERS: Score(), PLACES: Score()}
        for place, row in enumerate(rows.tolist()):
            for family, source in ((OWN, row), (OTHERS, int(rows[other[place]]))):
                picture = maps.upsampled(maps.grids(material.postings, source, latent), size)
                found = maps.areas(picture, self.threshold, self.least)
                boxes = [area.box for area in found]
                values, peaks = [area.value for area in found], [area.peak for area in found]
                lit = maps.lit(picture, self.threshold)
                pointed = _pointed(picture, truth[place])
                _add(scores[family], place, truth[place], boxes, values, peaks, lit, pointed)
                if family == OWN:
                    _at_random(scores[PLACES], place, truth[place], boxes, values, material, row, size, random)
        return scores

    def _findings(
        self, name: str, latent: str, scores: dict[str, Score], drawn: Float[np.ndarray, "time row"]
    ) -> list[Finding]:
        own, others, places = scores[OWN], scores[OTHERS], scores[PLACES]
        against = "the latent's maps of other test pictures"
        found = []
        for what, key, where in (
            ("IoU of boxes", "iou", own.iou_rows),
            ("IoU of lit pixels", "mask_iou", own.rows),
            ("Pointing game", "pointing", own.rows),
        ):
            values, control, chance = (np.array(getattr(one, key)) for one in (own, others, places))
            low, high = _interval(values, np.array(where), drawn)
            found.append(
                Finding(
                    f"{what}, {name}", float(values.mean()), len(values), float(control.mean()), against, low, high,
                    kind="share", remark=f"latent {latent}; at random in the tissue: {chance.mean():.3f}",
                )
            )  # fmt: skip
        everywhere = np.ones(drawn.shape[1])
        value, control, chance = (sensitivity(one.marks, everywhere, self.rates) for one in (own, others, places))
        draws = np.stack([sensitivity(own.marks, draw, self.rates) for draw in drawn])
        for i, rate in enumerate(self.rates):
            low, high = (float(end) for end in np.nanquantile(draws[:, i], LEVELS))
            found.append(
                Finding(
                    f"Sensitivity at {rate:g} false marks an image, {name}", float(value[i]),
                    len(own.marks.lesion_values), float(control[i]), against, low, high, kind="share",
                    remark=f"random boxes of the same sizes: {chance[i]:.3f}; {drawn.shape[1]} images",
                )
            )  # fmt: skip
        return found

    def _row(self, score: Score, images: int) -> dict[str, Any]:
        reached = sensitivity(score.marks, np.ones(images), self.rates)
        return {
            "lesions": len(score.iou),
            "images with one": len(score.pointing),
            "images": images,
            "IoU of boxes": float(np.mean(score.iou)),
            "IoU of lit pixels": float(np.mean(score.mask_iou)),
            "pointing": float(np.mean(score.pointing)),
        } | {f"found at {rate:g}": float(value) for rate, value in zip(self.rates, reached, strict=True)}

    def _figure(self, name: str, latent: str, scores: dict[str, Score], images: int) -> Figure:
        most = max(self.rates)
        everywhere = np.ones(images)
        lines = {family: curve(score.marks, everywhere, most) for family, score in scores.items()}
        across = lines[OWN][0].tolist()
        at = [0.0, *self.rates]
        return curves(
            {family: values for family, (_, values) in lines.items()}, across,
            marks=[f"{value:g}" for value in at], at=at, low=0.0,
            names=("false marks an image", "lesions found"), title=f"FROC, {name}",
            caption=f"Latent {latent} on {images} test images with {len(scores[OWN].iou)} lesions of {name}.",
        )  # fmt: skip


def _truths(
    material: Material, rows: Int[np.ndarray, " row"], concepts: set[str]
) -> tuple[dict[int, dict[str, Truth]], tuple[int, int], int]:
    """The lesions of every annotated picture by concept, the size of what the model sees, and the pictures that could
    not be read again."""
    regions = material.annotations.regions
    assert regions is not None
    found: dict[int, dict[str, Truth]] = {}
    size: tuple[int, int] | None = None
    unread = 0
    for row in rows.tolist():
        known = regions(row)
        if known is None:
            continue
        mine = [one for one in known if one.concept in concepts and isinstance(one.place, Mask)]
        if not mine and size is not None:
            found[row] = {}
            continue
        try:
            example = material.dataset.load(row)
        except UnreadableExample:
            unread += 1
            continue
        if size is None:
            picture = material.extractor.picture(example)
            if picture is None:
                raise DatasetError("the extractor shows no picture", "localisation needs one: mammography.timm")
            size = (picture.shape[0], picture.shape[1])
        placed = [(one.concept, material.extractor.place(one.place.where, example)) for one in mine]  # type: ignore[union-attr]
        found[row] = {name: _truth([mask for concept, mask in placed if concept == name]) for name, _ in placed}
    if size is None:
        raise DatasetError("no test picture is annotated", "give a table in which normal pictures stand, too")
    return found, size, unread


def _truth(masks: list[Bool[np.ndarray, "y x"]]) -> Truth:
    boxes = [box for mask in masks if (box := maps.bounds(mask)) is not None]
    return Truth(boxes, np.any(masks, axis=0) if boxes else None)


def _add(
    score: Score,
    row: int,
    truth: Truth,
    boxes: Sequence[Box],
    values: Sequence[float],
    peaks: Sequence[tuple[int, int]],
    lit: Bool[np.ndarray, "y x"],
    pointed: float,
) -> None:
    score.marks.add(row, values, hits(peaks, truth.boxes), len(truth.boxes))
    if truth.mask is None:
        return
    score.iou += maps.matched(truth.boxes, list(boxes))
    score.iou_rows += [row] * len(truth.boxes)
    union = int((lit | truth.mask).sum())
    score.mask_iou.append(float((lit & truth.mask).sum()) / union if union else 0.0)
    score.pointing.append(pointed)
    score.rows.append(row)


def _pointed(picture: Float[np.ndarray, "y x"], truth: Truth) -> float:
    """Whether the brightest pixel lies in a lesion; a silent latent points nowhere."""
    if truth.mask is None or picture.max(initial=0.0) <= 0:
        return 0.0
    return float(truth.mask[np.unravel_index(int(picture.argmax()), picture.shape)])


def _at_random(
    score: Score,
    row: int,
    truth: Truth,
    boxes: Sequence[Box],
    values: Sequence[float],
    material: Material,
    example: int,
    size: tuple[int, int],
    random: np.random.Generator,
) -> None:
    """The same boxes about random places of the tissue. The pointing game is then won by the share of the tissue that
    is lesion."""
    tissue = _tissue(material, example, size)
    inside = np.flatnonzero(tissue)
    moved, peaks = [], []
    lit = np.zeros(size, dtype=bool)
    for left, top, right, bottom in boxes:
        y, x = np.unravel_index(int(random.choice(inside)), size)
        wide, tall = right - left, bottom - top
        x0 = int(np.clip(x - wide // 2, 0, size[1] - wide))
        y0 = int(np.clip(y - tall // 2, 0, size[0] - tall))
        moved.append((x0, y0, x0 + wide, y0 + tall))
        peaks.append((int(y), int(x)))
        lit[y0 : y0 + tall, x0 : x0 + wide] = True
    chance = float((truth.mask & tissue).sum() / max(len(inside), 1)) if truth.mask is not None else 0.0
    _add(score, row, truth, moved, values, peaks, lit, chance)


def _tissue(material: Material, row: int, size: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
    """The pixels of the cells whose tokens were kept."""
    cells = maps.kept(material.postings, row)
    y = (np.arange(size[0]) * cells.shape[0]) // size[0]
    x = (np.arange(size[1]) * cells.shape[1]) // size[1]
    return cells[y[:, None], x[None]]


def _interval(
    values: Float[np.ndarray, " item"], rows: Int[np.ndarray, " item"], drawn: Float[np.ndarray, "time row"]
) -> tuple[float, float]:
    """The ends of the 95 % interval of a mean over items that are drawn with their pictures."""
    counts = drawn[:, rows]
    with np.errstate(invalid="ignore"):
        means = (counts @ values) / counts.sum(axis=1)
    low, high = np.nanquantile(means, LEVELS)
    return float(low), float(high)
