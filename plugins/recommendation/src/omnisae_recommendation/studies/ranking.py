"""The study `recommendation.ranking`: does the recommender still rank as well with the autoencoder spliced in?"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.interventions.operation import Tokens
from omnisae.interventions.sae import SAE, Change
from omnisae.studies.resample import generator, interval
from omnisae.studies.study import Finding, Findings, Material, Study
from omnisae_recommendation.recommender import recommender_of
from omnisae_recommendation.sessions import Sessions
from omnisae_recommendation.studies.held import popularity
from omnisae_recommendation.studies.lists import Lists, gains, hits, recommend


class Ranking(Study):
    title: ClassVar[str] = "Does the recommender rank as well with the autoencoder spliced in?"
    about: ClassVar[str] = (
        "HR@k and NDCG@k of the items that test users took next, ranked among all items (those of the history left "
        "out): of the model untouched, with reconstructions in place of its activations, with the mean activation in "
        "their place, and of ranking by popularity. Intervals are of the difference, user by user."
    )

    def __init__(self, k: Sequence[int], seen: bool, most: int) -> None:
        self.k, self.seen, self.most = tuple(k), seen, most

    def study(self, material: Material) -> Findings:
        recommender = recommender_of(material.extractor, "recommendation.ranking")
        rows = rows_with_targets(material, self.most)
        sae = SAE.load(material.artifact).attach(recommender.model)
        mean = mean_activation(material)
        plain, spliced, silenced = recommend(
            recommender,
            rows.tolist(),
            [
                nullcontext,
                lambda: sae.edit(recommender.model, replace=True),
                lambda: sae.editing(recommender.model, mean, delta=False),
            ],
            max(self.k),
            seen=self.seen,
        )
        popular = _popular(recommender.sessions, plain, self.seen)
        out, table = [], []
        random = generator(material, "ranking")
        for k in self.k:
            for name, measure in (("HR", hits), ("NDCG", gains)):
                ways = [measure(one, k) for one in (plain.rank, spliced.rank, silenced.rank, popular)]
                before, after, without, guess = (float(way.mean()) for way in ways)
                low, high = interval(ways[1] - ways[0], random)
                said = f"difference {after - before:+.4f} ({low:+.4f} to {high:+.4f})".replace("-", "−")
                out.append(
                    Finding(
                        f"{name}@{k}, spliced", after, len(rows), before, "the model untouched", before + low,
                        before + high, kind="share",
                        remark=f"{said}; {without:.3f} with the mean activation, {guess:.3f} by popularity",
                    )
                )  # fmt: skip
                table.append(
                    {
                        "measure": f"{name}@{k}", "untouched": before, "spliced": after, "mean activation": without,
                        "by popularity": guess, "test users": len(rows),
                    }
                )  # fmt: skip
        same = np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(plain.top, spliced.top, strict=True)])
        out.append(
            Finding(
                f"Items in common among the {max(self.k)} best", float(same), len(rows), 1.0, "no change", kind="share"
            )
        )
        return Findings(out, tables={"Before and after": table})


def rows_with_targets(material: Material, most: int) -> Int[np.ndarray, " example"]:
    """TEST examples of which it is known what came next, at most so many, drawn at random. Raises DatasetError where
    there are fewer than two."""
    sessions = recommender_of(material.extractor, "this study").sessions
    rows = np.array([row for row in material.rows(TEST) if sessions.histories.target(int(row)) > 0], dtype=np.int64)
    if len(rows) < 2:
        raise DatasetError(
            f"{len(rows)} test users have an item that came next; two are needed", "set dataset.holdout, or add users"
        )
    if len(rows) > most:
        rows = np.sort(generator(material, "users").permutation(rows)[:most])
    return rows


def mean_activation(material: Material) -> Change:
    """The edit that puts the mean activation of the select tokens in place of every kept token's."""
    total, n = torch.zeros(material.postings.hook.width, dtype=torch.float64), 0
    keep = material.postings.manifest.keep_on(SELECT)
    for batch in material.source.sequential(keep, material.mask(material.rows(SELECT))):
        total += batch.values.double().sum(dim=0)
        n += len(batch)
    mean = (total / max(n, 1)).float()

    def change(x: Tensor, tokens: Tokens) -> tuple[Tensor, Tensor]:
        return torch.arange(len(x), device=x.device), mean.to(x).expand(len(x), -1)

    return change


def _popular(sessions: Sessions, plain: Lists, seen: bool) -> Int[np.ndarray, " example"]:
    """The target's rank by popularity, ties in the middle."""
    count = popularity(sessions).astype(np.float64)
    out = []
    for row in plain.rows.tolist():
        score = count.copy()
        target = sessions.histories.target(row) - 1
        own = score[target]
        if not seen:
            score[sessions.history(row) - 1] = -np.inf
        score[target] = -np.inf
        out.append(int((score > own).sum() + (score == own).sum() // 2))
    return np.array(out)
