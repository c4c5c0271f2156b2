"""The study `protein.probes`: how well one latent, or a few, tell the residues of a concept from as many others.

InterProt (Adams et al. 2025) fits a logistic probe with balanced classes to every latent alone and shows the best on
the same residues. Here latents are ranked on SELECT, fitted there, and told on TEST; classes are balanced by drawing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int64

from omnisae.concepts.level import Level
from omnisae.concepts.stream import Stream
from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.studies import probes
from omnisae.studies.resample import generator, in_pairs, interval
from omnisae.studies.study import Finding, Findings, Material, Study
from omnisae_protein.plugin import ProbesConfig

Sample = tuple[Int64[np.ndarray, " token"], Bool[np.ndarray, " token"]]
"""Residues, half of them of the concept, and which."""


class Probes(Study):
    title = "Can residues be told by a few latents?"
    about = (
        "Logistic regression on the k latents whose means differ most, over as many residues of the concept as of "
        "others, fitted on select and judged on test: accuracy by chance is a half. Beside it the model's neurons, "
        "chosen alike (after InterProt, Adams et al. 2025, who do not hold residues out)."
    )

    def __init__(self, config: ProbesConfig) -> None:
        self._config = config

    def study(self, material: Material) -> Findings:
        level = next((one for one in material.levels if one.labels.level == "token"), None)
        if level is None or not level.classes:
            raise DatasetError("no concept of residues is scored", "give annotations of more proteins")
        random = generator(material, "probes")
        drawn = {
            number: tuple(self._drawn(level, stream, number, random) for stream in (level.select, level.test))
            for number in level.classes
        }
        kept = [number for number, sides in drawn.items() if all(len(side[0]) >= 10 for side in sides)]
        if not kept:
            raise DatasetError("no concept has five residues on either side", "give annotations of more proteins")
        families: dict[str, Any] = {
            "latents": _Latents(material, drawn.values()),
            "neurons": _Neurons(material, drawn.values()),
        }
        rows: list[dict[str, Any]] = []
        for number in kept:
            (fit, truth), (judge, wanted) = drawn[number]
            row: dict[str, Any] = {"concept": level.concept(number).name, "residues on test": len(judge)}
            for name, family in families.items():
                one, other = family.take(fit), family.take(judge)
                order = np.argsort(-probes.differences(one, truth), kind="stable")
                scaled = probes.Scaled(one)
                one, other = scaled(one), scaled(other)
                for k in self._config.k:
                    probe = probes.fit(one[:, order[:k]], truth)
                    row[f"{k} {name}"] = probes.judge(probe, other[:, order[:k]], wanted)[1]
                if name == "latents":
                    row["best latent"] = str(material.postings.poles.name(int(order[0])))
            rows.append(row)
        findings = []
        for k in self._config.k:
            mine, theirs = (np.array([row[f"{k} {name}"] for row in rows]) for name in families)
            low, high = interval(mine, random)
            findings.append(
                Finding(
                    f"Accuracy, {k} latents" if k > 1 else "Accuracy, the best latent", float(mine.mean()), len(rows),
                    float(theirs.mean()), "as many neurons, chosen alike", low, high, kind="share",
                    remark=in_pairs(mine, theirs, random),
                )
            )  # fmt: skip
        rows.sort(key=lambda row: -row[f"{self._config.k[0]} latents"])
        return Findings(findings, tables={"Accuracy on as many residues of the concept as others": rows})

    def _drawn(self, level: Level, stream: Stream, number: int, random: np.random.Generator) -> Sample:
        """As many residues of a concept as known others, by chance, at most `residues` of each."""
        truth = stream.truth(number)
        known = np.flatnonzero(truth.place >= 0)
        positive = truth.mark[truth.place[known]] > 0
        yes, no = known[positive], known[~positive]
        most = min(len(yes), len(no), self._config.residues)
        chosen = np.r_[random.permutation(yes)[:most], random.permutation(no)[:most]]
        return stream.units[chosen], np.r_[np.ones(most, dtype=bool), np.zeros(most, dtype=bool)]


def _all(drawn: Any) -> Int64[np.ndarray, " token"]:
    """All residues of some samples, ascending."""
    parts: Sequence[np.ndarray] = [side[0] for sides in drawn for side in sides]
    return np.unique(np.concatenate(parts))


class _Latents:
    """The codes of the drawn residues: sparse, residue × posting list."""

    def __init__(self, material: Material, drawn: Any) -> None:
        postings = material.postings
        self._tokens = _all(drawn)
        place = np.full(postings.n_tokens, -1, dtype=np.int64)
        place[self._tokens] = np.arange(len(self._tokens))
        lists = np.repeat(np.arange(len(postings.poles)), np.diff(np.asarray(postings.offsets)))
        rows = place[np.asarray(postings.token)]
        kept = rows >= 0
        entries = (np.asarray(postings.value)[kept], (rows[kept], lists[kept]))
        self._codes = sp.csr_matrix(entries, shape=(len(self._tokens), len(postings.poles)))

    def take(self, tokens: Int64[np.ndarray, " token"]) -> Any:
        return self._codes[np.searchsorted(self._tokens, tokens)].astype(np.float64)


class _Neurons:
    """The model's own activations at the drawn residues."""

    def __init__(self, material: Material, drawn: Any) -> None:
        postings = material.postings
        self._tokens = _all(drawn)
        self._values = np.zeros((len(self._tokens), postings.hook.own_width), dtype=np.float32)
        side = postings.split[postings.example]
        for which in (SELECT, TEST):
            here, at = np.flatnonzero(side == which), 0
            for batch in material.source.sequential(postings.manifest.keep_on(which), postings.split == which, 4096):
                mine = here[at : at + len(batch)]
                at += len(batch)
                wanted = np.isin(mine, self._tokens)
                values = batch.values.float().numpy()[wanted][:, : self._values.shape[1]]
                self._values[np.searchsorted(self._tokens, mine[wanted])] = values

    def take(self, tokens: Int64[np.ndarray, " token"]) -> Float[np.ndarray, "token width"]:
        return self._values[np.searchsorted(self._tokens, tokens)].astype(np.float64)
