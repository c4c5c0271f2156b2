"""Concept Steerers' direction (Kim & Ghadiyaram 2025, "Concept Steerers: Leveraging K-Sparse Autoencoders for Test-Time
Controllable Generations"): the codes of a concept's prompt without the sparsity rule, position by position.
"""

from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.codes import Codes
from omnisae.autoencoders.operand import Operand
from omnisae.autoencoders.preactivations import Preactivations
from omnisae.errors import DatasetError
from omnisae_diffusion.selection.entry import Entry
from omnisae_diffusion.selection.table import LatentTable

METHOD = "steerers"
POSITION = "position"


class Decode(Protocol):
    """An artifact's decoder."""

    def __call__(self, codes: Codes) -> Float[Tensor, "token width"]: ...


@torch.no_grad()
def unruled(autoencoder: Autoencoder, x: Float[Tensor, "position width"]) -> Codes:
    """ReLU of all pre-activations of raw activations, the sparsity rule (TopK and the like) left out.

    For the tokens of single prompts: it holds position × latents numbers.
    """
    normal, context = autoencoder.normaliser(x.to(autoencoder.decoder))
    pre = Preactivations(
        Operand(normal - autoencoder.centre),
        autoencoder.encoder.detach(),
        autoencoder.encoder_bias.detach(),
        (autoencoder.decoder_bias - autoencoder.centre).detach(),
    )
    return Codes.from_dense(pre.rows(slice(None)).relu(), context)


def direction(codes: Codes, decode: Decode, strength: float = 1.0) -> Float[Tensor, "position width"]:
    """strength · ReLU(pre-activation) · W_dec of each position, in raw units: what the codes add to a decoded token.

    Without a normaliser this is the paper's formula; with one it is brought back to the scale of the activations.
    Strength is negative to take the concept out (−0.5 in the paper).
    """
    nothing = Codes(torch.zeros_like(codes.offsets), codes.latents[:0], codes.values[:0], codes.width, codes.context)
    return strength * (decode(codes) - decode(nothing))


def edited(
    x: Float[Tensor, "token width"],
    position: Int[Tensor, " token"],
    along: Float[Tensor, "position width"],
    unconditional: Bool[Tensor, " token"] | None = None,
) -> Float[Tensor, "token width"]:
    """The edit: every token gets what stands at its position, and loses it on the unconditional branch of guidance.

    Upstream tells the branches by counting calls, here the tokens say it. Tokens with no position (−1) stay as they
    are. Raises DatasetError where a position lies beyond the concept's prompt.
    """
    place = position.to(along.device).long()
    if len(place) and int(place.max()) >= len(along):
        raise DatasetError(
            f"a token at position {int(place.max())} is to be steered, and the concept's prompt has {len(along)} "
            "positions",
            "pad both prompts to one length",
        )
    signs = torch.ones(len(x)) if unconditional is None else 1.0 - 2.0 * unconditional.float()
    added = signs.to(x)[:, None] * along.to(x)[place.clamp(min=0).to(x.device)]
    return torch.where((place < 0).to(x.device)[:, None], x, x + added)


def table(concept: str, codes: Codes, *, identity: str, hook: str, facts: dict[str, Any] | None = None) -> LatentTable:
    """The codes of a concept's prompt as a table along `position`: targets are what is added at strength 1.

    z ← z + strength · target at each position adds `direction`, as decoding is linear in codes. Signs by branch are the
    operation's.
    """
    offsets = codes.offsets.tolist()
    latents, values = codes.latents.cpu().numpy(), codes.values.detach().float().cpu().numpy()
    entries = tuple(
        Entry.of(latents[a:b], None, values[a:b], values[a:b].astype(np.float64)) for a, b in pairwise(offsets)
    )
    return LatentTable(
        METHOD, concept, identity, hook, entries, tuple(float(place) for place in range(len(entries))), POSITION,
        facts=facts or {},
    )  # fmt: skip
