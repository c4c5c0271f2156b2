"""The text side of a contrastive model: vectors of texts in the space of its pictures, and zero-shot classes."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from omnisae.errors import ConfigError
from omnisae.extract.module import pick_device
from omnisae_vision.fit_read import first_lines
from omnisae_vision.geometry import Geometry, as_picture
from omnisae_vision.open_clip_weights import build, library
from omnisae_vision.plugin import OpenClipConfig

AT_ONCE = 256
"""Texts in one forward."""


class TextTower:
    """An open_clip model as a judge of texts and pictures. It is built when it is first asked.

    `encode` gives vectors of texts and `embed_pictures` of pictures: both of length 1 and in one space, so that their
    product is the cosine by which the model was trained.
    """

    def __init__(self, config: OpenClipConfig) -> None:
        self.config = config
        self.device = torch.device(pick_device(config.device))

    @cached_property
    def model(self) -> nn.Module:
        """Both towers, frozen, in fp32. Raises ConfigError where the checkpoint lacks one of them."""
        return build(self.config, text=True).model.eval().requires_grad_(False).to(self.device)

    @cached_property
    def geometry(self) -> Geometry:
        """How pictures come to the model's input."""
        return open_clip_geometry(self.model.visual)

    @property
    def has_weights(self) -> bool:
        """Whether the model learnt anything: with random weights neither names nor classes mean a thing."""
        return self.config.pretrained is not None or self.config.checkpoint is not None or ":" in self.config.model

    def encode(self, texts: Sequence[str]) -> Float[Tensor, "text d"]:
        """Unit vectors of texts, on the CPU in fp32."""
        if not texts:
            raise ConfigError("no text is given to the text tower", "name at least one")
        found = []
        with torch.inference_mode():
            for some in _batched(texts, AT_ONCE):
                tokens = self._tokenise(some).to(self.device)
                found.append(normalize(self.model.encode_text(tokens).float(), dim=1).cpu())
        return torch.cat(found)

    def embed_pictures(self, pictures: Iterable[Any], batch_size: int | None = None) -> Float[Tensor, "picture d"]:
        """Unit vectors of pictures (PIL's, or arrays y x 3 of 8-bit pixels), on the CPU in fp32."""
        found = []
        with torch.inference_mode():
            for some in _batched(pictures, batch_size or self.config.batch_size):
                inputs = torch.stack([self.geometry.tensor(as_picture(one)) for one in some]).to(self.device)
                found.append(normalize(embedding(self.model.visual(inputs)).float(), dim=1).cpu())
        return torch.cat(found) if found else torch.zeros(0, self.width)

    def classes(self, names: Sequence[str], prompts: Sequence[str] = ("a photo of a {}.",)) -> Float[Tensor, "class d"]:
        """One unit vector a class: the mean over prompts of their unit vectors (Radford et al. 2021, section 3.1.4)."""
        texts = [prompt.format(name) for name in names for prompt in prompts]
        each = self.encode(texts).unflatten(0, (len(names), len(prompts)))
        return normalize(each.mean(1), dim=1)

    @property
    def width(self) -> int:
        """The length of a vector."""
        return int(self.encode(["a"]).shape[1])

    @property
    def scale(self) -> tuple[float, float]:
        """What a cosine is multiplied by, and what is added, to become a logit."""
        bias = getattr(self.model, "logit_bias", None)
        return float(self.model.logit_scale.exp()), float(bias) if bias is not None else 0.0

    def _tokenise(self, texts: list[str]) -> Tensor:
        tokens: Tensor = self._tokeniser(texts)
        return tokens

    @cached_property
    def _tokeniser(self) -> Any:
        length = getattr(self.model, "context_length", None)
        try:
            return library().get_tokenizer(self.config.model, context_length=length)
        except (OSError, ValueError, ImportError, RuntimeError) as error:
            raise ConfigError(
                f"the tokeniser of {self.config.model!r} could not be had: {first_lines(error)}",
                "it comes from the hub: check the network, or keep model and tokeniser in a folder and name "
                "model: local-dir:folder",
            ) from error


def open_clip_geometry(visual: nn.Module) -> Geometry:
    """The evaluation transforms of an image tower."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    def steps(data: Any) -> list[Any]:
        return list(image_transform_v2(PreprocessCfg(**{**data, "mode": "RGB"}), is_train=False).transforms)

    data = dict(visual.preprocess_cfg)
    return Geometry({key: tuple(item) if isinstance(item, list) else item for key, item in data.items()}, steps)


def embedding(output: Any) -> Float[Tensor, "example d"]:
    """The picture's vector, out of what an image tower returns: CoCa's and others' return their tokens beside it."""
    found: Tensor = output[0] if isinstance(output, (tuple, list)) else output
    return found


def _batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    left = iter(items)
    while some := list(islice(left, size)):
        yield some
