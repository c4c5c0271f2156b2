"""The guard against NaN: says at which step, in which autoencoder, and on which data numbers stopped being numbers."""

import math
from collections.abc import Iterable, Mapping
from typing import NoReturn

from torch import Tensor

from omnisae.errors import TrainingError
from omnisae.training.figures import Reading

FINITE = "finite"
"""The scalar that a hook point reports: 1 where all activations of its batch are finite."""


class Guard:
    """Remembers where the batches of the last steps came from, and judges the scalars that they led to.

    Scalars are judged some steps late, when they come over from the device anyway: a NaN stays a NaN, so the first one
    is still to be found, and nothing is saved between.
    """

    def __init__(self) -> None:
        self.kept: str = "no checkpoint was written yet"
        self._origins: dict[int, dict[str, str]] = {}
        self._judged = -1

    def saw(self, step: int, hook: str, where: str) -> None:
        """A batch of this origin goes into this step."""
        self._origins.setdefault(step, {})[hook] = where

    def judge(self, readings: Iterable[Reading], hooks: Mapping[str, str]) -> None:
        """Raises TrainingError at the first reading that is not finite. `hooks` gives the hook point of each job."""
        for reading in readings:
            if reading.owner not in hooks:
                if reading.values[FINITE] < 1:
                    self._refuse_activations(reading.step, reading.owner)
                continue
            for name, value in reading.values.items():
                if not math.isfinite(value):
                    self._refuse_loss(reading.step, reading.owner, hooks[reading.owner], name, value)
            self._judged = max(self._judged, reading.step)
        self._origins = {step: origin for step, origin in self._origins.items() if step >= self._judged}

    def weights(self, step: int, job: str, tensors: Mapping[str, Tensor]) -> None:
        """Raises TrainingError where a tensor that is about to be saved is not finite."""
        broken = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not _finite(tensor)]
        if broken:
            raise TrainingError(
                f"after step {step}, the tensor {broken[0]!r} of autoencoder {job!r} holds NaN or infinity, though the "
                f"loss was finite: its gradient was not",
                self._remedy(),
            )

    def _refuse_activations(self, step: int, hook: str) -> NoReturn:
        raise TrainingError(
            f"step {step}: the activations of hook point {hook!r} hold NaN or infinity; they came from "
            f"{self._origin(step, hook)}",
            f"extract these anew, or leave out the examples they belong to; {self.kept}",
        )

    def _refuse_loss(self, step: int, job: str, hook: str, name: str, value: float) -> NoReturn:
        shown = name.removeprefix("term/")
        raise TrainingError(
            f"step {step}: {shown} of autoencoder {job!r} became {value} on finite activations, which came from "
            f"{self._origin(step, hook)}",
            self._remedy(),
        )

    def _origin(self, step: int, hook: str) -> str:
        return self._origins.get(step, {}).get(hook, "an unknown place")

    def _remedy(self) -> str:
        return f"lower train.lr, lengthen train.warmup, or set train.clip (1.0, say); {self.kept}"


def _finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())
