"""Drawing a phantom: tissue, pectoral muscle, implant, lesions and lead letters, with the box of every lesion."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from omnisae_datasets.phantoms.anatomy import HEIGHT, WIDTH, Breast, Kind, Laterality, Lesion, Patient, View

Image = Float[np.ndarray, "y x"]
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
AIR, FAT = 0.02, 0.25
GAMMA = (1.0, 0.85, 1.15)
GRAIN = (0.008, 0.014, 0.010)
"""How each scanner draws the same breast: its gamma and its noise."""
LETTERS = {
    "L": ("1000", "1000", "1000", "1000", "1111"),
    "R": ("1110", "1001", "1110", "1010", "1001"),
}


@dataclass(frozen=True, slots=True)
class Box:
    """A lesion's place in the picture as it is stored: `left ≤ x < right`, `top ≤ y < bottom`, in pixels."""

    kind: Kind
    left: int
    top: int
    right: int
    bottom: int


def render(who: Patient, side: Laterality, view: View, seed: int) -> tuple[Image, list[Box]]:
    """The picture, 0 (air) to 1, as it is stored: the chest wall lies on the left of a left breast, on the right of a
    right one. The same for the same patient, side, view and seed."""
    random = np.random.default_rng([seed, who.number, ord(side), len(view), 2])
    breast = who.breasts[side]
    inside = outline(breast, view)
    picture = np.where(inside, FAT + dense(breast, random) * 0.32 + 0.05 * noise(random, 1.4), AIR)
    picture *= np.where(inside, np.clip(edge(inside), 0.45, 1.0), 1.0)
    if view == "MLO":
        muscle = (X / 62 + Y / 105 < 1.0) & (X / 62 + Y / 105 > 0)
        picture = np.where(muscle, 0.58 + 0.04 * noise(random, 1.0), picture)
    if breast.implant:
        shape = ((X - 5) / 52) ** 2 + ((Y - centre(view)) / 62) ** 2
        picture = np.where((shape < 1) & inside, np.maximum(picture, 0.72 - 0.03 * shape), picture)
    boxes = []
    for lesion in breast.lesions:
        if lesion.seen_in(view):
            picture, box = add(picture, inside, lesion, breast, view)
            boxes.append(box)
    picture = np.clip(picture, 0, 1) ** GAMMA[who.scanner]
    picture = picture + GRAIN[who.scanner] * random.standard_normal(picture.shape)
    if side == "R":
        picture = picture[:, ::-1].copy()
        boxes = [Box(box.kind, WIDTH - box.right, box.top, WIDTH - box.left, box.bottom) for box in boxes]
    if who.marker[side, view]:
        letter(picture, side, random)
    return np.clip(picture, 0, 1), boxes


def centre(view: View) -> float:
    """The height of the nipple, in pixels from the top."""
    return HEIGHT * (0.5 if view == "CC" else 0.57)


def outline(breast: Breast, view: View) -> Bool[np.ndarray, "y x"]:
    """Where the breast is; the chest wall lies on the left."""
    rx, ry = WIDTH * 0.66 * breast.size, HEIGHT * (0.40 if view == "CC" else 0.38) * breast.size
    whole = (X / rx) ** 2 + ((Y - centre(view)) / ry) ** 2 < 1
    if view == "CC":
        return np.asarray(whole)
    return np.asarray(whole | (X / 80 + Y / 150 < 1.0))


def edge(inside: Bool[np.ndarray, "y x"]) -> Image:
    """A rise from the skin inwards, by repeated averaging."""
    rise = inside.astype(np.float64)
    for step in (1, 2, 4, 6):
        rise = (rise + np.roll(rise, step, 1) + np.roll(rise, -step, 0) + np.roll(rise, step, 0)) / 4
    return rise + 0.35


def noise(random: np.random.Generator, power: float) -> Image:
    """Noise whose spectrum falls with frequency, of mean 0 and standard deviation 1."""
    white = np.fft.rfft2(random.standard_normal((HEIGHT, WIDTH)))
    fy, fx = np.fft.fftfreq(HEIGHT)[:, None] * HEIGHT, np.fft.rfftfreq(WIDTH)[None] * WIDTH
    radius = np.hypot(fy, fx)
    radius[0, 0] = np.inf
    made = np.fft.irfft2(white / radius**power, s=(HEIGHT, WIDTH))
    return np.asarray((made - made.mean()) / made.std())


def dense(breast: Breast, random: np.random.Generator) -> Image:
    """Fibroglandular tissue, 0 to 1: more of it in denser breasts, and less towards the chest wall."""
    field = noise(random, 1.7) + 1.6 * (breast.density - 0.5) - 0.6 * np.abs(X / WIDTH - 0.35)
    return np.asarray(1 / (1 + np.exp(-3.0 * field)))


def add(
    picture: Image, inside: Bool[np.ndarray, "y x"], lesion: Lesion, breast: Breast, view: View
) -> tuple[Image, Box]:
    """The picture with a lesion in it, and the lesion's box."""
    if lesion.kind == "Suspicious Lymph Node":
        y, x = 30.0 + 25 * lesion.depth, 58.0 - 20 * lesion.depth
    else:
        y = centre(view) + lesion.height[view] * HEIGHT * 0.36 * breast.size
        reach = WIDTH * 0.66 * breast.size * np.sqrt(max(1 - (lesion.height[view] * 0.9) ** 2, 0.1))
        x = lesion.depth * reach
    random = np.random.default_rng(lesion.seed)
    draw = {
        "Mass": _mass,
        "Suspicious Calcification": _specks,
        "Architectural Distortion": _spicules,
        "Suspicious Lymph Node": _node,
    }[lesion.kind]
    bright, radius = draw(x, y, lesion.radius, random)
    out = picture + lesion.contrast * bright * (inside if lesion.kind != "Suspicious Lymph Node" else 1)
    left, right = int(max(x - radius, 0)), int(min(x + radius + 1, WIDTH))
    return out, Box(lesion.kind, left, int(max(y - radius, 0)), right, int(min(y + radius + 1, HEIGHT)))


def _mass(x: float, y: float, radius: float, random: np.random.Generator) -> tuple[Image, float]:
    """A dense, lobed body with a soft border."""
    angle, distance = np.arctan2(Y - y, X - x), np.hypot(Y - y, X - x)
    border = radius * (
        0.85 + sum(random.uniform(0, 0.07) * np.cos(k * angle + random.uniform(0, 6)) for k in (2, 3, 5))
    )
    return np.asarray(0.34 / (1 + np.exp((distance - border) / 1.4))), radius


def _specks(x: float, y: float, radius: float, random: np.random.Generator) -> tuple[Image, float]:
    """A cluster of small, very bright grains."""
    bright = np.zeros((HEIGHT, WIDTH))
    for _ in range(int(random.integers(9, 17))):
        turn, far = random.uniform(0, 2 * np.pi), radius * 0.9 * np.sqrt(random.random())
        at = (Y - y - far * np.sin(turn)) ** 2 + (X - x - far * np.cos(turn)) ** 2
        bright = np.maximum(bright, 0.62 * np.exp(-at / (2 * random.uniform(0.7, 1.15) ** 2)))
    return bright, radius


def _spicules(x: float, y: float, radius: float, random: np.random.Generator) -> tuple[Image, float]:
    """Thin lines that radiate from a point, without a body."""
    bright, reach = np.zeros((HEIGHT, WIDTH)), radius * 1.25
    along, distance = np.arctan2(Y - y, X - x), np.hypot(Y - y, X - x)
    turns = np.arange(10) * 2 * np.pi / 10 + random.uniform(-0.15, 0.15, 10)
    for turn in turns:
        off = np.abs(np.angle(np.exp(1j * (along - turn)))) * distance
        bright = np.maximum(bright, np.exp(-((off / 0.9) ** 2)) * (distance < reach) * (distance > 2))
    return 0.30 * bright * np.clip(1.3 - distance / reach, 0, 1), reach


def _node(x: float, y: float, radius: float, random: np.random.Generator) -> tuple[Image, float]:
    """An oval with a thick, dense rim and a darker hilum, before the pectoral muscle."""
    turn = random.uniform(-0.5, 0.5)
    u, v = (X - x) * np.cos(turn) + (Y - y) * np.sin(turn), (Y - y) * np.cos(turn) - (X - x) * np.sin(turn)
    shape = np.hypot(u / (radius * 0.7), v / radius)
    rim = 1 / (1 + np.exp((shape - 0.9) * 14)) - 0.75 / (1 + np.exp((shape - 0.45) * 12))
    return np.asarray(0.38 * np.clip(rim, 0, 1)), radius


def letter(picture: Image, side: Laterality, random: np.random.Generator) -> None:
    """A lead letter in the air, in the upper corner away from the chest wall; written into the picture."""
    size = 5
    glyph = np.kron(np.array([[int(bit) for bit in row] for row in LETTERS[side]]), np.ones((size, size)))
    top, across = int(random.integers(8, 20)), int(random.integers(8, 16))
    height, width = glyph.shape
    left = WIDTH - across - width if side == "L" else across
    where = picture[top : top + height, left : left + width]
    where[glyph > 0] = 0.97
