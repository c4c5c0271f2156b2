"""Checkpoints: all that a training needs to go on bit for bit, in safetensors and JSON.

    checkpoint/state.json                  step, streams, figures, and the other files with their checksums
    checkpoint/<job>.<step>.safetensors    one autoencoder: weights, buffers and the optimiser's moments

`state.json` is replaced last and in one stroke, so there is always one whole checkpoint: the old one until then, the
new one from then on.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from omnisae.atomic import replacing, write_json
from omnisae.errors import TrainingError
from omnisae.store.key import file_digest

SCHEMA = 1
STATE = "state.json"

Rows = Callable[[str], slice | None]
"""Which rows of a tensor are wanted, by its name. None: the tensor as it is."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training has come: steps done, seconds spent, the position of each stream, the unfinished windows."""

    step: int = 0
    seconds: float = 0.0
    streams: dict[str, Any] = field(default_factory=dict)
    windows: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a checkpoint belongs to: the content key, and the settings behind it, to say what differs."""

    key: str
    about: dict[str, Any]


def write(
    folder: Path, identity: Identity, progress: Progress, tensors: Mapping[str, Callable[[], dict[str, Tensor]]]
) -> None:
    """Write a checkpoint of every job's whole tensors (asked for one job at a time), then drop the previous one.

    Raises StoreError where the disk is full; the previous checkpoint then still stands.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for job, ask in tensors.items():
        path = folder / f"{job}.{progress.step}.safetensors"
        with replacing(path) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in ask().items()}, temporary)
        files.append({"job": job, "file": path.name, "sha256": file_digest(path)})
    saved = {"key": identity.key, "about": identity.about, "progress": asdict(progress), "files": files}
    write_json(folder / STATE, {"schema": SCHEMA, "sha256": _digest(saved), **saved})
    _drop_others(folder, {file["file"] for file in files})


def read(
    folder: Path, identity: Identity, jobs: Sequence[str]
) -> tuple[Progress, Callable[[str, Rows], dict[str, Tensor]]] | None:
    """The progress of a checkpoint, and what reads the tensors of a job (on the host); None where there is none.

    Everything is checked against its checksum first. Raises TrainingError where the checkpoint is damaged, was written
    by a newer version, or belongs to another training.
    """
    path = folder / STATE
    if not path.exists():
        return None
    saved = _state(path)
    if saved["key"] != identity.key:
        raise TrainingError(
            f"{folder} holds a checkpoint of another training, at step {saved['progress']['step']}"
            f"{_difference(saved['about'], identity.about)}",
            f"to go on with it, give it its settings back; to start anew, remove {folder} or choose another folder",
        )
    files = {file["job"]: file for file in saved["files"]}
    if list(files) != list(jobs):
        raise _damaged(path, f"it holds the autoencoders {list(files)}, not {list(jobs)}", folder)
    for file in files.values():
        _check(folder / file["file"], file["sha256"], folder)

    def tensors(job: str, rows: Rows) -> dict[str, Tensor]:
        part = folder / files[job]["file"]
        try:
            with safe_open(part, framework="pt") as file:
                return {name: _part(file, name, rows(name)) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (SafetensorError, OSError) as error:
            raise _damaged(part, str(error), folder) from error

    return Progress(**saved["progress"]), tensors


def _part(file: Any, name: str, rows: slice | None) -> Tensor:
    tensor: Tensor = file.get_tensor(name) if rows is None else file.get_slice(name)[rows]
    return tensor


def _state(path: Path) -> dict[str, Any]:
    try:
        saved = json.loads(path.read_text())
        schema, checksum = saved.pop("schema"), saved.pop("sha256")
    except (ValueError, KeyError, AttributeError, UnicodeDecodeError) as error:
        raise _damaged(path, f"it is no whole JSON ({error})", path.parent) from error
    if schema > SCHEMA:
        raise TrainingError(
            f"{path} has schema {schema}; this version of omnisae reads up to {SCHEMA}",
            f"update omnisae, or remove {path.parent} to start anew",
        )
    if _digest(saved) != checksum:
        raise _damaged(path, "its content does not match its checksum", path.parent)
    return dict(saved)


def _check(path: Path, checksum: str, folder: Path) -> None:
    if not path.exists():
        raise _damaged(path, "the file is missing", folder)
    if file_digest(path) != checksum:
        raise _damaged(path, "its content does not match its checksum (truncated or altered)", folder)


def _damaged(path: Path, why: str, folder: Path) -> TrainingError:
    return TrainingError(f"the checkpoint {path} is damaged: {why}", f"remove {folder} to start this training anew")


def _difference(old: Any, new: Any) -> str:
    """The first settings that differ, as `: train.lr was 0.001 and is 0.002`."""
    changed = list(_changes(old, new, ""))
    if not changed:
        return ": its data or model differ"
    return ": " + "; ".join(changed[:3]) + (f" … ({len(changed)} differences)" if len(changed) > 3 else "")


def _changes(old: Any, new: Any, place: str) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        names = dict.fromkeys([*old, *new])
        return [
            change
            for name in names
            for change in _changes(old.get(name), new.get(name), f"{place}.{name}" if place else name)
        ]
    return [] if old == new else [f"{place} was {old!r} and is {new!r}"]


def _digest(saved: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(saved, sort_keys=True).encode()).hexdigest()


def _drop_others(folder: Path, keep: set[str]) -> None:
    """Remove what earlier checkpoints and broken-off writes left behind."""
    for path in folder.iterdir():
        if path.name not in keep and path.name != STATE and path.suffix in (".safetensors", ".part"):
            path.unlink(missing_ok=True)
