"""What an artifact says of itself: `sae.json`. No torch here, so that it can be looked at fast."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from omnisae.errors import ArtifactError
from omnisae.hooks.point import HookPoint
from omnisae.tokens.filter import TokenFilters

SCHEMA = 2
"""The newest schema that this version reads."""
FORMAT = "omnisae artifact"
ABOUT, WEIGHTS = "sae.json", "sae.safetensors"


def schema_of(hook: HookPoint) -> int:
    """The schema in which an artifact is written: the oldest that can say its hook point."""
    return 2 if hook.later else 1


class ArtifactInfo(BaseModel):
    """Where an artifact belongs: `parent`, `dataset` and `source` are fingerprints of the model, of the dataset and
    of the tokens it was trained on (parent None: there is no model), `tokens` the filters that its stages keep to,
    `trained` facts of the training worth keeping."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hook: HookPoint
    tokens: TokenFilters = TokenFilters()
    parent: str | None = None
    dataset: str = ""
    source: str = ""
    trained: dict[str, Any] = {}


class Weights(BaseModel):
    """The weights file, as it was written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = WEIGHTS
    sha256: str
    bytes: int


class Built(BaseModel):
    """What the autoencoder is built from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int
    latents: int
    seed: int
    config: dict[str, Any]


class Golden(BaseModel):
    """The golden pair: so many tokens with their codes, and the largest deviation allowed (over the largest code)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: int
    tolerance: float


class About(BaseModel):
    """The whole of `sae.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    format: str = FORMAT
    version: int = Field(default=1, alias="schema")
    weights: Weights
    autoencoder: Built
    rule: str
    squared_norm: tuple[float, float] | None
    golden: Golden
    statistics: tuple[str, ...] = ()
    info: ArtifactInfo
    written_by: dict[str, str] = {}


def folder_of(path: Path | str) -> Path:
    """The artifact's folder, from the folder itself or one of its two files."""
    path = Path(path)
    return path.parent if path.name in (ABOUT, WEIGHTS) else path


def read(path: Path | str) -> About:
    """`sae.json`. Raises ArtifactError where it is missing, truncated, of a newer schema, or none of ours."""
    file = folder_of(path) / ABOUT
    if not file.is_file():
        raise ArtifactError(f"{file.parent} holds no artifact: {ABOUT} is missing", _where_else(file.parent))
    try:
        raw = json.loads(file.read_bytes())
    except ValueError as error:
        raise ArtifactError(f"{file} is truncated or altered: {error}", "save or copy the artifact again") from None
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise ArtifactError(
            f"{file} does not describe an omnisae artifact", "give the folder that `omnisae train` wrote"
        )
    version = raw.get("schema")
    if not isinstance(version, int) or version > SCHEMA:
        raise ArtifactError(
            f"{file} has schema {version!r}; this omnisae reads up to {SCHEMA}", "update omnisae to read this artifact"
        )
    try:
        return About.model_validate(raw)
    except ValueError as error:
        raise ArtifactError(f"{file} is altered: {error}", "save or copy the artifact again") from None


def describe(path: Path | str) -> dict[str, Any]:
    """The facts of an artifact, for a person: read from `sae.json` alone."""
    about = read(path)
    hook = about.info.hook
    return {
        "artifact": str(folder_of(path)),
        "schema": about.version,
        "hook": hook.model_dump(mode="json"),
        "width": about.autoencoder.width,
        "latents": about.autoencoder.latents,
        "parts": about.autoencoder.config,
        "fires": about.rule,
        "tokens": about.info.tokens.model_dump(mode="json"),
        "parent": about.info.parent,
        "dataset": about.info.dataset,
        "source": about.info.source,
        "trained": about.info.trained,
        "statistics": list(about.statistics),
        "weights": about.weights.model_dump(),
        "written_by": about.written_by,
    }


def _where_else(folder: Path) -> str:
    inner = folder / "sae" / ABOUT
    if inner.is_file():
        return f"this is a run; its artifact is {inner.parent}"
    return "give the folder that holds sae.json and sae.safetensors, such as runs/<name>/sae"
