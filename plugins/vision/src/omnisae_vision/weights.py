"""Building timm models: by name, with weights from the hub, from a local file, or from a world."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from omnisae.errors import ConfigError, did_you_mean
from omnisae_vision import world
from omnisae_vision.plugin import TimmConfig

METADATA = "omnisae_timm"
"""Key of a safetensors file's metadata: JSON with `name`, timm's `architecture`, `model_args` and `pretrained_cfg` (as
in a timm model's config.json on the hub), and `label_names` of the outputs."""


@dataclass(frozen=True)
class Built:
    """A timm model, and what its checkpoint says of its outputs."""

    model: nn.Module
    label_names: tuple[str, ...] | None = None
    source: str = "random"
    about: Mapping[str, Any] = field(default_factory=dict)


def build(config: TimmConfig) -> Built:
    """The model that a config names. Raises ConfigError, which names the field and the remedy."""
    if config.pretrained and config.checkpoint is not None:
        raise ConfigError("extractor.pretrained and extractor.checkpoint are both given", "give the one that holds")
    if config.checkpoint is None:
        return Built(_create(config, pretrained=config.pretrained), source="hub" if config.pretrained else "random")
    path = world.checkpoint(config.checkpoint, config.model)
    if not path.is_file():
        raise ConfigError(f"extractor.checkpoint: there is no file {path}", "name a .safetensors or .pth file")
    weights, about = read(path)
    return _described(config, path, weights, about) if about else _named(config, path, weights)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a checkpoint in fp32, and what its metadata says of the model. Only tensors are unpickled."""
    about: dict[str, Any] = {}
    try:
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {}).get(METADATA, "{}"))
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        else:
            weights = _state_dict(torch.load(path, map_location="cpu", weights_only=True), path)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"the checkpoint {path} cannot be read: {_first_lines(error)}",
            "save the model's state_dict alone, best as .safetensors",
        ) from error
    return {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}, about


def _state_dict(found: Any, path: Path) -> dict[str, Tensor]:
    for key in ("state_dict_ema", "model_ema", "state_dict", "model", "teacher"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
            break
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise ConfigError(f"the checkpoint {path} holds no state_dict", "save model.state_dict()")
    return {name.removeprefix("_orig_mod.").removeprefix("module."): value for name, value in found.items()}


def _described(config: TimmConfig, path: Path, weights: dict[str, Tensor], about: dict[str, Any]) -> Built:
    """A checkpoint that says itself what it is."""
    known = about.get("name") or about["architecture"]
    if config.model not in (known, about["architecture"]):
        raise ConfigError(
            f"extractor.model is {config.model!r}, and {path} holds {known!r}", did_you_mean(config.model, [known])
        )
    arguments = {**about["model_args"], **config.arguments}
    model = _create(config, name=about["architecture"], arguments=arguments, overlay=about.get("pretrained_cfg", {}))
    _load(model, weights, config, path)
    names = about.get("label_names")
    return Built(model, tuple(names) if names else None, known, about)


def _named(config: TimmConfig, path: Path, weights: dict[str, Tensor]) -> Built:
    """A bare state_dict for the architecture that the config names; foreign names pass through timm's own filter."""
    import timm

    _check_name(config.model)
    settings = timm.models.get_pretrained_cfg(config.model)
    heads = settings.classifier if settings is not None else None
    head = heads if isinstance(heads, str) else next(iter(heads or ()), "head")
    kernel = weights.get(f"{head}.weight")
    arguments = {"num_classes": int(kernel.shape[0]) if kernel is not None else 0} | dict(config.arguments)
    overlay = {"state_dict": weights, "num_classes": arguments["num_classes"], "custom_load": False}
    try:
        model = _create(config, pretrained=True, arguments=arguments, overlay=overlay)
    except (RuntimeError, KeyError) as error:
        raise ConfigError(
            f"the checkpoint {path} does not fit the model {config.model!r}: {_first_lines(error)}",
            "name the model it was saved from; extractor.arguments sets what differs, e.g. {num_classes: 10}",
        ) from error
    model.pretrained_cfg.pop("state_dict", None)
    return Built(model, None, path.name)


def _load(model: nn.Module, weights: Mapping[str, Tensor], config: TimmConfig, path: Path) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ConfigError(
            f"the checkpoint {path} does not fit the model {config.model!r}: {_first_lines(error)}",
            "leave out extractor.arguments and extractor.image_size that change the model's shape",
        ) from error


def _create(
    config: TimmConfig,
    *,
    name: str | None = None,
    pretrained: bool = False,
    arguments: Mapping[str, Any] | None = None,
    overlay: Mapping[str, Any] | None = None,
) -> nn.Module:
    import timm

    name = name or config.model
    _check_name(name)
    given = dict(config.arguments if arguments is None else arguments)
    if config.image_size is not None:
        given["img_size"] = config.image_size
    # Without weights the model is random: seeded, so that every process and every run sees the same one.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            return _attempt(timm.create_model, name, pretrained, given, dict(overlay or {}))
        except (OSError, ConnectionError) as error:
            raise ConfigError(
                f"the weights of {name!r} could not be fetched from the hub: {_first_lines(error)}",
                "check the network, or name a local file in extractor.checkpoint",
            ) from error
        except TypeError as error:
            raise ConfigError(f"extractor.arguments does not fit {name!r}: {error}", "see timm.create_model") from error


def _attempt(create: Any, name: str, pretrained: bool, given: dict[str, Any], overlay: dict[str, Any]) -> nn.Module:
    """Convolutional models take any size and know no `img_size`."""
    try:
        return create(name, pretrained=pretrained, pretrained_cfg_overlay=overlay or None, **given)
    except TypeError as error:
        if "img_size" not in given or "img_size" not in str(error):
            raise
    del given["img_size"]
    return create(name, pretrained=pretrained, pretrained_cfg_overlay=overlay or None, **given)


def _check_name(name: str) -> None:
    import timm

    if ":" in name:  # hf-hub:… and local-dir:… are timm's to resolve
        return
    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        raise ConfigError(f"extractor.model: timm has no model {base!r}", did_you_mean(base, timm.list_models()))
    tags = [known.partition(".")[2] for known in timm.list_models(f"{base}.*", pretrained=True)]
    if tag and tag not in tags:
        raise ConfigError(f"extractor.model: timm has no weights {tag!r} for {base!r}", did_you_mean(tag, tags))


def _first_lines(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3])[:400] or type(error).__name__
