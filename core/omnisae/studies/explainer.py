"""Explainers: what turns a latent's strongest texts into a phrase."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """One latent: the `texts` in which it is strongest, the strongest first."""

    name: str
    texts: tuple[str, ...]


class Explainer(ABC):
    """Gives each latent a phrase that says what its texts have in common and others have not."""

    @abstractmethod
    def phrases(self, cases: Sequence[Case], others: Sequence[str]) -> list[str]:
        """A phrase a case, in their order; "" where nothing is common. `others` are texts of all kinds, by which it is
        told what is common everywhere. Raises an OmnisaeError where no answer can be had.
        """
