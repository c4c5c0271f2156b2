"""Codes taken apart and put together: chosen latents as a small dense block, chosen tokens, and what changed."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from omnisae.autoencoders.codes import Codes


def block_of(codes: Codes, latents: Sequence[int]) -> Float[Tensor, "token chosen"]:
    """The values of a few latents at every token; 0 where they are silent."""
    place = _places(codes, latents)
    column = place[codes.latents.long()]
    ours = column >= 0
    block = codes.values.new_zeros(len(codes), len(latents))
    return block.index_put((codes.tokens[ours], column[ours]), codes.values[ours])


def with_block(codes: Codes, latents: Sequence[int], block: Float[Tensor, "token chosen"]) -> Codes:
    """The codes in which these latents take the values of `block`, and all others stay."""
    others = _places(codes, latents)[codes.latents.long()] < 0
    tokens, columns = block.nonzero(as_tuple=True)
    names = torch.as_tensor(list(latents), dtype=codes.latents.dtype, device=codes.latents.device)
    return _sorted(
        codes,
        torch.cat([codes.tokens[others], tokens]),
        torch.cat([codes.latents[others], names[columns]]),
        torch.cat([codes.values[others], block[tokens, columns].to(codes.values.dtype)]),
    )


def only_entries(codes: Codes, keep: Bool[Tensor, " entry"]) -> Codes:
    """The codes without the entries that are not kept."""
    return Codes(
        _offsets(codes.tokens[keep], len(codes)), codes.latents[keep], codes.values[keep], codes.width, codes.context
    )


def take(codes: Codes, rows: Int[Tensor, " row"]) -> Codes:
    """The codes of chosen tokens; the rows ascend."""
    counts = codes.offsets.diff()[rows]
    chosen = torch.zeros(len(codes), dtype=torch.bool, device=rows.device)
    chosen[rows] = True
    entries = chosen[codes.tokens]
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    context = None if codes.context is None else codes.context[rows]
    return Codes(offsets, codes.latents[entries], codes.values[entries], codes.width, context)


def silent(codes: Codes) -> Codes:
    """The codes of the same tokens with no latent firing."""
    return Codes(torch.zeros_like(codes.offsets), codes.latents[:0], codes.values[:0], codes.width, codes.context)


def changed(old: Codes, new: Codes) -> Bool[Tensor, " token"]:
    """Which tokens have other codes than before, to the last bit."""
    if new is old:
        return torch.zeros(len(old), dtype=torch.bool, device=old.offsets.device)
    differs = old.offsets.diff() != new.offsets.diff()
    # Tokens with equally many entries stand in both in the same order, so their entries face each other.
    before, after = ~differs[old.tokens], ~differs[new.tokens]
    other = (old.latents[before] != new.latents[after]) | (old.values[before] != new.values[after])
    differs[old.tokens[before][other]] = True
    return differs


def _places(codes: Codes, latents: Sequence[int]) -> Int[Tensor, " latent"]:
    """For each latent its column among the chosen, or −1."""
    chosen = torch.as_tensor(list(latents), dtype=torch.int64, device=codes.values.device)
    place = torch.full((codes.width,), -1, dtype=torch.int64, device=codes.values.device)
    place[chosen] = torch.arange(len(chosen), device=codes.values.device)
    return place


def _sorted(codes: Codes, tokens: Tensor, latents: Tensor, values: Tensor) -> Codes:
    order = (tokens * codes.width + latents.long()).argsort()
    return Codes(_offsets(tokens, len(codes)), latents[order], values[order], codes.width, codes.context)


def _offsets(tokens: Tensor, count: int) -> Tensor:
    counts = torch.bincount(tokens, minlength=count)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
