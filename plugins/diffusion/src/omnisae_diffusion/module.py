"""Plain networks that predict noise, built by code that is installed and weights that hold tensors alone."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from omnisae.errors import ConfigError
from omnisae.extract.module import pick_device
from omnisae_diffusion.bare import BareProcess
from omnisae_diffusion.process import Process

if TYPE_CHECKING:
    from omnisae_diffusion.plugin import ModuleConfig


def process(config: "ModuleConfig") -> Process:
    """The process of a plain network. Raises ConfigError where it cannot be built or its weights do not fit."""
    return over(_built(config).to(pick_device(config.device)), config)


def over(network: nn.Module, config: "ModuleConfig") -> Process:
    """A network that is at hand already, `forward(x, times)`, under a config's schedule."""
    import inspect

    from diffusers import DDIMScheduler

    takes = list(inspect.signature(network.forward).parameters)
    if len(takes) < 2:
        raise ConfigError(
            f"{config.code}: its forward takes {takes}", "a network that predicts noise takes pictures and times"
        )
    scheduler = DDIMScheduler(
        num_train_timesteps=config.times,
        beta_start=config.beta[0],
        beta_end=config.beta[1],
        beta_schedule=config.schedule,
        clip_sample=config.clip,
        set_alpha_to_one=True,
    )

    def call(model: nn.Module, x: Tensor, times: Tensor, labels: Tensor | None) -> Tensor:
        answer: Tensor = model(x, times[:, None] if config.time_shape == "example 1" else times)
        return answer

    return BareProcess(
        "denoiser",
        network.eval(),
        scheduler,
        call,
        shape=config.shape,
        time=takes[1],
        picture=takes[0],
        steps=config.steps,
        guidance=config.guidance,
    )


def _built(config: "ModuleConfig") -> nn.Module:
    module, _, name = config.code.partition(":")
    try:
        made = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"extractor.code: {config.code!r} cannot be imported: {error}",
            "install the package that defines the network; name MODULE:CLASS",
        ) from error
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        # Before it is called: a config names networks, and runs no other code.
        raise ConfigError(f"extractor.code: {config.code!r} is no class of torch.nn.Module", "name the network's class")
    network = made(**config.arguments)
    if config.weights is not None:
        _fill(network, config)
    return network


def _fill(network: nn.Module, config: "ModuleConfig") -> None:
    path = config.weights
    try:
        held: dict[str, Any] = (
            load_file(path)
            if str(path).endswith(".safetensors")
            else torch.load(path, map_location="cpu", weights_only=True)  # tensors alone: no code is run
        )
    except Exception as error:
        raise ConfigError(
            f"extractor.weights: {path} cannot be read as tensors: {error}", "save its state_dict as .safetensors"
        ) from error
    state = {name.removeprefix(config.prefix): value for name, value in held.items()}
    fits = f"extractor.weights: {path} does not fit {config.code}"
    remedy = "give the arguments of the network that the weights belong to, and `prefix` where names begin with more"
    try:
        missing, unexpected = network.load_state_dict(state, strict=False)
    except RuntimeError as error:  # tensors of another shape
        raise ConfigError(f"{fits}: {' '.join(str(error).split())}", remedy) from error
    if missing or unexpected:
        raise ConfigError(
            f"{fits}: {len(missing)} tensors missing ({', '.join(missing[:3])}), {len(unexpected)} unknown "
            f"({', '.join(unexpected[:3])})",
            remedy,
        )
