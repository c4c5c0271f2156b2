"""Phrases of words that stand in a latent's texts and seldom in others."""

import re
from collections import Counter
from collections.abc import Sequence
from math import log

from omnisae.studies.explainer import Case, Explainer

WORD = re.compile(r"[^\W\d_][\w'’-]{2,}|\b\d{4}s?\b")
"""A word: three letters or more, hyphens within; or a year or decade."""
_PLAIN = """about after all and are because been but can for from had has have her his how into its not off one our out
over she than that the their them they this was were what when who will with you your"""
PLAIN = frozenset(_PLAIN.split())
"""Words that say nothing."""


def words(text: str) -> list[str]:
    """The words of a text, lower case, without those that say nothing."""
    return [word for word in WORD.findall(text.lower()) if word not in PLAIN]


class Tfidf(Explainer):
    """score(w) = (share of the latent's texts with w) · log((1 + N) / (1 + n_w)), n_w of the N other texts having w.

    A phrase is the best words that stand in at least `share` of the texts, and in two of them (of several).
    """

    def __init__(self, most: int, share: float) -> None:
        self.most, self.share = most, share

    def phrases(self, cases: Sequence[Case], others: Sequence[str]) -> list[str]:
        everywhere = Counter(word for text in others for word in set(words(text)))
        return [self._phrase(case, everywhere, len(others)) for case in cases]

    def _phrase(self, case: Case, everywhere: Counter[str], n: int) -> str:
        count = Counter(word for text in case.texts for word in set(words(text)))
        least = max(self.share * len(case.texts), min(2, len(case.texts)))
        score = {
            word: times / len(case.texts) * log((1 + n) / (1 + everywhere[word]))
            for word, times in count.items()
            if times >= least
        }
        best = sorted(score, key=lambda word: (-score[word], word))
        return ", ".join(word for word in best[: self.most] if score[word] > 0)
