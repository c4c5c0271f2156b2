"""What is wrong with a config, told to the person who wrote it: place, value, rule, remedy."""

import re
import types
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from omnisae.config_file.yaml_text import Path
from omnisae.errors import ConfigError, OmnisaeError, did_you_mean
from omnisae.plugins.component import Component
from omnisae.plugins.registry import registry


def config_error(
    error: ValidationError,
    model: type[BaseModel],
    raw: Any,
    source: str,
    lines: Mapping[Path, int],
    origin: Mapping[Path, str],
) -> ConfigError:
    """One error for all that pydantic found. Alternatives of one field are told together."""
    faults: dict[Path, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        if not _echo(detail):
            faults.setdefault(_place(detail["loc"], model, raw), []).append(detail)
    faults = {path: told for path, told in faults.items() if not any(path[:n] in faults for n in range(len(path)))}
    faults = _once(faults)
    told = [_tell(path, details, model, raw, _where(path, source, lines, origin)) for path, details in faults.items()]
    if len(told) == 1:
        return ConfigError(*told[0])
    blocks = [f"{problem}\n    → {remedy}" for problem, remedy in told]
    return ConfigError(f"{source}: {len(told)} fields are wrong\n  " + "\n  ".join(blocks))


def _once(faults: dict[Path, list[ErrorDetails]]) -> dict[Path, list[ErrorDetails]]:
    """Without the fields that are wrong only because of a plug-in of which an earlier field has told already."""
    seen: set[str] = set()
    kept: dict[Path, list[ErrorDetails]] = {}
    for path, details in faults.items():
        reason = str(details[0].get("ctx", {}).get("problem", "")).partition(" cannot be used: ")[2]
        if not reason or reason not in seen:
            kept[path] = details
        seen.add(reason)
    return kept


def _where(path: Path, source: str, lines: Mapping[Path, int], origin: Mapping[Path, str]) -> str:
    for length in range(len(path), 0, -1):
        if path[:length] in origin:
            return origin[path[:length]]
    for length in range(len(path), -1, -1):
        if path[:length] in lines:
            return f"{source}, line {lines[path[:length]]}"
    return source


def _tell(path: Path, details: list[ErrorDetails], model: type[BaseModel], raw: Any, where: str) -> tuple[str, str]:
    """The problem and the remedy for one field."""
    detail, dotted = details[0], ".".join(map(str, path)) or "the config"
    kind, context = detail["type"], detail.get("ctx", {})
    parent = _model_at(model, raw, path[:-1]) or model
    field = parent.model_fields.get(str(path[-1])) if path else None
    if kind == "omnisae":
        return f"{where}: {dotted}: {context['problem']}", str(context["remedy"])
    if kind == "extra_forbidden":
        free = [name for name in parent.model_fields if name not in _siblings(raw, path)]
        near = get_close_matches(str(path[-1]), parent.model_fields, cutoff=0.6)  # also those that are set already
        remedy = did_you_mean(str(path[-1]), near or free or parent.model_fields)
        return f"{where}: {dotted}: {_owner(parent, path)} has no field {path[-1]!r}", remedy
    if kind == "missing":
        return f"{where}: {dotted} is missing", f"add `{path[-1]}:`{_about(field)}"
    rule = " or ".join(dict.fromkeys(_rule(each) for each in details))
    problem = f"{where}: {dotted} = {_shown(detail['input'])}: {rule}"
    if kind == "literal_error" and isinstance(detail["input"], str):
        options = [str(option) for option in _literals(field)]
        return problem, did_you_mean(
            detail["input"], options
        ) if options else f"choose {context.get('expected', 'another')}"
    return problem, f"{_remedy(details)}{_about(field)}"


def _rule(detail: ErrorDetails) -> str:
    return re.sub(r"^\w+ should ", "it must ", detail["msg"].removeprefix("Value error, "))


def _echo(detail: ErrorDetails) -> bool:
    """Whether this only follows from another error: pydantic counts a tuple's faulty items as absent."""
    return detail["type"] == "too_short" and len(detail["input"]) >= int(detail["ctx"]["min_length"])


def _remedy(details: list[ErrorDetails]) -> str:
    bounds = {"greater_than": "above {gt}", "greater_than_equal": "of at least {ge}", "less_than": "below {lt}"}
    bounds |= {"less_than_equal": "of at most {le}"}
    for detail in details:
        if detail["type"] in bounds:
            return f"choose a value {bounds[detail['type']].format(**detail['ctx'])}"
    return "change the value"


def _about(field: FieldInfo | None) -> str:
    return f" ({field.description})" if field is not None and field.description else ""


def _owner(model: type[BaseModel], path: Path) -> str:
    if issubclass(model, Component):
        return repr(model.model_fields["type"].default)
    return repr(".".join(map(str, path[:-1]))) if len(path) > 1 else "a run's config"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}…"


def _siblings(raw: Any, path: Path) -> set[str]:
    holder = _value_at(raw, path[:-1])
    return {str(key) for key in holder} if isinstance(holder, Mapping) else set()


def _place(loc: tuple[str | int, ...], model: type[BaseModel], raw: Any) -> Path:
    """The part of pydantic's location that a person can find in the file: without tags of unions and validators."""
    path: list[str | int] = []
    for step in loc:
        holder = _value_at(raw, tuple(path))
        owner = _model_at(model, raw, tuple(path))
        known = isinstance(step, int) or (isinstance(holder, Mapping) and step in holder)
        if known or (owner is not None and step in owner.model_fields):
            path.append(step)
    return tuple(path)


def _value_at(raw: Any, path: Path) -> Any:
    for step in path:
        if isinstance(raw, Mapping):
            raw = raw.get(step)
        elif isinstance(raw, (list, tuple)) and isinstance(step, int) and step < len(raw):
            raw = raw[step]
        else:
            return None
    return raw


def _model_at(model: type[BaseModel], raw: Any, path: Path) -> type[BaseModel] | None:
    """The model whose fields stand at `path`; a component is looked up by the type that `raw` gives there."""
    current: type[BaseModel] | None = model
    for depth, step in enumerate(path):
        if isinstance(step, int):
            continue
        field = current.model_fields.get(step) if current is not None else None
        inner = next(_models(field.annotation), None) if field is not None else None
        here = path[: depth + 1]
        if inner is not None and issubclass(inner, Component):
            ahead = path[depth + 1] if depth + 1 < len(path) else None
            inner = _component(inner, _value_at(raw, (*here, ahead) if isinstance(ahead, int) else here))
        current = inner
    return current


def _component(base: type[Component], value: Any) -> type[BaseModel] | None:
    try:
        return registry().find(base, value)[0]
    except OmnisaeError:
        return None


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models within an annotation: of an optional field, of a tuple's items."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, types.UnionType, tuple, list, dict):
        for argument in get_args(annotation):
            yield from _models(argument)


def _literals(field: FieldInfo | None) -> list[Any]:
    if field is None:
        return []
    options = [field.annotation, *get_args(field.annotation)]
    return [value for option in options if get_origin(option) is Literal for value in get_args(option)]
