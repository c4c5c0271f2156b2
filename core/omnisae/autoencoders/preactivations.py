"""The pre-activations of a batch, which are never held whole: they are asked for what is large among them."""

from collections.abc import Iterator
from types import ModuleType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnisae.autoencoders import merge, proposals
from omnisae.autoencoders.group import ALONE, Group
from omnisae.autoencoders.kernels import device, plain
from omnisae.autoencoders.operand import Operand
from omnisae.autoencoders.picked import Picked
from omnisae.autoencoders.precision import Precision, full_fp32, product

CHUNK_ELEMENTS = {"cpu": 2**23, "cuda": 2**27}
"""Largest block of pre-activations held at a time: on a CPU it stays near the caches."""


class Preactivations:
    """⟨x, encoder⟩ + offset of a batch's tokens, for all latents.

    `x` are normalised activations less their fixed centre, and `offset` is the encoder's bias less what the distance
    of the decoder's bias from that centre adds: offset = bias − encoder · shift, shift = decoder bias − centre.

    Where latents are divided, `encoder` and `bias` are those that this process holds, all answers are about these, and
    "the largest" are so among the latents of all processes in `over_latents`.
    """

    def __init__(
        self,
        x: Operand,
        encoder: Float[Tensor, "latent width"],
        bias: Float[Tensor, " latent"],
        shift: Float[Tensor, " width"],
        precision: Precision = "exact",
        over_latents: Group = ALONE,
    ) -> None:
        self.x, self.bias, self.shift, self.precision = x, bias, shift, precision
        self.over_latents = over_latents
        self.weights = Operand(encoder, shift)
        self.tokens, self.latents = int(x.rows.shape[0]), int(encoder.shape[0])
        self.device, self.dtype = encoder.device, encoder.dtype
        self.chunk = max(16, CHUNK_ELEMENTS.get(self.device.type, 2**24) // max(self.latents, 1))
        self._on_gpu = device.takes(encoder, x.rows)
        self._on_cpu = not self._on_gpu and self.device.type == "cpu" and self.dtype == torch.float32
        self._offset: Tensor | None = None

    def first(self, tokens: int) -> "Preactivations":
        """Those of the first tokens."""
        some = Preactivations(
            Operand(self.x.rows[:tokens]), self.encoder, self.bias, self.shift, self.precision, self.over_latents
        )
        some.weights = self.weights
        return some

    @property
    def encoder(self) -> Float[Tensor, "latent width"]:
        return self.weights.rows

    @property
    def offset(self) -> Float[Tensor, " latent"]:
        """bias − encoder · shift."""
        if self._offset is None:
            if self._on_cpu:
                along = self.weights.narrow(product(self.precision)).shifted
            else:
                along = self.weights.along(halved=self.precision != "exact")
            self._offset = self.bias - along
        return self._offset

    def top(self, k: int, *, signed: bool = False) -> Picked:
        """The k largest positive pre-activations of each token; where `signed`, the k largest in magnitude.

        Latents ascend within a token; of equals the lowest. Where the device must not be waited for, every token has
        exactly k entries, padded by some that are not positive.
        """
        here = min(k, self.latents)
        picked = proposals.top(self, here, signed) if self._on_cpu else self._kernels.top(self, here, signed)
        return merge.top(picked, k, signed, self.over_latents)

    def above(self, bound: Float[Tensor, "..."], expected: int) -> Picked:
        """All pre-activations greater than `bound` (one number, or one a latent). `expected` of them a token is a guess
        that costs time where it is far too low.
        """
        bound = bound.to(self.dtype).expand(self.latents)
        return proposals.above(self, bound, expected) if self._on_cpu else plain.above(self, bound)

    def largest(self, count: int, guess: float) -> Picked:
        """The `count` largest positive pre-activations of the whole batch. What is picked does not depend on `guess`,
        a threshold that should let a little more than `count` through.
        """
        picked = proposals.largest(self, count, guess) if self._on_cpu else self._kernels.largest(self, count)
        return merge.largest(picked, count, self.over_latents)

    def threshold(self, count: int) -> Float[Tensor, ""]:
        """A threshold that the `count` largest of the batch exceed and few more; zero where fewer are positive.

        It lies a thousandth below the smallest of them, so that rounding does not decide whether that one fires.
        """
        values = self.largest(count, 0.0).values
        positive = torch.where(values > 0, values, torch.inf)
        least = positive.min() if len(values) else values.new_tensor(torch.inf)
        enough = self.over_latents.summed((values > 0).sum()) >= count
        return torch.where(enough, 0.999 * self.over_latents.least(least), 0.0)

    def __iter__(self) -> Iterator[tuple[int, Float[Tensor, "row latent"]]]:
        """The first row and all pre-activations of each chunk, for rules that look at every one."""
        for start in range(0, self.tokens, self.chunk):
            yield start, self.rows(slice(start, start + self.chunk))

    def rows(self, index: Int[Tensor, " row"] | slice) -> Float[Tensor, "row latent"]:
        """All pre-activations of chosen tokens; their product in bf16 where the precision says so."""
        x = self.x.rows[index]
        if self.precision == "bf16" and self.dtype == torch.float32:
            return (x.bfloat16() @ self.weights.bf16().t()).to(self.dtype) + self.offset
        with full_fp32(self.device):
            return torch.addmm(self.offset, x, self.encoder.t())

    @property
    def _kernels(self) -> ModuleType:
        """What picks where the CPU's own kernels do not."""
        if self._on_gpu:
            from omnisae.autoencoders.kernels.triton import picking

            return picking
        return plain
