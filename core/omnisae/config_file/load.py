"""Config files: from YAML and overrides to a validated config, and back to YAML with every default written out."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from omnisae.config import RunConfig
from omnisae.config_file import yaml_text
from omnisae.config_file.overrides import override
from omnisae.config_file.wording import config_error
from omnisae.errors import ConfigError, did_you_mean

M = TypeVar("M", bound=BaseModel)


def load(path: str | Path, overrides: Iterable[str] = ()) -> RunConfig:
    """The run config in a YAML file, with `a.b=c` overrides put in.

    Raises ConfigError, which names the file, the line, the field, its value, the rule it breaks and the remedy.
    """
    return parse(_text(Path(path)), str(path), overrides)


def parse(text: str, source: str = "config", overrides: Iterable[str] = ()) -> RunConfig:
    """The run config in a YAML text. `source` names it in messages. Raises ConfigError as `load` does."""
    document = yaml_text.read(text, source)
    if document.value is None:
        raise ConfigError(
            f"{source} is empty", "a config has at least name, dataset, extractor, hooks, autoencoder, train"
        )
    raw, origin = override(document.value, overrides)
    return validate(raw, RunConfig, source, document.lines, origin)


def validate(
    raw: Any,
    model: type[M],
    source: str = "config",
    lines: Mapping[yaml_text.Path, int] | None = None,
    origin: Mapping[yaml_text.Path, str] | None = None,
) -> M:
    """Plain values as a model; `lines` and `origin` say where fields stand. Raises one ConfigError for all faults."""
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{source} holds {raw!r}, and must hold a mapping of fields", "write `field: value` lines")
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        raise config_error(error, model, raw, source, lines or {}, origin or {}) from None


def dump(config: BaseModel) -> str:
    """The config as YAML with every default written out; `parse` gives an equal config back."""
    return yaml_text.write(config.model_dump(mode="json"))


def _text(path: Path) -> str:
    if path.is_dir():
        inside = sorted(path.glob("*.y*ml"))
        raise ConfigError(
            f"{path} is a folder, and a config file is wanted",
            f"name the file: {', '.join(map(str, inside[:5]))}" if inside else "name a YAML file",
        )
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        parent = path.parent
        beside = [str(near) for near in parent.glob("*.y*ml")] if parent.is_dir() else []
        problem = f"there is no config file {path}" if parent.is_dir() else f"there is no folder {parent} (for {path})"
        raise ConfigError(problem, did_you_mean(str(path), beside) if beside else "check the path") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", "check its permissions") from None
