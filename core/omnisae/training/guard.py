"""The guard against NaN: says at which step, in which autoencoder, and on which data numbers stopped being numbers."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from omnisae.errors import OmnisaeError, TrainingError
from omnisae.store.source import TokenStream
from omnisae.training.figures import Reading, Reduce

FINITE = "finite"
"""The scalar that a hook point reports: 1 where all activations of its batch are finite."""


class Guard:
    """Remembers where the streams stood before the last steps, and judges the scalars that these steps led to.

    Scalars are judged some steps late, when they come over from the device anyway: a NaN stays a NaN, so the first one
    is still to be found, and nothing is saved between. Only then is the origin looked up, by reading that batch again.
    """

    def __init__(self, streams: Mapping[str, TokenStream]) -> None:
        self.kept: str = "no checkpoint was written yet"
        self._streams = streams
        self._positions: dict[int, dict[str, dict[str, Any]]] = {}

    def note(self, step: int) -> None:
        """This step comes next: its batches will be read from where the streams stand now."""
        self._positions[step] = {hook: stream.state() for hook, stream in self._streams.items()}

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
        self._positions.clear()

    def weights(self, step: int, job: str, tensors: Mapping[str, Tensor], least: Reduce) -> None:
        """Raises TrainingError where a tensor that is about to be saved is not finite.

        On all processes where one of them holds it: `least` is the smallest over them.
        """
        names = [name for name, tensor in tensors.items() if tensor.is_floating_point()]
        sound = least(torch.stack([tensors[name].isfinite().all() for name in names]).to(torch.uint8)).tolist()
        if not all(sound):
            raise TrainingError(
                f"after step {step}, the tensor {names[sound.index(0)]!r} of autoencoder {job!r} holds NaN or "
                f"infinity, though the loss was finite: its gradient was not",
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
        """Where the batch of a step came from, and its first row that is not finite."""
        stream = self._streams[hook]
        try:
            stream.restore(self._positions[step][hook])
            rows = stream.next()
        except OmnisaeError as error:  # the data may be what is broken
            return f"position {self._positions[step][hook]} of the stream, which cannot be read again: {error.problem}"
        broken = (~rows.isfinite().all(dim=1)).nonzero()[:, 0]
        return stream.where() + (f" (row {int(broken[0])} of the batch)" if len(broken) else "")

    def _remedy(self) -> str:
        return f"lower train.lr, lengthen train.warmup, or set train.clip (1.0, say); {self.kept}"


def finite(x: Float[Tensor, "token width"]) -> Bool[Tensor, ""]:
    """Whether all values are finite, still on the device. The extremes tell: both are NaN where any value is."""
    return torch.stack(torch.aminmax(x)).isfinite().all()
