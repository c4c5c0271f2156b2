"""Whatever the pages show is valid."""

import ast
import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from omnisae.config import RunConfig
from omnisae.config_file import parse
from omnisae.config_file.yaml_text import read
from omnisae.errors import ConfigError
from omnisae.plugins.registry import registry
from omnisae.scaffold import files
from omnisae.testing import plugged_in

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "writing-a-plugin.md").read_text()


def test_python_parses(python_block: str) -> None:
    ast.parse(python_block)


def test_yaml_is_valid(yaml_block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole config is validated as one, a part of one section by section; other YAML must at least parse."""
    value = read(yaml_block, "the page").value
    fields = RunConfig.model_fields
    if not isinstance(value, dict) or not value.keys() <= fields.keys():
        return
    named = set(re.findall(r"\b([a-z][a-z0-9_]*)\.[a-z]", yaml_block)) - {"signals"}
    absent = [name for name in ("vision", "single_cell") if name in named and registry().provider(name) is None]
    if absent:
        pytest.skip(f"the plug-in {absent[0]} is not installed")
    with plugged_in("signals", scaffold(tmp_path, monkeypatch)):
        if all(name in value for name, field in fields.items() if field.is_required()):
            parse(yaml_block, "the page")
            return
        for name, part in value.items():
            field = fields[name]
            try:
                TypeAdapter(field.rebuild_annotation()).validate_python(part)
            except ValidationError as error:
                missing = all(each["type"] == "missing" for each in error.errors())
                if not missing:
                    raise ConfigError(f"{name}: {error}") from None


def scaffold(folder: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """The plug-in of the page, imported from what the page shows."""
    for path, text in files("signals").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    monkeypatch.syspath_prepend(str(folder / "src"))
    import importlib
    import sys

    sys.modules.pop("omnisae_signals.plugin", None)
    sys.modules.pop("omnisae_signals", None)
    return importlib.import_module("omnisae_signals.plugin")


@pytest.mark.parametrize(
    "path", ["src/omnisae_signals/plugin.py", "src/omnisae_signals/parts.py", "quickstart.yaml", "tests/test_plugin.py"]
)
def test_the_page_shows_what_the_scaffold_writes(path: str) -> None:
    """What the scaffold writes is installed, tested and run by its own tests."""
    assert files("signals")[path] in PAGE


def test_fifty_lines_are_fifty_lines() -> None:
    text = "".join(files("signals")[f"src/omnisae_signals/{name}.py"] for name in ("plugin", "parts"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("import ", "from "))]
    assert len(lines) <= 50
