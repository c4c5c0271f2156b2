"""Targets: what is measured, and how it is judged."""

from typing import Any

import pytest
from benchmarks.bench import targets
from benchmarks.bench.targets import Row, Target


def judged(run: dict[str, Any]) -> dict[str, Row]:
    return {row.name: row for row in targets.judge(run["races"])}


def test_a_ratio_is_the_median_of_the_ratios_within_rounds(run: dict[str, Any]) -> None:
    row = judged(run)["topk_mixed_over_fastest_peer"]
    assert row.value == pytest.approx(10)  # of 1/0.1, 1.1/0.1, 1/0.2
    assert row.spread == pytest.approx((5, 11))
    assert row.n == 3
    assert row.met


def test_the_fastest_peer_is_the_one_compared_with(run: dict[str, Any]) -> None:
    assert targets.fastest_peer(run["races"]["topk"]) == "eai-sparsify"
    assert judged(run)["batchtopk_mixed_over_fastest_peer"].value == pytest.approx(20)


def test_memory_is_judged_by_the_hungrier_precision(run: dict[str, Any]) -> None:
    assert judged(run)["topk_extra_memory_of_eai_sparsify"].value == pytest.approx(300 / 800)


def test_equal_tokens_compares_at_the_most_steps_both_took(run: dict[str, Any]) -> None:
    row = judged(run)["topk_explained_variance_after_equal_tokens"]
    assert row.spread == pytest.approx((0.0, 0.01))  # at 40 steps: mixed 0.30, exact 0.31, the peer 0.30
    assert row.met


def test_equal_seconds_takes_our_last_look_within_the_peers_time(run: dict[str, Any]) -> None:
    peer = run["races"]["topk"]["contestants"]["eai-sparsify"]["curve"]
    peer[-1]["seconds"] = 9.0  # ours had taken 80 steps after 8 seconds
    row = judged(run)["topk_explained_variance_after_equal_seconds"]
    assert row.spread == pytest.approx((0.1, 0.2))
    assert row.met


def test_no_gain_after_equal_seconds_falls_short(run: dict[str, Any]) -> None:
    assert not judged(run)["topk_explained_variance_after_equal_seconds"].met  # 0.30 both


def test_eight_in_one_pass_is_judged_by_eight_passes_of_one(run: dict[str, Any]) -> None:
    rows = judged(run)
    assert rows["eight_in_one_pass_of_eight_passes"].value == pytest.approx(0.6 / (8 * 0.1))
    assert rows["eight_in_one_pass_memory_of_the_sum"].value == pytest.approx(700 / 800)


def test_what_was_not_measured_falls_short_and_says_so(run: dict[str, Any]) -> None:
    row = judged(run)["topk_32768_mixed_over_fastest_peer"]
    assert (row.value, row.met, row.n, row.spread) == (None, False, 0, None)
    assert row.line() == "topk_32768_mixed_over_fastest_peer >=5 - short"
    assert row.name not in {one.name for one in targets.judge(run["races"], "partial")}


def test_a_quick_run_is_not_judged_by_what_it_leaves_out(run: dict[str, Any]) -> None:
    names = {kind: {row.name for row in targets.judge(run["races"], kind)} for kind in ("quick", "full")}
    assert names["full"] - names["quick"] == {"batchtopk_explained_variance_after_equal_tokens"}


def test_a_training_of_few_steps_is_not_compared(run: dict[str, Any]) -> None:
    for one in run["races"]["topk"]["contestants"].values():
        one["curve"] = [look for look in one["curve"] if look["steps"] < targets.ENOUGH]
    assert judged(run)["topk_explained_variance_after_equal_tokens"].value is None


def test_a_contestant_that_left_leaves_its_targets_short(run: dict[str, Any]) -> None:
    del run["races"]["topk"]["contestants"]["omnisae mixed"]
    rows = judged(run)
    assert not rows["topk_mixed_over_fastest_peer"].met
    assert not rows["mixed_picks_as_fp32"].met
    assert rows["topk_exact_over_fastest_peer"].met


@pytest.mark.parametrize(
    ("sign", "value", "met"),
    [(">=", 2.0, True), (">=", 1.9, False), ("<=", 2.0, True), ("<=", 2.1, False), (">", 2.0, False)],
)
def test_bounds(sign: str, value: float, met: bool) -> None:
    row = Target("some", sign, 2.0, lambda races: [value]).judge({})
    assert row.met is met
    assert row.line() == f"some {sign}2 {value:g} {'met' if met else 'short'}"


def test_targets_of_a_gpu_appear_where_one_took_part(run: dict[str, Any]) -> None:
    assert not [name for name in judged(run) if name.startswith("gpu")]
    run["races"]["gpu_16384_1024"] = run["races"]["topk"]
    rows = judged(run)
    assert rows["gpu_16384_1024_over_eai_sparsify"].met
    assert not rows["gpu_16384_1024_of_bf16_product"].met


def test_a_row_as_json_has_the_fields_of_the_targets_file(run: dict[str, Any]) -> None:
    row = targets.as_json(targets.judge(run["races"]))[0]
    assert set(row) == {"name", "target", "value", "met", "n", "spread"}
