"""The kernels in PyTorch's own operations: for every device and precision, and the reference of the others."""

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from omnisae.autoencoders.picked import Picked, ends

if TYPE_CHECKING:
    from omnisae.autoencoders.preactivations import Preactivations


def top(pre: "Preactivations", k: int, signed: bool) -> Picked:
    """The k largest of each token, latents ascending; exactly k entries a token, padded by what is not positive."""
    if pre.tokens == 0:
        return nothing(pre)
    if pre.precision == "mixed" and pre.dtype == torch.float32:
        tops = list(_decided(pre, k, signed))
    else:
        tops = [row_top(chunk, k, signed) for _, chunk in pre]
    values, latents = (torch.cat(part).reshape(-1) for part in zip(*tops, strict=True))
    return Picked(torch.arange(pre.tokens + 1, device=pre.device) * k, latents, values)


def _decided(pre: "Preactivations", k: int, signed: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """A quarter more than k proposed in bf16, and the k of these that are largest in fp32."""
    encoder, narrow = pre.encoder, pre.weights.bf16()
    wanted = proposed(k, pre.latents)
    for start in range(0, pre.tokens, pre.chunk):
        x = pre.x.rows[start : start + pre.chunk]
        latents = row_top((x.bfloat16() @ narrow.t()).float() + pre.offset, wanted, signed)[1]
        offsets = torch.arange(len(x) + 1, device=pre.device) * wanted
        exact = inner_products(x, encoder, offsets, latents.reshape(-1)).reshape(latents.shape) + pre.offset[latents]
        values, places = row_top(exact, k, signed)
        yield values, latents.gather(1, places)


def proposed(k: int, of: int) -> int:
    """How many bf16 proposes where fp32 decides on k."""
    return min(of, k + max(k // 4, 8))


def above(pre: "Preactivations", bound: Float[Tensor, " latent"]) -> Picked:
    """All that exceed their latent's bound."""
    parts = []
    for _, chunk in pre:
        keep = chunk > bound
        parts.append(Picked(ends(keep.sum(1)), keep.nonzero()[:, 1], chunk[keep]))
    return Picked.joined(parts) if parts else nothing(pre)


def largest(pre: "Preactivations", count: int) -> Picked:
    """The largest of the batch without waiting for the device: the best so far compete with each chunk."""
    keys = torch.zeros(0, dtype=torch.int64, device=pre.device)
    values = torch.zeros(0, dtype=pre.dtype, device=pre.device)
    for start, chunk in pre:
        flat = chunk.reshape(-1)
        keys = torch.cat([keys, torch.arange(flat.shape[0], device=pre.device) + start * pre.latents])
        values = torch.cat([values, flat])
        values, order = values.topk(min(count, len(values)), sorted=False)
        keys = keys[order]
    keys, order = ascending(keys, pre.tokens * pre.latents)
    starts = torch.arange(pre.tokens + 1, device=pre.device) * pre.latents
    return Picked(torch.searchsorted(keys, starts), keys % max(pre.latents, 1), values[order])


def nothing(pre: "Preactivations") -> Picked:
    """No entry for any token."""
    none = torch.zeros(0, dtype=torch.int64, device=pre.device)
    return Picked(none.new_zeros(pre.tokens + 1), none, torch.zeros(0, dtype=pre.dtype, device=pre.device))


def row_top(
    pre: Float[Tensor, "token latent"], k: int, signed: bool = False
) -> tuple[Float[Tensor, "token k"], Int[Tensor, "token k"]]:
    """The k largest of each row (in magnitude where `signed`) and their columns, columns ascending."""
    latents = (pre.abs() if signed else pre).topk(k, dim=1, sorted=False).indices
    latents, _ = ascending(latents, pre.shape[1])
    return pre.gather(1, latents), latents


def ascending(keys: Int[Tensor, "..."], limit: int) -> tuple[Int[Tensor, "..."], Int[Tensor, "..."]]:
    """Keys below `limit` in ascending order along the last axis, and the places they came from.

    32-bit keys sort many times faster than 64-bit ones, so they are narrowed where that loses nothing. The sort is
    stable.
    """
    narrow = keys.to(torch.int32) if limit <= 2**31 else keys
    ordered, order = narrow.sort(dim=-1, stable=True)
    return ordered.to(keys.dtype), order


def weighted_rows(
    matrix: Float[Tensor, "row width"],
    index: Int[Tensor, " entry"],
    offsets: Int[Tensor, " bag+1"],
    weights: Float[Tensor, " entry"],
) -> Float[Tensor, "bag width"]:
    """The sum over each bag of `weights[e] · matrix[index[e]]`."""
    return F.embedding_bag(
        index, matrix, offsets, mode="sum", per_sample_weights=weights.to(matrix.dtype), include_last_offset=True
    )


def inner_products(
    left: Float[Tensor, "bag width"],
    right: Float[Tensor, "latent width"],
    offsets: Int[Tensor, " bag+1"],
    latents: Int[Tensor, " entry"],
) -> Float[Tensor, " entry"]:
    """⟨left[bag], right[latent]⟩ of every entry."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        pattern = torch.sparse_csr_tensor(
            offsets,
            latents,
            torch.zeros(latents.shape[0], dtype=left.dtype, device=left.device),
            size=(left.shape[0], right.shape[0]),
            check_invariants=False,
        )
    products: Tensor = torch.sparse.sampled_addmm(pattern, left, right.t(), beta=0.0).values()
    return products
