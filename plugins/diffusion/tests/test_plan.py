"""The plan of a generation: what the times that a denoiser is told say of steps and branches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisae.errors import HookError
from omnisae_diffusion.plan import Plan, from_calls


@given(st.lists(st.integers(0, 999), min_size=1, max_size=30, unique=True), st.integers(1, 2), st.integers(1, 2))
def test_falling_times_are_steps(times, stacked, calls):
    ticks = tuple(sorted(times, reverse=True))
    plan = from_calls([time for time in ticks for _ in range(calls)], stacked, (), "S", 1)
    assert plan.ticks == ticks
    assert plan.by == ("call" if calls > 1 else "stack")
    assert len(plan.branches) == (2 if stacked * calls > 1 else 0)


def test_branches_have_names():
    plan = Plan((1.0, 0.0), ("conditional", "unconditional"))
    assert [plan.branch(name, 2.0) for name in (None, "both", "conditional", "unconditional")] == [None, None, 0, 1]
    assert Plan((1.0,)).branch("both", 1.0) is None
    with pytest.raises(HookError, match="with guidance 1 there is one branch only"):
        Plan((1.0,)).branch("conditional", 1.0)


@pytest.mark.parametrize("times", [[0, 250, 500], [750, 500, 500, 250], [3, 2, 3], [2, 2, 1, 1, 1]])
def test_times_that_are_no_steps_are_refused(times):
    with pytest.raises(HookError, match="no step of its own"):
        from_calls(times, 1, (), "S", 1)


def test_branches_by_call_are_told_by_the_times():
    plan = from_calls([3, 3, 2, 2, 1, 1], 1, ("conditional", "unconditional"), "S", 1)
    assert (plan.ticks, plan.branches, plan.by) == ((3, 2, 1), ("conditional", "unconditional"), "call")
    assert from_calls([3, 2, 1], 2, (), "S", 1).branches == ("unconditional", "conditional")
    assert from_calls([3, 2, 1], 1, (), "S", 1).branches == ()
