"""Activations as they are stored, and how they become fp32 again."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Shaped
from torch import Tensor

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "int8": torch.int8}
"""What each of the manifest's dtypes is in torch."""

_STEPS = 127
"""Steps of int8 on each side of zero: one more on the negative side would shift every row's mean."""

_LEAST = torch.finfo(torch.float32).tiny
"""The smallest step that fp32 divides by without losing digits. Also that of rows of zeros."""

_MOST = float(torch.nextafter(torch.tensor(torch.finfo(torch.float32).max / _STEPS), torch.tensor(0.0)))
"""The largest step of which _STEPS are still finite."""

_PIECE = 1 << 18
"""Values widened at a time: they stay in the cache from one pass to the next."""

_QUIET = 1 << 15
"""Values for which torch wakes no threads of its own."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Tokens in a store's dtype. For int8 the values are whole numbers of `scale`, which is a token's own step."""

    values: Shaped[Tensor, "token width"]
    scale: Float32[Tensor, " token"] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def part(self, start: int, stop: int) -> "Packed":
        """A run of tokens, as a view."""
        return Packed(self.values[start:stop], None if self.scale is None else self.scale[start:stop])

    def widen(
        self, out: Float[Tensor, "token width"] | None = None, *, quiet: bool = False
    ) -> Float[Tensor, "token width"]:
        """The activations in fp32, in `out` if given. Without `out`, what is stored in fp32 is handed out as it is.

        `quiet` keeps to the calling thread, for use beside a step that has taken all cores: its threads would wait for
        each other while those that torch wakes here stand in their way.
        """
        if out is None:
            if self.values.dtype == torch.float32:
                return self.values
            out = torch.empty(self.values.shape, device=self.values.device)
        if out.device.type == "cpu":
            rows = max(1, (_QUIET if quiet else _PIECE) // max(1, self.values.shape[1]))
        else:
            rows = max(1, len(self))
        wide, stored = torch.split(out, rows), torch.split(self.values, rows)
        if self.scale is None:
            for piece, values in zip(wide, stored, strict=True):
                piece.copy_(values)
        else:
            for piece, values, scale in zip(wide, stored, torch.split(self.scale[:, None], rows), strict=True):
                piece.copy_(values).mul_(scale)
        return out

    def sent(self, device: torch.device) -> "Packed":
        """A copy on a CUDA device, by way of pinned memory: queued on the current stream, not waited for.

        torch keeps the pinned memory from being used again until the copy has been made.
        """
        values = self.values.pin_memory().to(device, non_blocking=True)
        scale = None if self.scale is None else self.scale.pin_memory().to(device, non_blocking=True)
        return Packed(values, scale)


def pack(values: Float[Tensor, "token width"], dtype: str) -> Packed:
    """Finite activations in one of the manifest's dtypes, on the CPU.

    int8 cuts what lies between a token's largest magnitude and its negative into 254 steps and rounds to the nearest
    mark, so that no value is off by more than half a step (beside fp32's own rounding), and zero stays zero.
    """
    if dtype != "int8":
        return Packed(values.to("cpu", DTYPES[dtype]))
    wide = values.float()
    scale = (wide.abs().amax(dim=1) / _STEPS).clamp(_LEAST, _MOST)
    return Packed((wide / scale[:, None]).round_().to("cpu", torch.int8), scale.cpu())
