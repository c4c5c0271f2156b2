"""The plan of a generation: at which times the denoiser is called, and how guidance is done."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from omnisae.errors import HookError

CONDITIONAL, UNCONDITIONAL = "conditional", "unconditional"
Order = tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """`ticks` are the scheduler times that the denoiser is told, in the order of generation. `branches` are those of
    classifier-free guidance in their order, empty where guidance is off; they lie side by side in one batch (`stack`)
    or come one after the other (`call`)."""

    ticks: tuple[float, ...]
    branches: Order = ()
    by: Literal["stack", "call"] = "stack"

    def branch(self, name: str | None, guidance: float) -> int | None:
        """The number of the branch that is meant by a name; None: all there are. Raises HookError where guidance is off
        and a branch is asked for."""
        if name in (None, "both"):
            return None
        if not self.branches:
            raise HookError(
                f"extractor.branch is {name!r}, and with guidance {guidance:g} there is one branch only",
                "raise extractor.guidance above 1, or leave out extractor.branch",
            )
        return self.branches.index(str(name))


def from_calls(times: Sequence[float], stacked: int, order: Order, scheduler: str, passes: int) -> Plan:
    """The plan of a generation in which the denoiser was told these times, call by call, with `stacked` branches in
    each batch. `passes` is how often the scheduler says that it asks about each step (its `order`).

    Raises HookError where times go back and forth, so that a time is no step of its own.
    """
    runs = [time for i, time in enumerate(times) if i == 0 or time != times[i - 1]]
    calls = len(times) // max(len(runs), 1)
    mixed = any(later >= earlier for earlier, later in pairwise(runs))
    if passes > 1 or mixed or len(runs) * calls != len(times):
        shown = ", ".join(f"{time:g}" for time in times[:6])
        raise HookError(
            f"the scheduler {scheduler} tells the model the times {shown}…: some twice, or not in falling order, so "
            "that a time is no step of its own",
            "use a scheduler of first order that goes straight from noise to picture, e.g. DDIMScheduler or "
            "EulerDiscreteScheduler",
        )
    if calls > 1:
        return Plan(tuple(runs), order or (CONDITIONAL, UNCONDITIONAL), "call")
    return Plan(tuple(runs), (order or (UNCONDITIONAL, CONDITIONAL)) if stacked > 1 else ())
