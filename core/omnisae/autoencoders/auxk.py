"""AuxK: latents that have stopped firing learn to reconstruct what the others leave over."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from omnisae.autoencoders.batchwide import batch_variance
from omnisae.autoencoders.sparse import Entries, Preactivations, decode_entries, encode_entries
from omnisae.autoencoders.topk import row_top

REFRESH = 8
"""Steps between looks at which latents are dead: the only moments at which the device is waited for."""


class Silence(nn.Module):
    """Counts, for every latent, the tokens since it last fired."""

    tokens: Tensor
    candidates: Tensor
    steps: Tensor

    def __init__(self, latents: int, dead_after: int) -> None:
        super().__init__()
        self.dead_after = dead_after
        self.register_buffer("tokens", torch.zeros(latents, dtype=torch.int64))
        self.register_buffer("candidates", torch.zeros(latents, dtype=torch.bool))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        # Copies of buffers on the host; None until they have been read from the device.
        self._steps: int | None = None
        self._candidates: Int[Tensor, " dead"] | None = None
        self.register_load_state_dict_post_hook(lambda module, _: module.forget())  # type: ignore[no-untyped-call]

    def forget(self) -> None:
        """Read the buffers anew: they were loaded."""
        self._steps = self._candidates = None

    def dead(self) -> Bool[Tensor, " latent"]:
        """The latents that have not fired in `dead_after` tokens."""
        return self.tokens >= self.dead_after

    def listed(self) -> Int[Tensor, " dead"]:
        """The latents that were dead at the last look; some may have fired since."""
        if self._candidates is None or self._candidates.device != self.candidates.device:
            self._candidates = self.candidates.nonzero()[:, 0]
        return self._candidates

    @torch.no_grad()
    def after_step(self, fired: Int[Tensor, " latent"], tokens: int) -> None:
        """Count one step: `fired` is how often each latent fired in its `tokens` tokens."""
        self.tokens.copy_(torch.where(fired > 0, 0, self.tokens + tokens))
        if self._steps is None:
            self._steps = int(self.steps)
        self.steps += 1
        self._steps += 1
        if self._steps % REFRESH == 0:
            self.candidates.copy_(self.dead())
            self._candidates = None


def auxiliary_loss(
    residual: Float[Tensor, "token width"],
    centred: Float[Tensor, "token width"],
    encoder: Float[Tensor, "latent width"],
    bias: Float[Tensor, " latent"],
    decoder: Float[Tensor, "latent width"],
    silence: Silence,
    k: int,
) -> Float[Tensor, ""]:
    """‖e − ê‖² over the variance of e, where e = x − x̂ and ê is decoded from the k dead latents with the largest
    positive pre-activations (Gao et al. 2024, section A.2).

    `residual` and `centred` carry no gradient, so that the loss reaches dead rows of encoder, bias and decoder, and
    nothing else. Fewer than k latents take part where fewer are dead; zero where none is.
    """
    listed = silence.listed()
    if k == 0 or len(listed) == 0:
        return residual.new_zeros(())
    with torch.no_grad():
        # What has fired since the last look must not take part; minus infinity keeps it out without waiting for the
        # device.
        alive = torch.where(silence.dead()[listed], 0.0, -torch.inf).to(bias.dtype)
        pre = Preactivations(centred, encoder[listed], bias[listed] + alive)
        tops = [row_top(chunk, min(k, len(listed))) for _, chunk in pre]
        values, places = (torch.cat(part) for part in zip(*tops, strict=True))
    per_token = values.shape[1]
    offsets = torch.arange(len(residual) + 1, device=residual.device) * per_token
    entries = Entries.of(offsets, listed[places.reshape(-1)], encoder.shape[0])
    # No gradient to the decoder's bias: a dead latent must not move what all share.
    nothing = torch.zeros_like(centred[0])
    raw = encode_entries(values.reshape(-1).to(centred.dtype), centred, encoder, bias, nothing, entries)
    guess = decode_entries(torch.relu(raw), decoder, entries)
    variance = batch_variance(residual)
    return (residual - guess).square().sum() / variance.clamp(min=torch.finfo(variance.dtype).tiny)
