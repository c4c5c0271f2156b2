"""Offers: the config classes that a plug-in's hooks return, each checked before anybody may use it."""

import inspect
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from omnisae.plugins.component import Component
from omnisae.plugins.kinds import KINDS
from omnisae.plugins.records import Offer, article, noun

BASES: dict[str, tuple[type[Component], ...]] = {
    hook: tuple(base for base in KINDS if base.hook == hook) for hook in dict.fromkeys(base.hook for base in KINDS)
}
"""The kinds of component that each hook may return."""


def offers(entry: str, hook: str, returned: Any) -> tuple[list[Offer], list[str]]:
    """The sound components among what an implementation of `hook` returned, and a sentence for each fault."""
    if not isinstance(returned, (list, tuple)):
        return [], [f"{hook} returned {returned!r}; it must return a list of config classes"]
    good: list[Offer] = []
    faults: list[str] = []
    for item in {id(item): item for item in returned}.values():
        found = list(_faults(entry, hook, item))
        faults += found
        if not found:
            good.append(Offer(hook, item))
    return good, faults


def collisions(offered: list[Offer]) -> list[str]:
    """A sentence for every type that two components of one hook share. A dataset and an extractor may share a name."""
    owners: dict[tuple[str, str], type[Component]] = {}
    faults = []
    for offer in offered:
        other = owners.setdefault((offer.hook, offer.type), offer.component)
        if other is not offer.component:
            faults.append(
                f"two components have the type {offer.type!r}: {_path(other)} and {_path(offer.component)}; "
                "each must have a type of its own"
            )
    return faults


def _faults(entry: str, hook: str, item: Any) -> Iterator[str]:
    if not inspect.isclass(item):
        hint = "; return the class, not an instance" if isinstance(item, Component) else ""
        yield f"{hook} returned {item!r}, which is no config class{hint}"
        return
    wanted = " or ".join(base.__name__ for base in BASES[hook])
    if not issubclass(item, Component):
        yield f"{hook} returned {_path(item)}, which must be a subclass of {wanted}"
        return
    if not issubclass(item, BASES[hook]):
        rightful = next((base.hook for base in KINDS if issubclass(item, base)), None)
        where = f"it is {article(noun(item))} and belongs to {rightful}" if rightful else f"subclass {wanted}"
        yield f"{hook} returned {_path(item)}, which is no {wanted}: {where}"
        return
    yield from _type_faults(entry, item)
    if inspect.isabstract(item):
        missing = ", ".join(sorted(item.__abstractmethods__))
        yield f"{_path(item)} does not implement {missing}"
    if item.model_config.get("extra") != "forbid":
        yield f"{_path(item)} accepts unknown keys; its model_config must keep extra='forbid'"


def _type_faults(entry: str, item: type[Component]) -> Iterator[str]:
    field = item.model_fields["type"]
    values = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    if len(values) != 1 or not isinstance(values[0], str) or field.default != values[0]:
        yield (
            f"{_path(item)} must declare its type as one Literal with the same default, as in "
            f'type: Literal["{entry}.name"] = "{entry}.name"'
        )
        return
    name = values[0]
    if not name.startswith(f"{entry}."):
        better = f"{entry}.{name.split('.')[-1]}"
        yield f"{_path(item)} has the type {name!r}; it must begin with the entry point's name: {better!r}"
    elif not re.fullmatch(r"[A-Za-z0-9_-]+", name.removeprefix(f"{entry}.")):
        yield f"{_path(item)} has the type {name!r}; it may have letters, digits, '_' and '-' only"


def _path(item: type) -> str:
    return f"{item.__module__}.{item.__qualname__}"
