"""The autoencoder: an encoder, an activation rule, a decoder, and their loss, put together from a config's parts."""

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from omnisae.autoencoders.activation import Activation, SparseActivation
from omnisae.autoencoders.auxk import Silence, auxiliary_loss
from omnisae.autoencoders.codes import Codes
from omnisae.autoencoders.initialise import geometric_median, towards_data, unit_directions
from omnisae.autoencoders.loss import Pass, Penalty
from omnisae.autoencoders.nesting import Nesting
from omnisae.autoencoders.normaliser import Normaliser
from omnisae.autoencoders.sparse import Entries, Preactivations, decode_entries, encode_entries, weighted_rows
from omnisae.config import AutoencoderConfig, AuxKConfig
from omnisae.errors import ArtifactError, TrainingError

SPECIMENS = 8
"""Tokens of the training sample kept as the golden input of the artifact."""
DATA_SHARE = 0.8
"""Share of the data in the directions from which the decoder starts."""
START_ROWS = 1024
"""Rows of the sample on which the encoder's first scale is fitted."""


@dataclass(frozen=True, slots=True)
class Step:
    """One training step. All tensors stay on the device.

    `terms` are the weighted terms of the loss, detached. `fired` counts the tokens in which each latent fired, `l0`
    is the mean number of latents that fired per token. `sse` is Σ‖x − x̂‖² and `sst` Σ‖x − mean‖² over the batch, in
    normalised units with the mean of the training sample, so that 1 − Σsse/Σsst over batches is the explained variance.
    """

    loss: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]
    fired: Int[Tensor, " latent"]
    l0: Float[Tensor, ""]
    sse: Float[Tensor, ""]
    sst: Float[Tensor, ""]


@dataclass(frozen=True, slots=True)
class _Coded:
    """The codes of a batch, and what each prefix group of latents adds to its reconstruction."""

    passed: Pass
    groups: Float[Tensor, "group token width"]
    fired: Int[Tensor, " latent"]
    losses: dict[str, Tensor]


class Autoencoder(nn.Module):
    """A sparse autoencoder over activations of `width` dimensions.

    pre = (x' − b) · encoderᵀ + encoder_bias, codes = activation(pre), x̂' = codes · decoder + b, where x' is the
    normalised activation and b the decoder's bias; rows of `encoder` and `decoder` belong to latents. A training step
    is `forward`, `loss.backward()`, `before_step()`, the optimiser's step, `after_step(fired, tokens)`.
    """

    variance: Tensor
    centre: Tensor
    seen: Tensor
    specimen: Tensor
    span: Tensor

    def __init__(self, config: AutoencoderConfig, width: int, seed: int) -> None:
        super().__init__()
        self.config, self.width, self.latents, self.seed = config, width, config.latents, seed
        self.activation: Activation = config.activation.build(self.latents)
        self.normaliser: Normaliser = config.normaliser.build(width)
        self.nesting: Nesting = config.nesting.build(self.latents) if config.nesting else Nesting((self.latents,))
        self.penalties = nn.ModuleList(penalty.build(self.latents, width) for penalty in config.penalties)
        self.auxk = config.auxk or AuxKConfig.model_validate({} if self.activation.revives else {"k": 0})
        self.silence = Silence(self.latents, self.auxk.dead_after)
        directions = unit_directions(self.latents, width, seed)
        self.encoder = nn.Parameter(directions.clone())
        self.encoder_bias = nn.Parameter(torch.zeros(self.latents))
        self.decoder = nn.Parameter(directions)
        self.decoder_bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("variance", torch.tensor(float(width)))
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("specimen", torch.zeros(SPECIMENS, width))
        self.register_buffer("span", torch.tensor([0.0, torch.inf]))

    # -- training ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def initialise(self, sample: Float[Tensor, "token width"]) -> None:
        """Start from a sample of raw training activations (some thousands of tokens).

        Fits the normaliser, puts the decoder's bias at the geometric median of the normalised sample, turns the atoms
        towards randomly drawn tokens, ties the encoder to the decoder with the one scale that reconstructs the sample
        best, and fits the activation rule.
        Raises TrainingError where the sample is not finite or of another width.
        """
        self._check(sample, TrainingError)
        if len(sample) == 0 or not bool(sample.isfinite().all()):
            raise TrainingError(
                f"the sample of {len(sample)} activations to start from is empty or holds NaN or infinite values",
                "look for the examples that yield them; the store names them on extraction",
            )
        sample = sample.to(self.decoder)
        self.normaliser.fit(sample)
        normal, _ = self.normaliser(sample)
        self.centre.copy_(normal.double().mean(0))
        self.variance.copy_((normal - self.centre).double().square().sum(1).mean().clamp(min=1e-12))
        self.decoder_bias.copy_(geometric_median(normal))
        squared = normal.square().sum(1).double()
        self.span.copy_(torch.quantile(squared[:100_000], squared.new_tensor([0.01, 0.99])))
        self.specimen.copy_(sample[torch.arange(SPECIMENS, device=sample.device) % len(sample)])
        self.decoder.copy_(towards_data(self.decoder, normal - self.decoder_bias, DATA_SHARE, self.seed))
        self._tie(normal[:START_ROWS] - self.decoder_bias)

    def forward(self, x: Float[Tensor, "token width"]) -> Step:
        """The loss of one batch of raw activations.

        The reconstruction term is Σ‖x' − x̂'‖² / (tokens · variance), where the variance is the training sample's
        mean of ‖x' − mean‖² (Gao et al. 2024: the error over that of always predicting the mean); with nesting, the
        weighted mean of this over the prefixes.
        """
        with torch.no_grad():
            normal = self.normaliser(x.to(self.decoder.dtype))[0]
        coded = self._sparse(normal) if isinstance(self.activation, SparseActivation) else self._dense(normal)
        error = normal - self.decoder_bias
        reconstruction = error.new_zeros(())
        for weight, group in zip(self.nesting.weights, coded.groups, strict=True):
            error = error - group
            sse = error.square().sum()
            reconstruction = reconstruction + weight * sse
        losses = {"reconstruction": reconstruction / (len(normal) * self.variance), **coded.losses}
        for penalty in self.penalties:
            losses[cast(Penalty, penalty).name] = penalty(coded.passed)
        if self.auxk.k:
            losses["auxk"] = self.auxk.weight * auxiliary_loss(
                error.detach(),
                (normal - self.decoder_bias).detach(),
                self.encoder,
                self.encoder_bias,
                self.decoder,
                self.silence,
                self.auxk.k,
            )
        return Step(
            loss=torch.stack(list(losses.values())).sum(),
            terms={name: loss.detach() for name, loss in losses.items()},
            fired=coded.fired,
            l0=coded.fired.sum() / len(normal),
            sse=sse.detach(),
            sst=(normal - self.centre).square().sum(),
        )

    @torch.no_grad()
    def before_step(self) -> None:
        """Between backward and the optimiser's step: take from the decoder's gradient what would only change norms."""
        gradient = self.decoder.grad
        if self.config.unit_norm and gradient is not None:
            unit = F.normalize(self.decoder, dim=1)
            gradient -= (gradient * unit).sum(1, keepdim=True) * unit

    @torch.no_grad()
    def after_step(self, fired: Int[Tensor, " latent"], tokens: int) -> None:
        """After the optimiser's step. `fired` and `tokens` are summed over all processes."""
        if self.config.unit_norm:
            self.decoder.copy_(F.normalize(self.decoder, dim=1))
        self.silence.after_step(fired, tokens)
        self.activation.after_step()
        self.seen += tokens

    def decoder_rows(self) -> Float[Tensor, "latent width"]:
        """The direction of every latent, in normalised units, without a gradient."""
        return self.decoder.detach()

    def dead(self) -> Bool[Tensor, " latent"]:
        """The latents that have not fired in `auxk.dead_after` tokens of training."""
        return self.silence.dead()

    # -- use --------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "token width"]) -> Codes:
        """The codes of raw activations by the inference rule, a few rows at a time. Raises ArtifactError on another
        width.
        """
        self._check(x, ArtifactError)
        normal, context = self.normaliser(x.to(self.decoder))
        parts = [self.activation.codes(chunk) for _, chunk in self._pre(normal - self.decoder_bias)]
        if not parts:
            parts = [self.activation.codes(normal.new_zeros(0, self.latents))]
        counts = torch.cat([part.offsets.diff() for part in parts])
        return Codes(
            F.pad(counts.cumsum(0), (1, 0)),
            torch.cat([part.latents for part in parts]),
            torch.cat([part.values for part in parts]).to(self.decoder.dtype),
            self.latents,
            context,
        )

    def decode(self, codes: Codes) -> Float[Tensor, "token width"]:
        """Raw activations from codes."""
        if codes.width != self.latents:
            raise ArtifactError(
                f"the codes are of {codes.width} latents, and this autoencoder has {self.latents}",
                "decode codes with the autoencoder that made them",
            )
        normal = weighted_rows(self.decoder, codes.latents, codes.offsets, codes.values) + self.decoder_bias
        return self.normaliser.undo(normal, codes.context)

    # -- parts ------------------------------------------------------------------------------------------------------

    def _pre(self, centred: Tensor) -> Preactivations:
        return Preactivations(centred, self.encoder.detach(), self.encoder_bias.detach())

    def _sparse(self, normal: Tensor) -> _Coded:
        activation = cast(SparseActivation, self.activation)
        tokens, groups = len(normal), len(self.nesting.prefixes)
        with torch.no_grad():
            centred = normal - self.decoder_bias
            picked = activation.pick(self._pre(centred))
            entries = Entries.of(picked.offsets, picked.latents, self.latents)
            grouped = self._grouped(entries, tokens)
        raw = encode_entries(
            picked.values.to(normal.dtype), centred, self.encoder, self.encoder_bias, self.decoder_bias, entries
        )
        values = activation.values(raw)
        out = decode_entries(values, self.decoder, grouped)
        parts = out.reshape(tokens, groups, self.width).transpose(0, 1)
        return _Coded(self._passed(values, picked.latents, tokens), parts, entries.counts(values.detach() != 0), {})

    def _grouped(self, entries: Entries, tokens: int) -> Entries:
        """The entries in one bag for every token and prefix group: latents ascend in a token, so groups are runs."""
        if len(self.nesting.prefixes) == 1:
            return entries
        device = entries.latents.device
        starts = torch.tensor((0, *self.nesting.prefixes[:-1]), device=device)
        keys = entries.bags * self.latents + entries.latents
        bounds = (torch.arange(tokens, device=device)[:, None] * self.latents + starts).reshape(-1)
        offsets = torch.cat([torch.searchsorted(keys, bounds), entries.offsets[-1:]])
        group = torch.searchsorted(starts, entries.latents, right=True) - 1
        return entries.grouped(entries.bags * len(starts) + group, offsets)

    def _dense(self, normal: Tensor) -> _Coded:
        pre = F.linear(normal - self.decoder_bias, self.encoder, self.encoder_bias).to(normal.dtype)
        codes = self.activation(pre)
        starts = (0, *self.nesting.prefixes)
        parts = [codes[:, a:b] @ self.decoder[a:b] for a, b in pairwise(starts)]
        fired = (codes.detach() != 0).sum(0)
        return _Coded(self._passed(codes, None, len(normal)), torch.stack(parts), fired, self.activation.losses(pre))

    def _passed(self, codes: Tensor, latents: Tensor | None, tokens: int) -> Pass:
        return Pass(codes, latents, tokens, self.decoder, self.encoder, self.variance.sqrt(), self.seen)

    def _tie(self, centred: Tensor) -> None:
        """Encoder = α · decoder, with the α whose reconstruction of the sample is nearest in the sense of least
        squares.
        """
        training = self.training
        self.eval()
        scale = float(self.variance.sqrt())
        pre = centred @ self.decoder.t()
        self.activation.initialise(pre, scale)
        guess = self.activation(pre) @ self.decoder
        alpha = float((guess * centred).sum() / guess.square().sum().clamp(min=1e-12))
        alpha = min(max(alpha, 1e-3), 1.0)
        self.encoder.copy_(alpha * self.decoder)
        self.activation.initialise(alpha * pre, scale)
        self.train(training)

    def _check(self, x: Tensor, error: type[ArtifactError] | type[TrainingError]) -> None:
        if x.ndim != 2 or x.shape[1] != self.width:
            raise error(
                f"activations of shape {tuple(x.shape)} given; this autoencoder takes rows of width {self.width}",
                "give token rows (token, width) of the hook point it was trained on",
            )
