"""YAML as configs are written in it: YAML's own scalars, read alike everywhere, and each key only once.

Plain scalars are null, true and false (and yes, no, on, off), integers (`1_000_000`), numbers (`1e-3`, `.5`,
`.inf`) and text. Unlike YAML 1.1, `1e-3` is a number, and dates, `010` and `1:30` are not bent into something else.
"""

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import yaml

from omnisae.errors import ConfigError

Path = tuple[str | int, ...]

_SCALARS = (
    ("bool", r"true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9][0-9_]*", "-+0123456789"),
    ("float", r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?", "-+0123456789."),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    ("merge", r"<<", "<"),
)


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    table: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for name, pattern, firsts in _SCALARS:
        for first in firsts:
            table.setdefault(first, []).append((f"tag:yaml.org,2002:{name}", re.compile(rf"(?:{pattern})\Z")))
    return table


class _Loader(yaml.SafeLoader):
    """Safe: it builds plain values only, never objects."""

    yaml_implicit_resolvers = _resolvers()

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Any, yaml.Node] = {}
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(key, deep=True)
            if isinstance(name, Hashable):
                if name in seen:
                    first = seen[name].start_mark.line + 1
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {name!r} stands twice (first on line {first})", key.start_mark
                    )
                seen[name] = key
        return super().construct_mapping(node, deep)


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node).replace("_", ""))


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(re.sub(r"\.(inf|nan)\Z", r"\1", loader.construct_scalar(node).replace("_", "").lower()))


_Loader.add_constructor("tag:yaml.org,2002:int", _int)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)


class _Dumper(yaml.SafeDumper):
    """Quotes whatever text the loader above would read as something else."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    """Unicode's own line ends would come back as plain ones; between double quotes they are escaped."""
    style = '"' if any(end in value for end in "\x85\u2028\u2029") else None
    node: yaml.ScalarNode = dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)
    return node


_Dumper.add_representer(str, _text)


@dataclass(frozen=True)
class Document:
    """A YAML document: its plain value, and the line on which each field stands."""

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)


def read(text: str, source: str) -> Document:
    """Read one document. `source` names it in messages. Raises ConfigError where it is no YAML or repeats a key."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return Document(None)
        lines: dict[Path, int] = {}
        _mark(node, (), lines)
        return Document(loader.construct_document(node), lines)
    except yaml.YAMLError as error:
        raise _unreadable(error, source) from None
    except RecursionError:
        raise ConfigError(
            f"{source}: an alias contains itself", "write the value out instead of using '&' and '*'"
        ) from None
    finally:
        loader.dispose()


def write(value: Any) -> str:
    """Plain values as YAML, keys in their own order; `read` gives the same values back."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _mark(node: yaml.Node, path: Path, lines: dict[Path, int]) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                lines[(*path, key.value)] = key.start_mark.line + 1
                _mark(value, (*path, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _mark(item, (*path, index), lines)


def _unreadable(error: yaml.YAMLError, source: str) -> ConfigError:
    mark = getattr(error, "problem_mark", None)
    where = f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source
    problem = getattr(error, "problem", None) or str(error)
    remedy = "mend the YAML there; quote text that holds ': ', '#', or begins with '*', '&', '@', '%', '{' or '['"
    if "stands twice" in problem:
        remedy = "keep one of the two"
    elif "found character '\\t'" in problem:
        remedy = "indent with spaces, not tabs"
    return ConfigError(f"{where}: {problem}", remedy)
