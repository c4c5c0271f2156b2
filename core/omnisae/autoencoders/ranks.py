"""Entries by their rank within the token: the largest code is the first, of equals that of the lowest latent."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnisae.autoencoders import merge
from omnisae.autoencoders.group import ALONE, Group
from omnisae.autoencoders.kernels import device, plain, products
from omnisae.autoencoders.kernels.loops import array, fits, threads
from omnisae.autoencoders.picked import Picked


@dataclass(frozen=True, slots=True)
class Bags:
    """The entries of each token, parted by rank: bag token · groups + group has those from `bounds[bag]` up to
    `bounds[bag + 1]`, and `of` is the bag of every entry.
    """

    bounds: Int[Tensor, " token*group+1"]
    of: Int[Tensor, " entry"]


def parted(picked: Picked, ks: tuple[int, ...], signed: bool, over_latents: Group = ALONE) -> tuple[Picked, Bags]:
    """The same entries, of each token first the largest `ks[0]` (in magnitude where `signed`), then those up to rank
    `ks[1]`, and so on; what lies beyond the last k is in the last group. Latents ascend within a bag.

    Ranks are among the entries of all processes that hold latents of the same autoencoder.
    """
    groups, tokens = len(ks), len(picked.offsets) - 1
    sizes = picked.values.abs() if signed else picked.values
    rank = ranks(picked, sizes, over_latents)
    group = sum(((rank >= k).to(rank.dtype) for k in ks[:-1]), torch.zeros_like(rank))
    bag = _tokens(picked).to(rank.dtype) * groups + group
    bounds, order = _runs(bag, tokens * groups)
    parts = Picked(picked.offsets, picked.latents[order], picked.values[order])
    return parts, Bags(bounds, bag[order])


def ranks(picked: Picked, sizes: Float[Tensor, " entry"], over_latents: Group = ALONE) -> Int[Tensor, " entry"]:
    """How many entries of the same token come before each one, by `sizes` and then by latent."""
    if over_latents.size > 1:
        return _among_all(picked, sizes, over_latents)
    if fits(sizes) and device.at_hand(sizes):
        out = torch.empty_like(picked.latents)
        threads()
        products.ranks(*map(array, (sizes, picked.offsets, out)))
        return out
    token, offsets = _tokens(picked), picked.offsets.long()
    order = sizes.argsort(descending=True, stable=True)
    order = order[plain.ascending(token[order], len(offsets))[1]]
    places = torch.arange(len(order), device=order.device) - offsets[token[order]]
    return torch.empty_like(order).scatter(0, order, places)


def _among_all(picked: Picked, sizes: Float[Tensor, " entry"], over_latents: Group) -> Int[Tensor, " entry"]:
    """Where the others hold entries of the same tokens: only sizes travel. Waits for the device."""
    row, place = merge.places(picked)
    counts = picked.offsets.diff()
    room = int(over_latents.most(counts.max() if len(counts) else counts.sum()))
    padded = torch.full((len(counts), room), -torch.inf, dtype=sizes.dtype, device=sizes.device)
    everyones = over_latents.stacked(padded.index_put((row, place), sizes)).transpose(0, 1).reshape(len(counts), -1)
    order = everyones.argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))
    return rank[row, over_latents.rank * room + place]


def _tokens(picked: Picked) -> Int[Tensor, " entry"]:
    """The token of every entry."""
    entry = torch.arange(picked.entries, device=picked.latents.device)
    return torch.searchsorted(picked.offsets.long(), entry, right=True) - 1


def _runs(keys: Int[Tensor, " entry"], limit: int) -> tuple[Int[Tensor, " key+1"], Int[Tensor, " entry"]]:
    """Where each key's entries begin once they are sorted by it, and that order, which is stable."""
    if device.at_hand(keys) and keys.dtype == torch.int32:
        order, bounds = torch.empty_like(keys), keys.new_empty(limit + 1)
        everything = keys.new_tensor([0, len(keys)])
        products.transpose(*map(array, (keys, everything, order, bounds, torch.empty_like(keys))))
        return bounds, order.long()
    ordered, order = plain.ascending(keys, limit)
    return torch.searchsorted(ordered, torch.arange(limit + 1, device=keys.device)), order
