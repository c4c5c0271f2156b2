"""Where in a diffusion model a hook point lies: names that stand for others, layouts, what is asked of a probe."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from omnisae.errors import HookError
from omnisae.extract.dataset import Example
from omnisae.hooks.point import HookPoint
from omnisae_diffusion import families
from omnisae_diffusion.asks import Ask
from omnisae_diffusion.inputs import sized
from omnisae_diffusion.plan import Plan
from omnisae_diffusion.process import Process

if TYPE_CHECKING:
    from omnisae.config import HookConfig

PROMPT_EMBEDS, LATENTS = "prompt_embeds", "latents"
"""Named tensors of diffusers' callbacks, read where the denoiser takes them in, at every step."""


def translated(hook: "HookConfig", process: Process, plan: Plan) -> "HookConfig":
    """A config's hook point with named tensors and paths of other versions of transformers brought to this model's."""
    if not isinstance(hook.at, str):
        return hook.model_copy(update={"at": tuple(_path(path, process) for path in hook.at)})
    if hook.at in (PROMPT_EMBEDS, LATENTS) and hook.at not in dict(process.components.named_children()):
        argument = families.PROMPT if hook.at == PROMPT_EMBEDS else process.picture
        changes: dict[str, Any] = {
            "at": process.denoiser,
            "view": "input",
            "select": (argument,),
            "name": hook.name or hook.at,
        }
        if hook.at == PROMPT_EMBEDS and hook.layout is None:
            stacked = len(plan.branches) if plan.by == "stack" else 0
            changes |= {"layout": "(branch example) position d" if stacked > 1 else "example position d"}
            changes |= {"sizes": {"branch": stacked} if stacked > 1 else {}}
        return hook.model_copy(update=changes)
    found = hook.model_copy(update={"at": _path(hook.at, process)})
    return found if hook.select or hook.view == "input" else _selected(found, process)


ANSWERS: dict[str, tuple[int, ...]] = {
    "Transformer2DModel": (0,),
    "T5Block": (0,),
    "JointTransformerBlock": (1,),
    "FluxTransformerBlock": (1,),
    "FluxSingleTransformerBlock": (1,),
}
"""Modules that give tuples, and which part of them continues their input: of text and picture, the picture."""


def _selected(hook: "HookConfig", process: Process) -> "HookConfig":
    module = dict(process.components.named_modules()).get(str(hook.at))
    return hook.model_copy(update={"select": ANSWERS.get(type(module).__name__, ())})


def _path(path: str, process: Process) -> str:
    """The path as this version of transformers has it: CLIP's text encoders lost a level (`text_model`) in version 5.

    Raises HookError where a text encoder is named that the pipeline does not have.
    """
    known = dict(process.components.named_children())
    first = path.split(".")[0]
    if first.startswith("text_encoder") and first not in known:
        has = [name for name in known if name.startswith("text_encoder")]
        raise HookError(
            f"hook point {path!r}: the pipeline has no {first!r}",
            f"its text encoders are: {', '.join(has)}" if has else f"it has no text encoder, but {', '.join(known)}",
        )
    if first not in known or first == path or "*" in path:
        return path
    rest = path[len(first) + 1 :]
    held = {name for name, _ in known[first].named_modules()}
    if rest not in held and rest.removeprefix("text_model.") in held:
        return f"{first}.{rest.removeprefix('text_model.')}"
    if rest not in held and f"text_model.{rest}" in held:
        return f"{first}.text_model.{rest}"
    return path


def in_denoiser(at: tuple[str, ...], process: Process) -> bool:
    """Whether a hook point lies in the denoiser. Raises HookError where it lies half in it."""
    inside = [path == process.denoiser or path.startswith(f"{process.denoiser}.") for path in at]
    if any(inside) and not all(inside):
        raise HookError(f"`at` concatenates {list(at)}: some are run at every step, some once", "hook them apart")
    return all(inside)


def layout(path: str, shape: tuple[int, ...], process: Process, plan: Plan) -> tuple[str, dict[str, int]]:
    """Pattern and sizes of a tensor, by what diffusers' networks give. Raises HookError where it is of no known
    kind."""
    inside = in_denoiser((path,), process)
    stacked = inside and plan.by == "stack" and len(plan.branches) > 1
    batch = "(branch example)" if stacked else "example"
    sizes = {"branch": len(plan.branches)} if stacked else {}
    if len(shape) == 4:
        return f"{batch} d y x", sizes | {"y": shape[2], "x": shape[3]}
    if len(shape) == 2:
        return f"{batch} d", sizes
    if len(shape) == 3 and not inside:
        if _begins(path, process):
            return "example ([bos] + position) d", {"position": shape[1] - 1}
        return "example position d", {"position": shape[1]}
    if len(shape) == 3:
        grid = _grid(shape[1], process.grid())
        if grid is not None:
            return f"{batch} (y x) d", sizes | {"y": grid[0], "x": grid[1]}
        return f"{batch} position d", sizes | {"position": shape[1]}
    raise HookError(
        f"hook point {path!r}: no layout is known for a tensor of shape {list(shape)}",
        "declare it under `hooks:`, e.g. layout: '(branch example) (y x) d' with sizes: {branch: 2, y: 16, x: 16}",
    )


def _begins(path: str, process: Process) -> bool:
    """Whether a text encoder's first token stands for the beginning. T5's does not."""
    name = path.split(".")[0]
    return "T5" not in type(getattr(process.components, name)).__name__


def _grid(tokens: int, whole: tuple[int, int]) -> tuple[int, int] | None:
    """Height and width of so many tokens, where the denoiser's picture is halved until it has as many."""
    height, width = whole
    while height >= 1 and width >= 1:
        if height * width == tokens:
            return height, width
        if height == 1 and width == 1:
            return None
        height, width = -(-height // 2), -(-width // 2)
    return None


def check_batch(hook: HookPoint, found: int, asked: int, tensor: Tensor) -> None:
    """Raises HookError where a tensor holds another number of examples than were asked for."""
    if found != asked:
        raise HookError(
            f"hook point {hook.name!r} gave {found} examples for {asked} that were asked for; its tensor has shape "
            f"{list(tensor.shape)} and the layout {hook.pattern!r}",
            "was guidance switched on or off since the hook point was found? Give the run's own guidance",
        )


def as_seen(example: Example, size: tuple[int, int]) -> UInt8[np.ndarray, "y x 3"] | None:
    """The dataset's picture at the model's size."""
    given: Any = example.input
    return None if isinstance(given, Ask) else np.asarray(sized(given, size), dtype=np.uint8)
