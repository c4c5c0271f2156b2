"""Components by their type: what is found, and what is said where nothing is."""

from types import SimpleNamespace
from typing import Any, Literal

import pytest
from pydantic import Field

from omnisae.errors import ConfigError, PluginError
from omnisae.plugins import ActivationConfig, Component, DatasetConfig, ExtractorConfig, NestingConfig, hookimpl
from omnisae.plugins.discovery import Entry
from omnisae.plugins.hookspecs import hookimpl as marker
from omnisae.plugins.registry import Registry, registry
from omnisae.testing import plugged_in


class NetConfig(ExtractorConfig):
    """A net."""

    type: Literal["toy.net"] = "toy.net"
    depth: int = Field(2, gt=0)

    def build(self, dataset: Any) -> Any:
        return self.depth


class ItemsConfig(DatasetConfig):
    """Items."""

    type: Literal["toy.items"] = "toy.items"

    def build(self) -> Any:
        return None


class RuleConfig(ActivationConfig):
    """A rule."""

    type: Literal["toy.rule"] = "toy.rule"

    def build(self, latents: int) -> Any:
        return None


class Toy:
    @staticmethod
    @hookimpl
    def omnisae_extractors() -> list[Any]:
        return [NetConfig]

    @staticmethod
    @hookimpl
    def omnisae_datasets() -> list[Any]:
        return [ItemsConfig]

    @staticmethod
    @hookimpl
    def omnisae_autoencoders() -> list[Any]:
        return [RuleConfig]


def entry(name: str, plugin: object, distribution: str = "dist") -> Entry:
    return Entry(name, name, distribution, "1.0", lambda: plugin)


loaded: list[str] = []


def explode() -> object:
    loaded.append("bomb")
    raise RuntimeError("bang")


@pytest.fixture
def toys() -> Registry:
    loaded.clear()
    return Registry([entry("toy", Toy()), Entry("bomb", "bomb", "bomb", "1.0", explode)])


def test_a_mapping_a_bare_name_and_a_config_resolve(toys: Registry) -> None:
    assert toys.resolve(ExtractorConfig, {"type": "toy.net", "depth": 3}) == NetConfig(depth=3)
    assert toys.resolve(ExtractorConfig, "toy.net") == NetConfig()
    assert toys.resolve(ExtractorConfig, NetConfig(depth=4)) == NetConfig(depth=4)
    assert not loaded, "a plug-in was loaded that nobody named"


def refusal(toys: Registry, base: type[Component], raw: Any) -> tuple[str, str]:
    with pytest.raises((PluginError, ConfigError)) as caught:
        toys.resolve(base, raw)
    return caught.value.problem, caught.value.remedy


def test_an_unknown_name_is_answered_with_the_nearest(toys: Registry) -> None:
    assert refusal(toys, ExtractorConfig, "toy.nett") == (
        "there is no extractor 'toy.nett'",
        "did you mean 'toy.net'?",
    )


def test_an_unknown_plugin_is_answered_with_the_nearest_and_the_custom(toys: Registry) -> None:
    problem, remedy = refusal(toys, ExtractorConfig, "tay.net")
    assert problem == "there is no extractor 'tay.net': no plug-in 'tay' is installed"
    assert remedy == "did you mean 'toy.net'? Otherwise install the plug-in (by custom: pip install omnisae-tay)"


def test_a_name_without_its_plugin_is_completed(toys: Registry) -> None:
    assert refusal(toys, ExtractorConfig, "net") == ("there is no extractor 'net'", "did you mean 'toy.net'?")


def test_another_kind_is_refused_in_its_own_words(toys: Registry) -> None:
    assert refusal(toys, ExtractorConfig, "toy.rule") == (
        "'toy.rule' is an activation rule, and an extractor is wanted here",
        "did you mean 'toy.net'?",
    )
    assert refusal(toys, NestingConfig, "toy.rule") == (
        "'toy.rule' is an activation rule, and a nesting is wanted here",
        "there is none to choose from",
    )


def test_what_is_no_component_is_refused(toys: Registry) -> None:
    assert refusal(toys, DatasetConfig, 3)[0] == "a dataset is wanted, and 3 was given"
    assert refusal(toys, DatasetConfig, {"root": "here"}) == ("the dataset has no `type`", "choose from: toy.items")
    assert refusal(toys, DatasetConfig, {"type": 3})[0] == "`type` is 3, and must be a name"


def test_a_wrong_field_is_a_config_error(toys: Registry) -> None:
    problem, remedy = refusal(toys, ExtractorConfig, {"type": "toy.net", "depth": 0, "widht": 3})
    assert "depth: Input should be greater than 0 (it is 0)" in problem
    assert "widht: Extra inputs are not permitted (it is 3)" in problem
    assert remedy == "its fields are: type, depth"


def test_all_and_providers(toys: Registry) -> None:
    assert toys.all(ExtractorConfig) == [NetConfig]
    assert toys.all(Component) == [RuleConfig, ItemsConfig, NetConfig]
    assert [(record.name, record.status) for record in toys.providers()] == [("bomb", "broken"), ("toy", "ok")]


def test_entry_points_of_one_distribution_must_differ_too() -> None:
    found = Registry([entry("toy", Toy(), "one"), entry("toy", Toy(), "one")]).providers()
    assert [record.status for record in found] == ["broken", "broken"]
    assert found[0].remedy == "this is a fault in one: its pyproject.toml must give each entry point a name of its own"


def test_one_module_under_two_names_is_refused_once() -> None:
    plugin = Toy()
    found = Registry([entry("toy", plugin), entry("tay", plugin)]).providers()
    assert {record.name: record.status for record in found} == {"tay": "broken", "toy": "ok"}


def test_a_name_with_a_dot_is_refused() -> None:
    (found,) = Registry([entry("toy.one", Toy())]).providers()
    assert found.error == "the entry point's name 'toy.one' may have letters, digits, '_' and '-' only"


def test_what_returns_no_list_is_refused() -> None:
    plugin = SimpleNamespace(omnisae_extractors=marker(lambda: None))
    (found,) = Registry([entry("toy", plugin)]).providers()
    assert "omnisae_extractors raised TypeError" in found.error


def test_a_plugin_taken_out_leaves_the_others_working() -> None:
    """pluggy keeps what it was given until it is told otherwise: a failed one must not stay in its lists."""
    broken = SimpleNamespace(omnisae_extractors=marker(lambda: [3]), omnisae_nothing=marker(lambda: []))
    here = Registry([entry("aaa", broken), entry("toy", Toy())])
    assert [record.status for record in here.providers()] == ["broken", "ok"]
    assert [plugin for plugin, _ in here._plugins.list_name_plugin()] == ["toy"]


def test_plugged_in_lasts_for_the_block() -> None:
    with plugged_in("toy", Toy()) as provider:
        assert provider.status == "ok"
        assert registry().resolve(ExtractorConfig, "toy.net") == NetConfig()
    assert registry().provider("toy") is None
