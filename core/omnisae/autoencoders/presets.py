"""Published autoencoders, named: each is a combination of core's parts, no code of its own."""

from typing import Any, Literal

from omnisae.autoencoders.configs import (
    AbsTopKConfig,
    ArchetypalConfig,
    BatchTopKConfig,
    JumpReLUConfig,
    L1Config,
    MatryoshkaConfig,
    MatryoshkaKConfig,
    ReLUConfig,
    TopKConfig,
)
from omnisae.config import AutoencoderConfig, AuxKConfig


def relu_l1(latents: int, weight: float, warmup: int = 0, **parts: Any) -> AutoencoderConfig:
    """ReLU with an L1 penalty weighed by free decoder norms (Conerly et al. 2024, "Update on how we train SAEs")."""
    penalty = L1Config(weight=weight, warmup=warmup)
    return AutoencoderConfig(
        latents=latents, activation=ReLUConfig(), penalties=(penalty,), **{"unit_norm": False, **parts}
    )


def jumprelu(latents: int, l0: float, **parts: Any) -> AutoencoderConfig:
    """JumpReLU trained towards a target L0 (Rajamanoharan et al. 2024, "Jumping Ahead")."""
    return AutoencoderConfig(latents=latents, activation=JumpReLUConfig(l0=l0), **parts)


def topk(latents: int, k: int, **parts: Any) -> AutoencoderConfig:
    """TopK with AuxK (Gao et al. 2024, "Scaling and evaluating sparse autoencoders")."""
    return AutoencoderConfig(latents=latents, activation=TopKConfig(k=k), **{"auxk": AuxKConfig(), **parts})


def abstopk(latents: int, k: int, **parts: Any) -> AutoencoderConfig:
    """AbsTopK with AuxK: a latent may stand for a concept and its opposite (Zhu et al. 2025, "AbsTopK: Rethinking
    Sparse Autoencoders For Bidirectional Features")."""
    return AutoencoderConfig(latents=latents, activation=AbsTopKConfig(k=k), **{"auxk": AuxKConfig(), **parts})


def batchtopk(latents: int, k: int, **parts: Any) -> AutoencoderConfig:
    """BatchTopK with AuxK (Bussmann et al. 2024, "BatchTopK sparse autoencoders")."""
    return AutoencoderConfig(latents=latents, activation=BatchTopKConfig(k=k), **{"auxk": AuxKConfig(), **parts})


def matryoshka(latents: int, k: int, prefixes: tuple[float, ...] | None = None, **parts: Any) -> AutoencoderConfig:
    """Matryoshka BatchTopK (Bussmann et al. 2025). Prefixes: by default an eighth, a quarter, a half, and all."""
    nesting = MatryoshkaConfig(prefixes=prefixes or (0.125, 0.25, 0.5, latents))
    return batchtopk(latents, k, **{"nesting": nesting, **parts})


def archetypal(latents: int, k: int, points: int = 1024, delta: float = 1.0, **parts: Any) -> AutoencoderConfig:
    """RA-SAE: TopK with AuxK, over rows mixed from points of the data, with one scale for all of them (Fel et al. 2025,
    "Archetypal SAE: Adaptive and Stable Dictionary Learning for Concept Extraction in Large Vision Models").
    """
    decoder = ArchetypalConfig(points=points, delta=delta)
    return topk(latents, k, **{"decoder": decoder, "unit_norm": False, **parts})


def msae(
    latents: int, ks: tuple[int, ...], weights: Literal["uniform", "reverse"] = "uniform", **parts: Any
) -> AutoencoderConfig:
    """MSAE: TopK with AuxK, nested over k (Zaigrajew et al. 2025, "Interpreting CLIP with Hierarchical Sparse
    Autoencoders"). The paper's ks double from 64; the last one fires.
    """
    return topk(latents, ks[-1], **{"nesting": MatryoshkaKConfig(ks=ks, weights=weights), **parts})
