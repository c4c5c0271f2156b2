"""The journal of a training: `metrics.jsonl` and TensorBoard, which a resumed training continues without a seam."""

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

from omnisae.atomic import disk, write_text

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"


class Journal:
    """Writes one line a log step to `out/metrics.jsonl` and the same figures to `out/tensorboard`.

    Opened at step n, it first takes back all that was written after step n, which a killed training had not saved.
    """

    def __init__(self, out: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._path = out / METRICS
        _cut(self._path, step)
        if step == 0:
            shutil.rmtree(out / TENSORBOARD, ignore_errors=True)
        self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close)
        self._board = SummaryWriter(str(out / TENSORBOARD), purge_step=step + 1)

    def write(self, line: dict[str, Any]) -> None:
        """Add one line. Raises StoreError where the disk is full."""
        with disk(self._path):
            self._file.write(json.dumps(_plain(line), allow_nan=False) + "\n")
            self._file.flush()
            for name, value in _scalars(line).items():
                self._board.add_scalar(name, value, line["step"])

    def sync(self) -> None:
        """Have all lines on the disk: what a checkpoint says was logged must not be lost by a power cut."""
        with disk(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._board.flush()

    def close(self) -> None:
        self._file.close()
        self._board.close()


def _scalars(line: dict[str, Any]) -> dict[str, float]:
    """What TensorBoard draws: the rate, the speed, and each autoencoder's figures and terms of the loss."""
    drawn = {"lr": line["lr"], "tokens_per_s": line["tokens_per_s"]}
    for job, figures in line["jobs"].items():
        terms = {f"terms/{name}": value for name, value in figures["terms"].items()}
        drawn |= {f"{job}/{name}": value for name, value in {**figures, **terms}.items()}
    return {name: value for name, value in drawn.items() if isinstance(value, int | float)}


def _cut(path: Path, step: int) -> None:
    """Keep the whole lines up to this step."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue  # a line that was cut off when the process died
    write_text(path, "".join(kept))


def _plain(value: Any) -> Any:
    """The value as strict JSON: what is not finite becomes null."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
