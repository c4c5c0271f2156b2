"""Checks of a plug-in as a whole: it loads, its names are right, its configs are sound, and it imports no torch."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

from omnisae.plugins.component import Component
from omnisae.plugins.discovery import Entry
from omnisae.plugins.records import Provider
from omnisae.plugins.registry import Registry, registry

_PROBE = """
import sys
from omnisae.plugins.registry import registry
provider = registry().provider({name!r})
print(" ".join(name for name in ("torch", "jax", "tensorflow") if name in sys.modules))
"""


@contextmanager
def plugged_in(name: str, plugin: object) -> Iterator[Provider]:
    """Make a module (or any object with hook implementations) known as the plug-in `name`, within the block only."""
    here = registry()
    here.add(Entry(name, getattr(plugin, "__name__", name), f"{name} (not installed)", "0", lambda: plugin))
    try:
        provider = here.provider(name)
        assert provider is not None
        yield provider
    finally:
        here.remove(name)


class PluginTests:
    """Give `name`, the entry point's. `configs` may be overridden where components have fields without a default."""

    name: ClassVar[str]

    @pytest.fixture
    def provider(self) -> Provider:
        provider = Registry().provider(self.name)
        assert provider is not None, f"no entry point {self.name!r} of the group 'omnisae' is installed"
        return provider

    @pytest.fixture
    def configs(self, provider: Provider) -> Sequence[dict[str, Any]]:
        """Mappings with `type` and fields, one or more a component. Default: those that need no field."""
        return [
            {"type": offer.type}
            for offer in provider.offers
            if not any(field.is_required() for field in offer.component.model_fields.values())
        ]

    def test_it_loads(self, provider: Provider) -> None:
        assert provider.status == "ok", f"{provider.error}\n→ {provider.remedy}"

    def test_it_imports_no_torch(self) -> None:
        """`omnisae plugins` and the validation of configs must stay quick: `build` imports what is heavy."""
        code = _PROBE.format(name=self.name)
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        assert not found, f"loading the plug-in imports {', '.join(found)}; import it within build()"

    def test_names_begin_with_the_entry_point(self, provider: Provider) -> None:
        assert all(offer.type.startswith(f"{self.name}.") for offer in provider.offers)

    def test_components_say_what_they_are(self, provider: Provider) -> None:
        for offer in provider.offers:
            own = offer.component.__dict__.get("__doc__")
            assert own, f"{offer.type} has no docstring; `omnisae plugins --offers` shows its first line"

    def test_fields_say_what_they_mean(self, provider: Provider) -> None:
        bare = [
            f"{offer.type}: {name}"
            for offer in provider.offers
            for name, field in offer.component.model_fields.items()
            if name != "type" and not field.description
        ]
        assert not bare, f"fields without a description: {', '.join(bare)}; write Field(..., description=...)"

    def test_configs_round_trip_through_json(self, provider: Provider, configs: Sequence[dict[str, Any]]) -> None:
        for raw in configs:
            config = Registry().resolve(Component, raw)
            assert type(config).model_validate_json(config.model_dump_json()) == config

    def test_configs_cannot_be_changed(self, provider: Provider) -> None:
        for offer in provider.offers:
            assert offer.component.model_config.get("frozen"), f"{offer.type} must keep frozen=True"
