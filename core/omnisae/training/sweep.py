"""Sweeps: an autoencoder's config with some of its dotted fields replaced. No torch here."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from omnisae.config import AutoencoderConfig
from omnisae.errors import ConfigError, OmnisaeError, did_you_mean


def override(base: AutoencoderConfig, chosen: Mapping[str, Any]) -> AutoencoderConfig:
    """The config with each dotted field (`"activation.k"`, `"penalties.0.weight"`) set to its value.

    Raises ConfigError, naming the field, where there is no such field or it does not take the value.
    """
    if not chosen:
        return base
    raw = base.model_dump(mode="json")
    for field, value in chosen.items():
        _put(raw, field, value)
    shown = ", ".join(f"{field}={value!r}" for field, value in chosen.items())
    try:
        return AutoencoderConfig.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"train.sweep: {shown} makes no valid autoencoder: autoencoder.{place}: {first['msg']}",
            "correct the field's name or its value under train.sweep",
        ) from None
    except OmnisaeError as error:
        raise ConfigError(f"train.sweep: {shown} makes no valid autoencoder: {error.problem}", error.remedy) from None


def _put(raw: dict[str, Any], field: str, value: Any) -> None:
    """Set one dotted field in place. What is None on the way (a part left out) becomes a part with defaults."""
    *way, last = field.split(".")
    node: Any = raw
    for depth, part in enumerate(way):
        key = _key(node, part, field, way[:depth])
        if node[key] is None:
            node[key] = {}
        node = node[key]
    new_part = not node and way  # an omitted part that this field brings to life: its own validation knows its fields
    node[last if new_part else _key(node, last, field, way)] = value


def _key(node: Any, part: str, field: str, way: list[str]) -> str | int:
    owner = f"autoencoder.{'.'.join(way)}" if way else "autoencoder"
    if isinstance(node, list):
        if part.isdigit() and int(part) < len(node):
            return int(part)
        raise ConfigError(
            f"train.sweep names {field!r}, but {owner} has {len(node)} entries and no {part!r}",
            "count entries from 0, as in 'penalties.0.weight'",
        )
    if not isinstance(node, dict):
        raise ConfigError(
            f"train.sweep names {field!r}, but {owner} is {node!r} and has no parts", "name a field that exists"
        )
    if part not in node:
        raise ConfigError(f"train.sweep names {field!r}, but {owner} has no field {part!r}", did_you_mean(part, node))
    return part
