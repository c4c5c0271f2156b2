"""Records: what became of every installed plug-in, good or broken."""

from dataclasses import dataclass
from typing import Literal

from omnisae.plugins.component import Component
from omnisae.plugins.kinds import KINDS

Status = Literal["ok", "broken", "missing"]

SAID: dict[Status, str] = {"ok": "ok", "broken": "broken", "missing": "missing dependency"}
"""The words that a person reads for each status."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One component that a plug-in offers: the config class and the hook that returned it."""

    hook: str
    component: type[Component]

    @property
    def type(self) -> str:
        """The name by which a config finds it."""
        return str(self.component.model_fields["type"].default)

    @property
    def kind(self) -> str:
        """The noun that messages use, such as `extractor`."""
        return noun(self.component)

    @property
    def summary(self) -> str:
        """The first line of the config's docstring."""
        return (self.component.__doc__ or "").strip().partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Provider:
    """One entry point of the group `omnisae` and what came of loading it.

    `error` says what is wrong and `remedy` what mends it; both are empty where the status is `ok`. A plug-in of status
    `missing` lacks a declared dependency, or has it in a version it does not allow; the latter stays usable.
    """

    name: str
    distribution: str
    version: str
    status: Status
    error: str = ""
    remedy: str = ""
    offers: tuple[Offer, ...] = ()
    usable: bool = False

    def __str__(self) -> str:
        return f"{self.name!r} ({self.distribution} {self.version})"


def noun(component: type[Component]) -> str:
    """The noun for a component's kind; the kind's own even where the component overrides it."""
    return next((base.kind for base in KINDS if issubclass(component, base)), component.kind)


def article(noun: str) -> str:
    """`an extractor`, `a dataset`."""
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"
