"""Real handwritten digits (scikit-learn's, from the UCI set of Alpaydin and Kaynak) at 16 × 16, in four inks."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from omnisae_datasets.digits.inks import INKS, printed

SIDE, MARGIN = 16, 1
LABELS = tuple(f"{digit} in {ink}" for digit in range(10) for ink in INKS)
"""The class labels of the models, in the order of their numbers; the number after the last stands for no label."""
NULL = len(LABELS)
HELD_OUT = 5
"""Every fifth digit takes no part in any training."""


@dataclass(frozen=True)
class Digits:
    """Grey digits, 0 (paper) to 1 (stroke), and what they are."""

    grey: Float[np.ndarray, "digit y x"]
    digit: Int[np.ndarray, " digit"]


def digits(held_out: bool) -> Digits:
    """The digits that models learn from, or those that they never saw."""
    from sklearn.datasets import load_digits

    found = load_digits()
    chosen = (np.arange(len(found.target)) % HELD_OUT == 0) == held_out
    small = found.images[chosen] / 16.0
    inner = (SIDE - 2 * MARGIN, SIDE - 2 * MARGIN)
    large = [Image.fromarray(one.astype(np.float32)).resize(inner, Image.Resampling.BICUBIC) for one in small]
    framed = np.pad(np.stack([np.asarray(one) for one in large]), ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
    return Digits(np.clip(framed, 0, 1), found.target[chosen].astype(np.int64))


def label(digit: int, ink: int) -> int:
    """The number of a class label."""
    return digit * len(INKS) + ink


def in_all_inks(held_out: bool) -> tuple[Float[np.ndarray, "picture 3 y x"], Int[np.ndarray, " picture"]]:
    """Every digit in every ink, −1 to 1, with its class label; digits vary slowest."""
    known = digits(held_out)
    inked = np.stack([printed(known.grey, ink) for ink in INKS], axis=1)
    pictures = inked.reshape(-1, SIDE, SIDE, 3).transpose(0, 3, 1, 2) * 2 - 1
    labels = known.digit[:, None] * len(INKS) + np.arange(len(INKS))
    return pictures.astype(np.float32), labels.reshape(-1)
