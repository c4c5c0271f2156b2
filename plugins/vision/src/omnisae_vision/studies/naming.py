"""Names of latents by text vectors, each judged against what chance gives."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from omnisae.concepts.multiplicity import benjamini_hochberg
from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.studies.agreement import top_examples
from omnisae.studies.resample import generator, interval
from omnisae.studies.study import Finding, Findings, Material, Measure, Study
from omnisae_vision.plugin_studies import NamingConfig
from omnisae_vision.studies.embedding import embed
from omnisae_vision.studies.vocabulary import by_tower, vocabulary

SHOWN = 40


@dataclass(frozen=True)
class Names:
    """Of every named list: the word's number, its cosine where it did not choose, the mean and the p of the same cosine
    by chance, and the cosine of another list's word."""

    lists: Int[np.ndarray, " named"]
    word: Int[np.ndarray, " named"]
    cosine: Float[np.ndarray, " named"]
    chance: Float[np.ndarray, " named"]
    p: Float[np.ndarray, " named"]
    other: Float[np.ndarray, " named"]


class Naming(Study):
    title = "What are the latents called?"
    about = (
        "Each latent is called by the word whose text vector has the largest cosine with the mean vector of its "
        "strongest select pictures; cosine, margin and p are those of its strongest test pictures against as many "
        "random ones. In a joint space the word is compared with the decoder row (Zaigrajew et al. 2025), and p is the "
        "chance that the best word of a random direction lies as near."
    )

    def __init__(self, config: NamingConfig) -> None:
        self.config = config

    def study(self, material: Material) -> Findings:
        words, vectors = vocabulary(self.config, material)
        named = (
            self._by_decoder(material, vectors)
            if self.config.compare == "decoder"
            else self._by_pictures(material, vectors)
        )
        q = benjamini_hochberg(named.p)
        return Findings(
            findings=self._findings(material, named, q),
            measures=_measures(material, named, q, words),
            tables=_table(material, named, q, words),
            notes=self._notes(material, named, words),
        )

    def _by_decoder(self, material: Material, vectors: Float[np.ndarray, "word d"]) -> Names:
        """Words by the decoder rows of the living lists."""
        from omnisae.autoencoders.artifact import Artifact

        artifact = Artifact.load(material.artifact)
        rows = artifact.autoencoder.decoder_rows().detach().cpu().double().numpy()
        _fits(vectors, rows.shape[1], "the decoder's rows", "train on the joint space itself, or compare: pictures")
        rows = np.concatenate([rows, -rows]) if artifact.signed else rows
        lists = np.flatnonzero(np.asarray(material.postings.counts) > 0)
        if not len(lists):
            raise DatasetError("no latent fires on a held-out picture", "train the autoencoder longer")
        cosine = _unit(rows[lists]) @ _unit(vectors - vectors.mean(axis=0)).T
        random = generator(material, "naming")
        noise = _unit(random.normal(size=(self.config.draws, rows.shape[1])))
        null = np.sort((noise @ _unit(vectors - vectors.mean(axis=0)).T).max(axis=1))
        best = cosine.max(axis=1)
        exceed = len(null) - np.searchsorted(null, best, side="left")
        word = cosine.argmax(axis=1)
        shuffled = word[_derangement(len(lists), random)]
        return Names(
            lists, word, best, np.full(len(lists), null.mean()), (1 + exceed) / (1 + len(null)),
            cosine[np.arange(len(lists)), shuffled],
        )  # fmt: skip

    def _by_pictures(self, material: Material, vectors: Float[np.ndarray, "word d"]) -> Names:
        """Words by the mean vector of the strongest pictures: SELECT's choose, TEST's judge."""
        pictures = self._pictures(material)
        _fits(vectors, pictures.shape[1], "the pictures' vectors", "give words and pictures of one model")
        words = _unit(vectors - vectors.mean(axis=0))
        sides = [_seen(material.rows(side), pictures) for side in (SELECT, TEST)]
        strong = material.strengths.tocsr()
        tops = [top_examples(strong[rows], np.arange(strong.shape[1]), self.config.examples) for rows in sides]
        lists = np.flatnonzero((tops[0] >= 0).all(axis=1) & (tops[1] >= 0).all(axis=1))
        if not len(lists):
            raise DatasetError(
                f"no latent fires in {self.config.examples} pictures of either side of the split",
                "look at fewer (`examples`), or give more pictures",
            )
        centre = pictures[sides[0]].mean(axis=0)
        chosen = _unit(pictures[sides[0]][tops[0][lists]].mean(axis=1) - centre)
        judged = _unit(pictures[sides[1]][tops[1][lists]].mean(axis=1) - centre)
        word = (chosen @ words.T).argmax(axis=1)
        random = generator(material, "naming")
        picks = [random.choice(sides[1], self.config.examples, replace=False) for _ in range(self.config.draws)]
        null = _unit(np.stack([pictures[pick].mean(axis=0) for pick in picks]) - centre) @ words.T
        cosine = (judged * words[word]).sum(axis=1)
        exceed = (null[:, word] >= cosine).sum(axis=0)
        other = word[_derangement(len(lists), random)]
        return Names(
            lists, word, cosine, null[:, word].mean(axis=0), (1 + exceed) / (1 + len(null)),
            (judged * words[other]).sum(axis=1),
        )  # fmt: skip

    def _pictures(self, material: Material) -> Float[np.ndarray, "example d"]:
        if self.config.embedding is not None:
            return embed(self.config.embedding, material)
        rows = np.sort(np.concatenate([material.rows(SELECT), material.rows(TEST)]))
        return by_tower(self.config, material, rows.tolist()).astype(np.float64)

    def _findings(self, material: Material, named: Names, q: Float[np.ndarray, " named"]) -> list[Finding]:
        random = generator(material, "naming intervals")
        against = "random pictures" if self.config.compare == "pictures" else "the best word of random directions"
        ends = interval(named.cosine, random)
        chance = self._sure_by_chance(named)
        return [
            Finding("Mean cosine with its name", float(named.cosine.mean()), len(named.lists),
                    float(named.chance.mean()), against, *ends, kind="share"),
            Finding("Mean cosine with its name, against others' names", float(named.cosine.mean()), len(named.lists),
                    float(named.other.mean()), "the same latents, names shuffled", *ends, kind="share"),
            Finding(f"Surely named (q ≤ {self.config.q:g})", float((q <= self.config.q).mean()), len(named.lists),
                    chance, "names shuffled among the latents, above the same cosine", kind="share"),
        ]  # fmt: skip

    def _sure_by_chance(self, named: Names) -> float:
        """The share of shuffled names whose cosine reaches the least that counts as sure."""
        sure = benjamini_hochberg(named.p) <= self.config.q
        return float((named.other >= named.cosine[sure].min()).mean()) if sure.any() else 0.0

    def _notes(self, material: Material, named: Names, words: list[str]) -> list[str]:
        living = int((np.asarray(material.postings.counts) > 0).sum())
        notes = [f"{len(words)} words; {len(named.lists)} of {living} living lists of latents are named."]
        text: Any = self.config.text
        if text is not None and text.pretrained is None and text.checkpoint is None and ":" not in text.model:
            notes.append("The text tower has random weights: its names mean nothing.")
        return notes


def _measures(material: Material, named: Names, q: Float[np.ndarray, " named"], words: list[str]) -> list[Measure]:
    lists = len(material.postings.poles)

    def spread(values: Float[np.ndarray, " named"]) -> Float[np.ndarray, " list"]:
        out = np.full(lists, np.nan)
        out[named.lists] = values
        return out

    names = [""] * lists
    for place, word in zip(named.lists, named.word, strict=True):
        names[place] = words[word]
    return [
        Measure("name", names, "the word whose text vector lies nearest; see its q before believing it", "text"),
        Measure("name cosine", spread(named.cosine), "cosine with its name, where that was not chosen", "share"),
        Measure("name margin", spread(named.cosine - named.chance), "its cosine less that by chance", "signed"),
        Measure("name q", spread(q), "q of its name, over all named latents", "chance"),
    ]


def _table(
    material: Material, named: Names, q: Float[np.ndarray, " named"], words: list[str]
) -> dict[str, list[dict[str, Any]]]:
    order = np.argsort(-(named.cosine - named.chance), kind="stable")[:SHOWN]
    return {
        "Names by their margin over chance": [
            {
                "latent": str(material.postings.poles.name(int(named.lists[one]))),
                "name": words[named.word[one]],
                "cosine": float(named.cosine[one]),
                "by chance": float(named.chance[one]),
                "q": float(q[one]),
            }
            for one in order
        ]
    }


def _unit(rows: Float[np.ndarray, "row d"]) -> Float[np.ndarray, "row d"]:
    norm = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(norm > 0, norm, 1.0)


def _seen(rows: Int[np.ndarray, " row"], pictures: Float[np.ndarray, "example d"]) -> Int[np.ndarray, " row"]:
    known: Bool[np.ndarray, " row"] = ~np.isnan(pictures[rows]).any(axis=1)
    return rows[known]


def _derangement(n: int, random: np.random.Generator) -> Int[np.ndarray, " item"]:
    """An order in which nobody keeps his place: a turn of a shuffled circle."""
    order = random.permutation(n)
    out = np.empty(n, dtype=np.int64)
    out[order] = np.roll(order, 1)
    return out


def _fits(vectors: Float[np.ndarray, "word d"], width: int, what: str, remedy: str) -> None:
    if vectors.shape[1] != width:
        raise DatasetError(f"words have vectors of length {vectors.shape[1]} and {what} of {width}", remedy)
