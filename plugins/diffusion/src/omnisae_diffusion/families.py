"""What is known of diffusers' classes: how their denoisers are told things, and in which order guidance stacks
branches.

Found in the source of diffusers 0.42 and by running its pipelines.
"""

from typing import Any

from torch import nn

from omnisae_diffusion.plan import CONDITIONAL, UNCONDITIONAL, Order

TIME = "timestep"
PICTURES = ("sample", "hidden_states")
PROMPT = "encoder_hidden_states"

DIT_NO_CLASS = 1000
"""The class that a DiT pipeline takes for none, whatever its transformer knows."""

_CONDITIONAL_FIRST = ("DiTPipeline",)
_BY_CALL = ("FluxPipeline", "FluxImg2ImgPipeline", "QwenImagePipeline")

BY_ONE_GUESS = ("PixArtAlphaPipeline",)
"""Pipelines whose picture of a single step is the scheduler's guess at the clean one, which not all schedulers tell."""


def order(pipe: Any) -> Order:
    """The order of the branches of guidance in a pipeline's batches, or of its calls."""
    name = type(pipe).__name__
    if name in _CONDITIONAL_FIRST or name in _BY_CALL:
        return (CONDITIONAL, UNCONDITIONAL)
    return (UNCONDITIONAL, CONDITIONAL)


def picture_argument(denoiser: nn.Module) -> str:
    """What a denoiser calls the noisy picture that it is given."""
    import inspect

    names = inspect.signature(denoiser.forward).parameters
    return next((name for name in PICTURES if name in names), next(iter(names)))


def branches_run(pipe: Any, pictures: int, batch: int, labels: Any = None) -> int:
    """How many branches of guidance the denoiser was run on for each picture, when `pictures` go to the scheduler.

    A DiT pipeline hands the doubled batch to its scheduler: whether it is doubled, the labels tell, of which the second
    half then stand for none.
    """
    if type(pipe).__name__ != "DiTPipeline":
        return batch // max(pictures, 1)
    half = len(labels) // 2 if labels is not None else 0
    return 2 if half and 2 * half == len(labels) and bool((labels[half:] == DIT_NO_CLASS).all()) else 1
