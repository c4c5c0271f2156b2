"""Words and their text vectors: from a table, or by a text tower."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from omnisae.errors import DatasetError, did_you_mean
from omnisae.studies.study import Material
from omnisae_vision.plugin_studies import NamingConfig
from omnisae_vision.studies.embedding import kept

Words = tuple[list[str], Float[np.ndarray, "word d"]]


def vocabulary(config: NamingConfig, material: Material) -> Words:
    """Words with vectors of unit norm. Raises DatasetError where a file cannot be read or fits no vocabulary."""
    words, vectors = _table(config.vectors) if config.vectors is not None else _by_text(config, material)
    twice = sorted({word for word in words if words.count(word) > 1}) if len(set(words)) < len(words) else []
    if twice:
        raise DatasetError(f"the vocabulary has {twice[0]!r} more than once", "give every word once")
    if len(words) < 2:
        raise DatasetError(f"the vocabulary has {len(words)} word(s); two are needed to choose from", "give more words")
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = np.flatnonzero(~(norm[:, 0] > 0))
    if len(bad):
        raise DatasetError(f"the vector of {words[bad[0]]!r} is zero or NaN", "leave the word out, or make it anew")
    return words, vectors / norm


def _table(path: Path | None) -> Words:
    if path is None or not path.exists():
        raise DatasetError(f"{path} does not exist", "check the path; it is relative to where the command runs")
    if path.suffix == ".npz":
        return _npz(path)
    if path.suffix in (".parquet", ".pq"):
        return _parquet(path)
    raise DatasetError(f"{path} is neither .npz nor .parquet", "save words and vectors as one of these")


def _npz(path: Path) -> Words:
    try:
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} cannot be read as .npz: {error}", "save it with numpy.savez, words as text"
        ) from None
    for name in ("words", "vectors"):
        if name not in arrays:
            raise DatasetError(f"{path} has no array {name!r}", did_you_mean(name, arrays))
    return _fitting(path, [str(word) for word in arrays["words"].ravel()], arrays["vectors"])


def _parquet(path: Path) -> Words:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DatasetError(f"{path} cannot be read as parquet: {error}", "save it anew") from None
    for name in ("word", "vector"):
        if name not in table.column_names:
            raise DatasetError(f"{path} has no column {name!r}", did_you_mean(name, table.column_names))
    rows = table["vector"].to_pylist()
    if len({len(row) if row is not None else None for row in rows}) != 1:
        raise DatasetError(f"{path}: the vectors are not all of one length", "give every word a vector of one model")
    return _fitting(path, [str(word) for word in table["word"].to_pylist()], np.array(rows, dtype=np.float64))


def _fitting(path: Path, words: list[str], vectors: Any) -> Words:
    if vectors.ndim != 2 or len(vectors) != len(words) or vectors.dtype.kind not in "fiu":
        raise DatasetError(
            f"{path} has {len(words)} words and vectors of shape {list(vectors.shape)} ({vectors.dtype})",
            "give a row of numbers for every word",
        )
    return words, np.asarray(vectors, dtype=np.float64)


def _by_text(config: NamingConfig, material: Material) -> Words:
    words = list(config.words) or _lines(config.vocabulary)
    from omnisae_vision.open_clip_text import TextTower

    text: Any = config.text
    key = {"text": text.model_dump(mode="json"), "words": words, "prompts": config.prompts}
    return words, kept(material, key, lambda: TextTower(text).classes(words, config.prompts).double().numpy())


def _lines(path: Path | None) -> list[str]:
    if path is None:
        raise DatasetError("no vocabulary is given", "name `words` or `vocabulary`")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"the vocabulary {path} cannot be read: {error}", "give a UTF-8 text, a word a line"
        ) from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def by_tower(config: NamingConfig, material: Material, rows: Sequence[int]) -> Float[np.ndarray, "example d"]:
    """Vectors of these pictures by the image tower that belongs to the words, NaN for the others; kept."""
    from omnisae.errors import UnreadableExample
    from omnisae_vision.open_clip_text import TextTower

    text: Any = config.text

    def make() -> Float[np.ndarray, "example d"]:
        found, pictures = [], []
        for row in rows:
            try:
                pictures.append(material.dataset.load(row).input)
                found.append(row)
            except UnreadableExample:
                continue  # the run has reported it; it has no vector
        vectors = TextTower(text).embed_pictures(pictures).numpy()
        out = np.full((len(material.dataset), vectors.shape[1]), np.nan, dtype=np.float32)
        out[found] = vectors
        return out

    return kept(material, {"pictures": text.model_dump(mode="json"), "rows": list(map(int, rows))}, make)
