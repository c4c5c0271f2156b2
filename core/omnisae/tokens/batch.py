"""Token batches: activation vectors, each with its example and its coordinates."""

from dataclasses import dataclass

from jaxtyping import Float, Int, UInt8
from torch import Tensor


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Rows of activations from one hook point.

    `example` is the dataset's row of each token; `coords` its steps along the hook point's axes (−1 where a special
    token has none); `role` an index into the layout's roles (0 is content).
    """

    values: Float[Tensor, "token width"]
    example: Int[Tensor, " token"]
    coords: Int[Tensor, "token axis"]
    role: UInt8[Tensor, " token"]

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def take(self, rows: Tensor) -> "TokenBatch":
        """The rows that an index or a boolean mask picks."""
        return TokenBatch(self.values[rows], self.example[rows], self.coords[rows], self.role[rows])
