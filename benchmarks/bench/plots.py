"""The pictures of the documentation's page: SVG that follows the reader's light or dark scheme."""

import io
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from benchmarks.bench.spread import rates, summary
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

INK, PAPER = "#1f2328", "#fefefe"
DARK_INK, DARK_PAPER = "#e6edf3", "#0d1117"
LOOKS = {  # Okabe and Ito's colours, which people with any colour vision tell apart; markers differ as well
    "omnisae exact": ("#0072b2", "o"),
    "omnisae mixed": ("#d55e00", "s"),
    "omnisae bf16": ("#cc79a7", "D"),
    "eai-sparsify": ("#009e73", "^"),
    "dictionary-learning": ("#e69f00", "v"),
    "sae-lens": ("#56b4e9", "<"),
    "sae-lens bf16": ("#56b4e9", ">"),
    "overcomplete": ("#8a8a8a", "X"),
    "product bf16": ("#6e7781", "_"),
}
SETTINGS: Any = {
    "font.size": 10,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "svg.fonttype": "none",
    "svg.hashsalt": "omnisae",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}
SCHEME = f"""<style>
text {{ font-family: system-ui, sans-serif; }}
@media (prefers-color-scheme: dark) {{
  [style*="fill: {INK}"] {{ fill: {DARK_INK} !important; }}
  [style*="stroke: {INK}"] {{ stroke: {DARK_INK} !important; }}
  [style*="fill: {PAPER}"] {{ fill: {DARK_PAPER} !important; }}
}}
</style>"""


def write(figure: Figure, file: Path) -> None:
    """The same bytes for the same figure."""
    buffer = io.StringIO()
    with plt.rc_context(SETTINGS):  # the salt of its ids, and text as text
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    head, tag, rest = buffer.getvalue().partition("<defs>")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(line.rstrip() for line in f"{head}{SCHEME}\n {tag}{rest}".splitlines()) + "\n")


def speeds(races: Sequence[dict[str, Any]]) -> Figure:
    """A panel a race: tokens a second of each contestant, the median with the lowest and highest round."""
    with plt.rc_context(SETTINGS):
        sizes = [len(_learners(race)) for race in races]
        figure, panels = plt.subplots(
            len(races), 1, figsize=(7.5, 0.36 * sum(sizes) + 1.0 * len(races)), squeeze=False, height_ratios=sizes
        )
        for axes, race in zip(panels[:, 0], races, strict=True):
            _bars(axes, race)
        figure.tight_layout()
        return figure


def curves(races: Sequence[dict[str, Any]]) -> Figure:
    """Explained variance by tokens and by seconds, a row of panels a race."""
    with plt.rc_context(SETTINGS):
        figure, panels = plt.subplots(len(races), 2, figsize=(9, 3.4 * len(races)), squeeze=False, sharey="row")
        for (by_tokens, by_seconds), race in zip(panels, races, strict=True):
            batch = race["setting"]["batch"]
            for name, one in race["contestants"].items():
                if not one["curve"]:
                    continue
                look = _look(name)
                height = [point["explained_variance"] for point in one["curve"]]
                by_tokens.plot([point["steps"] * batch / 1e6 for point in one["curve"]], height, label=name, **look)
                by_seconds.plot([point["seconds"] for point in one["curve"]], height, **look)
            by_tokens.set(xlabel="million tokens", ylabel="explained variance, held out", title=race["title"])
            by_seconds.set(xlabel="seconds of training")
            for axes in (by_tokens, by_seconds):
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.xaxis.set_major_formatter("{x:g}")
                axes.xaxis.set_minor_formatter(NullFormatter())
                axes.grid(alpha=0.2)
            by_tokens.legend(frameon=False, fontsize=8)
        figure.tight_layout()
        return figure


def scaling(races: dict[str, list[dict[str, Any]]]) -> Figure:
    """A panel for each field of the setting: tokens a second as it grows."""
    with plt.rc_context(SETTINGS):
        rows = ceil(len(races) / 2)
        figure, panels = plt.subplots(rows, 2, figsize=(8.5, 3.3 * rows), squeeze=False, sharey=True)
        for axes in panels.flat[len(races) :]:
            axes.set_axis_off()
        for axes, (field, several) in zip(panels.flat, races.items(), strict=False):
            for name in dict.fromkeys(name for race in several for name in race["contestants"]):
                points = [(race["setting"][field], _rate(race, name)["median"]) for race in several if _has(race, name)]
                axes.plot(*zip(*sorted(points), strict=True), label=name, **_look(name))
            values = sorted(race["setting"][field] for race in several)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xticks(values, [f"{value:,}" for value in values], rotation=30, ha="right", fontsize=8)
            axes.minorticks_off()
            axes.grid(alpha=0.2)
            axes.yaxis.set_major_formatter("{x:,.0f}")
            axes.set(xlabel=field, ylabel="tokens/s")
        panels[0][0].legend(frameon=False, fontsize=8)
        figure.tight_layout()
        return figure


def _bars(axes: Axes, race: dict[str, Any]) -> None:
    names = sorted(_learners(race), key=lambda name: _rate(race, name)["median"])
    for height, name in enumerate(names):
        rate = _rate(race, name)
        colour, _ = LOOKS.get(name, (INK, "o"))
        below, above = rate["median"] - rate["min"], rate["max"] - rate["median"]
        axes.barh(height, rate["median"], color=colour, height=0.7)
        axes.errorbar(rate["median"], height, xerr=[[below], [above]], color=INK, capsize=2, lw=1)
        beside = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "fontsize": 9}
        axes.annotate(f"{rate['median']:,.0f}", (rate["max"], height), **beside)
    if _has(race, "product bf16"):
        floor = _rate(race, "product bf16")["median"]
        axes.axvline(floor, color=LOOKS["product bf16"][0], ls="--", lw=1)
        left = {"xytext": (-5, 0), "textcoords": "offset points", "va": "center", "ha": "right", "fontsize": 8}
        axes.annotate("bf16 encoder product alone", (floor, -0.75), **left)
    axes.set_yticks(range(len(names)), names)
    axes.set(title=race["title"], xlabel="tokens/s", ylim=(-1.1, len(names) - 0.4))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.margins(x=0.12)


def _learners(race: dict[str, Any]) -> list[str]:
    return [name for name in race["contestants"] if not name.startswith("product ")]


def _rate(race: dict[str, Any], name: str) -> dict[str, Any]:
    return summary(rates(race["contestants"][name]["rounds"], race["setting"]["batch"]))


def _has(race: dict[str, Any], name: str) -> bool:
    return name in race["contestants"]


def _look(name: str) -> dict[str, Any]:
    colour, marker = LOOKS.get(name, (INK, "o"))
    dashed = name.startswith("product ") or name == "sae-lens bf16"
    return {"color": colour, "marker": marker, "ls": "--" if dashed else "-", "ms": 4.5, "lw": 1.5}
