"""Editing a pipeline while it makes pictures."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from omnisae.errors import HookError
from omnisae.interventions.operation import Operation
from omnisae.interventions.sae import SAE
from omnisae.plugins.kinds import InterventionConfig
from omnisae_diffusion import families
from omnisae_diffusion.components import Components, of_pipeline, refuse_bypassed
from omnisae_diffusion.process import Process

_ROOFS: "WeakKeyDictionary[nn.Module, Components]" = WeakKeyDictionary()
"""The components that a denoiser was last seen among, so that its weights are hashed once."""


@contextmanager
def edit(
    target: Any,
    sae: SAE,
    *operations: Operation | InterventionConfig,
    error: bool = True,
    replace: bool = False,
    allow_other_model: bool = False,
) -> Iterator[None]:
    """Edit what a diffusers pipeline, or a process of this plug-in, makes within the block.

        with omnisae_diffusion.edit(pipe, sae, omnisae.scale(17, by=0.0)):
            pictures = pipe("a chair").images

    See `SAE.edit` for the meaning of the edit: what the autoencoder does not explain is kept, and codes that do not
    change leave the picture as it is, bit for bit.

    Raises ArtifactError where the artifact does not belong to the pipeline, HookError where hooks would be bypassed
    (compiled or offloaded modules), and in the first step where the hook point tells the branches of guidance apart
    and guidance is off.
    """
    components = target.components if isinstance(target, Process) else _roof(target)
    refuse_bypassed(dict(components.named_children()))
    with ExitStack() as stack:
        stack.enter_context(
            sae.edit(components, *operations, error=error, replace=replace, allow_other_model=allow_other_model)
        )
        if "branch" in sae.info.hook.told or sae.info.hook.sizes.get("branch", 1) > 1:
            stack.enter_context(_branches_stand(target, components, sae))
        yield


def _roof(pipe: Any) -> Components:
    """The pipeline's components: the same object as long as the pipeline's networks are the same."""
    fresh = of_pipeline(pipe)
    denoiser = getattr(fresh, fresh.denoiser_name)
    held = _ROOFS.get(denoiser)
    if held is not None and dict(held.named_children()) == dict(fresh.named_children()):
        return held
    _ROOFS[denoiser] = fresh
    return fresh


@contextmanager
def _branches_stand(target: Any, components: Components, sae: SAE) -> Iterator[None]:
    """Within the block, raises HookError where the denoiser is run without the branches that the hook point has."""
    hook = sae.info.hook
    by_call = hook.told.get("branch")  # branches that are calls, not parts of a batch
    wanted = hook.sizes["branch"] if by_call is None else len(by_call.ticks)
    pipe = getattr(target, "pipe", target)  # of a process over one
    scheduler = pipe.scheduler
    seen: dict[str, Any] = {}
    calls = [0]

    def see(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first = next(one for one in (*args, *kwargs.values()) if isinstance(one, torch.Tensor))
        seen.update(batch=len(first), labels=kwargs.get("class_labels"))
        calls[0] += 1
        if by_call is None and len(first) % wanted:  # before the hook point is reached, where it would not fit
            raise off(1)

    def off(found: int) -> HookError:
        return HookError(
            f"the artifact reads {wanted} branches of guidance at {sae.info.hook.name!r}, and the denoiser was "
            f"run on {found} for each picture: guidance is off",
            "switch guidance on (guidance_scale above 1), or use an artifact that was trained without it",
        )

    step = scheduler.step

    def checked(model_output: Any, timestep: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        found = calls[0] if by_call is not None else families.branches_run(pipe, len(sample), **seen)
        calls[0] = 0
        if found != wanted:
            raise off(found)
        return step(model_output, timestep, sample, *args, **kwargs)

    handle = getattr(components, components.denoiser_name).register_forward_pre_hook(see, with_kwargs=True)
    scheduler.step = checked
    try:
        yield
    finally:
        handle.remove()
        del scheduler.step
