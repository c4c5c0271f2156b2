"""What bare denoisers of diffusers' classes are told beside the noisy picture: a class label, or an empty condition.

A denoiser that expects text is told nothing, by zeros in place of what its text encoders would say; give the whole
pipeline to have prompts heard.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from omnisae.errors import ConfigError
from omnisae_diffusion.bare import Classes
from omnisae_diffusion.schedule import Schedule

Call = Callable[[nn.Module, Tensor, Tensor, Tensor | None], Tensor]
TEXT_TOKENS = 77
PER_FLUX = 1000.0
"""Flux is told times in thousandths."""


def classes(denoiser: Any) -> Classes | None:
    """The class labels that a denoiser knows. A DiT has one more row, for no label; a U-Net's last row is taken for
    it."""
    config = denoiser.config
    if getattr(config, "num_class_embeds", None):
        return Classes(int(config.num_class_embeds) - 1, int(config.num_class_embeds) - 1)
    if type(denoiser).__name__ == "DiTTransformer2DModel":
        return Classes(int(config.num_embeds_ada_norm), int(config.num_embeds_ada_norm))
    return None


def shape(denoiser: Any, size: tuple[int, int] | None) -> tuple[int, int, int]:
    """Channels, height and width of the noisy picture. Raises ConfigError where nothing tells the size."""
    known = size or getattr(denoiser.config, "sample_size", None)
    if known is None:
        raise ConfigError(f"{type(denoiser).__name__} does not say its size", "give extractor.size: [height, width]")
    height, width = (known, known) if isinstance(known, int) else known
    return int(denoiser.config.in_channels), int(height), int(width)


def call(denoiser: Any) -> Call:
    """How a denoiser of this class is run."""
    takes = inspect.signature(denoiser.forward).parameters
    if "img_ids" in takes:
        return _flux
    if "class_labels" in takes and "encoder_hidden_states" not in takes:
        return _labelled
    return _text


def schedule(denoiser: Any, scheduler: Any, size: tuple[int, int]) -> Schedule:
    """How the pipelines of this denoiser's class ask their scheduler, for noisy pictures of this height and width."""
    if call(denoiser) is _flux:
        return Schedule(scheduler, per=PER_FLUX, tokens=size[0] * size[1], even=True)
    patch = int(getattr(denoiser.config, "patch_size", None) or 1)
    return Schedule(scheduler, tokens=(size[0] // patch) * (size[1] // patch))


def expects_text(denoiser: Any) -> bool:
    """Whether a denoiser of this class is made for what text encoders say, and is told an empty condition here."""
    return call(denoiser) is not _labelled and _text_width(denoiser.config) is not None


def _labelled(model: nn.Module, x: Tensor, times: Tensor, labels: Tensor | None) -> Tensor:
    told = {} if labels is None else {"class_labels": labels}
    return _noise(model(x, times, return_dict=False, **told)[0], x)


def _text(model: Any, x: Tensor, times: Tensor, labels: Tensor | None) -> Tensor:
    """U-Nets and transformers that hear text: told an empty condition."""
    config, takes = model.config, inspect.signature(model.forward).parameters
    width = _text_width(config)
    told: dict[str, Any] = {}
    if width is not None:
        told["encoder_hidden_states"] = x.new_zeros(len(x), TEXT_TOKENS, width)
    if "pooled_projections" in takes:
        told["pooled_projections"] = x.new_zeros(len(x), int(config.pooled_projection_dim))
    if getattr(config, "addition_embed_type", None) == "text_time":
        pooled = int(config.projection_class_embeddings_input_dim) - 6 * int(config.addition_time_embed_dim)
        told["added_cond_kwargs"] = {"text_embeds": x.new_zeros(len(x), pooled), "time_ids": x.new_zeros(len(x), 6)}
    elif "added_cond_kwargs" in takes and "caption_channels" in config:
        told["added_cond_kwargs"] = {"resolution": None, "aspect_ratio": None}
    if labels is not None and "class_labels" in takes:
        told["class_labels"] = labels
    first = next(iter(takes))
    return _noise(model(**{first: x, "timestep": times, "return_dict": False, **told})[0], x)


def _text_width(config: Any) -> int | None:
    """How wide the text's vectors are that a denoiser takes; None where it takes none."""
    names = ("caption_channels", "joint_attention_dim", "cross_attention_dim", "encoder_hid_dim")
    widths = (getattr(config, name, None) for name in names)
    return next((int(width) for width in widths if width), None)


def _flux(model: Any, x: Tensor, times: Tensor, labels: Tensor | None) -> Tensor:
    """Flux takes its picture as patches of two by two, each a token with its place, and times in thousandths."""
    count, channels, height, width = x.shape[0], x.shape[1] // 4, x.shape[2], x.shape[3]
    tokens = x.flatten(2).transpose(1, 2)
    places = torch.stack(
        [
            torch.zeros(height, width),
            torch.arange(height).float()[:, None].expand(height, width),
            torch.arange(width).float()[None].expand(height, width),
        ],
        dim=-1,
    )
    told: dict[str, Any] = {"guidance": x.new_ones(count)} if model.config.guidance_embeds else {}
    found = model(
        hidden_states=tokens,
        timestep=times.to(x.dtype) / PER_FLUX,
        encoder_hidden_states=x.new_zeros(count, TEXT_TOKENS, int(model.config.joint_attention_dim)),
        pooled_projections=x.new_zeros(count, int(model.config.pooled_projection_dim)),
        txt_ids=x.new_zeros(TEXT_TOKENS, 3),
        img_ids=places.reshape(-1, 3).to(x),
        return_dict=False,
        **told,
    )[0]
    answer: Tensor = found.transpose(1, 2).reshape(count, 4 * channels, height, width)
    return answer


def _noise(answer: Tensor, x: Tensor) -> Tensor:
    """Of an answer that tells a variance, too, the noise."""
    return answer[:, : x.shape[1]] if answer.shape[1] == 2 * x.shape[1] else answer
