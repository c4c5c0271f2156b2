"""What a race measured, as a table: of text here, of Markdown in the documentation."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.bench.spread import rates, ratios, summary
from benchmarks.bench.targets import PRODUCT, fastest_peer

MIB = 2**20
HEADS = ("contestant", "tokens/s", "lowest to highest", "rounds", "× fastest peer", "of bf16 product", "extra memory")
NOTHING = "–"


def speeds(race: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and rows, the fastest contestant first. A column that would stay empty is left out."""
    found, batch = race["contestants"], race["setting"]["batch"]
    made = [(median(rates(one["rounds"], batch)), _speed(race, name)) for name, one in found.items() if one["rounds"]]
    body = [row for _, row in sorted(made, key=lambda pair: pair[0], reverse=True)]
    filled = [i for i in range(len(HEADS)) if i == 0 or any(row[i] != NOTHING for row in body)]
    return tuple(HEADS[i] for i in filled), [tuple(row[i] for i in filled) for row in body]


def _speed(race: dict[str, Any], name: str) -> tuple[str, ...]:
    found, one = race["contestants"], race["contestants"][name]
    rate = summary(rates(one["rounds"], race["setting"]["batch"]))
    compared = [
        f"{median(ratios(one['rounds'], found[other]['rounds'])):.2f}" if other in found else NOTHING
        for other in (fastest_peer(race), PRODUCT)
    ]
    known = one["memory"] and not name.startswith("product ")
    extra = f"{one['memory']['extra'] / MIB:,.0f} MiB" if known else NOTHING
    return name, f"{rate['median']:,.0f}", f"{rate['min']:,.0f} to {rate['max']:,.0f}", str(rate["n"]), *compared, extra


def medians(race: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Tokens a second of these contestants."""
    found, batch = race["contestants"], race["setting"]["batch"]
    return [f"{median(rates(found[name]['rounds'], batch)):,.0f}" if name in found else NOTHING for name in names]


PASS_HEADS = ("autoencoders in one pass", "ms a step", "of as many passes of one", "memory", "of the sum")


def passes(race: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row for each number of autoencoders in one pass, beside as many passes of one. Memory is all of it."""
    found = race["contestants"]
    made: list[tuple[str, ...]] = []
    one = found["1 in one pass"]
    for name, several in found.items():
        jobs, used = int(name.split()[0]), several["memory"]["extra"]
        took = median(turn["seconds"] / turn["steps"] for turn in several["rounds"])
        share = median(ratios(one["rounds"], several["rounds"])) / jobs
        memory = f"{used / MIB:,.0f} MiB", f"{used / (jobs * one['memory']['extra']):.2f}"
        made.append((str(jobs), f"{1000 * took:,.0f}", f"{share:.2f}", *memory))
    return made


CURVE_HEADS = ("contestant", "steps", "seconds", "explained variance", "dead share", "mean max cosine", "L0")


def curve_rows(race: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row for each look at each contestant."""
    return [
        (
            name,
            str(point["steps"]),
            f"{point['seconds']:.1f}",
            f"{point['explained_variance']:.4f}",
            f"{point['dead_share']:.3f}",
            f"{point['mean_max_cosine']:.3f}",
            f"{point['l0']:.1f}",
        )
        for name, one in race["contestants"].items()
        for point in one["curve"]
    ]


def text(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Columns that line up: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in (heads, *body)) for column in range(len(heads))]
    lines = []
    for row in (heads, *body):
        cells = [
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(heads: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table of Markdown, aligned the same way."""
    rule = "|".join(["---", *("---:" for _ in heads[1:])])
    return "\n".join([f"| {' | '.join(heads)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in body)])
