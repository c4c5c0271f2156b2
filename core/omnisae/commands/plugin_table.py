"""What `omnisae plugins` prints: every plug-in, what is wrong with it, and what mends it."""

from collections.abc import Sequence
from typing import Any

import click

from omnisae.plugins.kinds import KINDS
from omnisae.plugins.records import SAID, Offer, Provider

_COLOURS = {"ok": "green", "missing": "yellow", "broken": "red"}
_HEAD = ("name", "distribution", "version", "status")


def table(providers: Sequence[Provider]) -> str:
    """A line a plug-in; below a line that is not well, the reason and the mend."""
    rows = [(p.name, p.distribution, p.version, SAID[p.status]) for p in providers]
    widths = [max(len(row[i]) for row in [_HEAD, *rows]) for i in range(len(_HEAD))]
    lines = [click.style(_line(_HEAD, widths) + "  offers", bold=True)]
    for provider, row in zip(providers, rows, strict=True):
        start = _line(row[:-1], widths[:-1])
        status = click.style(row[-1].ljust(widths[-1]), fg=_COLOURS[provider.status])
        lines.append(f"{start}  {status}  {_counts(provider.offers)}".rstrip())
        lines += [f"    {reason}" for reason in provider.error.splitlines()]
        lines += [f"    → {provider.remedy}"] if provider.remedy else []
    return "\n".join(lines)


def offers(providers: Sequence[Provider]) -> str:
    """Every component by the hook that returned it, with the first line of its docstring."""
    found = [offer for provider in providers for offer in provider.offers]
    width = max((len(offer.type) for offer in found), default=0)
    lines: list[str] = []
    for hook in dict.fromkeys(base.hook for base in KINDS):
        here = sorted((offer for offer in found if offer.hook == hook), key=lambda offer: (offer.kind, offer.type))
        if not here:
            continue
        lines += ["", click.style(hook, bold=True)] if lines else [click.style(hook, bold=True)]
        several = len({offer.kind for offer in here}) > 1
        for offer in here:
            note = f"{offer.kind}: {offer.summary}" if several else offer.summary
            lines.append(f"    {offer.type.ljust(width)}  {note}".rstrip())
    return "\n".join(lines) if lines else "no plug-in offers anything"


def as_json(providers: Sequence[Provider]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "name": provider.name,
            "distribution": provider.distribution,
            "version": provider.version,
            "status": provider.status,
            "error": provider.error,
            "remedy": provider.remedy,
            "usable": provider.usable,
            "offers": [
                {"type": offer.type, "kind": offer.kind, "hook": offer.hook, "summary": offer.summary}
                for offer in provider.offers
            ],
        }
        for provider in providers
    ]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))


def _counts(offered: Sequence[Offer]) -> str:
    counts: dict[str, int] = {}
    for offer in offered:
        counts[offer.kind] = counts.get(offer.kind, 0) + 1
    return ", ".join(f"{n} {_plural(kind) if n > 1 else kind}" for kind, n in counts.items())


def _plural(kind: str) -> str:
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
