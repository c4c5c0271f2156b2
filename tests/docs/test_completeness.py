"""Nothing that a user meets goes undocumented."""

import inspect
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel

import omnisae.testing
from omnisae.cli import main
from omnisae.commands.reference import _sections, reference
from omnisae.plugins import hookspecs
from omnisae.plugins.registry import registry

DOCS = Path(__file__).parents[2] / "docs"
HOOKS = [name for name in vars(hookspecs) if name.startswith("omnisae_")]


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented_with_its_signature(name: str) -> None:
    signature = str(inspect.signature(getattr(hookspecs, name)))
    plain = re.sub(r"(collections\.abc|omnisae\.plugins\.kinds|typing)\.", "", signature)
    assert f"### `{name}{plain}`" in (DOCS / "plugins.md").read_text()


def test_no_hook_is_documented_that_there_is_not() -> None:
    assert set(re.findall(r"### `(omnisae_\w+)", (DOCS / "plugins.md").read_text())) == set(HOOKS)


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_and_option_is_documented(name: str) -> None:
    text = (DOCS / "commands.md").read_text()
    command = main.commands[name]
    assert f"`omnisae {name}" in text
    for option in command.params:
        if isinstance(option, click.Option):
            assert f"`{option.opts[-1] if option.opts[-1].startswith('--') else option.opts[0]}" in text


def test_the_reference_is_current() -> None:
    assert (DOCS / "config.md").read_text() == reference(), "run: omnisae schema --markdown > docs/config.md"


@pytest.mark.parametrize("model", [model for model, _ in _sections()], ids=lambda model: model.__name__)
def test_every_field_of_the_config_has_a_meaning(model: type[BaseModel]) -> None:
    assert not [name for name, field in model.model_fields.items() if not field.description]


def test_every_field_of_cores_components_has_a_meaning() -> None:
    core = registry().provider("core")
    assert core is not None
    assert core.status == "ok", core.error
    for offer in core.offers:
        assert offer.summary, f"{offer.type} has no docstring"
        for name, field in offer.component.model_fields.items():
            assert name == "type" or field.description, f"{offer.type}.{name} has no description"


@pytest.mark.parametrize("name", omnisae.testing.__all__)
def test_every_conformance_class_is_documented(name: str) -> None:
    assert name in (DOCS / "plugins.md").read_text()


@pytest.mark.parametrize(
    "plugin", ["vision", "single_cell", "mammography", "galaxies", "diffusion", "protein", "recommendation"]
)
def test_the_domains_pages_list_every_field_of_their_plugin(plugin: str) -> None:
    if registry().provider(plugin) is None:
        pytest.skip(f"the plug-in {plugin} is not installed")
    command = f"omnisae schema --markdown --plugin {plugin}"
    page = (DOCS / "domains" / f"{plugin}.md").read_text()
    shown = page.split(f"<!-- reference: {command} -->\n")[1].split("<!-- end -->")[0]
    done = CliRunner().invoke(main, command.split()[1:])
    assert shown.strip() == within_a_page(done.output).strip(), f"paste what `{command}` prints, a level deeper"


def within_a_page(reference: str) -> str:
    """The reference's headings, a level deeper."""
    return re.sub(r"^## ", "### ", reference, flags=re.M)
