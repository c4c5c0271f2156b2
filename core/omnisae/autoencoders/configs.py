"""The parts of autoencoders that core offers. No torch here: `build` imports what is heavy."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from omnisae.plugins.component import Component
from omnisae.plugins.kinds import ActivationConfig, DecoderConfig, NestingConfig, NormaliserConfig, PenaltyConfig

if TYPE_CHECKING:
    from omnisae.autoencoders.activation import Activation
    from omnisae.autoencoders.dictionary import Dictionary
    from omnisae.autoencoders.loss import Penalty
    from omnisae.autoencoders.nesting import Nesting
    from omnisae.autoencoders.normaliser import Normaliser


class ReLUConfig(ActivationConfig):
    """Every latent with a positive pre-activation fires; add a penalty such as core.l1 (Bricken et al. 2023)."""

    type: Literal["core.relu"] = "core.relu"

    def build(self, latents: int) -> "Activation":
        from omnisae.autoencoders.relu import ReLU

        return ReLU()


class JumpReLUConfig(ActivationConfig):
    """A learnt threshold a latent, trained towards a target L0 (Rajamanoharan et al. 2024)."""

    type: Literal["core.jumprelu"] = "core.jumprelu"
    l0: float = Field(gt=0, description="latents that should fire per token, on average")
    weight: float = Field(1.0, gt=0, description="weight of (L0/target − 1)²")
    bandwidth: float = Field(0.05, gt=0, description="width of the kernel over the typical norm of normalised inputs")

    def build(self, latents: int) -> "Activation":
        from omnisae.autoencoders.jumprelu import JumpReLU

        _at_most("l0", self.l0, latents)
        return JumpReLU(latents, self.l0, self.weight, self.bandwidth)


class TopKConfig(ActivationConfig):
    """The k largest positive pre-activations of each token fire (Gao et al. 2024)."""

    type: Literal["core.topk"] = "core.topk"
    k: int = Field(gt=0, description="latents that fire per token, at most")

    def build(self, latents: int) -> "Activation":
        from omnisae.autoencoders.topk import TopK

        _at_most("k", self.k, latents)
        return TopK(self.k)


class AbsTopKConfig(ActivationConfig):
    """The k pre-activations of largest magnitude of each token fire, with their signs (Zhu et al. 2025)."""

    type: Literal["core.abstopk"] = "core.abstopk"
    k: int = Field(gt=0, description="latents that fire per token")

    def build(self, latents: int) -> "Activation":
        from omnisae.autoencoders.topk import AbsTopK

        _at_most("k", self.k, latents)
        return AbsTopK(self.k)


class BatchTopKConfig(ActivationConfig):
    """A batch's tokens share k activations each; a learnt threshold at inference (Bussmann et al. 2024)."""

    type: Literal["core.batchtopk"] = "core.batchtopk"
    k: int = Field(gt=0, description="latents that fire per token, on average")

    def build(self, latents: int) -> "Activation":
        from omnisae.autoencoders.batchtopk import BatchTopK

        _at_most("k", self.k, latents)
        return BatchTopK(self.k)


class FreeConfig(DecoderConfig):
    """Rows are parameters of their own."""

    type: Literal["core.free"] = "core.free"

    def build(self, latents: int, width: int, unit_norm: bool) -> None:
        return None


class ArchetypalConfig(DecoderConfig):
    """Rows are mixtures of points of the data, and a little beside them (RA-SAE, Fel et al. 2025)."""

    type: Literal["core.archetypal"] = "core.archetypal"
    points: int = Field(1024, ge=2, description="points of the training sample that rows are mixed from")
    choose: Literal["kmeans", "rows"] = Field(
        "kmeans", description="which points: the centroids of the sample's clusters, or rows of the sample"
    )
    delta: float = Field(
        1.0,
        ge=0,
        description="largest distance of a row from its mixture, in normalised units (under core.standard a typical "
        "activation is √width long); 0: rows are mixtures and nothing else",
    )

    def build(self, latents: int, width: int, unit_norm: bool) -> "Dictionary":
        from omnisae.autoencoders.archetypal import Archetypal

        return Archetypal(latents, width, self.points, self.choose, self.delta, unit_norm)


class MatryoshkaConfig(NestingConfig):
    """Prefixes of the latents each reconstruct on their own, from the same codes (Bussmann et al. 2025)."""

    type: Literal["core.matryoshka"] = "core.matryoshka"
    prefixes: tuple[float, ...] = Field(
        min_length=1,
        description="numbers of latents, ascending, ending with all of them; below 1: shares of the latents",
    )
    weights: tuple[float, ...] | None = Field(None, description="weight of each prefix's loss; none: equal")

    def build(self, latents: int) -> "Nesting":
        from omnisae.autoencoders.nesting import matryoshka

        return matryoshka(self.prefixes, self.weights, latents)


class MatryoshkaKConfig(NestingConfig):
    """The largest k codes of each token reconstruct on their own, for several k (MSAE, Zaigrajew et al. 2025)."""

    type: Literal["core.matryoshka_k"] = "core.matryoshka_k"
    ks: tuple[int, ...] = Field(
        min_length=1, description="numbers of codes, ascending, ending with the activation rule's k"
    )
    weights: Literal["uniform", "reverse"] = Field(
        "uniform",
        description="weights of the losses: all alike; or falling linearly from the smallest k to the largest",
    )

    def build(self, latents: int) -> "Nesting":
        from omnisae.autoencoders.nesting import matryoshka_k

        return matryoshka_k(self.ks, self.weights, latents)


class NoneConfig(NormaliserConfig):
    """Activations as they are."""

    type: Literal["core.none"] = "core.none"

    def build(self, width: int) -> "Normaliser":
        from omnisae.autoencoders.normaliser import Identity

        return Identity()


class StandardConfig(NormaliserConfig):
    """Subtract the mean, then one scale for all dimensions, so that the mean squared norm is the width."""

    type: Literal["core.standard"] = "core.standard"

    def build(self, width: int) -> "Normaliser":
        from omnisae.autoencoders.normaliser import Standard

        return Standard(width)


class LayerNormConfig(NormaliserConfig):
    """Each token less its own mean, over its own standard deviation."""

    type: Literal["core.layernorm"] = "core.layernorm"
    floor: float = Field(1e-6, gt=0, description="smallest standard deviation divided by")

    def build(self, width: int) -> "Normaliser":
        from omnisae.autoencoders.normaliser import LayerNorm

        return LayerNorm(self.floor)


class ModulatedConfig(NormaliserConfig):
    """Mean and scale follow the token's last columns, its condition, which no latent codes (after TIDE, Huang 2025)."""

    type: Literal["core.modulated"] = "core.modulated"
    columns: int = Field(
        1, ge=1, description="entries at the end of a token that are its condition: the hook's columns"
    )
    knots: int = Field(
        64,
        ge=1,
        description="values of a column, at most, at which mean and scale are fitted; both are linear between them. 1: "
        "they do not follow the column, which is only set apart",
    )
    per_dimension: bool = Field(
        False, description="one scale a dimension at every knot; else one for all, which keeps the geometry"
    )

    def build(self, width: int) -> "Normaliser":
        from omnisae.autoencoders.modulated import Modulated

        if self.columns >= width:
            from omnisae.errors import ConfigError

            raise ConfigError(
                f"autoencoder.normaliser.columns: {self.columns} of the token's {width} entries are its condition, "
                "which leaves no activation",
                "lower columns to the number of columns that the hook point appends to its activations",
            )
        return Modulated(width, self.columns, self.knots, self.per_dimension)


class L1Config(PenaltyConfig):
    """The sum of codes, each weighed by its atom's norm (Conerly et al. 2024)."""

    type: Literal["core.l1"] = "core.l1"
    weight: float = Field(gt=0, description="weight of Σ code · ‖atom‖ over the typical norm of an input")
    warmup: int = Field(0, ge=0, description="tokens over which the weight rises from zero")

    def build(self, latents: int, width: int) -> "Penalty":
        from omnisae.autoencoders.loss import L1

        return L1(self.weight, self.warmup)


def _at_most(field: str, value: float, latents: int) -> None:
    if value > latents:
        from omnisae.errors import ConfigError

        raise ConfigError(
            f"autoencoder.activation.{field}: {value:g} latents cannot fire of {latents}",
            f"lower {field}, or raise autoencoder.latents",
        )


COMPONENTS: tuple[type[Component], ...] = (
    ReLUConfig,
    JumpReLUConfig,
    TopKConfig,
    AbsTopKConfig,
    BatchTopKConfig,
    FreeConfig,
    ArchetypalConfig,
    MatryoshkaConfig,
    MatryoshkaKConfig,
    NoneConfig,
    StandardConfig,
    LayerNormConfig,
    ModulatedConfig,
    L1Config,
)
