"""Features of pictures in memory, by Inception or by any model that a config names."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from omnisae.errors import ConfigError
from omnisae.extract.extractor import Extractor
from omnisae.extract.loading import batches
from omnisae.hooks.point import HookPoint
from omnisae.tokens.filter import TokenFilter
from omnisae_diffusion.distance import inception
from omnisae_diffusion.distance.library import Features
from omnisae_diffusion.picture_set import Pictures, PictureSet
from omnisae_diffusion.plugin_distance import DistanceConfig

Featuriser = Callable[[Pictures], Features]


def featuriser(config: DistanceConfig, sample: Pictures) -> tuple[str, Featuriser]:
    """What the features are of, in words, and the function that makes them, a row a picture, fp32.

    `sample` are pictures by which an extractor may be built. Raises ConfigError where Inception's weights are absent,
    or the named model gives no vector.
    """
    if config.features is None or config.features.model is None:
        return inception.network(config)
    chosen = config.features.model
    extractor = chosen.build(PictureSet(sample))
    point: HookPoint | None = None
    name = getattr(chosen, "model", chosen.type)
    if config.features.hook is not None:
        found = extractor.resolve([config.features.hook])
        if len(found) != 1:
            raise ConfigError(
                f"features.hook matches {len(found)} hook points: {', '.join(one.name for one in found)}", "name one"
            )
        point = found[0]
    said = f"{name} at {point.name}" if point is not None else f"the answers of {name}"
    return said, lambda pictures: run(extractor, point, pictures)


def run(extractor: Extractor, point: HookPoint | None, pictures: Pictures) -> Features:
    """The model's vector of every picture: its mean over content tokens at a hook point, or its own answer."""
    parts = []
    for rows, inputs in batches(PictureSet(pictures), extractor, range(len(pictures)), workers=0):
        found = _answers(extractor, inputs) if point is None else _tokens(extractor, rows, inputs, point)
        parts.append(found.float().cpu().numpy())
    return np.concatenate(parts)


def _answers(extractor: Extractor, inputs: Any) -> Float[Tensor, "picture feature"]:
    answers = getattr(extractor, "answers", None)
    found = answers(inputs) if answers is not None else None
    if found is None:
        raise ConfigError("the model of `features` has no answer of its own", "say under `features.hook` where to read")
    return torch.as_tensor(found)


def _tokens(
    extractor: Extractor, rows: tuple[int, ...], inputs: Any, point: HookPoint
) -> Float[Tensor, "picture feature"]:
    """The mean over each picture's content tokens; of its special tokens, where it has no other."""
    batch = extractor.extract(rows, inputs, [point]).tokens[point.name]
    content = TokenFilter().keep(batch.example, batch.coords, batch.role, point.roles)
    batch = batch.take(content) if bool(content.any()) else batch
    at = batch.example - rows[0]
    sums = torch.zeros(len(rows), batch.values.shape[1], dtype=torch.float64).index_add_(0, at, batch.values.double())
    return sums / torch.bincount(at, minlength=len(rows)).clamp(min=1)[:, None]
