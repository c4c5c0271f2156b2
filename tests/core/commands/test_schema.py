"""JSON Schema for editors: what is valid passes, what is not does not."""

import json
from typing import Any

import pytest

from omnisae.commands.schema import json_schema
from omnisae.plugins.kinds import KINDS
from omnisae.plugins.registry import registry


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema()


def definition(schema: dict[str, Any], ref: str) -> Any:
    return schema["$defs"][ref.removeprefix("#/$defs/")]


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    text = json.dumps(schema)
    for part in text.split('"$ref": "')[1:]:
        assert definition(schema, part.partition('"')[0])


def test_every_component_is_told_apart_by_its_type(schema: dict[str, Any]) -> None:
    for base in KINDS:
        components = registry().all(base)
        if not components:
            continue
        *_, mappings = definition(schema, base.__name__)["anyOf"]
        assert set(mappings["discriminator"]["mapping"]) == {c.model_fields["type"].default for c in components}
        for name, ref in mappings["discriminator"]["mapping"].items():
            component = definition(schema, ref)
            assert component["properties"]["type"]["const"] == name
            assert component["required"][0] == "type"
            assert component["additionalProperties"] is False


def test_bare_names_are_those_that_need_no_field(schema: dict[str, Any]) -> None:
    names, _ = definition(schema, "ActivationConfig")["anyOf"]
    assert "core.relu" in names["enum"]
    assert "core.topk" not in names["enum"]


def test_fields_keep_their_meaning(schema: dict[str, Any]) -> None:
    assert schema["properties"]["name"]["description"] == "the run's name and its folder under runs/"
    assert definition(schema, "TopKConfig")["properties"]["k"]["exclusiveMinimum"] == 0
