"""Jobs: which autoencoders one training makes. Hook points × sweep × seeds. No torch here."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from omnisae.config import AutoencoderConfig, RunConfig
from omnisae.errors import ConfigError
from omnisae.hooks.point import HookPoint
from omnisae.training.sweep import override

LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Job:
    """One autoencoder to train: its name (a folder's name, too), the hook point's name, its parts, and its seed."""

    name: str
    hook: str
    config: AutoencoderConfig
    seed: int


def jobs(config: RunConfig, hooks: Sequence[HookPoint]) -> list[Job]:
    """Every autoencoder of the run: each hook point with each combination of the sweep and each seed.

    The first job is the primary one: the first hook point, the first value of every swept field, the first seed. Names
    read `<hook point>[-<field><value>…]-s<seed>`; they are unique and safe as folder names, and adding a value or a
    seed renames none. Raises ConfigError where the sweep names a field or a value that the autoencoder does not take.
    """
    _refuse_repeats("train.seeds", config.train.seeds)
    combinations = _combinations(config.autoencoder, config.train.sweep)
    made = [
        Job(_name(hook.name, label, seed), hook.name, autoencoder, seed)
        for hook in hooks
        for label, autoencoder in combinations
        for seed in config.train.seeds
    ]
    return _told_apart(made)


def _combinations(
    base: AutoencoderConfig, sweep: Mapping[str, Sequence[Any]]
) -> list[tuple[tuple[str, ...], AutoencoderConfig]]:
    """The configs of the sweep, each with a label for every field."""
    for field, values in sweep.items():
        if not values:
            raise ConfigError(f"train.sweep gives {field!r} no value", "list at least one value, or remove the field")
        _refuse_repeats(f"train.sweep.{field}", values)
    titles = _titles(list(sweep))
    made = []
    for values in product(*sweep.values()):
        chosen = dict(zip(sweep, values, strict=True))
        label = tuple(titles[field] + _value(value) for field, value in chosen.items())
        made.append((label, override(base, chosen)))
    return made


def _refuse_repeats(field: str, values: Sequence[Any]) -> None:
    written = [json.dumps(value, sort_keys=True, default=str) for value in values]
    repeated = sorted({value for value in written if written.count(value) > 1})
    if repeated:
        raise ConfigError(
            f"{field} holds {repeated[0]} twice", "give each value once: equal jobs learn equal autoencoders"
        )


def _titles(fields: Sequence[str]) -> dict[str, str]:
    """A short title for each swept field: its last word, or the whole path where two share it."""
    last = [field.rpartition(".")[2] for field in fields]
    return {field: short if last.count(short) == 1 else field for field, short in zip(fields, last, strict=True)}


def _value(value: Any) -> str:
    """A value as a part of a name: itself where it is simple, else a short digest."""
    if isinstance(value, bool | int | float | str) or value is None:
        return str(value)
    return _digest(json.dumps(value, sort_keys=True, default=str))


def _name(hook: str, label: Sequence[str], seed: int) -> str:
    name = re.sub(r"[^A-Za-z0-9._+-]+", "_", "-".join([hook, *label, f"s{seed}"])).lstrip("._-") or "job"
    if len(name) <= LONGEST_NAME:
        return name
    tail = f"-{_digest(name)}-s{seed}"
    return name[: LONGEST_NAME - len(tail)] + tail


def _told_apart(made: Sequence[Job]) -> list[Job]:
    """The same jobs; those whose names fall together (folders may not tell case) get a digest of what they are."""
    folded = [job.name.lower() for job in made]
    return [
        job
        if folded.count(job.name.lower()) == 1
        else Job(f"{job.name}-{_digest(_identity(job))}", job.hook, job.config, job.seed)
        for job in made
    ]


def _identity(job: Job) -> str:
    parts = job.config.model_dump(mode="json")
    return json.dumps([job.hook, parts, job.seed], sort_keys=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
