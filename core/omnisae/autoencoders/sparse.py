"""Sparse linear algebra of codes: only the entries that fire are multiplied, forwards and backwards.

An *entry* is one non-zero of a token × latent matrix. Entries stand in the order of their *bags* (a bag is a token,
or one prefix group of a token), so that a product with a dictionary is an embedding bag; their transposition (the
order by latent) makes weight gradients embedding bags too. Nothing here waits for the device or depends on the order
in which threads finish.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

CHUNK_ELEMENTS = {"cpu": 2**22, "cuda": 2**27}
"""Largest block of pre-activations held at a time: on a CPU it stays near the caches."""


class Preactivations:
    """The dense pre-activations of a batch, computed a few rows at a time and never held whole.

    `centred` are normalised activations less the decoder's bias.
    """

    def __init__(
        self,
        centred: Float[Tensor, "token width"],
        encoder: Float[Tensor, "latent width"],
        bias: Float[Tensor, " latent"],
    ) -> None:
        kind = centred.device.type
        # Cast once here what autocast would cast again for every chunk.
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else centred.dtype
        self.centred, self.encoder, self.bias = centred.to(dtype), encoder.to(dtype), bias.to(dtype)
        self.tokens, self.latents = int(centred.shape[0]), int(encoder.shape[0])
        self.device = centred.device
        self.chunk = max(16, CHUNK_ELEMENTS.get(kind, 2**24) // max(self.latents, 1))

    def __iter__(self) -> Iterator[tuple[int, Float[Tensor, "row latent"]]]:
        """The first row and the pre-activations of each chunk."""
        for start in range(0, self.tokens, self.chunk):
            yield start, self._of(self.centred[start : start + self.chunk])

    def rows(self, index: Int[Tensor, " row"]) -> Float[Tensor, "row latent"]:
        """The pre-activations of chosen tokens."""
        return self._of(self.centred[index])

    def _of(self, centred: Tensor) -> Tensor:
        return torch.addmm(self.bias, centred, self.encoder.t())


@dataclass(frozen=True, slots=True)
class Picked:
    """Entries that an activation rule keeps: token t keeps `latents[offsets[t]:offsets[t + 1]]`, ascending.

    `values` are their pre-activations. Entries whose value the rule turns to zero are allowed: they pad the arrays to a
    size known beforehand, so that the device need not be waited for.
    """

    offsets: Int[Tensor, " token+1"]
    latents: Int[Tensor, " entry"]
    values: Float[Tensor, " entry"]


@dataclass(frozen=True, slots=True)
class Entries:
    """Where a sparse matrix has entries, by bag and, transposed, by latent."""

    bags: Int[Tensor, " entry"]
    offsets: Int[Tensor, " bag+1"]
    latents: Int[Tensor, " entry"]
    order: Int[Tensor, " entry"]
    """Entries sorted by latent, and by bag within a latent."""
    bounds: Int[Tensor, " latent+1"]
    """Where each latent's entries begin in `order`."""

    @staticmethod
    def of(offsets: Int[Tensor, " bag+1"], latents: Int[Tensor, " entry"], width: int) -> "Entries":
        """The entries of bags given by offsets. `width` is the number of latents."""
        entry = torch.arange(latents.shape[0], device=latents.device)
        bags = torch.searchsorted(offsets, entry, right=True) - 1
        keys, order = ascending(latents, width)
        bounds = torch.searchsorted(keys, torch.arange(width + 1, device=keys.device))
        return Entries(bags, offsets, latents, order, bounds)

    def grouped(self, bags: Int[Tensor, " entry"], offsets: Int[Tensor, " bag+1"]) -> "Entries":
        """The same entries in finer bags."""
        return Entries(bags, offsets, self.latents, self.order, self.bounds)

    def counts(self, fires: Tensor) -> Int[Tensor, " latent"]:
        """How many of the entries for which `fires` holds belong to each latent."""
        running = F.pad(fires[self.order].cumsum(0), (1, 0))
        return running[self.bounds[1:]] - running[self.bounds[:-1]]


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
    left: Float[Tensor, "bag width"], right: Float[Tensor, "latent width"], entries: Entries
) -> Float[Tensor, " entry"]:
    """⟨left[bag], right[latent]⟩ of every entry."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        pattern = torch.sparse_csr_tensor(
            entries.offsets,
            entries.latents,
            torch.zeros(entries.latents.shape[0], dtype=left.dtype, device=left.device),
            size=(left.shape[0], right.shape[0]),
            check_invariants=False,
        )
    products: Tensor = torch.sparse.sampled_addmm(pattern, left, right.t(), beta=0.0).values()
    return products


def by_latent(
    matrix: Float[Tensor, "bag width"], weights: Float[Tensor, " entry"], entries: Entries
) -> Float[Tensor, "latent width"]:
    """The gradient of a dictionary: the sum over each latent's entries of `weights[e] · matrix[bag of e]`."""
    return weighted_rows(matrix, entries.bags[entries.order], entries.bounds, weights[entries.order])


def sums_by_latent(weights: Float[Tensor, " entry"], entries: Entries) -> Float[Tensor, " latent"]:
    """The sum of the weights of each latent's entries."""
    ones = torch.ones(1, 1, dtype=weights.dtype, device=weights.device)
    return weighted_rows(ones, torch.zeros_like(entries.order), entries.bounds, weights[entries.order])[:, 0]


class _Encode(torch.autograd.Function):
    """Pre-activations of the picked entries: ⟨x − decoder bias, encoder[latent]⟩ + bias[latent]."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        centred: Tensor,
        encoder: Tensor,
        bias: Tensor,
        decoder_bias: Tensor,
        entries: Entries,
    ) -> Tensor:
        ctx.save_for_backward(centred, encoder)
        ctx.entries = entries
        return values.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        centred, encoder = ctx.saved_tensors
        weights = by_latent(centred, gradient, ctx.entries)
        bias = sums_by_latent(gradient, ctx.entries)
        # x − b enters every product, so that b's gradient is one vector × matrix product, not a pass over entries.
        return None, None, weights, bias, -(bias @ encoder), None


class _Decode(torch.autograd.Function):
    """The sum over each bag of value × atom."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, decoder: Tensor, entries: Entries) -> Tensor:
        ctx.save_for_backward(values, decoder)
        ctx.entries = entries
        return weighted_rows(decoder, entries.latents, entries.offsets, values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, decoder = ctx.saved_tensors
        gradient = gradient.contiguous()
        return inner_products(gradient, decoder, ctx.entries), by_latent(gradient, values, ctx.entries), None


def encode_entries(
    values: Float[Tensor, " entry"],
    centred: Float[Tensor, "token width"],
    encoder: Float[Tensor, "latent width"],
    bias: Float[Tensor, " latent"],
    decoder_bias: Float[Tensor, " width"],
    entries: Entries,
) -> Float[Tensor, " entry"]:
    """The picked pre-activations with a gradient to the encoder, its bias and the decoder's bias.

    `values` were computed when the entries were picked; `centred` is x − decoder bias, without a gradient.
    """
    out: Tensor = _Encode.apply(values, centred, encoder, bias, decoder_bias, entries)
    return out


def decode_entries(
    values: Float[Tensor, " entry"], decoder: Float[Tensor, "latent width"], entries: Entries
) -> Float[Tensor, "bag width"]:
    """The sum of value × atom over each bag, with a gradient to the values and to the atoms."""
    out: Tensor = _Decode.apply(values, decoder, entries)
    return out
