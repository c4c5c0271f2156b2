"""The study `protein.patterns`: in what manner a latent fires along proteins (InterProt, Adams et al. 2025).

A contig is a run of residues at which a latent exceeds a share of its maximum. Where InterProt looks at the strongest
sequences, all TEST proteins in which the latent exceeds it count here.
"""

import numpy as np
from jaxtyping import Bool, Float, Int64

from omnisae.extract.split import TEST
from omnisae.postings.postings import Postings
from omnisae.studies.resample import generator
from omnisae.studies.study import Finding, Findings, Material, Measure, Study
from omnisae_protein.dataset import AXIS
from omnisae_protein.plugin import PatternsConfig

WHOLE = 0.8
"""Share of the residues above which a latent is of whole proteins."""
SHORT, MEDIUM = 20, 50
"""Lengths of contigs at which short, medium and long motifs part."""
REGULAR = 0.5
"""Share of the distances between contigs that are alike (within one residue) above which a latent is periodic."""
KINDS = ("point", "periodic", "short motif", "medium motif", "long motif", "whole")


class Patterns(Study):
    title = "How do latents fire along proteins?"
    about = (
        "Runs of residues above a share of the latent's maximum, on test proteins, and the distances between them: "
        "point, periodic, short, medium and long motifs, whole (after InterProt, Adams et al. 2025). Beside it the "
        "same values at shuffled residues of the same proteins."
    )

    def __init__(self, config: PatternsConfig) -> None:
        self._config = config

    def study(self, material: Material) -> Findings:
        postings = material.postings
        runs = Contigs.of(postings, self._config.share)
        kinds, median, share = runs.kinds(self._config.proteins)
        random = generator(material, "patterns")
        chance, _, _ = Contigs.of(postings, self._config.share, random).kinds(self._config.proteins)
        known = [kind for kind in kinds if kind]
        alike = [kind for kind in chance if kind]
        findings = [
            Finding(
                f"Latents: {kind}", float(known.count(kind)), len(known), float(alike.count(kind)),
                "the same values at shuffled residues", kind="count",
            )
            for kind in KINDS
        ]  # fmt: skip
        measures = [
            Measure("pattern", kinds, "in what manner it fires along proteins", kind="text"),
            Measure("contig length", median, "median length of its runs of residues, on test"),
            Measure("share of protein", share, "mean share of a protein's residues on which it fires", kind="share"),
        ]
        note = f"Latents that exceed the level in fewer than {self._config.proteins} test proteins have no pattern."
        return Findings(findings, measures, notes=[note])


class Contigs:
    """The contigs of all latents: of each its latent, protein, first residue and length, in this order."""

    def __init__(
        self,
        latents: int,
        latent: Int64[np.ndarray, " contig"],
        protein: Int64[np.ndarray, " contig"],
        first: Int64[np.ndarray, " contig"],
        length: Int64[np.ndarray, " contig"],
        sizes: Int64[np.ndarray, " protein"],
    ) -> None:
        self.latents, self.latent, self.protein, self.first, self.length = latents, latent, protein, first, length
        self.sizes = sizes

    @staticmethod
    def of(postings: Postings, share: float, shuffled: np.random.Generator | None = None) -> "Contigs":
        """From posting lists; with a generator, every protein's residues trade places."""
        axis = postings.hook.axes.index(AXIS)
        place = np.asarray(postings.coords[:, axis]).astype(np.int64)
        example = np.asarray(postings.example).astype(np.int64)
        sizes = np.bincount(example[place >= 0], minlength=postings.n_examples)
        if shuffled is not None:
            keys = shuffled.random(len(place))
            content = np.flatnonzero(place >= 0)
            mixed = content[np.lexsort((keys[content], example[content]))]
            moved = place.copy()
            moved[content] = place[mixed]
            place = moved
        latent = np.repeat(np.arange(len(postings.poles)), np.diff(np.asarray(postings.offsets)))
        token = np.asarray(postings.token).astype(np.int64)
        level = share * np.asarray(postings.maxima)[latent]
        kept = (np.asarray(postings.value) > level) & (postings.split[example[token]] == TEST) & (place[token] >= 0)
        latent, token = latent[kept], token[kept]
        where, protein = place[token], example[token]
        order = np.lexsort((where, protein, latent))
        latent, where, protein = latent[order], where[order], protein[order]
        new = np.ones(len(latent), dtype=bool)
        new[1:] = (np.diff(latent) != 0) | (np.diff(protein) != 0) | (np.diff(where) != 1)
        starts = np.flatnonzero(new)
        length = np.diff(np.r_[starts, len(latent)])
        return Contigs(len(postings.poles), latent[starts], protein[starts], where[starts], length, sizes)

    def kinds(self, least: int) -> tuple[list[str], Float[np.ndarray, " list"], Float[np.ndarray, " list"]]:
        """The pattern of every posting list ("" where it is in too few proteins), the median length of its contigs, and
        the mean share of a protein's residues in them."""
        median = _medians(self.latent, self.length.astype(float), self.latents)
        pair = np.ones(len(self.latent), dtype=bool)
        pair[1:] = (np.diff(self.latent) != 0) | (np.diff(self.protein) != 0)
        proteins = np.bincount(self.latent[pair], minlength=self.latents)
        covered = np.bincount(self.latent, self.length / self.sizes[self.protein], minlength=self.latents)
        share = np.where(proteins > 0, covered / np.maximum(proteins, 1), np.nan)
        regular = self._regular(pair)
        known = proteins >= least
        kinds = [
            _kind(float(median[i]), float(share[i]), bool(regular[i])) if known[i] else "" for i in range(self.latents)
        ]
        return kinds, np.where(known, median, np.nan), np.where(known, share, np.nan)

    def _regular(self, new: Bool[np.ndarray, " contig"]) -> Bool[np.ndarray, " list"]:
        """Lists that have three contigs a protein or more (in the mean) at mostly the same distance."""
        within = np.flatnonzero(~new)
        gap = self.first[within] - self.first[within - 1]
        latent = self.latent[within]
        typical = _medians(latent, gap.astype(float), self.latents)
        alike = np.abs(gap - typical[latent]) <= 1
        many = np.bincount(latent, minlength=self.latents)
        same = np.bincount(latent, alike, minlength=self.latents)
        contigs = np.bincount(self.latent, minlength=self.latents)
        proteins = np.bincount(self.latent[new], minlength=self.latents)
        return (contigs >= 3 * proteins) & (same > REGULAR * np.maximum(many, 1)) & (many > 0)


def _kind(length: float, share: float, regular: bool) -> str:
    if share > WHOLE:
        return "whole"
    if regular:
        return "periodic"
    if length <= 1:
        return "point"
    return "short motif" if length <= SHORT else "medium motif" if length <= MEDIUM else "long motif"


def _medians(
    group: Int64[np.ndarray, " item"], values: Float[np.ndarray, " item"], groups: int
) -> Float[np.ndarray, " group"]:
    """The median of each group's values; NaN where it has none."""
    order = np.lexsort((values, group))
    values = values[order]
    count = np.bincount(group, minlength=groups)
    first = np.r_[0, np.cumsum(count)[:-1]]
    out = np.full(groups, np.nan)
    some = count > 0
    low, high = first + (count - 1) // 2, first + count // 2
    out[some] = (values[low[some]] + values[high[some]]) / 2
    return out
