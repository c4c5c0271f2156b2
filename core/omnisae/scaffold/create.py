"""Writing a new plug-in's files from the templates beside this module."""

import keyword
import re
from importlib import resources
from pathlib import Path

from omnisae.atomic import write_text
from omnisae.errors import ConfigError
from omnisae.plugins.registry import registry

_FILES = {
    "pyproject.toml.tmpl": "pyproject.toml",
    "README.md.tmpl": "README.md",
    "quickstart.yaml.tmpl": "quickstart.yaml",
    "plugin.py.tmpl": "src/{package}/plugin.py",
    "parts.py.tmpl": "src/{package}/parts.py",
    "test_plugin.py.tmpl": "tests/test_plugin.py",
}


def create(name: str, directory: Path) -> list[Path]:
    """Write the plug-in `name` into `directory` and return the files.

    Raises ConfigError where the name cannot be an entry point's, is taken, or the directory holds something.
    """
    _check_name(name)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(f"{directory} exists and is not empty", "give a directory that does not exist yet")
    written = []
    for path, text in files(name).items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target, text)
        written.append(target)
    return written


def files(name: str) -> dict[str, str]:
    """The text of every file of the plug-in `name`, by its path."""
    package = f"omnisae_{name}"
    words = {"NAME": name, "PACKAGE": package, "DISTRIBUTION": package.replace("_", "-")}
    templates = resources.files("omnisae.scaffold") / "templates"
    rendered = {f"src/{package}/__init__.py": "", f"src/{package}/py.typed": ""}
    for template, path in _FILES.items():
        text = (templates / template).read_text(encoding="utf-8")
        rendered[path.format(package=package)] = re.sub(r"__([A-Z]+)__", lambda match: words[match.group(1)], text)
    return rendered


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        near = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789") or "signals"
        raise ConfigError(
            f"{name!r} cannot name a plug-in: it begins with a small letter and has small letters, digits and '_'",
            f"for example: omnisae new-plugin {near} DIR",
        )
    taken = registry().provider(name)
    if taken is not None:
        raise ConfigError(
            f"the name {name!r} is taken by {taken.distribution} {taken.version}, which is installed",
            "choose another" if name == "core" else f"choose another, or first: pip uninstall {taken.distribution}",
        )
