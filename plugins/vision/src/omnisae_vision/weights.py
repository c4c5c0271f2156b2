"""Building timm models: by name, with weights from the hub, from a local file, or from a world."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from omnisae.errors import ConfigError, did_you_mean
from omnisae_vision import world
from omnisae_vision.fit import Misfit, compare, likeness, shapes, without_common_word
from omnisae_vision.fit_nearest import FAR, Library, advice
from omnisae_vision.fit_read import first_lines, read
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
    weights, metadata = read(path)
    about = json.loads(metadata.get(METADATA, "{}"))
    return _described(config, path, weights, about) if about else _named(config, path, weights)


def _described(config: TimmConfig, path: Path, weights: dict[str, Tensor], about: dict[str, Any]) -> Built:
    """A checkpoint that says itself what it is."""
    known = about.get("name") or about["architecture"]
    if config.model not in (known, about["architecture"]):
        raise ConfigError(
            f"extractor.model is {config.model!r}, and {path} holds {known!r}", did_you_mean(config.model, [known])
        )
    arguments = {**about["model_args"], **config.arguments}
    model = _create(config, name=about["architecture"], arguments=arguments, overlay=about.get("pretrained_cfg", {}))
    misfit = compare(shapes(model.state_dict()), shapes(weights))
    if misfit:
        raise ConfigError(
            f"the checkpoint {path} does not fit the model {config.model!r} as it is asked for: {misfit}",
            "leave out extractor.arguments and extractor.image_size that change the model's shape",
        )
    model.load_state_dict(weights)
    names = about.get("label_names")
    return Built(model, tuple(names) if names else None, known, about)


def _named(config: TimmConfig, path: Path, weights: dict[str, Tensor]) -> Built:
    """A bare state_dict for the architecture that the config names; foreign names pass through timm's own filter."""
    import timm

    _check_name(config.model)
    weights = without_common_word(shapes(_bare(config, config.arguments).state_dict()), weights)
    settings = timm.models.get_pretrained_cfg(config.model)
    heads = settings.classifier if settings is not None else None
    head = heads if isinstance(heads, str) else next(iter(heads or ()), "head")
    kernel = weights.get(f"{head}.weight")
    arguments = {"num_classes": int(kernel.shape[0]) if kernel is not None else 0} | dict(config.arguments)
    overlay = {"state_dict": weights, "num_classes": arguments["num_classes"], "custom_load": False}
    try:
        model = _create(config, pretrained=True, arguments=arguments, overlay=overlay)
    except (RuntimeError, KeyError) as error:
        raise _misfit(config, path, weights, arguments, error) from error
    model.pretrained_cfg.pop("state_dict", None)
    return Built(model, None, path.name)


def _misfit(
    config: TimmConfig, path: Path, weights: Mapping[str, Tensor], arguments: Mapping[str, Any], error: Exception
) -> ConfigError:
    """Which tensors do not fit, and which model they come nearest to."""
    own, found = shapes(_bare(config, arguments).state_dict()), shapes(weights)
    misfit: Misfit = compare(own, found)
    asked = config.arguments or config.image_size is not None
    if asked and likeness(own, found) > FAR:
        remedy = "mend extractor.arguments and extractor.image_size: the checkpoint's model had others"
    else:
        remedy = advice(found, Library(_families, _any_model), config.model.partition(".")[0])
        remedy += "; extractor.arguments sets what differs within one model, e.g. {num_classes: 10}"
    return ConfigError(
        f"the checkpoint {path} does not fit the model {config.model!r}: {misfit or first_lines(error)}", remedy
    )


def _bare(config: TimmConfig, arguments: Mapping[str, Any]) -> nn.Module:
    """The model that is asked for, without memory for its weights."""
    with torch.device("meta"):
        return _create(config, arguments=arguments)


def _families() -> dict[str, Sequence[str]]:
    """timm's models by the module that defines them."""
    import timm

    return {module: timm.list_models(module=module) for module in timm.list_modules()}


def _any_model(name: str) -> nn.Module:
    import timm

    return timm.create_model(name)


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
                f"the weights of {name!r} could not be fetched from the hub: {first_lines(error)}",
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
