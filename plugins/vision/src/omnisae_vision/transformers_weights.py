"""Building vision models of transformers: from a folder, from the hub where it is named, or of a type, at random."""

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from omnisae.errors import ConfigError, PluginError, did_you_mean
from omnisae_vision.fit_read import first_lines
from omnisae_vision.plugin import TransformersConfig

HUB = "hf-hub:"
TOWERS = ("vision_tower", "vision_model", "visual", "vision_encoder", "image_encoder", "model")
"""What vision-language models call their vision tower."""
FOR_BACKBONES = ("out_features", "out_indices", "stage_names")
"""What of a configuration only backbones look at, and which follows from the rest."""
ORDINARY = (
    "vit", "dinov2", "dinov2_with_registers", "dinov3_vit", "siglip_vision_model", "clip_vision_model", "vit_mae",
    "vit_msn", "beit", "deit", "data2vec-vision", "swin", "swinv2", "convnext", "convnextv2", "resnet",
)  # fmt: skip
"""Types of models among which the nearest is looked for."""
SAVED = "name a folder saved by transformers"
POOLER = re.compile(r"(^|\.)pooler\.")


@dataclass(frozen=True)
class Built:
    """A model, its configuration, that of the whole it is a part of, and where its weights are from."""

    model: nn.Module
    config: Any
    whole: Any
    source: str
    label_names: tuple[str, ...] | None = None


def build(config: TransformersConfig) -> Built:
    """The model that a config names. Raises ConfigError, which names the field and the remedy, and PluginError where
    transformers is not installed."""
    library()
    place = _place(config.model)
    whole = _configuration(config, place)
    own = _set(_vision(whole, config), config, place)
    kind = _class(own, config)
    names = _labels(own) if config.head else None
    if config.weights == "random" or place is None or not (place.startswith(HUB) or _has_weights(Path(place))):
        return Built(_random(kind, own), own, whole, "random", names)
    return Built(_filled(kind, own, place, config, own is not whole), own, whole, place, names)


def library() -> Any:
    """The module transformers. Raises PluginError where it is not installed."""
    try:
        import transformers
    except ImportError as error:
        raise PluginError(
            f"vision.transformers needs the package transformers, which cannot be imported ({error})",
            "pip install 'omnisae-vision[transformers]'",
        ) from error
    return transformers


def address(place: str) -> dict[str, Any]:
    """What `from_pretrained` is given for a place: the hub is asked only where it is named."""
    if place.startswith(HUB):
        return {"pretrained_model_name_or_path": place.removeprefix(HUB)}
    return {"pretrained_model_name_or_path": place, "local_files_only": True}


def _place(model: str) -> str | None:
    """The folder or the address on the hub; None for a type of model. Raises ConfigError where it is none of these."""
    from transformers import CONFIG_MAPPING

    if model.startswith(HUB):
        return model
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ConfigError(f"extractor.model: there is no config.json in {folder}", SAVED)
        return str(folder)
    if model in CONFIG_MAPPING:
        return None
    if "/" in model or "\\" in model:
        raise ConfigError(
            f"extractor.model: there is no folder {model}", f"to fetch it from the hub, write model: {HUB}{model}"
        )
    raise ConfigError(
        f"extractor.model: transformers has no type of model {model!r}", did_you_mean(model, CONFIG_MAPPING.keys())
    )


def _configuration(config: TransformersConfig, place: str | None) -> Any:
    """The configuration before `settings`. Code that a repository brings along is never run."""
    from transformers import CONFIG_MAPPING, AutoConfig

    if place is None:
        return CONFIG_MAPPING[config.model]()
    try:
        return AutoConfig.from_pretrained(**address(place), trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"extractor.model: the configuration of {config.model!r} cannot be read: {first_lines(error)}",
            "check the network and the name" if place.startswith(HUB) else SAVED,
        ) from error


def _vision(whole: Any, config: TransformersConfig) -> Any:
    """The part of a configuration that is the vision tower's: the whole of a vision model's."""
    part = getattr(whole, "vision_config", None)
    if part is None:
        return whole
    if config.head:
        raise ConfigError(
            f"extractor.head: {config.model!r} is a {whole.model_type} model, whose vision tower has none",
            "leave out extractor.head",
        )
    return part


def _set(own: Any, config: TransformersConfig, place: str | None) -> Any:
    """The configuration with the user's settings. Raises ConfigError for one that it does not have."""
    known = own.to_dict().keys()
    for name in config.settings:
        if name not in known:
            raise ConfigError(
                f"extractor.settings: the configuration of a {own.model_type} model has no {name!r}",
                did_you_mean(name, known),
            )
    if config.settings:  # what follows from a setting, as a pooler's width from the model's, is worked out anew
        said = {} if place is None else {k: v for k, v in own.to_diff_dict().items() if k not in FOR_BACKBONES}
        try:
            own = type(own)(**{**said, **config.settings})
        except Exception as error:  # configurations check themselves, and raise what they like
            raise ConfigError(
                f"extractor.settings: {first_lines(error)}", f"see the configuration of a {own.model_type} model"
            ) from error
    if getattr(own, "mask_ratio", None):  # a masked autoencoder hides patches even in eval mode
        own.mask_ratio = 0.0
    return own


def _class(own: Any, config: TransformersConfig) -> Any:
    """The class of model that such a configuration is for. Raises ConfigError where there is none."""
    from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, MODEL_MAPPING

    mapping = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING if config.head else MODEL_MAPPING
    if type(own) in mapping:
        found = mapping[type(own)]
        found = found[0] if isinstance(found, tuple) else found
    else:
        found = None if config.head else _tower_class(own)
    modalities = getattr(found, "input_modalities", None) or ()
    if found is None or (
        "image" not in modalities and "pixel_values" not in inspect.signature(found.forward).parameters
    ):
        raise ConfigError(
            f"extractor.model: transformers has no {'image classifier' if config.head else 'vision model'} of type "
            f"{own.model_type!r}",
            "leave out extractor.head" if config.head else "name a vision model, or a model with a vision tower",
        )
    return found


def _tower_class(own: Any) -> Any:
    """The one model for such a configuration beside it in the library, as vision towers without a name of their own."""
    module = importlib.import_module(type(own).__module__.replace("configuration_", "modeling_"))
    known = [
        kind
        for name, kind in vars(module).items()
        if isinstance(kind, type) and getattr(kind, "config_class", None) is type(own)
        if kind.__module__ == module.__name__ and not re.search("PreTrainedModel$|With|For", name)
    ]
    return known[0] if len(known) == 1 else None


def _random(kind: Any, own: Any) -> nn.Module:
    """Random weights, seeded, so that every process and every run sees the same ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            model: nn.Module = kind(own)
        except (ValueError, TypeError, AttributeError, ImportError, ZeroDivisionError, RuntimeError) as error:
            raise ConfigError(
                f"a {own.model_type} model cannot be made of this configuration: {first_lines(error)}",
                "mend extractor.settings",
            ) from error
    return model


def _has_weights(folder: Path) -> bool:
    return any(any(folder.glob(pattern)) for pattern in ("*.safetensors", "pytorch_model*.bin"))


def _filled(kind: Any, own: Any, place: str, config: TransformersConfig, is_part: bool) -> nn.Module:
    """The model with its weights; of a vision-language model's checkpoint, only the tower's are read."""
    model, about = _load(kind, own, place, config, is_part, {})
    missing = sorted(about["missing_keys"])
    if missing and all(POOLER.search(name) for name in missing) and not config.head:
        # Many checkpoints come without the pooler, which was no part of the training: then the model does without.
        model, about = _load(kind, own, place, config, is_part, {"add_pooling_layer": False})
        missing = sorted(about["missing_keys"])
    reshaped = [f"{name} [{list(a)}, the model's {list(b)}]" for name, a, b in about["mismatched_keys"]]
    if missing or reshaped:
        words = [f"{len(missing)} of its tensors are missing: {_some(missing)}"] if missing else []
        words += [f"{len(reshaped)} have other shapes: {_some(reshaped)}"] if reshaped else []
        unknown = sorted(about["unexpected_keys"])
        words += [f"{len(unknown)} are unknown: {_some(unknown)}"] if unknown and not is_part else []
        raise ConfigError(
            f"the weights in {place} do not fit the {own.model_type} model: {'; '.join(words)}",
            "leave out extractor.settings that change the model's shape, or set weights: random"
            if config.settings
            else _nearest(set(model.state_dict()) - set(missing) | set(about["unexpected_keys"]), own),
        )
    return model


def _load(
    kind: Any, own: Any, place: str, config: TransformersConfig, is_part: bool, extra: Mapping[str, Any]
) -> tuple[nn.Module, Mapping[str, Any]]:
    prefix = {rf"^(model\.)?({'|'.join(TOWERS)})\.(?=.)": ""} if is_part else None
    try:
        with _quiet():
            model, about = kind.from_pretrained(
                **address(place),
                config=own,
                key_mapping=prefix,
                dtype=getattr(torch, config.dtype),
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                weights_only=True,
                **extra,
            )
    except Exception as error:  # the library, and torch behind it, raise what they like
        raise ConfigError(
            f"the weights of {config.model!r} cannot be read: {first_lines(error)}",
            "check the network and the name" if place.startswith(HUB) else SAVED,
        ) from error
    return model, about


@contextmanager
def _quiet() -> Iterator[None]:
    """The library tells of tensors that it leaves out, and shows its progress: what matters is told as an error."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _nearest(found: set[str], own: Any) -> str:
    """The type of model whose tensors are called most like those found, as a remedy."""
    import transformers

    best, kind = 0.5, None
    for name in ORDINARY:
        if name != own.model_type and name in transformers.CONFIG_MAPPING:
            with torch.device("meta"):
                known = transformers.AutoModel.from_config(transformers.CONFIG_MAPPING[name]()).state_dict()
            one, other = _words(known), _words(found)
            share = len(one & other) / max(len(one | other), 1)
            best, kind = (share, name) if share > best else (best, kind)
    words = "the folder's config.json must be the one that the weights were saved with"
    return words if kind is None else f"the weights look like those of a {kind} model: {words}"


def _words(names: Iterable[str]) -> set[str]:
    """The words of which tensors' names are made: versions of the library nest them differently."""
    return {word for name in names for word in name.split(".") if not word.isdigit()}


def _some(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:3]) + (f" and {len(every) - 3} more" if len(every) > 3 else "")


def _labels(own: Any) -> tuple[str, ...] | None:
    """Names of the head's outputs, where the configuration gives them: not LABEL_0, LABEL_1, …"""
    names = [own.id2label[i] for i in sorted(own.id2label)]
    return tuple(names) if names and not all(re.fullmatch(r"LABEL_\d+", name) for name in names) else None
