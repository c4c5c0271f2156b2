"""Concepts: what is scored, and at which level."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["token", "example"]
Kind = Literal["region", "binary", "fraction"]


@dataclass(frozen=True, slots=True)
class Concept:
    """Something a person of the field has a name for, with labels.

    `region`: places within examples, so labels are of tokens. `binary` and `fraction`: one number a whole example.
    """

    name: str
    kind: Kind

    @property
    def level(self) -> Level:
        """What carries the label."""
        return "token" if self.kind == "region" else "example"
