"""JSON Schema of a run's config, for editors: every component of every sound plug-in, told apart by its `type`."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from omnisae.config import RunConfig
from omnisae.plugins.component import Component
from omnisae.plugins.kinds import KINDS
from omnisae.plugins.registry import registry

_MODE: JsonSchemaMode = "validation"


def json_schema() -> dict[str, Any]:
    """The schema of RunConfig, in which every place for a component takes any that is installed, or its bare name."""
    components: dict[type[Component], list[type[Component]]] = {base: registry().all(base) for base in KINDS}
    models: list[type[BaseModel]] = [RunConfig, *KINDS]
    models += dict.fromkeys(component for found in components.values() for component in found)
    refs, top = models_json_schema([(model, _MODE) for model in models], ref_template="#/$defs/{model}")
    definitions: dict[str, Any] = top["$defs"]
    for base, found in components.items():
        name = _name(refs[(base, _MODE)])
        if found:
            definitions[name] = _union(base, found, {c: _name(refs[(c, _MODE)]) for c in found}, definitions)
    run = definitions.pop(_name(refs[(RunConfig, _MODE)]))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "omnisae run",
        **{key: value for key, value in run.items() if key != "title"},
        "$defs": dict(sorted(definitions.items())),
    }


def _union(
    base: type[Component],
    components: Iterable[type[Component]],
    names: dict[type[Component], str],
    definitions: dict[str, Any],
) -> dict[str, Any]:
    """Any of these components, or the bare name of one that needs no more than its type."""
    mapping: dict[str, str] = {}
    bare: list[str] = []
    for component in components:
        kind = str(component.model_fields["type"].default)
        definition = definitions[names[component]]
        definition["required"] = ["type", *(field for field in definition.get("required", ()) if field != "type")]
        mapping[kind] = f"#/$defs/{names[component]}"
        if not any(field.is_required() for field in component.model_fields.values()):
            bare.append(kind)
    mappings = {"oneOf": [{"$ref": ref} for ref in mapping.values()]}
    mappings |= {"discriminator": {"propertyName": "type", "mapping": mapping}}  # type: ignore[dict-item]
    options: list[dict[str, Any]] = [{"type": "string", "enum": bare}] if bare else []
    return {"title": base.kind, "description": (base.__doc__ or "").strip(), "anyOf": [*options, mappings]}


def _name(ref: dict[str, Any]) -> str:
    return str(ref["$ref"]).removeprefix("#/$defs/")
