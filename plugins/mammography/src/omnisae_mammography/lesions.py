"""The visualizer `mammography.lesions`."""

import io
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

from omnisae.concepts.annotations import Annotations, Mask
from omnisae.errors import UnreadableExample
from omnisae.extract.dataset import Dataset, Example
from omnisae.report.scale import table
from omnisae.report.visualizer import Drawing, Figure, Firing, LatentView, Visualizer
from omnisae.report.visualizers.grid import grid
from omnisae.report.visualizers.once import Once
from omnisae.report.words import plural, short
from omnisae_mammography.maps import areas, upsampled

Box = tuple[int, int, int, int]
Plain = tuple[UInt8[np.ndarray, "y x 3"], tuple[tuple[str, Box], ...]]
Panel = tuple[UInt8[np.ndarray, "y x 3"], str]
"""A picture, and what is shown in it in words."""
TRUE, FOUND = (255, 90, 90), (255, 225, 60)
"""Lesions that are known: a solid line; boxes around what the latent lights up: a dashed one, so that colour is not all
that tells them apart."""
GAP = 6
LEAST = 10
REMEMBERED = 256
"""Pictures that are kept, for the next latent that shows them."""
STRONGEST = 0.6
"""How far the heat covers the picture at most."""


class Lesions(Visualizer):
    """The picture with the latent's heat on the latent's one scale, true lesions and predicted boxes; beside it the
    other view of the same breast, drawn alike. Grey values are as the dataset windowed them."""

    axes = frozenset({"y", "x"})

    def __init__(self, threshold: float, height: int) -> None:
        self.threshold, self.height = threshold, height
        self._annotations: Once[Annotations] = Once(lambda dataset: dataset.annotations())
        self._plain: Once[OrderedDict[int, Plain]] = Once(lambda dataset: OrderedDict())

    def title(self) -> str:
        return "Lesions"

    def applies(self, view: LatentView) -> bool:
        """Pictures of other fields have maps over y and x, too: this is for datasets that know a picture's partners."""
        return super().applies(view) and hasattr(view.dataset, "partners")

    def draw_example(self, view: LatentView, firing: Firing) -> Sequence[Drawing]:
        try:
            own = self._panel(view, firing.row, firing)
        except UnreadableExample:  # the report counts it, and says so
            return []
        if own is None:
            return []
        panels = [own]
        other = self._other(view.dataset, firing.row)
        if other is not None:
            try:
                beside = self._panel(view, other, _elsewhere(view, other))
            except UnreadableExample:
                beside = None
            panels += [beside] if beside is not None else []
        canvas = _side_by_side([panel for panel, _ in panels])
        out = io.BytesIO()
        Image.fromarray(canvas).save(out, "PNG", compress_level=4)
        said = ". ".join(words for _, words in panels)
        caption = f"{said}. Solid: known lesions. Dashed: above {100 * self.threshold:g} % of the picture's peak."
        return [Figure("image/png", out.getvalue(), caption, said)]

    def _other(self, dataset: Dataset, row: int) -> int | None:
        partners = getattr(dataset, "partners", None)
        found = partners(row) if partners is not None else []
        return int(found[0]) if len(found) else None

    def _panel(
        self, view: LatentView, row: int, firing: Firing | None
    ) -> tuple[UInt8[np.ndarray, "y x 3"], str] | None:
        """A picture with what is known of it, and the same in words."""
        plain = self._read(view, row)
        if plain is None:
            return None
        picture, true = plain
        words = [_view_of(view.dataset, row)]
        found = []
        if firing is not None:
            heat = upsampled(grid(firing), (picture.shape[0], picture.shape[1]))
            picture = _heated(picture, heat, view.ceiling)
            found = areas(heat, self.threshold, LEAST)
            words.append(f"strongest {short(float(firing.values.max(initial=0.0)))}")
            words.append(plural(len(found), "predicted box", "predicted boxes"))
        else:
            strength = float(view.strength[row])
            known = len(view.scored) == 0 or bool(view.scored[row])
            words.append(f"strongest {short(strength)}" if known else "not scored")
        canvas = Image.fromarray(np.ascontiguousarray(picture))
        pen = ImageDraw.Draw(canvas)
        for concept, at in true:
            pen.rectangle(at, outline=TRUE, width=2)
            _label(pen, concept, at, canvas.width)
        for area in found:
            _dashed(pen, area.box, FOUND)
        names = sorted({concept for concept, _ in true})
        words.append(f"known: {', '.join(names)}" if names else "no known lesion")
        return np.asarray(canvas), ", ".join(words)

    def _read(self, view: LatentView, row: int) -> Plain | None:
        """What is the same for all latents: the picture, and where its lesions lie. Kept for the examples shown last;
        None where there is no picture."""
        known = self._plain(view.dataset)
        if row not in known:
            example = view.dataset.load(row)
            raw = view.extractor.picture(example)
            if raw is None:
                return None
            size = (round(raw.shape[1] * self.height / raw.shape[0]), self.height)
            picture = np.asarray(Image.fromarray(raw).resize(size, Image.Resampling.BILINEAR))
            known[row] = (picture, self._lesions(view, row, example, size))
            while len(known) > REMEMBERED:
                known.popitem(last=False)
        known.move_to_end(row)
        return known[row]

    def _lesions(
        self, view: LatentView, row: int, example: Example, size: tuple[int, int]
    ) -> tuple[tuple[str, Box], ...]:
        """The lesions of a picture with their boxes on a canvas of this size (width, height)."""
        regions = self._annotations(view.dataset).regions
        known = (regions(row) if regions is not None else None) or ()
        places = [(one.concept, one.place.where) for one in known if isinstance(one.place, Mask)]
        found = ((concept, _outline(view.extractor.place(where, example), size)) for concept, where in places)
        return tuple((concept, box) for concept, box in found if box is not None)


def _elsewhere(view: LatentView, row: int) -> Firing | None:
    """Where the latent fires in another picture; None where it was not scored, or where is not known."""
    scored = len(view.scored) == 0 or bool(view.scored[row])
    return view.firing_in(row) if scored and view.firing_in is not None else None


def _view_of(dataset: Dataset, row: int) -> str:
    labels = dataset.labels()
    words = [labels[name][row] for name in ("laterality", "view") if name in labels]
    return " ".join(word for word in words if word) or dataset.ids[row]


def _heated(
    picture: UInt8[np.ndarray, "y x 3"], heat: Float[np.ndarray, "y x"], ceiling: float
) -> UInt8[np.ndarray, "y x 3"]:
    """Heat laid over grey, more of it where the latent is stronger; silent places stay as they are."""
    share = np.clip(heat / ceiling, 0, 1) if ceiling > 0 else np.zeros_like(heat)
    lit = np.nonzero(share)
    paint = table()[(share[lit] * 255).round().astype(int)].astype(np.float64)
    cover = (STRONGEST * np.sqrt(share[lit]))[..., None]
    out = picture.copy()
    out[lit] = np.round(picture[lit] * (1 - cover) + paint * cover).astype(np.uint8)
    return out


def _outline(mask: Bool[np.ndarray, "y x"], size: tuple[int, int]) -> Box | None:
    """A mask's box on a canvas of another size (width, height); None where it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    across, down = size[0] / mask.shape[1], size[1] / mask.shape[0]
    return (
        int(columns[0] * across), int(rows[0] * down),
        int((columns[-1] + 1) * across) - 1, int((rows[-1] + 1) * down) - 1,
    )  # fmt: skip


def _label(pen: ImageDraw.ImageDraw, words: str, box: Box, width: int) -> None:
    """A lesion's name above its box (below it at the upper edge), on black, inside the canvas."""
    left, _, right, bottom = pen.textbbox((0, 0), words)
    x = max(min(box[0], width - int(right - left) - 4), 0)
    y = box[1] - int(bottom) - 4 if box[1] > bottom + 4 else box[3] + 2
    pen.rectangle((x, y, x + right - left + 3, y + bottom + 2), fill=(0, 0, 0))
    pen.text((x + 2, y), words, fill=TRUE)


def _dashed(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], ink: tuple[int, int, int]) -> None:
    left, top, right, bottom = box[0], box[1], box[2] - 1, box[3] - 1
    for start in range(left, right, 8):
        pen.line([(start, top), (min(start + 4, right), top)], fill=ink, width=2)
        pen.line([(start, bottom), (min(start + 4, right), bottom)], fill=ink, width=2)
    for start in range(top, bottom, 8):
        pen.line([(left, start), (left, min(start + 4, bottom))], fill=ink, width=2)
        pen.line([(right, start), (right, min(start + 4, bottom))], fill=ink, width=2)


def _side_by_side(panels: Sequence[UInt8[np.ndarray, "y x 3"]]) -> UInt8[np.ndarray, "y x 3"]:
    tall = max(panel.shape[0] for panel in panels)
    parts: list[np.ndarray] = []
    for panel in panels:
        if parts:
            parts.append(np.full((tall, GAP, 3), 128, dtype=np.uint8))
        parts.append(np.pad(panel, ((0, tall - panel.shape[0]), (0, 0), (0, 0))))
    return np.concatenate(parts, axis=1)
