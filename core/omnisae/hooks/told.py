"""Told axes: what whole forwards are told of where they stand, and the places of their tokens along such axes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from omnisae.errors import HookError
from omnisae.hooks.paths import module_at, named
from omnisae.hooks.point import HookPoint, Told
from omnisae.hooks.structure import argument, describe
from omnisae.tokens.arrange import Arranged

Values = Mapping[str, Float[Tensor, " value"]]
"""By told axis, the value that the last forward was told: one for all examples, or one each."""


@contextmanager
def telling(model: nn.Module, points: Sequence[HookPoint]) -> Iterator[dict[str, Tensor]]:
    """Within the block the dict holds, by told axis, what the last forward was told.

    Enter it before hooks that use it. Raises HookError where a module is missing, where two hook points are told of one
    axis in different ways, and in a forward that is not told.
    """
    values: dict[str, Tensor] = {}
    axes: dict[str, Told] = {}
    for point in points:
        for name, told in point.told.items():
            other = axes.setdefault(name, told)
            if (other.module, other.argument, other.counts) != (told.module, told.argument, told.counts):
                raise HookError(
                    f"the axis {name!r} is told by the argument {told.argument!r} of {named(told.module)} "
                    f"at hook point {point.name!r}, and by {other.argument!r} of {named(other.module)} "
                    "elsewhere",
                    "read these hook points one after the other",
                )
    with ExitStack() as stack:
        for name, told in axes.items():
            handle = module_at(model, told.module).register_forward_pre_hook(
                _listening(name, told, values), with_kwargs=True
            )
            stack.callback(handle.remove)
        yield values


def _listening(name: str, told: Told, values: dict[str, Tensor]) -> Any:
    last: list[tuple[Tensor, int]] = []

    def count(value: Tensor) -> Tensor:
        """The step of a forward among those in a row that were told the same, as its tick."""
        mine = value.cpu().clone()  # a sampler may go on writing into its own
        again = bool(last) and torch.equal(last[0][0], mine)
        step = (last[0][1] + 1) % len(told.ticks) if again else 0
        last[:] = [(mine, step)]
        return torch.tensor([told.ticks[step]])

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        where, key, *_ = argument(module, args, kwargs, (told.argument,))
        given = (args, kwargs)[int(where)]
        try:
            value = given[key]  # type: ignore[index]
        except (KeyError, IndexError):
            value = None
        if value is None:
            raise HookError(
                f"the axis {name!r} is told by the argument {told.argument!r} of {named(told.module)}, and "
                "this forward was not given it",
                "call the model as it was called when the hook point was found",
            )
        try:
            found = torch.as_tensor(value).detach().reshape(-1).to(torch.float32)
        except (TypeError, ValueError, RuntimeError):
            raise HookError(
                f"the axis {name!r} is told by the argument {told.argument!r} of {named(told.module)}, and "
                f"this forward was given {describe(value)} there",
                "give a number, or one for each example",
            ) from None
        values[name] = count(found) if told.counts else found

    return hook


def of_tokens(values: Values, hook: HookPoint, tokens: Arranged) -> dict[str, Float[Tensor, " token"]]:
    """What was told, by token. Raises HookError where nothing was, or as many values as there are no examples."""
    examples = tokens.sizes["example"]
    found = {}
    for name in hook.told:
        if name not in values:
            raise HookError(
                f"hook point {hook.name!r} lies along {name!r}, and {named(hook.told[name].module)} has not "
                "been called yet, so that no step is known",
                "run the whole model, not a part of it",
            )
        value = values[name].to(tokens.example.device)
        if len(value) > examples > 0 and len(value) % examples == 0:
            # Branches lie side by side in the batch, and are told the same.
            rows = value.view(-1, examples)
            value = rows[0] if bool((rows == rows[0]).all()) else value
        if len(value) not in (1, examples):
            raise HookError(
                f"hook point {hook.name!r}: the forward was told {len(value)} values of {name!r} for {examples} "
                "examples",
                "tell one value, or one for every example",
            )
        found[name] = value[tokens.example] if len(value) > 1 else value.expand(len(tokens.example))
    return found


def steps(values: Mapping[str, Float[Tensor, " token"]], hook: HookPoint) -> Int[Tensor, "token told"]:
    """The steps along the told axes: of each value the nearest tick, the earlier of two as near."""
    columns = []
    for name, axis in hook.told.items():
        ticks = torch.tensor(axis.ticks, dtype=torch.float32, device=values[name].device)
        distinct, back = torch.unique(values[name], return_inverse=True)
        columns.append((distinct[:, None] - ticks).abs().argmin(dim=1).to(torch.int32)[back])
    return torch.stack(columns, dim=1)


def placed(tokens: Arranged, hook: HookPoint, values: Values) -> tuple[Arranged, dict[str, Float[Tensor, " token"]]]:
    """The tokens with their steps along the told axes before their other coordinates and with their conditioning
    columns, and what was told of each along axes of values. Special tokens have the step of their forward, too.
    """
    if not hook.told:
        return tokens, {}
    given = of_tokens(values, hook, tokens)
    coords = torch.cat([steps(given, hook).to(tokens.coords), tokens.coords], dim=1)
    rows = tokens.values
    if hook.columns:
        added = torch.stack([given[name] for name in hook.columns], dim=1)
        wide = torch.promote_types(rows.dtype, torch.float32)
        rows = torch.cat([rows.to(wide), added.to(rows.device, wide)], dim=1)
    told = {name: value for name, value in given.items() if not hook.told[name].counts}
    return Arranged(rows, tokens.example, coords, tokens.role, tokens.sizes), told
