"""The golden pair: a few tokens with the codes and reconstructions they had when the artifact was saved."""

import torch
from jaxtyping import Float
from torch import Tensor

from omnisae.autoencoders.autoencoder import SPECIMENS, Autoencoder
from omnisae.autoencoders.codes import Codes

TOLERANCE = 1e-3
"""Largest deviation allowed, over the largest golden value: far above rounding, far below another rule or scale."""
CANDIDATES = 256
NUDGE = 1e-5


@torch.no_grad()
def choose(autoencoder: Autoencoder, sample: Float[Tensor, "token width"]) -> dict[str, Tensor]:
    """Golden tokens out of a sample of raw activations, with their codes and reconstructions.

    Taken are tokens whose codes hardly move when the input is nudged by about a rounding error, so that another machine
    does not find a latent on the other side of a threshold and call the artifact damaged; among these, the ones in
    which most latents fire, which tell most.
    """
    rows = sample[:CANDIDATES].to(autoencoder.decoder)
    noise = torch.randn(rows.shape, generator=torch.Generator().manual_seed(0)).to(rows)
    nudged = rows + NUDGE * rows.abs().mean() * noise
    before = autoencoder.encode(rows).dense()
    moved = (autoencoder.encode(nudged).dense() - before).abs().amax(1)
    steady = moved <= TOLERANCE / 10 * before.abs().max()
    score = torch.where(steady, (before != 0).sum(1), -1)
    chosen = rows[score.argsort(descending=True, stable=True)[:SPECIMENS].sort().values]
    codes = autoencoder.encode(chosen)
    pair = {"input": chosen, "offsets": codes.offsets, "latents": codes.latents, "values": codes.values}
    return pair | {"reconstruction": autoencoder.decode(codes)}


@torch.no_grad()
def deviation(autoencoder: Autoencoder, golden: dict[str, Tensor]) -> float:
    """The largest deviation of codes and reconstructions from the golden ones, each over the largest golden value."""
    codes = autoencoder.encode(golden["input"])
    expected = Codes(golden["offsets"], golden["latents"], golden["values"], autoencoder.latents).dense()
    reconstruction = golden["reconstruction"]
    pairs = ((codes.dense(), expected), (autoencoder.decode(codes), reconstruction))
    return max(float((found - kept).abs().max() / kept.abs().max().clamp(min=1e-12)) for found, kept in pairs)
