"""What several processes picked, each among its own latents, brought down to what one would have picked among all.

Latents stand in the order of the processes, so that "of equals the lowest latent" is "of equals the first process's".
Only values travel.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from omnisae.autoencoders.group import Group
from omnisae.autoencoders.picked import Picked


def top(picked: Picked, k: int, signed: bool, over_latents: Group) -> Picked:
    """Of the k largest positive entries that each process has of every token (largest in magnitude where `signed`),
    those of this process that are among the k largest of all. Waits for the device.
    """
    if over_latents.size == 1:
        return picked
    tokens = len(picked.offsets) - 1
    sizes = picked.values.abs() if signed else picked.values
    place = None if picked.entries == tokens * k else places(picked)  # none has more than k: all have k
    if place is not None:
        sizes = torch.zeros(tokens, k, dtype=sizes.dtype, device=sizes.device).index_put(place, sizes)
    everyones = over_latents.stacked(sizes.reshape(tokens, k)).transpose(0, 1).reshape(tokens, -1)
    kept = _k_largest(everyones, k)[:, over_latents.rank * k : (over_latents.rank + 1) * k]
    return picked.only(kept.reshape(-1) if place is None else kept[place])


def largest(picked: Picked, count: int, over_latents: Group) -> Picked:
    """Of entries among which, over all processes, the `count` largest of the batch are: those of them that this process
    has; of equals those of the first tokens. Waits for the device.
    """
    if over_latents.size == 1:
        return picked.largest(count)
    values = picked.values
    room = int(over_latents.most(torch.tensor(picked.entries, device=values.device)))
    if room == 0:
        return picked
    padded = torch.full((room,), -torch.inf, dtype=values.dtype, device=values.device)
    padded[: picked.entries] = values
    everyones = over_latents.stacked(padded).reshape(-1)
    everyones = everyones[everyones > 0]
    if len(everyones) <= count:
        return picked.only(values > 0)
    least = everyones.kthvalue(len(everyones) - count + 1).values
    spare = count - int((everyones > least).sum())
    equal = values == least
    if spare < int((everyones == least).sum()):
        equal &= _first(places(picked)[0], equal, spare, over_latents)
    return picked.only((values > least) | equal)


def places(picked: Picked) -> tuple[Int[Tensor, " entry"], Int[Tensor, " entry"]]:
    """The token of every entry, and how many entries of that token come before it."""
    counts, device = picked.offsets.diff().long(), picked.latents.device
    row = torch.arange(len(counts), device=device).repeat_interleave(counts, output_size=picked.entries)
    return row, torch.arange(picked.entries, device=device) - picked.offsets.long()[row]


def _k_largest(sizes: Float[Tensor, "token entry"], k: int) -> Bool[Tensor, "token entry"]:
    """The k largest of each row that are positive; of equals the first."""
    least = sizes.topk(k, dim=1, sorted=True).values[:, -1:].clamp(min=torch.finfo(sizes.dtype).tiny)
    kept = sizes >= least
    if bool((kept.sum(1) > k).any()):
        over, equal = sizes > least, sizes == least
        kept = over | (equal & (equal.cumsum(1) <= k - over.sum(1, keepdim=True)))
    return kept


def _first(
    row: Int[Tensor, " entry"], equal: Bool[Tensor, " entry"], spare: int, over_latents: Group
) -> Bool[Tensor, " entry"]:
    """Which of this process's equal entries are among the first `spare` of all, by token and then by latent."""
    room = int(over_latents.most(equal.sum()))
    tokens = row.new_full((room,), torch.iinfo(row.dtype).max)
    tokens[: int(equal.sum())] = row[equal]
    everyones = over_latents.stacked(tokens)
    order = everyones.reshape(-1).sort(stable=True).indices
    chosen = torch.zeros(everyones.numel(), dtype=torch.bool, device=row.device)
    chosen[order[:spare]] = True
    found = torch.zeros_like(equal)
    found[equal] = chosen.reshape(everyones.shape)[over_latents.rank][: int(equal.sum())]
    return found
