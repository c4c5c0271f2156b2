"""One side of the encoder's product: rows in full, and narrow with how far each lies from the row in full."""

from dataclasses import dataclass, field

import torch
from jaxtyping import BFloat16, Float
from torch import Tensor

from omnisae.autoencoders.kernels import device, narrow
from omnisae.autoencoders.kernels.loops import array, threads
from omnisae.autoencoders.precision import Product


@dataclass(frozen=True, slots=True)
class Narrow:
    """Rows in few bits: row ≈ values · scale. `norm` is ‖row‖, `error` ‖row − values · scale‖, `shifted` ⟨row, shift⟩
    with the shift that was asked for.
    """

    values: Tensor
    scale: Float[Tensor, " row"]
    norm: Float[Tensor, " row"]
    error: Float[Tensor, " row"]
    shifted: Float[Tensor, " row"]


@dataclass(slots=True)
class Operand:
    """Rows. Each narrow form is made once and kept, for all that multiply the same rows."""

    rows: Float[Tensor, "row width"]
    shift: Float[Tensor, " width"] | None = None
    _made: dict[Product, Narrow] = field(default_factory=dict)
    _bf16: BFloat16[Tensor, "row width"] | None = None
    _along: Float[Tensor, " row"] | None = None

    def narrow(self, product: Product) -> Narrow:
        """fp32 rows on the CPU as this product takes them."""
        if product not in self._made:
            self._made[product] = self._make(product)
        return self._made[product]

    def bf16(self) -> BFloat16[Tensor, "row width"]:
        """The rows in bf16, on any device."""
        if self._bf16 is None:
            if self.shift is not None and device.takes(self.rows, self.shift):
                from omnisae.autoencoders.kernels.triton.rows import halved

                self._bf16, self._along = halved(self.rows, self.shift)
            else:
                self._bf16 = self.rows.bfloat16()
        return self._bf16

    def along(self, *, halved: bool) -> Float[Tensor, " row"]:
        """⟨row, shift⟩, on any device. Where the rows are `halved` anyway, a GPU reads them once for both."""
        if halved:
            self.bf16()
        if self._along is None:
            self._along = self.rows @ self.shift if self.shift is not None else self.rows.new_zeros(len(self.rows))
        return self._along

    def _make(self, product: Product) -> Narrow:
        count, width = self.rows.shape
        scale, (norm, error, shifted) = self.rows.new_ones(count), self.rows.new_empty(3, count)
        shift = torch.zeros(width) if self.shift is None else self.shift
        threads()
        if product == "int8":
            values = torch.empty(count, width, dtype=torch.int8)
            narrow.to_int8(*map(array, (self.rows, shift, values, scale, norm, error, shifted)))
        elif product == "bfloat16":
            values = torch.empty(count, width, dtype=torch.bfloat16)
            narrow.to_bf16(*map(array, (self.rows, shift, values, norm, error, shifted)))
        else:
            values = self.rows
            norm, error, shifted = values.norm(dim=1), values.new_zeros(count), values @ shift
        return Narrow(values, scale, norm, error, shifted)
