"""The gate of the store: values are brought to its dtype, and only finite ones pass."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnisae.errors import StoreError
from omnisae.store.manifest import Manifest
from omnisae.store.packed import DTYPES, Packed, pack


def checked(
    values: Float[Tensor, "token width"],
    example: Int[Tensor, " token"],
    coords: Int[Tensor, "token axis"],
    manifest: Manifest,
) -> Packed:
    """The values in the store's dtype, on the CPU.

    Raises StoreError where one is NaN or infinite, or too large for the dtype: it names the example's row.
    """
    dtype = DTYPES[manifest.dtype]
    if not dtype.is_floating_point:  # whole numbers of a step that is itself fp32
        dtype = torch.float32
    values = values.detach()
    if values.numel():
        # Rounding is monotone, so the extremes tell for all; both are NaN where any value is.
        extremes = torch.stack(torch.aminmax(values))
        if not bool(torch.isfinite(extremes.to(dtype)).all()):
            raise _refusal(values.cpu(), example, coords, manifest, dtype)
    return pack(values, manifest.dtype)


def _refusal(values: Tensor, example: Tensor, coords: Tensor, manifest: Manifest, dtype: torch.dtype) -> StoreError:
    source_bad = ~torch.isfinite(values)
    bad = source_bad if bool(source_bad.any()) else ~torch.isfinite(values.to(dtype))
    tokens = torch.nonzero(bad.any(dim=1)).flatten()
    rows = torch.unique(example[tokens])
    token = int(tokens[0])
    column = int(torch.nonzero(bad[token])[0])
    value = float(values[token, column])
    place = ", ".join(f"{axis} {int(step)}" for axis, step in zip(manifest.hook.axes, coords[token], strict=True))
    where = f"example row {int(rows[0])}" + (f", {place}" if place else "") + f", dimension {column}"
    others = f" ({len(rows)} examples of this batch are affected)" if len(rows) > 1 else ""
    if bool(source_bad.any()):
        return StoreError(
            f"hook {manifest.hook.name!r}: the activation is {value} at {where}{others}; activations must be finite",
            "mend that example or take it out of the dataset; where the model runs in 16 bits, run it in float32",
        )
    limit = torch.finfo(dtype).max
    return StoreError(
        f"hook {manifest.hook.name!r}: the activation is {value:g} at {where}{others}; "
        f"the largest {manifest.dtype} is {limit:g}",
        "set store.dtype: bfloat16 (or float32)"
        if dtype == torch.float16
        else "mend that example or take it out of the dataset: no dtype of a store holds so large a number",
    )
