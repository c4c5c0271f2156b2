"""What a model answers, under whatever edits are in force: of whole pictures, or of every place of them."""

import json
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor, nn

from omnisae.config import HookConfig
from omnisae.errors import ConfigError, HookError, did_you_mean
from omnisae.extract.extractor import Extractor
from omnisae.extract.module import to_device
from omnisae.hooks.paths import module_at
from omnisae.hooks.taps import tap
from omnisae.tokens.arrange import flatten
from omnisae_vision import world
from omnisae_vision.plugin import OpenClipConfig, TimmConfig, TransformersConfig
from omnisae_vision.plugin_edits import DenseConfig
from omnisae_vision.towers_extractor import TowerExtractor
from omnisae_vision.weights import METADATA


class Answers(Protocol):
    """Scores (logits) of every example for every output; of a dense prediction, at every place."""

    dense: bool
    grid: tuple[int, int]
    """The places along y and x of a dense answer, known after the first."""

    def __call__(self, inputs: Any) -> Float[Tensor, "example place output"]:
        """One forward on prepared inputs, fp32 on the CPU. Places of a dense answer go row by row; of a whole answer
        there is one."""


def answers(extractor: Extractor, dense: DenseConfig | None) -> Answers:
    """The answers that a config asks for. Raises ConfigError where the model gives none."""
    if not isinstance(extractor, TowerExtractor):
        raise ConfigError(
            f"the extractor {type(extractor).__name__} does not say what its model answers",
            "use vision.timm, vision.open_clip (with classes) or vision.transformers (with head: true)",
        )
    return _Whole(extractor) if dense is None else _Dense(extractor, dense)


class _Whole:
    """The model's own answer: class logits, or zero-shot logits."""

    dense = False
    grid = (1, 1)

    def __init__(self, extractor: TowerExtractor) -> None:
        self._extractor = extractor

    def __call__(self, inputs: Any) -> Float[Tensor, "example 1 output"]:
        found = None if _embeds(self._extractor) else self._extractor.answers(inputs)
        if found is None:
            raise ConfigError(
                f"{self._extractor.config.model!r} answers with no score of any class",
                "give it a head, or vision.open_clip its `classes`; or read the places by `dense`",
            )
        return found.cpu()[:, None]


class _Dense:
    """The model's own head on the token of every place: what it would answer if it saw that place alone (as MaskCLIP,
    Zhou et al. 2022, does with CLIP)."""

    dense = True
    grid = (0, 0)

    def __init__(self, extractor: TowerExtractor, config: DenseConfig) -> None:
        self._extractor = extractor
        (self._point,) = extractor.resolve([HookConfig(at=config.at, view=config.view)])
        if not {"y", "x"} <= set(self._point.axes):
            raise ConfigError(
                f"dense.at: {config.at!r} has the axes {list(self._point.axes)}",
                "name a module whose tokens lie along y and x",
            )
        self._through = [_part(extractor.model, path) for path in config.through]

    def __call__(self, inputs: Any) -> Float[Tensor, "example place output"]:
        extractor = self._extractor
        with torch.inference_mode():
            with tap(extractor.model, [self._point]) as seen:
                extractor.forward(to_device(inputs, extractor.device))
            tokens = flatten(seen[self._point.name], self._point.layout)
            content = (tokens.coords >= 0).all(dim=1)
            values = tokens.values[content]
            for part in self._through:
                values = part(values) if isinstance(part, nn.Module) else values @ part
            scores = extractor.answer(values) if isinstance(extractor.config, OpenClipConfig) else values
        if scores is None or scores.ndim != 2 or (isinstance(extractor.config, OpenClipConfig) and _embeds(extractor)):
            raise ConfigError(
                "dense.through does not end in scores, a row a place",
                "name the modules from dense.at to the head, e.g. [fc_norm, head]; vision.open_clip needs `classes`",
            )
        # Tokens of one example stand in the order of their layout, which need not be row by row.
        y, x = (tokens.coords[content][:, self._point.axes.index(axis)] for axis in ("y", "x"))
        self.grid = int(y.max()) + 1, int(x.max()) + 1
        place = (tokens.example[content] * self.grid[0] + y) * self.grid[1] + x
        ordered = scores.float()[place.argsort()].cpu()
        return ordered.reshape(tokens.sizes["example"], -1, ordered.shape[1])


def decisions(scores: Float[np.ndarray, "... output"], sigmoid: bool) -> np.ndarray:
    """Which outputs a model decides for: those with a chance above one half (sigmoid), or the one with the largest."""
    if sigmoid:
        return scores > 0
    return np.asarray(scores == scores.max(axis=-1, keepdims=True))


def logs(scores: Float[np.ndarray, "... output"], sigmoid: bool) -> Float[np.ndarray, "... output"]:
    """Logits as they are (sigmoid), or log-probabilities over the outputs."""
    if sigmoid:
        return scores
    return scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True)


def is_sigmoid(extractor: Extractor, decide: str) -> bool:
    """Whether outputs are decided one by one: as the config says, else as the extractor's loss does."""
    if decide != "auto":
        return decide == "sigmoid"
    config = getattr(extractor, "config", None)
    loss, outputs = getattr(config, "loss", "none"), getattr(config, "outputs", "softmax")
    return loss == "multilabel" or (loss == "outputs" and outputs == "sigmoid")


def names(extractor: Extractor, given: Sequence[str] | None, count: int) -> list[str]:
    """What the outputs are called: as given, else as the extractor's config or the checkpoint has it, else by number.
    Raises ConfigError where `given` are more or fewer."""
    if given is not None and len(given) != count:
        raise ConfigError(f"outputs: {len(given)} names for {count} outputs of the model", "name all, in their order")
    known = given or _known_names(extractor)
    return list(known) if known is not None and len(known) == count else [f"output {i}" for i in range(count)]


def named_like(concept: str, outputs: Sequence[str]) -> int | None:
    """The output of a concept's name: `has_red`, `class=red` and `red` are one; None where none or several are."""
    found = [i for i, name in enumerate(outputs) if _plain(name) == _plain(concept)]
    return found[0] if len(found) == 1 else None


def _plain(name: str) -> str:
    return name.casefold().removeprefix("has_").rpartition("=")[2].replace("_", " ").strip()


def _known_names(extractor: Extractor) -> Sequence[str] | None:
    config = getattr(extractor, "config", None)
    if isinstance(config, OpenClipConfig):
        return config.classes
    if isinstance(config, TransformersConfig):
        labels = getattr(getattr(extractor.model, "config", None), "id2label", None)
        return config.targets or (list(labels.values()) if isinstance(labels, dict) else None)
    if isinstance(config, TimmConfig):
        return config.targets or _written_names(config)
    return None


def _written_names(config: TimmConfig) -> Sequence[str] | None:
    """What a checkpoint says of its outputs."""
    path = world.checkpoint(config.checkpoint, config.model) if config.checkpoint is not None else None
    if path is None or path.suffix != ".safetensors":
        return None
    with safe_open(str(path), "pt") as file:
        found: list[str] | None = json.loads((file.metadata() or {}).get(METADATA, "{}")).get("label_names")
    return found


def _embeds(extractor: TowerExtractor) -> bool:
    """Whether the model answers with a vector that scores no class."""
    config = extractor.config
    if isinstance(config, OpenClipConfig):
        return config.classes is None
    if isinstance(config, TransformersConfig):
        return not config.head
    return getattr(extractor.model, "num_classes", 1) == 0


def _part(model: nn.Module, path: str) -> nn.Module | Tensor:
    """A module, or a matrix that tokens are multiplied by (such as CLIP's `proj`)."""
    parameters = dict(model.named_parameters())
    if path in parameters and parameters[path].ndim == 2:
        return parameters[path]
    try:
        return module_at(model, path)
    except HookError:
        known = [name for name, _ in model.named_modules() if name] + [n for n, p in parameters.items() if p.ndim == 2]
        raise ConfigError(f"dense.through: the model has no {path!r}", did_you_mean(path, known)) from None
