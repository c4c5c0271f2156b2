"""The config's reference in Markdown: a table a section, made from the models, so that it cannot fall behind them."""

import json
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from omnisae.config import RunConfig
from omnisae.errors import PluginError, did_you_mean
from omnisae.plugins.component import Component
from omnisae.plugins.records import Provider, article, noun
from omnisae.plugins.registry import registry

_INTRO = """# The config

One YAML file describes a run. Unknown keys are refused, with the nearest known one; `--set a.b=value` on the command
line changes a field. Where a component is wanted, write its name (`core.standard`) or a mapping with `type` and its
fields.
`omnisae schema` prints the same as JSON Schema for editors. This page is made by `omnisae schema --markdown`.
"""


def reference(plugin: str | None = None) -> str:
    """The tables of a plug-in's components; by default those of the run's config and of core's components."""
    if plugin is not None:
        return "\n".join(_components(_provider(plugin)))
    lines = [_INTRO]
    for model, places in _sections():
        lines += _section(model, places)
    core = _provider("core")
    if core.offers:
        lines += ["# Core's components", "", *_components(core)]
    return "\n".join(lines)


def _provider(name: str) -> Provider:
    record = registry().provider(name)
    if record is None:
        known = [provider.name for provider in registry().providers()]
        raise PluginError(f"no plug-in {name!r} is installed", did_you_mean(name, known))
    if not record.offers and record.error:
        raise PluginError(f"plug-in {record}: {record.error}", record.remedy)
    return record


def _sections() -> list[tuple[type[BaseModel], list[str]]]:
    """The run's config and every section within it, with the places where each stands."""
    places: dict[type[BaseModel], list[str]] = {RunConfig: []}
    queue: list[tuple[type[BaseModel], str]] = [(RunConfig, "")]
    while queue:
        model, at = queue.pop(0)
        for name, field in model.model_fields.items():
            for inner in _models(field.annotation):
                if issubclass(inner, Component):
                    continue
                here = f"{at}{name}" + (".0" if "tuple" in str(field.annotation) else "")
                if inner not in places:
                    queue.append((inner, f"{here}."))
                places.setdefault(inner, []).append(here)
    return list(places.items())


def _section(model: type[BaseModel], places: list[str]) -> list[str]:
    title = ", ".join(f"`{place.replace('.0', '[]')}`" for place in places) or "The run"
    return [f"## {title}", "", *_about(model), *_table(model)]


def _components(provider: Provider) -> list[str]:
    lines: list[str] = []
    for offer in provider.offers:
        lines += [f"## `{offer.type}`", "", f"*{offer.kind}*", "", *_about(offer.component), *_table(offer.component)]
    return lines


def _about(model: type[BaseModel]) -> list[str]:
    text = (model.__doc__ or "").strip()
    return [*(line.strip() for line in text.splitlines()), ""] if text else []


def _table(model: type[BaseModel]) -> list[str]:
    fields = {name: field for name, field in model.model_fields.items() if name != "type"}
    if not fields:
        return ["It has no fields beside `type`.", ""]
    rows = ["| field | value | default | meaning |", "|---|---|---|---|"]
    for name, field in fields.items():
        cells = (f"`{name}`", _value(field), _default(field), field.description or "")
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return [*rows, ""]


def _value(field: FieldInfo) -> str:
    kind, bounds = _type(field.annotation), list(_bounds(field))
    required = kind.removesuffix(" or none")
    return " ".join([required, *bounds]) + kind[len(required) :]


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is None or annotation is type(None):
        return "none"
    if origin is Annotated:
        return _type(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_type(argument) for argument in arguments)
    if origin is Literal:
        return " or ".join(f"`{argument}`" for argument in arguments)
    if origin in (tuple, list):
        return "list of " + " or ".join(dict.fromkeys(_type(item) for item in arguments if item is not ...))
    if origin is dict:
        return f"mapping of {_type(arguments[0])} to {_type(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Component):
        return article(noun(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    names = {str: "text", int: "integer", float: "number", bool: "`true` or `false`"}
    return names.get(annotation, "anything" if annotation is Any else str(getattr(annotation, "__name__", annotation)))


def _bounds(field: FieldInfo) -> Iterator[str]:
    for rule in field.metadata:
        if isinstance(rule, Gt):
            yield f"> {rule.gt}"
        elif isinstance(rule, Ge):
            yield f"≥ {rule.ge}"
        elif isinstance(rule, Lt):
            yield f"< {rule.lt}"
        elif isinstance(rule, Le):
            yield f"≤ {rule.le}"
        elif isinstance(rule, MinLen):
            yield f"(at least {rule.min_length})"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    default = field.default
    if default is PydanticUndefined or isinstance(default, BaseModel):
        return "its own defaults"
    if default is None:
        return "none"
    return f"`{json.dumps(default, default=str, ensure_ascii=False)}`"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for argument in get_args(annotation):
            yield from _models(argument)
