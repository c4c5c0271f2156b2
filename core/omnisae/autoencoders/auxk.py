"""AuxK: latents that have stopped firing learn to reconstruct what the others leave over."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from omnisae.autoencoders.group import ALONE, Group
from omnisae.autoencoders.kernels.device import at_hand
from omnisae.autoencoders.nesting import Nesting
from omnisae.autoencoders.picked import Picked
from omnisae.autoencoders.preactivations import Preactivations
from omnisae.autoencoders.sparse import Entries, encode_entries, reconstruct

REFRESH = 8
"""Steps between looks at which latents are dead: the only moments at which the device is waited for."""


class Silence(nn.Module):
    """Counts, for every latent held here, the tokens since it last fired."""

    tokens: Tensor
    candidates: Tensor
    steps: Tensor

    def __init__(self, latents: int, dead_after: int, over_latents: Group = ALONE) -> None:
        super().__init__()
        self.dead_after, self.over_latents = dead_after, over_latents
        self.register_buffer("tokens", torch.zeros(latents, dtype=torch.int64))
        self.register_buffer("candidates", torch.zeros(latents, dtype=torch.bool))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        # Copies of buffers on the host; None until they have been read from the device.
        self._steps: int | None = None
        self._candidates: Int[Tensor, " dead"] | None = None
        self._anywhere = False
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
            self._anywhere = bool(self.over_latents.summed(self.candidates.sum()))
        return self._candidates

    def anywhere(self) -> bool:
        """Whether any latent was dead at the last look, be it held here or by another process."""
        self.listed()
        return self._anywhere

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
    pre: Preactivations,
    encoder: Float[Tensor, "latent width"],
    bias: Float[Tensor, " latent"],
    decoder: Float[Tensor, "latent width"],
    silence: Silence,
    k: int,
    signed: bool,
    over_tokens: Group = ALONE,
) -> Float[Tensor, ""]:
    """‖e − ê‖² over the variance of e, where e = x − x̂ and ê is decoded from the k dead latents with the largest
    positive pre-activations (largest in magnitude where codes are `signed`) (Gao et al. 2024, section A.2).

    `residual` and the pre-activations carry no gradient, so that the loss reaches dead rows of encoder, bias and
    decoder, and nothing else. Fewer than k latents take part where fewer are dead; zero where none is.
    """
    if k == 0 or not silence.anywhere():
        return residual.new_zeros(())
    listed, over_latents = silence.listed(), pre.over_latents
    with torch.no_grad():
        # What has fired since the last look must not take part.
        dead = silence.dead()[listed]
        if at_hand(residual):
            if not over_latents.summed(dead.sum()):
                return residual.new_zeros(())
            listed = listed[dead]
            rows, biases = encoder[listed], bias[listed]
        else:  # as zeros they are not picked before others, and the device need not be waited for
            rows, biases = encoder[listed] * dead[:, None], bias[listed] * dead
        some = Preactivations(pre.x, rows, biases, pre.shift, pre.precision, over_latents)
        picked = some.top(k, signed=signed)
        latents = listed.to(picked.latents.dtype)[picked.latents.long()]
        entries = Entries.of(Picked(picked.offsets, latents, picked.values), encoder.shape[0])
    # No gradient to the decoder's bias: a dead latent must not move what all share.
    raw = encode_entries(picked.values, pre.x.rows, pre.shift.detach(), encoder, bias, entries)
    values = raw * silence.dead()[latents.long()] if signed else torch.relu(raw)
    nowhere = torch.zeros_like(residual[0])
    loss = reconstruct(values, residual, nowhere, decoder, entries, Nesting((encoder.shape[0],)), over_latents).loss
    variance = _variance(residual, over_tokens)
    return loss / variance.clamp(min=torch.finfo(variance.dtype).tiny)


def _variance(rows: Float[Tensor, "token width"], over_tokens: Group) -> Float[Tensor, ""]:
    """Σ‖row − mean‖² of the whole batch over the number of processes that share it, without gradient.

    A process's sum of squares divided by it, averaged over these processes, is that of the whole batch.
    """
    rows = rows.detach()
    return over_tokens.mean((rows - over_tokens.mean(rows.mean(0))).square().sum())
