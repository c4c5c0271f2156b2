"""Tables of latents on disk: safetensors, with what they are about as JSON in the header. No torch here.

Tensors: `times` (float64), `offsets` (int64: entry e has the latents from `offsets[e]` up to `offsets[e + 1]`), and one
number a latent each of `latents` (int64), `gates`, `targets` (float32) and `scores` (float64).
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from omnisae.atomic import replacing
from omnisae.errors import ArtifactError
from omnisae_diffusion.selection.entry import Entry

if TYPE_CHECKING:
    from omnisae_diffusion.selection.table import LatentTable

FORMAT, SCHEMA = "omnisae table of latents", 1
AGAIN = "copy the file again, or select the latents again"
_TENSORS = {
    "times": np.float64,
    "offsets": np.int64,
    "latents": np.int64,
    "gates": np.float32,
    "targets": np.float32,
    "scores": np.float64,
}
_LATENTWISE = ("latents", "gates", "targets", "scores")
_TEXTS = ("method", "concept", "identity", "hook", "binds")
_ABOUT = (*_TEXTS, "axis", "facts")


def write(path: Path, table: "LatentTable") -> None:
    """See `LatentTable.save`."""
    from safetensors.numpy import save_file

    try:
        about = json.dumps(table.about | {"format": FORMAT, "schema": SCHEMA}, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path}: the facts of the table cannot be written as JSON: {error}",
            "give numbers, texts, lists and dicts of these; None for a number that is not known",
        ) from error
    entries = table.entries
    parts: dict[str, Any] = {
        "times": np.asarray(table.times),
        "offsets": np.cumsum([0, *(len(entry) for entry in entries)]),
    } | {name: np.concatenate([getattr(entry, name) for entry in entries]) for name in _LATENTWISE}
    arrays = {name: np.ascontiguousarray(parts[name], dtype=kind) for name, kind in _TENSORS.items()}
    with replacing(path) as temporary:
        save_file(arrays, temporary, metadata={"table": about})


def read(path: Path) -> "LatentTable":
    """See `LatentTable.load`."""
    from omnisae_diffusion.selection.table import LatentTable

    about, arrays = _raw(path)
    offsets = arrays["offsets"]
    if len(offsets) < 2 or offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != len(arrays["latents"]):
        raise ArtifactError(f"{path} is damaged: its offsets do not divide {len(arrays['latents'])} latents", AGAIN)
    try:
        entries = tuple(
            Entry(*(arrays[name][a:b] for name in _LATENTWISE))
            for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        )
        times = tuple(arrays["times"].tolist())
        told = {name: about[name] for name in _ABOUT} | {"grid": about.get("grid", {})}
        return LatentTable(**told, entries=entries, times=times)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error.problem}", error.remedy) from None


def _raw(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header's JSON and the arrays, each looked at by itself."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ArtifactError(f"{path}: there is no such file", "give the file that a selection wrote")
    try:
        with safe_open(path, framework="numpy") as file:
            about = _about(path, (file.metadata() or {}).get("table"))
            names = set(file.keys())
            if missing := sorted(set(_TENSORS) - names):
                raise ArtifactError(f"{path} is damaged: it lacks {', '.join(missing)}", AGAIN)
            arrays = {name: file.get_tensor(name) for name in _TENSORS}
    except SafetensorError as error:
        raise ArtifactError(f"{path} is no safetensors file, or is truncated: {error}", AGAIN) from None
    for name, kind in _TENSORS.items():
        if arrays[name].dtype != kind or arrays[name].ndim != 1:
            raise ArtifactError(
                f"{path} is damaged: {name} is {arrays[name].dtype} of shape {list(arrays[name].shape)}, and must be a "
                f"row of {np.dtype(kind)}",
                AGAIN,
            )
    return about, arrays


def _about(path: Path, text: str | None) -> dict[str, Any]:
    try:
        about = json.loads(text or "null")
    except ValueError:
        raise ArtifactError(f"{path} is damaged: its header is no JSON", AGAIN) from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ArtifactError(f"{path} holds no table of latents", "give the file that a selection wrote")
    if not isinstance(version := about.get("schema"), int) or version > SCHEMA:
        raise ArtifactError(
            f"{path} has schema {version!r}; this omnisae reads up to {SCHEMA}", "update omnisae to read this table"
        )
    wrong = [name for name in _TEXTS if not isinstance(about.get(name), str)]
    if "axis" not in about or not isinstance(about["axis"], str | None):
        wrong.append("axis")
    if not isinstance(about.get("facts"), dict):
        wrong.append("facts")
    grid = about.get("grid", {})
    if not isinstance(grid, dict) or not all(isinstance(size, int) and size > 0 for size in grid.values()):
        wrong.append("grid")
    if wrong:
        raise ArtifactError(f"{path} is damaged: its header says nothing valid of {', '.join(wrong)}", AGAIN)
    return about
