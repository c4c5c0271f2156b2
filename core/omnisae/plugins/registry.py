"""The registry: components by their `type`, loading only the entry point that a type names."""

import logging
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError

from omnisae.errors import ConfigError, PluginError, did_you_mean
from omnisae.plugins.component import Component
from omnisae.plugins.discovery import Entry, contested, discover
from omnisae.plugins.loader import load, manager
from omnisae.plugins.records import Provider, article, noun

T = TypeVar("T", bound=Component)
log = logging.getLogger("omnisae")


class Registry:
    """Every installed plug-in, loaded one at a time and only when asked for.

    `entries` are the entry points to choose from; by default those of this environment.
    """

    def __init__(self, entries: Iterable[Entry] | None = None) -> None:
        clear, broken = contested(discover() if entries is None else entries)
        self._entries = {entry.name: entry for entry in clear}
        self._broken = broken
        self._loaded: dict[str, Provider] = {}
        self._plugins = manager()
        self._deaf: set[str] = set()

    def resolve(self, base: type[T], raw: Any) -> T:
        """The config that `raw` describes: a mapping with `type`, or a bare name that stands for `{"type": name}`.

        Raises PluginError where the type is unknown, of another kind, or its plug-in broken, and ConfigError where a
        field is wrong.
        """
        if isinstance(raw, base):
            return raw
        component, fields = self.find(base, raw)
        try:
            return component.model_validate(fields)
        except ValidationError as error:
            lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']} (it is {e['input']!r})" for e in error.errors()]
            raise ConfigError(
                f"{fields['type']} is not set up rightly:\n    " + "\n    ".join(lines),
                f"its fields are: {', '.join(component.model_fields)}",
            ) from None

    def find(self, base: type[T], raw: Any) -> tuple[type[T], dict[str, Any]]:
        """The config class that `raw` names, and its fields, not yet validated. Raises as `resolve` does."""
        wanted = noun(base)
        fields = {"type": raw} if isinstance(raw, str) else raw
        if not isinstance(fields, Mapping):
            raise ConfigError(
                f"{article(wanted)} is wanted, and {raw!r} was given",
                f"write its name, or a mapping with `type` and its fields; {self._near('', base)}",
            )
        name = fields.get("type")
        if not isinstance(name, str):
            problem = f"`type` is {name!r}, and must be a name" if "type" in fields else f"the {wanted} has no `type`"
            raise ConfigError(problem, self._near("", base))
        component = self._component(name, base)
        if not issubclass(component, base):
            raise PluginError(
                f"{name!r} is {article(noun(component))}, and {article(wanted)} is wanted here", self._near(name, base)
            )
        return component, dict(fields)

    def provider(self, name: str) -> Provider | None:
        """The record of one plug-in, loading it if need be; None where none has this name."""
        if name in self._entries and name not in self._loaded:
            self._loaded[name] = load(self._entries[name], self._plugins)
        return self._loaded.get(name) or next((record for record in self._broken if record.name == name), None)

    def providers(self) -> list[Provider]:
        """The records of all plug-ins, broken ones too; loads them all."""
        sound = [record for name in self._entries if (record := self.provider(name))]
        return sorted(
            [*sound, *self._broken], key=lambda record: (record.name != "core", record.name, record.distribution)
        )

    def all(self, base: type[T]) -> list[type[T]]:
        """Every component of a kind that may be used, in the order of providers; loads all plug-ins."""
        return [
            offer.component
            for record in self.providers()
            if record.usable
            for offer in record.offers
            if issubclass(offer.component, base)
        ]

    def observe(self, event: Mapping[str, Any]) -> None:
        """Tell every plug-in's observer of an event. One that raises is reported once and hears nothing more."""
        self.providers()
        for implementation in self._plugins.hook.omnisae_observe.get_hookimpls():
            name = implementation.plugin_name
            if name in self._deaf:
                continue
            try:
                implementation.function(*[event for _ in implementation.argnames])
            except Exception as error:
                self._deaf.add(name)
                log.warning(
                    "plug-in %r raised %s: %s while it followed the run; it hears nothing more, the run goes on",
                    name,
                    type(error).__name__,
                    error,
                )

    def add(self, entry: Entry) -> None:
        """Add an entry point that is not installed. For tests."""
        self._entries[entry.name] = entry
        self._forget(entry.name)

    def remove(self, name: str) -> None:
        """Forget an entry point. For tests."""
        self._entries.pop(name, None)
        self._forget(name)

    def _forget(self, name: str) -> None:
        self._loaded.pop(name, None)
        if self._plugins.has_plugin(name):
            self._plugins.unregister(name=name)

    def _component(self, name: str, base: type[Component]) -> type[Component]:
        prefix = name.partition(".")[0]
        record = self.provider(prefix)
        if record is None:
            self._refuse_unknown(name, prefix, base)
        elif not record.usable:
            raise PluginError(f"{name!r} cannot be used: plug-in {record}: {record.error}", record.remedy)
        else:
            found = [offer.component for offer in record.offers if offer.type == name]
            if found:
                return next((component for component in found if issubclass(component, base)), found[0])
        raise PluginError(f"there is no {noun(base)} {name!r}", self._near(name, base))

    def _refuse_unknown(self, name: str, prefix: str, base: type[Component]) -> None:
        if "." in name:
            custom = f" (by custom: pip install omnisae-{prefix.replace('_', '-')})"
            misspelt = get_close_matches(prefix, [provider.name for provider in self.providers()], cutoff=0.7)
            raise PluginError(
                f"there is no {noun(base)} {name!r}: no plug-in {prefix!r} is installed",
                # A name that looks misspelt is never offered for installation: it may be somebody's trap.
                f"{self._near(name, base)} Otherwise install the plug-in{'' if misspelt else custom}",
            )

    def _near(self, name: str, base: type[Component]) -> str:
        known = [str(component.model_fields["type"].default) for component in self.all(base)]
        bare = [option for option in known if option.partition(".")[2] == name]
        return did_you_mean(bare[0], [bare[0]]) if bare else did_you_mean(name, known)


@cache
def registry() -> Registry:
    """The registry of this process, with the plug-ins that are installed."""
    return Registry()
