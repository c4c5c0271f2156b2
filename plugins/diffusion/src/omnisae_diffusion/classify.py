"""Judging generated pictures by a classifier that the config names."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from omnisae.errors import ConfigError, DatasetError, did_you_mean
from omnisae.extract.dataset import Dataset
from omnisae.extract.loading import batches
from omnisae_diffusion.judgement import Judgement, find
from omnisae_diffusion.picture_set import Pictures, PictureSet, check
from omnisae_diffusion.plugin_classifier import ClassifierConfig
from omnisae_vision.editing_answers import answers, names

BLANK = np.zeros((1, 32, 32, 3), dtype=np.uint8)
"""A picture by which the extractor is built and its outputs counted; nothing is read off it."""


class Classifier:
    """A frozen classifier of 8-bit RGB pictures. `classes` names the classes of each domain, in the order of outputs.

    Raises ConfigError where the model answers with no class, or where names and outputs do not fit.
    """

    def __init__(self, config: ClassifierConfig, dataset: Dataset | None = None) -> None:
        self.config = config
        self.extractor = config.extractor.build(dataset or PictureSet(BLANK))
        self._answers = answers(self.extractor, None)
        count = self._scores(BLANK).shape[1]
        called = names(self.extractor, config.outputs, count)
        if config.outputs is None and called == [f"output {at}" for at in range(count)]:
            raise ConfigError(
                f"nothing says what the {count} outputs of the classifier are called",
                "name them in their order under `outputs`, e.g. [digit=0, digit=1]",
            )
        self._places = group(called, config.domain, config.domains)
        self.classes: Mapping[str, tuple[str, ...]] = {domain: tuple(places) for domain, places in self._places.items()}

    def judge(self, pictures: Pictures) -> Judgement:
        """What the classifier says of every picture: in each domain the softmax over that domain's outputs alone.

        Raises DatasetError where the pictures are not 8-bit RGB, or where an answer is not finite.
        """
        scores = self._scores(check(pictures))
        found = {domain: softmax(scores[:, list(places.values())], axis=1) for domain, places in self._places.items()}
        return Judgement(self.classes, found)

    def score(self, domain: str, name: str, pictures: Pictures) -> Float[np.ndarray, " picture"]:
        """How likely one class is, picture by picture. Raises ConfigError where there is no such class, before any
        picture is looked at."""
        find(self.classes, domain, name)
        return self.judge(pictures).of(domain, name)

    def _scores(self, pictures: Pictures) -> Float[np.ndarray, "picture output"]:
        parts = [
            self._answers(inputs)[:, 0].double().numpy()
            for _, inputs in batches(PictureSet(pictures), self.extractor, range(len(pictures)), workers=0)
        ]
        scores = np.concatenate(parts)
        wrong = np.flatnonzero(~np.isfinite(scores).all(axis=1))
        if len(wrong):
            raise DatasetError(
                f"the classifier answers NaN or infinity on {len(wrong)} of {len(scores)} pictures, the first in row "
                f"{wrong[0]}",
                "run it with dtype: float32, and look at these pictures",
            )
        return scores


def group(called: Sequence[str], domain: str, domains: Mapping[str, Sequence[str]] | None) -> dict[str, dict[str, int]]:
    """The outputs by domain and class: the place of each. Raises ConfigError where names do not fit."""
    owner = {name: of for of, some in (domains or {}).items() for name in some}
    for name in owner:
        if name not in called:
            raise ConfigError(f"domains: the classifier has no output {name!r}", did_you_mean(name, called))
    out: dict[str, dict[str, int]] = {}
    for place, name in enumerate(called):
        of, equals, short = name.partition("=")
        # Where `domains` is given, it says which plain outputs count; the others are left out.
        if name in owner or not equals:
            if domains is not None and name not in owner:
                continue
            of, short = owner.get(name, domain), name
        if short in out.setdefault(of, {}):
            raise ConfigError(f"two outputs of the classifier are called {name!r}", "give each a name of its own")
        out[of][short] = place
    single = [of for of, places in out.items() if len(places) < 2]
    if single or not out:
        raise ConfigError(
            f"the classifier has fewer than two outputs for {', '.join(map(repr, single)) or 'any domain'}, of which "
            "one always wins",
            "name outputs of one domain alike, e.g. digit=0 and digit=1, or group them under `domains`",
        )
    return out
