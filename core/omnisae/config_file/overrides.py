"""Overrides: `--set a.b=c` on the command line changes one field of a config before it is validated."""

import re
from collections.abc import Iterable
from typing import Any

from omnisae.config_file import yaml_text
from omnisae.errors import ConfigError

_PART = re.compile(r'"([^"]*)"|([^."]+)')


def override(raw: Any, overrides: Iterable[str]) -> tuple[Any, dict[yaml_text.Path, str]]:
    """The raw config with each `path=value` put in, and which override set each path.

    Values are YAML; numbers in a path are places in a list (one past its end adds to it); a part with dots in it is
    quoted: `train.sweep."activation.k"=[4, 8]`. Raises ConfigError where an override cannot be read or leads nowhere.
    """
    origin: dict[yaml_text.Path, str] = {}
    for text in overrides:
        path, value = _parse(text)
        raw = _put(raw, path, value, text)
        origin[path] = f"--set {text}"
    return raw, origin


def _parse(text: str) -> tuple[yaml_text.Path, Any]:
    dotted, equals, value = text.partition("=")
    found = list(_PART.finditer(dotted))
    rebuilt = ".".join(match.group(0) for match in found)
    if not equals or not found or rebuilt != dotted:
        raise ConfigError(f"--set {text!r} is not of the form a.b=value", "for example: --set train.tokens=100000")
    path = tuple(_part(match) for match in found)
    return path, yaml_text.read(value, f"--set {text}").value


def _part(match: re.Match[str]) -> str | int:
    quoted, plain = match.groups()
    if quoted is not None:
        return str(quoted)
    return int(plain) if plain.isdecimal() else str(plain)


def _put(raw: Any, path: yaml_text.Path, value: Any, text: str) -> Any:
    """A copy of `raw` with `value` at `path`; mappings that are missing on the way are made."""
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(raw, list):
        if not isinstance(head, int) or head > len(raw):
            raise ConfigError(
                f"--set {text}: {head!r} is no place in a list of {len(raw)}",
                f"use a number from 0 to {len(raw)} (the last adds one)",
            )
        changed = [*raw, None] if head == len(raw) else list(raw)
        changed[head] = _put(changed[head], rest, value, text)
        return changed
    if isinstance(raw, str) and isinstance(head, str):
        raw = {"type": raw}
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise ConfigError(f"--set {text}: there is no field {head!r} in the value {raw!r}", "shorten the path")
    key = str(head)
    return raw | {key: _put(raw.get(key), rest, value, text)}
