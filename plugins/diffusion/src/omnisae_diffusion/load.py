"""Loading: from a config's `model` to a process, by folder, hub name or world; nothing is fetched unless it says
hf-hub."""

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from omnisae.errors import ConfigError, did_you_mean
from omnisae.extract.module import pick_device
from omnisae_diffusion import conditions, families
from omnisae_diffusion.bare import BareProcess, Classes
from omnisae_diffusion.pipeline import PipelineProcess
from omnisae_diffusion.process import Process
from omnisae_vision import world

if TYPE_CHECKING:
    from omnisae_diffusion.plugin import PipelineConfig

HUB = "hf-hub:"
METADATA = "omnisae_diffusers"
"""The key of a safetensors file's metadata under which it says what it is."""


def process(config: "PipelineConfig") -> Process:
    """The process that a config names. Raises ConfigError where there is none of the kind."""
    dtype = getattr(torch, config.dtype)
    if config.model.startswith(world.SCHEME):
        address, _, name = config.model.partition("/")
        if not name:
            raise ConfigError(f"extractor.model: {config.model!r} names no model", "write e.g. 'world:digits/unet'")
        return _from_file(world.checkpoint(address, name), config, dtype)
    if config.model.startswith(HUB):
        return _pipeline(_fetched(config, dtype), config)
    path = Path(config.model).expanduser()
    if path.is_file() and path.suffix == ".safetensors":
        return _from_file(path, config, dtype)
    if (path / "model_index.json").is_file():
        return _pipeline(_read(path, dtype, config), config)
    if (path / "config.json").is_file() or (path / "transformer").is_dir() or (path / "unet").is_dir():
        return _from_folder(path, config, dtype)
    raise ConfigError(
        f"extractor.model: {config.model!r} is no folder of a pipeline (with model_index.json) or denoiser "
        "(config.json, scheduler/)",
        f"name such a folder; for a model on the hub write '{HUB}{config.model}'",
    )


def scheduler_of(described: dict[str, Any], changes: dict[str, Any]) -> Any:
    """A scheduler by its class and fields, with what the config changes. Raises ConfigError for an unknown class or
    field."""
    import diffusers

    fields = {key: value for key, value in described.items() if not key.startswith("_") and key != "class"}
    changed = dict(changes)
    name = changed.pop("class", None) or described.get("class") or described.get("_class_name") or "DDIMScheduler"
    made = getattr(diffusers, str(name), None)
    if made is None or not hasattr(made, "set_timesteps"):
        known = [one for one in dir(diffusers) if one.endswith("Scheduler")]
        raise ConfigError(f"extractor.scheduler: diffusers has no {name!r}", did_you_mean(str(name), known))
    takes = inspect.signature(made.__init__).parameters
    for field in changed:
        if field not in takes:
            raise ConfigError(f"extractor.scheduler: {name} has no field {field!r}", did_you_mean(field, takes))
    return made.from_config(fields, **changed)


def _pipeline(pipe: Any, config: "PipelineConfig") -> PipelineProcess:
    if config.scheduler:
        held = {"class": type(pipe.scheduler).__name__, **dict(pipe.scheduler.config)}
        pipe.scheduler = scheduler_of(held, config.scheduler)
    pipe.to(pick_device(config.device))
    for part in pipe.components.values():
        if isinstance(part, nn.Module):
            part.eval()
    return PipelineProcess(pipe, steps=config.steps, guidance=config.guidance, size=config.size, call=config.call)


def _read(path: Path, dtype: torch.dtype, config: "PipelineConfig") -> Any:
    from diffusers import DiffusionPipeline

    return DiffusionPipeline.from_pretrained(
        str(path), torch_dtype=dtype, variant=config.variant, local_files_only=True, use_safetensors=True
    )


def _fetched(config: "PipelineConfig", dtype: torch.dtype) -> Any:
    from diffusers import DiffusionPipeline

    name = config.model.removeprefix(HUB)
    return DiffusionPipeline.from_pretrained(
        name, torch_dtype=dtype, revision=config.revision, variant=config.variant, use_safetensors=True
    )


def _from_file(path: Path, config: "PipelineConfig", dtype: torch.dtype) -> Process:
    """A bare denoiser out of one safetensors file, whose metadata says what it is."""
    try:
        with safe_open(path, framework="pt") as file:
            told = (file.metadata() or {}).get(METADATA)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"extractor.model: {path} cannot be read: {error}", "check the path") from error
    if told is None:
        raise ConfigError(
            f"extractor.model: {path} does not say what it is (no {METADATA!r} in its metadata)",
            "name the folder with config.json beside the weights",
        )
    try:
        about = json.loads(told)
        denoiser = _built(about["class"], about["config"])
        denoiser.load_state_dict(tensors)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(
            f"extractor.model: {path} does not hold what its metadata says ({METADATA}): {said}",
            "write the file anew: a class of diffusers, its config, and all of its tensors",
        ) from error
    labels, null = tuple(about.get("labels", ())), about.get("null_label")
    classes = Classes(len(labels), null, labels) if labels else None
    plan = about.get("scheduler", {})
    described = {"class": plan.get("class"), **plan.get("config", {})}
    return _bare(denoiser if dtype == torch.float32 else denoiser.to(dtype), described, config, classes)


def _from_folder(path: Path, config: "PipelineConfig", dtype: torch.dtype) -> Process:
    """A bare denoiser in diffusers' own folders: config.json and weights, here or below, beside a scheduler's
    folder."""
    home = next((path / name for name in ("unet", "transformer") if (path / name / "config.json").is_file()), path)
    about = json.loads((home / "config.json").read_text())
    import diffusers

    kind = getattr(diffusers, str(about.get("_class_name")), None)
    if kind is None:
        raise ConfigError(
            f"{home / 'config.json'}: diffusers has no class {about.get('_class_name')!r}", "name a denoiser's folder"
        )
    denoiser = kind.from_pretrained(str(home), torch_dtype=dtype, local_files_only=True, use_safetensors=True)
    plan = next((p for p in (path / "scheduler", home / "scheduler") if (p / "scheduler_config.json").is_file()), None)
    described = json.loads((plan / "scheduler_config.json").read_text()) if plan is not None else {}
    if not described and not config.scheduler:
        raise ConfigError(
            f"extractor.model: {path} holds a denoiser and no scheduler/scheduler_config.json",
            "name one: extractor.scheduler: {class: DDIMScheduler}",
        )
    return _bare(denoiser, described, config, conditions.classes(denoiser))


def _built(kind: str, fields: dict[str, Any]) -> nn.Module:
    import diffusers

    made = getattr(diffusers, kind)
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        raise TypeError(f"{kind} is no network of diffusers")
    network: nn.Module = made(**fields)
    return network


def _bare(
    denoiser: nn.Module, described: dict[str, Any], config: "PipelineConfig", classes: Classes | None
) -> BareProcess:
    name = "unet" if "UNet" in type(denoiser).__name__ else "transformer"
    told = conditions.call(denoiser)

    def call(model: nn.Module, x: Tensor, times: Tensor, labels: Tensor | None) -> Tensor:
        return told(model, x.to(next(model.parameters()).dtype), times, labels).float()

    channels, height, width = conditions.shape(denoiser, config.size)
    scheduler = scheduler_of(described, config.scheduler)
    return BareProcess(
        name,
        denoiser.eval().to(pick_device(config.device)),
        scheduler,
        call,
        shape=(channels, height, width),
        time=families.TIME,
        picture=families.picture_argument(denoiser),
        steps=config.steps,
        guidance=config.guidance,
        classes=classes,
        expects_text=conditions.expects_text(denoiser),
        schedule=conditions.schedule(denoiser, scheduler, (height, width)),
    )
