"""Discovery: the entry points of the group `omnisae`, found without importing any of them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata

from omnisae.plugins.records import Provider

GROUP = "omnisae"
OWNERS = {"core": "omnisae"}
"""Entry-point names that belong to one distribution, so that nobody can put core out of action by taking its name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry point, not yet loaded. `value` is the module it names; `requires` its distribution's requirements."""

    name: str
    value: str
    distribution: str
    version: str
    load: Callable[[], object]
    requires: Callable[[], Sequence[str]] = tuple


def discover() -> list[Entry]:
    """Every entry point of the group, by name."""
    return sorted(
        (_entry(point) for point in metadata.entry_points(group=GROUP)),
        key=lambda entry: (entry.name, entry.distribution),
    )


def contested(entries: Iterable[Entry]) -> tuple[list[Entry], list[Provider]]:
    """The entries whose names are theirs alone, and a broken record for each of the others, naming all claimants."""
    claims: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        claims[entry.name].append(entry)
    clear: list[Entry] = []
    broken: list[Provider] = []
    for name, claimants in claims.items():
        owner = OWNERS.get(name)
        rightful = [entry for entry in claimants if entry.distribution == owner] if owner else claimants
        if len(rightful) == 1:
            clear += rightful
        else:
            broken += [_clash(entry, claimants) for entry in rightful]
        broken += [_trespass(entry, str(owner)) for entry in claimants if entry not in rightful]
    return clear, broken


def _entry(point: metadata.EntryPoint) -> Entry:
    distribution = point.dist
    if distribution is None:
        return Entry(point.name, point.value, "unknown", "?", point.load)
    return Entry(
        point.name,
        point.value,
        distribution.metadata["Name"] or "unknown",
        distribution.metadata["Version"] or "?",
        point.load,
        lambda: tuple(distribution.requires or ()),
    )


def _clash(entry: Entry, claimants: Sequence[Entry]) -> Provider:
    who = " and ".join(f"{claimant.distribution} {claimant.version} ({claimant.value})" for claimant in claimants)
    others = sorted({claimant.distribution for claimant in claimants})
    remedy = (
        f"uninstall all but one: {' or '.join(f'pip uninstall {other}' for other in others)}"
        if len(others) > 1
        else f"this is a fault in {others[0]}: its pyproject.toml must give each entry point a name of its own"
    )
    return Provider(
        entry.name,
        entry.distribution,
        entry.version,
        "broken",
        f"the name {entry.name!r} is registered more than once: by {who}; a name must belong to one, so none is loaded",
        remedy,
    )


def _trespass(entry: Entry, owner: str) -> Provider:
    return Provider(
        entry.name,
        entry.distribution,
        entry.version,
        "broken",
        f"the name {entry.name!r} belongs to {owner}, and {entry.distribution} {entry.version} registers it too",
        f"its pyproject.toml must choose another entry-point name; to be rid of it: pip uninstall {entry.distribution}",
    )
