"""Building open_clip models: image tower alone where that will do, or both towers, with weights or without."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from omnisae.errors import ConfigError, PluginError, did_you_mean
from omnisae_vision.fit import compare, likeness, shapes, without_common_word
from omnisae_vision.fit_nearest import FAR, Library, advice, silent
from omnisae_vision.fit_read import first_lines, read
from omnisae_vision.plugin import OpenClipConfig

NO_TEXT = {"context_length": 1, "vocab_size": 2, "width": 8, "heads": 1, "layers": 1}
"""A text tower that costs nothing, where only pictures are looked at (and whose tokeniser no hub need be asked for)."""
VISUAL = "visual."


@dataclass(frozen=True)
class Built:
    """An open_clip model: `model.visual` is its image tower. `source` is where the weights are from."""

    model: nn.Module
    source: str

    @property
    def data(self) -> dict[str, Any]:
        """open_clip's preprocessing of the model."""
        return dict(self.model.visual.preprocess_cfg)


def build(config: OpenClipConfig, text: bool = False) -> Built:
    """The model that a config names; with its own text tower if `text`, else with none worth the name.

    Raises ConfigError, which names the field and the remedy, and PluginError where open_clip is not installed.
    """
    check_name(config)
    whole = text or config.pretrained is not None or ":" in config.model
    model = _create(config, whole)
    if config.checkpoint is not None:
        path = Path(config.checkpoint).expanduser()
        _load(model, read(path)[0], config, path, text)
        if _late(config):
            model.visual.set_input_size(config.image_size)
            model.visual.preprocess_cfg = {**model.visual.preprocess_cfg, "size": model.visual.image_size}
        return Built(model, path.name)
    named = config.pretrained or (config.model if ":" in config.model else None)
    return Built(model, named or "random")


def library() -> Any:
    """The module open_clip. Raises PluginError where it is not installed."""
    try:
        import open_clip
    except ImportError as error:
        raise PluginError(
            f"vision.open_clip needs the package open_clip_torch, which cannot be imported ({error})",
            "pip install 'omnisae-vision[open_clip]'",
        ) from error
    return open_clip


def check_name(config: OpenClipConfig) -> None:
    """Raises ConfigError where open_clip has no such model or weights. Asks no hub."""
    open_clip = library()
    if config.model.startswith("local-dir:"):
        folder = Path(config.model.removeprefix("local-dir:"))
        if not (folder / "open_clip_config.json").is_file():
            raise ConfigError(
                f"extractor.model: there is no open_clip_config.json in {folder}", "name a folder saved by open_clip"
            )
        return
    if ":" in config.model:
        if not config.model.startswith("hf-hub:"):
            raise ConfigError(
                f"extractor.model: {config.model!r} is no address that open_clip knows",
                "write hf-hub:owner/name, local-dir:folder, or a name such as ViT-B-16",
            )
        return
    if config.model not in open_clip.list_models():
        raise ConfigError(
            f"extractor.model: open_clip has no model {config.model!r}",
            did_you_mean(config.model, open_clip.list_models()),
        )
    if config.pretrained is not None:
        tags = open_clip.list_pretrained_tags_by_model(config.model)
        if config.pretrained not in tags:
            raise ConfigError(
                f"extractor.pretrained: open_clip has no weights {config.pretrained!r} for {config.model!r}",
                did_you_mean(config.pretrained, tags),
            )


def _create(config: OpenClipConfig, whole: bool) -> nn.Module:
    open_clip = library()
    arguments = _arguments(config, whole)
    # Without weights the model is random: seeded, so that every process and every run sees the same one.
    with torch.random.fork_rng(devices=[]), silent():
        torch.manual_seed(0)
        try:
            model: nn.Module = open_clip.create_model(
                config.model,
                pretrained=config.pretrained,
                pretrained_text=False,
                force_image_size=None if _late(config) else config.image_size,
                device="cpu",
                **arguments,
            )
        except (TypeError, KeyError, AssertionError) as error:
            raise ConfigError(
                f"extractor.arguments does not fit {config.model!r}: {first_lines(error)}",
                "see the model's configuration: open_clip.get_model_config(name)",
            ) from error
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"open_clip's model {config.model!r} could not be made: {first_lines(error)}",
                "check the network where the config names weights to fetch, or name a local file in "
                "extractor.checkpoint",
            ) from error
    if config.pretrained is None and ":" not in config.model:
        _refresh_data(model, config)
    return model


def _late(config: OpenClipConfig) -> bool:
    """Whether the picture's size is set once the weights are there: a trunk of timm's then resamples its positions."""
    vision = library().get_model_config(config.model)["vision_cfg"] | config.arguments.get("vision_cfg", {})
    return config.checkpoint is not None and config.image_size is not None and "timm_model_name" in vision


def _arguments(config: OpenClipConfig, whole: bool) -> dict[str, Any]:
    """What open_clip's constructor is given: parts of the configuration replace parts of the model's own."""
    own = library().get_model_config(config.model)
    given: dict[str, Any] = dict(config.arguments)
    for part in ("vision_cfg", "text_cfg", "multimodal_cfg"):
        if part in given:
            given[part] = {**own.get(part, {}), **given[part]}
    if config.image_size is not None and "vision_cfg" in given and not _late(config):
        given["vision_cfg"]["image_size"] = config.image_size
    if not whole:
        given["text_cfg"] = NO_TEXT
        if "multimodal_cfg" in own:
            given["multimodal_cfg"] = NO_TEXT
    return given


def _refresh_data(model: nn.Module, config: OpenClipConfig) -> None:
    """The preprocessing that open_clip knows of a model's usual weights, without fetching them."""
    open_clip = library()
    tags = open_clip.list_pretrained_tags_by_model(config.model)
    known = [dict(open_clip.get_pretrained_cfg(config.model, tag) or {}) for tag in tags]
    keys = ("mean", "std", "interpolation", "resize_mode")
    said = [{key: cfg[key] for key in keys if cfg.get(key) is not None} for cfg in known]
    if said and all(one == said[0] for one in said):
        model.visual.preprocess_cfg = {**model.visual.preprocess_cfg, **said[0]}


def _load(model: nn.Module, weights: dict[str, Tensor], config: OpenClipConfig, path: Path, text: bool) -> None:
    """Weights of the whole model, or of its image tower, in open_clip's names or in others that it converts."""
    from open_clip.convert import convert_state_dict
    from open_clip.factory import convert_to_custom_text_state_dict, resize_pos_embed

    weights = convert_state_dict(model, weights)
    if not text:
        weights = _image_tower(model, weights)
    elif "positional_embedding" in weights and not hasattr(model, "positional_embedding"):
        weights = convert_to_custom_text_state_dict(weights)
    if text and not any("token_embedding" in name or name.startswith("text.") for name in weights):
        raise ConfigError(
            f"the checkpoint {path} holds an image tower alone, and texts are to be encoded",
            "name a checkpoint of the whole model, or leave out what needs its text tower (classes, names of latents)",
        )
    resize_pos_embed(weights, model)
    own = shapes(model.state_dict() if text else {n: t for n, t in model.state_dict().items() if n.startswith(VISUAL)})
    for scale in ("logit_scale", "logit_bias"):
        if scale in weights and scale in own:
            weights[scale] = weights[scale].reshape(own[scale])
    misfit = compare(own, shapes(weights))
    if misfit:
        found = shapes({name.removeprefix(VISUAL): t for name, t in weights.items() if name.startswith(VISUAL)})
        if (config.arguments or config.image_size is not None) and likeness(own, shapes(weights)) > FAR:
            remedy = "mend extractor.arguments and extractor.image_size: the checkpoint's model had others"
        else:
            remedy = advice(found, Library(_families, _any_visual), config.model)
            remedy += "; extractor.arguments sets what differs within one model, e.g. {vision_cfg: {layers: 6}}"
        raise ConfigError(f"the checkpoint {path} does not fit the model {config.model!r}: {misfit}", remedy)
    model.load_state_dict(weights, strict=text)


def _image_tower(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The image tower's own tensors, called as the whole model calls them."""
    found = {name: tensor for name, tensor in weights.items() if name.startswith(VISUAL)}
    if found:
        return found
    bare = without_common_word(shapes(model.visual.state_dict()), weights)
    return {VISUAL + name: tensor for name, tensor in bare.items()}


def _families() -> dict[str, Sequence[str]]:
    """open_clip's models by the kind of their image tower."""
    open_clip = library()
    found: dict[str, list[str]] = {}
    for name in open_clip.list_models():
        vision = open_clip.get_model_config(name)["vision_cfg"]
        trunk = vision.get("timm_model_name")
        kind = trunk.partition("_")[0] if trunk else "resnet" if isinstance(vision["layers"], list) else "vit"
        found.setdefault(kind, []).append(name)
    return dict(found)


def _any_visual(name: str) -> nn.Module:
    config = OpenClipConfig(model=name)
    own = library().get_model_config(name)
    extra = {"multimodal_cfg": NO_TEXT} if "multimodal_cfg" in own else {}
    model = library().create_model(config.model, pretrained_text=False, text_cfg=NO_TEXT, device="meta", **extra)
    visual: nn.Module = model.visual
    return visual
