"""Pictures turned and mirrored, and what model and autoencoder make of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from scipy.sparse import csr_array

from omnisae.autoencoders.artifact import Artifact
from omnisae.errors import DatasetError, UnreadableExample
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.extractor import Extractor
from omnisae.hooks.point import HookPoint
from omnisae.postings.poles import Poles
from omnisae.tokens.filter import TokenFilter

Move = Image.Transpose
TURNS: Mapping[str, Move] = {"90°": Move.ROTATE_90, "180°": Move.ROTATE_180, "270°": Move.ROTATE_270}
MIRRORS: Mapping[str, Move] = {"left to right": Move.FLIP_LEFT_RIGHT, "top to bottom": Move.FLIP_TOP_BOTTOM}


class Seen:
    """The strongest value of every posting list, and of every neuron, in each picture under one move."""

    def __init__(self, lists: int) -> None:
        self._lists = lists
        self._rows: list[csr_array] = []
        self._neurons: list[np.ndarray] = []

    def add(self, lists: csr_array, neurons: Float[np.ndarray, "example width"]) -> None:
        """The values of one batch, in the order in which batches come."""
        self._rows.append(lists)
        self._neurons.append(neurons)

    @property
    def lists(self) -> Any:
        """example × list, sparse (CSC)."""
        from scipy.sparse import vstack

        return vstack(self._rows, format="csc") if self._rows else csr_array((0, self._lists)).tocsc()

    @property
    def neurons(self) -> Float[np.ndarray, "example width"]:
        """example × width."""
        return np.concatenate(self._neurons)


def look(
    dataset: Dataset, extractor: Extractor, artifact: Artifact, point: HookPoint, rows: Int[np.ndarray, " row"]
) -> tuple[dict[str, Seen], Int[np.ndarray, " kept"]]:
    """Every picture as it is ("", the first) and under each turn and mirror, and the rows that could be read.

    Raises DatasetError where examples are no pictures.
    """
    poles = Poles(artifact.autoencoder.latents, artifact.signed)
    moves: dict[str, Move | None] = {"": None, **TURNS, **MIRRORS}
    seen = {name: Seen(len(poles)) for name in moves}
    kept: list[int] = []
    keep = artifact.info.tokens.evaluate
    with torch.inference_mode():
        for batch in _batches(dataset, rows, extractor.batch_size()):
            places = [row for row, _ in batch]
            for name, move in moves.items():
                inputs = extractor.collate([extractor.prepare(_moved(row, dataset, p, move)) for row, p in batch])
                seen[name].add(*_strongest(extractor, artifact, point, keep, places, inputs, poles))
            kept += places
    return seen, np.array(kept, dtype=np.int64)


def _batches(dataset: Dataset, rows: Int[np.ndarray, " row"], size: int) -> Iterator[list[tuple[int, Image.Image]]]:
    """Pictures that can be read, `size` at a time."""
    batch: list[tuple[int, Image.Image]] = []
    for row in rows.tolist():
        try:
            picture = dataset.load(row).input
        except UnreadableExample:  # the run counted it when it was extracted
            continue
        if not isinstance(picture, Image.Image):
            raise DatasetError(
                f"an example's input is a {type(picture).__name__}; pictures are needed, to be turned and mirrored",
                "use a dataset of pictures, such as galaxies.cutouts",
            )
        batch.append((row, picture))
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _moved(row: int, dataset: Dataset, picture: Image.Image, move: Move | None) -> Example:
    return Example(row, dataset.ids[row], picture if move is None else picture.transpose(move))


def _strongest(
    extractor: Extractor,
    artifact: Artifact,
    point: HookPoint,
    keep: TokenFilter,
    rows: Sequence[int],
    inputs: Any,
    poles: Poles,
) -> tuple[csr_array, Float[np.ndarray, "example width"]]:
    """The largest value of every list and neuron over each example's tokens."""
    batch = extractor.extract(rows, inputs, [point]).tokens[point.name]
    batch = batch.take(keep.keep(batch.example, batch.coords, batch.role, point.roles))
    where = {row: i for i, row in enumerate(rows)}
    at = np.array([where[int(row)] for row in batch.example], dtype=np.int64)
    x = batch.values.float()
    codes = artifact.encode(x, check=False)
    offsets, latents, values = (t.cpu().numpy() for t in (codes.offsets, codes.latents, codes.values))
    lists, strength = poles.of(latents.astype(np.int64), values.astype(np.float64))
    out = np.zeros((len(rows), len(poles)), dtype=np.float32)
    np.maximum.at(out, (np.repeat(at, np.diff(offsets)), lists), strength)
    neurons = np.full((len(rows), x.shape[1]), -np.inf)
    np.maximum.at(neurons, at, x.cpu().numpy())
    return csr_array(out), np.where(np.isfinite(neurons), neurons, 0.0)
