"""Generated pictures as numbers need them: what their prompts asked for, and what a classifier saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool

from omnisae.errors import ConfigError, DatasetError, did_you_mean


@dataclass(frozen=True, slots=True, order=True)
class Concept:
    """A concept of a domain, written `digit=7`."""

    domain: str
    name: str

    def __str__(self) -> str:
        return f"{self.domain}={self.name}"

    @classmethod
    def parse(cls, text: str) -> "Concept":
        """The concept that a text names. Raises ConfigError where it has no domain or no name."""
        domain, _, name = text.partition("=")
        if not domain or not name:
            raise ConfigError(f"{text!r} names no concept of a domain", "write the domain and the name, e.g. digit=7")
        return cls(domain, name)


@dataclass(frozen=True)
class Generated:
    """A row a picture: its prompt, its seed, what the prompt asks for in each domain ("" for nothing), and what it is
    judged to show. Raises DatasetError where the columns differ in length, or two rows have one prompt and seed."""

    prompts: Sequence[str]
    seeds: Sequence[int]
    asked: Mapping[str, Sequence[str]]
    judged: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        columns: dict[str, Sequence[object]] = {"seeds": self.seeds}
        columns |= {f"asked[{name!r}]": values for name, values in self.asked.items()}
        columns |= {f"judged[{name!r}]": values for name, values in self.judged.items()}
        for name, values in columns.items():
            if len(values) != len(self.prompts):
                raise DatasetError(
                    f"{name} has {len(values)} rows for {len(self.prompts)} pictures", "give a row a picture"
                )
        for domain in self.asked:
            if domain not in self.judged:
                raise DatasetError(f"the pictures are not judged in {domain!r}", did_you_mean(domain, self.judged))
        if len(self.keys) != len(self.prompts):
            raise DatasetError(
                f"{len(self.prompts) - len(self.keys)} pictures have the prompt and the seed of another",
                "give every picture of a prompt a seed of its own",
            )

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(self.asked)

    @cached_property
    def keys(self) -> dict[tuple[str, int], int]:
        """The row of each prompt and seed."""
        return {(prompt, int(seed)): at for at, (prompt, seed) in enumerate(zip(self.prompts, self.seeds, strict=True))}

    @cached_property
    def concepts(self) -> tuple[Concept, ...]:
        """What prompts ask for, by domain and name."""
        found = ((domain, sorted(set(names) - {""})) for domain, names in self.asked.items())
        return tuple(Concept(domain, name) for domain, names in found for name in names)

    @cached_property
    def prompt_array(self) -> np.ndarray:
        return np.asarray(self.prompts, dtype=str)

    def asked_in(self, domain: str) -> Bool[np.ndarray, " picture"]:
        """Whose prompt asks for anything in a domain."""
        return np.asarray(np.asarray(self.asked[domain], dtype=str) != "")

    def asks(self, concept: Concept) -> Bool[np.ndarray, " picture"]:
        """Whose prompt asks for a concept."""
        return np.asarray(np.asarray(self.asked[concept.domain], dtype=str) == concept.name)

    def shows(self, domain: str) -> Bool[np.ndarray, " picture"]:
        """Which are judged to show what their prompt asks for in a domain."""
        return np.asarray(np.asarray(self.asked[domain], dtype=str) == np.asarray(self.judged[domain], dtype=str))

    def paired(self, like: "Generated") -> "Generated":
        """The rows of the same prompts and seeds as `like`, in its order. Raises DatasetError where one is missing, or
        its prompt is said to ask for something else."""
        missing = [key for key in like.keys if key not in self.keys]
        if missing:
            prompt, seed = missing[0]
            raise DatasetError(
                f"{len(missing)} of {len(like.keys)} edited pictures have no unedited one of the same prompt and seed; "
                f"the first: {prompt!r}, seed {seed}",
                "generate both with the same prompts and seeds",
            )
        rows = [self.keys[key] for key in like.keys]
        asked = {name: [values[at] for at in rows] for name, values in self.asked.items()}
        if asked != {name: list(values) for name, values in like.asked.items()}:
            raise DatasetError(
                "edited and unedited pictures of the same prompt are said to ask for different concepts",
                "label both from the same prompts",
            )
        judged = {name: [values[at] for at in rows] for name, values in self.judged.items()}
        return Generated([self.prompts[at] for at in rows], [self.seeds[at] for at in rows], asked, judged)
