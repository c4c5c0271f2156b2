"""What a classifier says of pictures: in every domain a class for each, and how likely every class is."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from omnisae.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Judgement:
    """`classes` names the classes of each domain; `probabilities` holds a row a picture, which sums to 1."""

    classes: Mapping[str, tuple[str, ...]]
    probabilities: Mapping[str, Float[np.ndarray, "picture class"]]

    def __len__(self) -> int:
        return len(next(iter(self.probabilities.values())))

    @property
    def labels(self) -> dict[str, list[str]]:
        """The most likely class of every picture, by domain."""
        return {
            domain: [self.classes[domain][at] for at in values.argmax(axis=1)]
            for domain, values in self.probabilities.items()
        }

    def of(self, domain: str, name: str) -> Float[np.ndarray, " picture"]:
        """How likely a class is, picture by picture. Raises ConfigError where the classifier has no such class."""
        return self.probabilities[domain][:, find(self.classes, domain, name)]

    def beside(self, other: "Judgement") -> "Judgement":
        """Two classifiers' judgements of the same pictures as one, such as one of objects and one of styles.

        Raises ConfigError where both judge one domain, or not as many pictures.
        """
        shared = sorted(self.classes.keys() & other.classes.keys())
        if shared:
            raise ConfigError(f"two classifiers judge {', '.join(map(repr, shared))}", "give each a domain of its own")
        if len(self) != len(other):
            raise ConfigError(f"{len(self)} and {len(other)} pictures were judged", "let both judge the same pictures")
        return Judgement({**self.classes, **other.classes}, {**self.probabilities, **other.probabilities})


def find(classes: Mapping[str, tuple[str, ...]], domain: str, name: str) -> int:
    """The place of a class in its domain. Raises ConfigError, with the nearest, where there is none."""
    if domain not in classes:
        raise ConfigError(f"the classifier judges no {domain!r}", did_you_mean(domain, classes))
    if name not in classes[domain]:
        raise ConfigError(f"the classifier knows no {domain} {name!r}", did_you_mean(name, classes[domain]))
    return classes[domain].index(name)
