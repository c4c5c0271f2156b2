"""What samples of tar shards say of their pictures: class, fields of JSON, text."""

import json
from collections.abc import Sequence
from typing import Any

from omnisae.errors import DatasetError, did_you_mean
from omnisae_vision import tables
from omnisae_vision.attributes import NOT_KNOWN, Attributes, attributes
from omnisae_vision.names import Names
from omnisae_vision.webdataset_index import Sample


def classes(samples: Sequence[Sample], ending: str, names: Sequence[str] | None) -> list[str] | None:
    """The class of every sample, by name where there are names; None where no sample has one."""
    found = [text(sample, ending) for sample in samples]
    if all(one is None for one in found):
        return None
    return [NOT_KNOWN if not one else _named(sample, one, names) for sample, one in zip(samples, found, strict=True)]


def fields(
    samples: Sequence[Sample], ids: Sequence[str], ending: str, wanted: Sequence[str], group: str | None
) -> Attributes:
    """Fields of the samples' JSON (`a.b` is b within a) as attributes. Raises DatasetError where no sample has one."""
    names = [*wanted, *([group] if group is not None and group not in wanted else [])]
    if not names:
        return Attributes()
    held = [document(sample, ending) for sample in samples]
    columns = {name: [_value(sample, name, one) for sample, one in zip(samples, held, strict=True)] for name in names}
    for name, column in columns.items():
        if not any(column):
            known = {key for one in held for key in one}
            raise DatasetError(f"no sample's JSON has a field {name!r}", did_you_mean(name, known))
    table = tables.Table("the samples' JSON", {"": ids, **columns}, ids, row="sample")
    return attributes(table, Names(ids, ids), id="", columns=wanted, group=group)


def document(sample: Sample, ending: str) -> dict[str, Any]:
    """A sample's JSON; empty where it has none. Raises DatasetError where it is broken."""
    found = text(sample, ending)
    if found is None:
        return {}
    try:
        held = json.loads(found)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{sample.what(ending)} is no JSON: {error}", "mend the shard") from error
    if not isinstance(held, dict):
        raise DatasetError(f"{sample.what(ending)} is no object", "a sample's JSON holds its fields by name")
    return held


def text(sample: Sample, ending: str) -> str | None:
    """A member's text; None where the sample has none. Raises DatasetError where it is no UTF-8."""
    if ending not in sample.members:
        return None
    try:
        return sample.read(ending).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{sample.what(ending)} cannot be read: {error}", "mend the shard") from error


def _named(sample: Sample, found: str, names: Sequence[str] | None) -> str:
    if names is None or not found.isdecimal():
        return found
    if int(found) >= len(names):
        raise DatasetError(
            f"the class of {sample.key} in {sample.shard} is {found}, and dataset.class_names holds {len(names)}",
            "give a name for every number, in order from 0",
        )
    return names[int(found)]


def _value(sample: Sample, name: str, held: dict[str, Any]) -> str:
    found: Any = held
    for key in name.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    written = tables.text(found)
    if written is None:
        raise DatasetError(
            f"the field {name!r} of {sample.key} in {sample.shard} is {type(found).__name__}, no single value",
            "name a field within it, such as " + repr(f"{name}.{next(iter(found))}" if found else name),
        )
    return written
