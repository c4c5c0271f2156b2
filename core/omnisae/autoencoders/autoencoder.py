"""The autoencoder: an encoder, an activation rule, a decoder, and their loss, put together from a config's parts."""

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from omnisae.autoencoders.activation import SparseActivation
from omnisae.autoencoders.auxk import Silence, auxiliary_loss
from omnisae.autoencoders.codes import Codes
from omnisae.autoencoders.dictionary import Dictionary
from omnisae.autoencoders.divide import Part, divide
from omnisae.autoencoders.initialise import geometric_median, towards_data, unit_directions
from omnisae.autoencoders.kernels.plain import weighted_rows
from omnisae.autoencoders.kernels.rows import remove_parallel, to_unit
from omnisae.autoencoders.loss import Pass, Penalty
from omnisae.autoencoders.normaliser import Normaliser
from omnisae.autoencoders.operand import Operand
from omnisae.autoencoders.parts import rule_and_nesting
from omnisae.autoencoders.picked import Picked
from omnisae.autoencoders.preactivations import Preactivations
from omnisae.autoencoders.precision import Precision
from omnisae.autoencoders.ranks import parted
from omnisae.autoencoders.shard import WHOLE, Shard
from omnisae.autoencoders.sparse import Entries, Reconstruction, encode_entries, reconstruct
from omnisae.config import AutoencoderConfig, AuxKConfig
from omnisae.errors import ArtifactError, TrainingError

SPECIMENS = 8
"""Tokens of the training sample kept as the golden input of the artifact."""
DATA_SHARE = 0.8
"""Share of the data in the directions from which the decoder starts."""
OF_THE_SAMPLE = ("normaliser.", "centre", "variance", "decoder_bias", "span", "specimen")
"""The part of the state that all autoencoders with one normaliser start with alike."""
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


class Batch:
    """What all autoencoders of one hook point and normaliser share of a batch: `x`, normalised activations less the
    fixed centre, and `sst`, Σ‖·‖² of these.
    """

    __slots__ = ("sst", "x")  # no dataclass: Fabric copies these in depth on their way into a module

    def __init__(self, rows: Float[Tensor, "token width"]) -> None:
        self.x = Operand(rows)
        self.sst: Float[Tensor, ""] = rows.norm(dim=1).square().sum()

    def __len__(self) -> int:
        return int(self.x.rows.shape[0])


@dataclass(frozen=True, slots=True)
class _Coded:
    """What a pass gives: codes as penalties see them, the reconstruction, firing, and the rule's own terms."""

    passed: Pass
    reconstruction: Reconstruction
    fired: Int[Tensor, " latent"]
    losses: dict[str, Tensor]


class Autoencoder(nn.Module):
    """A sparse autoencoder over activations of `width` dimensions.

    pre = (x' − b) · encoderᵀ + encoder_bias, codes = activation(pre), x̂' = codes · decoder + b, where x' is the
    normalised activation and b the decoder's bias; rows of `encoder` and `decoder` belong to latents. A training step
    is `forward`, `loss.backward()`, `before_step()`, the optimiser's step, `after_step(fired, tokens)`.

    Where the config's decoder makes the rows by a `dictionary`, `decoder` is a buffer of them, made anew after every
    step. One that is `fused` has the rows and no dictionary, which is all that use needs.

    With a `shard` that divides latents, this is the part of one process: `encoder`, `decoder` and all that has a row a
    latent hold the `held` latents only. Such a part can be trained, together with the others; codes are for whole
    autoencoders.
    """

    decoder: Tensor
    variance: Tensor
    centre: Tensor
    seen: Tensor
    specimen: Tensor
    span: Tensor
    precision: Precision = "exact"
    """How the encoder's product of a training step is computed."""

    def __init__(
        self, config: AutoencoderConfig, width: int, seed: int, shard: Shard = WHOLE, *, fused: bool = False
    ) -> None:
        super().__init__()
        self.config, self.width, self.latents, self.seed = config, width, config.latents, seed
        self.shard, self.held = shard, shard.held(self.latents)
        self._here = self.held.stop - self.held.start
        rule, nesting = rule_and_nesting(config)
        self.activation, self.nesting = rule, shard.nesting(nesting)
        self.activation.shard = shard
        self.normaliser: Normaliser = config.normaliser.build(width)
        penalties: list[Penalty] = [penalty.build(self.latents, width) for penalty in config.penalties]
        made = None if fused else config.decoder.build(self.latents, width, config.unit_norm)
        self.dictionary: Dictionary | None = made
        parts: dict[str, Part] = {"activation": self.activation}
        if made is not None:
            made.shard = shard
            parts["dictionary"] = made
        parts |= {f"penalties.{place}": penalty for place, penalty in enumerate(penalties)}
        self.divided = divide(parts, self.latents, shard)
        self.penalties = nn.ModuleList(penalties)
        self.auxk = config.auxk or AuxKConfig.model_validate({} if self.activation.revives else {"k": 0})
        self.silence = Silence(self._here, self.auxk.dead_after, shard.over_latents)
        directions = unit_directions(self.latents, width, seed, self.held)
        self.encoder = nn.Parameter(directions.clone())
        self.encoder_bias = nn.Parameter(torch.zeros(self._here))
        if made is None:
            self.decoder = nn.Parameter(directions)
        else:
            self.register_buffer("decoder", directions)
        self.decoder_bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("variance", torch.tensor(float(width)))
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("specimen", torch.zeros(SPECIMENS, width))
        self.register_buffer("span", torch.tensor([0.0, torch.inf]))

    # -- training ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def initialise(self, sample: Float[Tensor, "token width"], like: "Autoencoder | None" = None) -> None:
        """Start from a sample of raw training activations (some thousands of tokens).

        Fits the normaliser, puts the decoder's bias at the geometric median of the normalised sample, turns the atoms
        towards randomly drawn tokens, ties the encoder to the decoder with the one scale that reconstructs the sample
        best, and fits the activation rule; a dictionary starts by its own rule. `like` is an autoencoder with the same
        normaliser that has just started from the same sample: what both would learn of it is taken over.
        Raises TrainingError where the sample is not finite or of another width.
        """
        self._check(sample, TrainingError)
        sample = sample.to(self.decoder)
        if like is None:
            self._look_at(sample)
        else:
            state = like.state_dict()
            known = {name: tensor for name, tensor in self.state_dict().items() if name.startswith(OF_THE_SAMPLE)}
            for name, tensor in known.items():
                tensor.copy_(state[name])
        centred = self.normaliser(sample)[0] - self.decoder_bias
        if self.dictionary is None:
            self.decoder.copy_(towards_data(self.decoder, centred, DATA_SHARE, self.seed, self.latents, self.held))
        else:
            same = like is not None and like.config.decoder == self.config.decoder
            self.dictionary.start(centred, self.seed, like.dictionary if like and same else None)
            self.decoder.copy_(self._rows())
        self._tie(centred[:START_ROWS])

    def _look_at(self, sample: Tensor) -> None:
        """Learn of the sample what does not depend on the seed, the latents or the activation rule."""
        if len(sample) == 0 or not bool(sample.isfinite().all()):
            raise TrainingError(
                f"the sample of {len(sample)} activations to start from is empty or holds NaN or infinite values",
                "look for the examples that yield them; the store names them on extraction",
            )
        self.normaliser.fit(sample)
        normal, _ = self.normaliser(sample)
        self.centre.copy_(normal.double().mean(0))
        self.variance.copy_((normal - self.centre).double().square().sum(1).mean().clamp(min=1e-12))
        self.decoder_bias.copy_(geometric_median(normal))
        squared = normal.square().sum(1).double()
        self.span.copy_(torch.quantile(squared[:100_000], squared.new_tensor([0.01, 0.99])))
        self.specimen.copy_(sample[torch.arange(SPECIMENS, device=sample.device) % len(sample)])

    @torch.no_grad()
    def prepare(self, x: Float[Tensor, "token width"]) -> Batch:
        """A batch of raw activations, ready for this autoencoder and all with the same normaliser and sample."""
        normal = self.normaliser(x.to(self.decoder.dtype))[0]
        return Batch(normal - self.centre)

    def forward(self, x: Float[Tensor, "token width"] | Batch) -> Step:
        """The loss of one batch of raw activations, or of a prepared one.

        The reconstruction term is Σ‖x' − x̂'‖² / (tokens · variance), where the variance is the training sample's
        mean of ‖x' − mean‖² (Gao et al. 2024: the error over that of always predicting the mean); with nesting, the
        weighted mean of this over the prefixes.
        """
        batch = x if isinstance(x, Batch) else self.prepare(x)
        tokens = len(batch)
        shift = self.decoder_bias - self.centre
        pre, decoder = self._pre(batch.x, shift.detach()), self._rows()
        coded = self._coded(pre, shift, decoder)
        losses = {"reconstruction": coded.reconstruction.loss / (tokens * self.variance), **coded.losses}
        for penalty in self.penalties:
            losses[cast(Penalty, penalty).name] = penalty(coded.passed)
        if self.auxk.k:
            losses["auxk"] = self.auxk.weight * auxiliary_loss(
                coded.reconstruction.residual,
                pre,
                self.encoder,
                self.encoder_bias,
                decoder,
                self.silence,
                self.auxk.k,
                self.activation.signed,
                self.shard.over_tokens,
            )
        return Step(
            loss=torch.stack(list(losses.values())).sum(),
            terms={name: loss.detach() for name, loss in losses.items()},
            fired=coded.fired,
            l0=self.shard.over_latents.summed(coded.fired.sum()) / tokens,
            sse=coded.reconstruction.square,
            sst=batch.sst,
        )

    @torch.no_grad()
    def before_step(self) -> None:
        """Between backward and the optimiser's step: take from the decoder's gradient what would only change norms.

        What a dictionary gets has no such part: its rows are brought to norm one on their way into the loss.
        """
        gradient = self.decoder.grad
        if self.config.unit_norm and gradient is not None:
            remove_parallel(gradient, self.decoder)

    @torch.no_grad()
    def after_step(self, fired: Int[Tensor, " latent"], tokens: int) -> None:
        """After the optimiser's step. `fired` and `tokens` are summed over all processes."""
        if self.dictionary is not None:
            self.dictionary.after_step()
            self.decoder.copy_(self._rows())
        elif self.config.unit_norm:
            to_unit(self.decoder)
        self.silence.after_step(fired, tokens)
        self.activation.after_step()
        self.seen += tokens

    def decoder_rows(self) -> Float[Tensor, "latent width"]:
        """The direction of every latent held here, in normalised units, without a gradient."""
        return self.decoder.detach()

    def fused_state(self) -> dict[str, Tensor]:
        """The state of this autoencoder as a `fused` one: all but what its decoder's rows are made of."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("dictionary.")}

    def dead(self) -> Bool[Tensor, " latent"]:
        """The latents held here that have not fired in `auxk.dead_after` tokens of training."""
        return self.silence.dead()

    # -- use --------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "token width"], precision: Precision = "exact") -> Codes:
        """The codes of raw activations by the inference rule, a few rows at a time. Raises ArtifactError on another
        width.
        """
        self._check(x, ArtifactError)
        self._refuse_part()
        normal, context = self.normaliser(x.to(self.decoder))
        pre = self._pre(Operand(normal - self.centre), self.decoder_bias - self.centre, precision)
        picked = self.activation.find(pre)
        return Codes(picked.offsets, picked.latents.long(), picked.values, self.latents, context)

    def decode(self, codes: Codes) -> Float[Tensor, "token width"]:
        """Raw activations from codes."""
        self._refuse_part()
        if codes.width != self.latents:
            raise ArtifactError(
                f"the codes are of {codes.width} latents, and this autoencoder has {self.latents}",
                "decode codes with the autoencoder that made them",
            )
        normal = weighted_rows(self.decoder, codes.latents, codes.offsets, codes.values) + self.decoder_bias
        return self.normaliser.undo(normal, codes.context)

    # -- parts ------------------------------------------------------------------------------------------------------

    def _pre(self, x: Operand, shift: Tensor, precision: Precision | None = None) -> Preactivations:
        encoder, bias = self.encoder.detach(), self.encoder_bias.detach()
        over_latents = self.shard.over_latents
        return Preactivations(x, encoder, bias, shift.detach(), precision or self.precision, over_latents)

    def _rows(self) -> Float[Tensor, "latent width"]:
        """The decoder's rows with a gradient, be they parameters or made of some."""
        if self.dictionary is None:
            return self.decoder
        rows: Tensor = self.dictionary()
        return F.normalize(rows, dim=1) if self.config.unit_norm else rows

    def _coded(self, pre: Preactivations, shift: Tensor, decoder: Tensor) -> _Coded:
        if isinstance(self.activation, SparseActivation):
            with torch.no_grad():
                picked = self.activation.pick(pre)
            if picked is not None:
                return self._sparse(self.activation, pre.x.rows, shift, decoder, picked)
        return self._dense(pre, shift, decoder)

    def _sparse(
        self, activation: SparseActivation, rows: Tensor, shift: Tensor, decoder: Tensor, picked: Picked
    ) -> _Coded:
        over_latents, bags = self.shard.over_latents, None
        if self.nesting.ks is not None:
            picked, bags = parted(picked, self.nesting.ks, activation.signed, over_latents)
        entries = Entries.of(picked, self._here, bags)
        raw = encode_entries(picked.values, rows, over_latents.common(shift), self.encoder, self.encoder_bias, entries)
        values = activation.values(raw, entries)
        reconstruction = reconstruct(values, rows, shift, decoder, entries, self.nesting, over_latents)
        passed = self._passed(values, picked.latents.long(), len(rows), decoder)
        return _Coded(
            passed, reconstruction, entries.counts(values.detach() != 0), activation.entry_losses(raw, entries)
        )

    def _dense(self, pre: Preactivations, shift: Tensor, decoder: Tensor) -> _Coded:
        """The step of rules whose codes are dense, or of a sparse rule that reaches too many latents."""
        rows, over_latents = pre.x.rows, self.shard.over_latents
        with torch.autocast(rows.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            values = F.linear(rows - over_latents.common(shift), self.encoder, self.encoder_bias).to(rows.dtype)
            codes = self.activation(values)
            left, loss = rows - shift, rows.new_zeros(())
            for weight, (a, b) in zip(self.nesting.weights, pairwise((0, *self.nesting.prefixes)), strict=True):
                left = left - over_latents.total(codes[:, a:b] @ decoder[a:b])
                square = left.square().sum()
                loss = loss + weight * square
        fired = (codes.detach() != 0).sum(0)
        found = Reconstruction(loss, left.detach(), square.detach())
        return _Coded(self._passed(codes, None, len(rows), decoder), found, fired, self.activation.losses(values))

    def _passed(self, codes: Tensor, latents: Tensor | None, tokens: int, decoder: Tensor) -> Pass:
        scale, over_latents = self.variance.sqrt(), self.shard.over_latents
        return Pass(
            codes, latents, tokens, decoder, self.encoder, scale, self.seen, over_latents, self.activation.signed
        )

    def _tie(self, centred: Tensor) -> None:
        """Encoder = α · decoder, with the α whose reconstruction of the sample is nearest in the sense of least
        squares.
        """
        training = self.training
        self.eval()
        scale, x, over_latents = float(self.variance.sqrt()), Operand(centred), self.shard.over_latents
        biases = torch.zeros_like(self.encoder_bias), torch.zeros_like(self.decoder_bias)
        pre = Preactivations(x, self.decoder.detach(), *biases, over_latents=over_latents)
        self.activation.initialise(pre, scale)
        picked = self.activation.find(pre)
        guess = over_latents.summed(weighted_rows(self.decoder, picked.latents, picked.offsets, picked.values))
        alpha = float((guess * centred).sum() / guess.square().sum().clamp(min=1e-12))
        alpha = min(max(alpha, 1e-3), 1.0)
        self.encoder.copy_(alpha * self.decoder)
        self.activation.initialise(Preactivations(x, self.encoder.detach(), *biases, over_latents=over_latents), scale)
        self.train(training)

    def _refuse_part(self) -> None:
        if self.shard.divided:
            raise ArtifactError(
                f"this is one process's part of an autoencoder, latents {self.held.start} up to {self.held.stop} of "
                f"{self.latents}; codes take them all",
                "use the whole autoencoder, which `train` returns on the first process",
            )

    def _check(self, x: Tensor, error: type[ArtifactError] | type[TrainingError]) -> None:
        if x.ndim != 2 or x.shape[1] != self.width:
            raise error(
                f"activations of shape {tuple(x.shape)} given; this autoencoder takes rows of width {self.width}",
                "give token rows (token, width) of the hook point it was trained on",
            )
