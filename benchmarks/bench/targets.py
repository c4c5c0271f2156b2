"""The targets: what they are, and whether a run met them. Pure functions of a run's races."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.bench.spread import rates, ratios

Races = dict[str, dict[str, Any]]

EXACT, MIXED, BF16 = "omnisae exact", "omnisae mixed", "omnisae bf16"
SPARSIFY, PRODUCT = "eai-sparsify", "product bf16"
ENOUGH = 10
"""Steps, of 4,096 tokens each, from which on equal tokens are compared."""


@dataclass(frozen=True, slots=True)
class Row:
    """A target beside what was measured: the value, of how many values, between which two."""

    name: str
    target: str
    value: float | None
    met: bool
    n: int
    spread: tuple[float, float] | None

    def line(self) -> str:
        """`name target value met|short`."""
        value = "-" if self.value is None else f"{self.value:.4g}"
        return f"{self.name} {self.target} {value} {'met' if self.met else 'short'}"


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on a figure. `values` finds the figure's values in the races (none: not measured), `of` sums them up."""

    name: str
    sign: str
    bound: float
    values: Callable[[Races], Sequence[float]]
    of: Callable[[Sequence[float]], float] = median
    quick: bool = True
    """Whether a QUICK run measures it."""

    def judge(self, races: Races) -> Row:
        """The row. A figure that was not measured falls short."""
        values = self.values(races)
        target = f"{self.sign}{self.bound:g}"
        if not values:
            return Row(self.name, target, None, False, 0, None)
        value = self.of(values)
        met = {">=": value >= self.bound, "<=": value <= self.bound, ">": value > self.bound}[self.sign]
        return Row(self.name, target, value, met, len(values), (min(values), max(values)))


def judge(races: Races, kind: str = "full") -> list[Row]:
    """All targets of a 'full' run; of a 'quick' one those that it is meant to measure, of a 'partial' one those that it
    did. Those of a GPU only where one took part.
    """
    gpus = [name for name in races if name.startswith("gpu_")]
    wanted = [target for target in TARGETS if target.quick or kind != "quick"]
    rows = [target.judge(races) for target in (*wanted, *(one for name in gpus for one in _on_gpu(name)))]
    return [row for row in rows if row.n or kind != "partial"]


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """As `targets.json` holds them."""
    return [asdict(row) for row in rows]


def fastest_peer(race: dict[str, Any]) -> str | None:
    """The peer with the most tokens a second."""
    batch = race["setting"]["batch"]
    peers = {name: median(rates(one["rounds"], batch)) for name, one in race["contestants"].items() if one["peer"]}
    return max(peers, key=lambda name: peers[name]) if peers else None


def over_fastest_peer(race: str, ours: str) -> Callable[[Races], list[float]]:
    """Tokens a second over the fastest peer's, round by round."""

    def values(races: Races) -> list[float]:
        peer = fastest_peer(races[race]) if race in races else None
        return _ratios(races, race, ours, peer) if peer else []

    return values


def over(race: str, ours: str, other: str) -> Callable[[Races], list[float]]:
    """Tokens a second over another contestant's, round by round."""
    return lambda races: _ratios(races, race, ours, other)


def extra_memory(race: str, ours: Sequence[str], other: str) -> Callable[[Races], list[float]]:
    """Extra memory over another contestant's, one value for each of ours."""

    def values(races: Races) -> list[float]:
        found = races.get(race, {"contestants": {}})["contestants"]
        if other not in found:
            return []
        return [found[one]["memory"]["extra"] / found[other]["memory"]["extra"] for one in ours if one in found]

    return values


def equal_tokens(race: str) -> Callable[[Races], list[float]]:
    """Explained variance less a peer's after the same steps, the most that both took: one value for each of our
    precisions and each peer. Fewer than ENOUGH steps are no training, and show how libraries begin.
    """

    def values(races: Races) -> list[float]:
        return [
            ours[steps] - theirs[steps]
            for ours, theirs in _pairs(races, race, "steps")
            if (steps := max(set(ours) & set(theirs), default=0)) >= ENOUGH
        ]

    return values


def equal_seconds(race: str) -> Callable[[Races], list[float]]:
    """Explained variance less a peer's at the end of its training, ours from the last look within as many seconds of
    training: one value for each of our precisions and each peer.
    """

    def values(races: Races) -> list[float]:
        return [
            ours[max(within)] - theirs[end]
            for ours, theirs in _pairs(races, race, "seconds")
            if (end := max(theirs)) and (within := [seconds for seconds in ours if seconds <= end])
        ]

    return values


def _pairs(races: Races, race: str, by: str) -> list[tuple[dict[float, float], dict[float, float]]]:
    """The explained variance of each of ours and of each peer, by steps or by seconds."""
    curves = {
        name: {point[by]: point["explained_variance"] for point in one["curve"]}
        for name, one in races.get(race, {"contestants": {}})["contestants"].items()
        if one["curve"]
    }
    peers = [name for name in curves if races[race]["contestants"][name]["peer"]]
    return [(curves[ours], curves[peer]) for ours in (EXACT, MIXED) if ours in curves for peer in peers]


def _ratios(races: Races, race: str, ours: str, other: str) -> list[float]:
    found = races.get(race, {"contestants": {}})["contestants"]
    return ratios(found[ours]["rounds"], found[other]["rounds"]) if ours in found and other in found else []


def _pass_time(races: Races) -> list[float]:
    """Seconds of a step of eight in one pass over eight steps of one."""
    return [1 / (8 * ratio) for ratio in _ratios(races, "engine", "8 in one pass", "1 in one pass")]


def _pass_memory(races: Races) -> list[float]:
    found = races.get("engine", {"contestants": {}})["contestants"]
    if not {"8 in one pass", "1 in one pass"} <= set(found):
        return []
    eight, one = (found[f"{jobs} in one pass"]["memory"]["extra"] for jobs in (8, 1))
    return [eight / (8 * one)]


def _agreement(races: Races) -> list[float]:
    answers = races.get("topk", {"contestants": {}})["contestants"].get(MIXED, {}).get("answers", {})
    return [answers["agreement"]] if "agreement" in answers else []


def _on_gpu(race: str) -> tuple[Target, Target]:
    return (
        Target(f"{race}_over_eai_sparsify", ">=", 1.3, over(race, MIXED, SPARSIFY)),
        Target(f"{race}_of_bf16_product", ">=", 0.6, over(race, MIXED, PRODUCT)),
    )


TARGETS = (
    Target("topk_exact_over_fastest_peer", ">=", 3.2, over_fastest_peer("topk", EXACT)),
    Target("topk_mixed_over_fastest_peer", ">=", 4.5, over_fastest_peer("topk", MIXED)),
    Target("topk_mixed_of_bf16_product", ">=", 0.45, over("topk", MIXED, PRODUCT)),
    Target("topk_32768_mixed_over_fastest_peer", ">=", 5, over_fastest_peer("topk_32768", MIXED)),
    Target("batchtopk_mixed_over_fastest_peer", ">=", 12, over_fastest_peer("batchtopk", MIXED)),
    Target("topk_extra_memory_of_eai_sparsify", "<=", 0.5, extra_memory("topk", (EXACT, MIXED), SPARSIFY), max),
    Target("topk_explained_variance_after_equal_tokens", ">=", -0.002, equal_tokens("topk"), min),
    Target("topk_explained_variance_after_equal_seconds", ">", 0, equal_seconds("topk"), min),
    Target(
        "batchtopk_explained_variance_after_equal_tokens", ">=", -0.002, equal_tokens("batchtopk"), min, quick=False
    ),
    Target("batchtopk_explained_variance_after_equal_seconds", ">", 0, equal_seconds("batchtopk"), min),
    Target("eight_in_one_pass_of_eight_passes", "<=", 0.85, _pass_time),
    Target("eight_in_one_pass_memory_of_the_sum", "<=", 1, _pass_memory),
    Target("mixed_picks_as_fp32", ">=", 0.999, _agreement),
    Target("cold_store_to_trainer_of_step", ">=", 0.9, over("engine", "from a cold store", MIXED)),
)
