"""Two corpora compared: which concepts one of them lacks or has too much of."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from omnisae.errors import DatasetError
from omnisae.extract.split import TEST
from omnisae.studies.columns import choose, classes
from omnisae.studies.corpora_tables import EXAGGERATED, SUPPRESSED, Compared, tables
from omnisae.studies.densities import densities
from omnisae.studies.pooled import energies, tokens_of
from omnisae.studies.resample import LEVELS, generator, p_value, permutations, weights
from omnisae.studies.study import Finding, Findings, Material, Measure, Study


@dataclass(frozen=True)
class Energies:
    """Of each TEST example of either corpus its squared codes, summed over tokens (sparse, example × list), and its
    tokens. `second` marks the examples of the second corpus."""

    squares: Any
    tokens: Float[np.ndarray, " row"]
    second: Bool[np.ndarray, " row"]

    @property
    def fires(self) -> tuple[Int[np.ndarray, " list"], Int[np.ndarray, " list"]]:
        """In how many examples of either corpus each list fires."""
        of_first, of_second = (
            np.asarray((self.squares[side] > 0).sum(axis=0)).ravel() for side in (~self.second, self.second)
        )
        return of_first, of_second

    def shares(self, weight: Float[np.ndarray, "draw row"], second: Float[np.ndarray, "draw row"]) -> np.ndarray:
        """δ of every draw and list: E_b / (E_a + E_b), each the energy a token of its corpus; NaN where both are 0.
        `second` is 1 for the rows of the second corpus, `weight` how often each row counts."""
        parts = []
        for side in (weight * (1 - second), weight * second):
            tokens = side @ self.tokens
            parts.append(np.asarray(side @ self.squares) / np.where(tokens > 0, tokens, np.nan)[:, None])
        both = parts[0] + parts[1]
        with np.errstate(invalid="ignore"):
            return np.where(both > 0, parts[1] / np.where(both > 0, both, 1.0), np.nan)


class Corpora(Study):
    title = "What does one corpus lack that the other has?"
    about = (
        "A latent's energy in a corpus is its squared code summed over the tokens, divided by their number; "
        "δ = E_b / (E_a + E_b) on test examples is near 0 where the second corpus lacks what the latent stands for, "
        "and near 1 where it has too much of it (Bohacek et al. 2025, conceptual blind spots)."
    )

    def __init__(self, column: str, a: str | None, b: str | None, least: int, draws: int, permutations: int) -> None:
        self.column, self.a, self.b, self.least = column, a, b, least
        self.draws, self.permutations = draws, permutations

    def study(self, material: Material) -> Findings:
        first, second = self._names(material)
        found = classes(material, self.column)
        rows = material.rows(TEST)
        rows = rows[found.is_(first)[rows] | found.is_(second)[rows]]
        marked = found.is_(second)[rows]
        if min(marked.sum(), (~marked).sum()) < 2:
            raise DatasetError(
                f"of {self.column!r}, {int((~marked).sum())} test examples are {first!r} and {int(marked.sum())} "
                f"{second!r}",
                "both corpora need two at least; give more examples",
            )
        energy = Energies(energies(material.postings).tocsr()[rows], tokens_of(material.postings)[rows] * 1.0, marked)
        random = generator(material, "corpora")
        ones = np.ones((1, len(rows)))
        enough = sum(energy.fires) >= self.least
        share = energy.shares(ones, marked[None].astype(np.float64))[0]
        drawn = energy.shares(weights(material, rows, self.draws, random), marked[None].astype(np.float64))
        null = np.stack(
            [
                energy.shares(ones, marked[order][None].astype(np.float64))[0]
                for order in permutations(material, rows, self.permutations, random)
            ]
        )
        for values in (share[None], drawn, null):
            values[:, ~enough] = np.nan
        if np.isnan(share).all():
            raise DatasetError(
                f"no latent fires in {self.least} test examples of the two corpora",
                "ask for fewer (`least`), or train longer",
            )
        low, high = _ends(drawn)
        total = np.asarray(energy.squares.sum(axis=0)).ravel()
        sides = found.is_(first), found.is_(second)
        compared = Compared((first, second), share, low, high, energy.fires, total, *sides)
        return Findings(
            findings=self._findings(share, null, low, high, second),
            measures=[
                Measure(f"share of {second}", share, f"δ: its energy a token in {second} over that in both", "share"),
                Measure(f"share of {second} (low)", low, "lower end of the 95 % bootstrap interval of δ", "share"),
                Measure(f"share of {second} (high)", high, "upper end of the 95 % bootstrap interval of δ", "share"),
            ],
            figures=[self._figure(share, null, first, second)],
            tables=tables(material, compared),
            notes=[
                f"{int((~marked).sum())} test examples are {first}, {int(marked.sum())} are {second}. Latents that "
                f"fire in fewer than {self.least} of them are left out."
            ],
        )

    def _names(self, material: Material) -> tuple[str, str]:
        """The two corpora: as named, or the column's only two classes."""
        found = classes(material, self.column)
        if self.a is None and self.b is None and len(found.classes) == 2:
            return found.classes[0], found.classes[1]
        first = choose(found, self.a, f"the first corpus (`a`) among the classes of {self.column!r}")
        return first, choose(found, self.b, f"the second corpus (`b`) among the classes of {self.column!r}")

    def _findings(
        self,
        share: np.ndarray,
        null: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        second: str,
    ) -> list[Finding]:
        # No intervals here: drawn again, shares only scatter more, and lie further from one half than they do.
        n, against = int((~np.isnan(share)).sum()), "the same with shuffled corpora"
        extremes = (
            (f"Suppressed in {second} (δ < {SUPPRESSED})", SUPPRESSED, -1, int((high < SUPPRESSED).sum())),
            (f"Exaggerated in {second} (δ > {EXAGGERATED})", EXAGGERATED, 1, int((low > EXAGGERATED).sum())),
        )
        out = []
        for name, edge, side, sure in extremes:
            value, chance = (_beyond(d, edge, side) for d in (share[None], null))
            p, told = p_value(float(value[0]), chance), f"{sure} with their whole 95 % interval"
            mean = float(chance.mean())
            out.append(Finding(name, float(value[0]), n, mean, against, p=p, kind="count", remark=told))
        apart, by_chance = (_apart(d) for d in (share[None], null))
        p, mean = p_value(float(apart[0]), by_chance), float(by_chance.mean())
        out.append(Finding("Mean distance of δ from one half", float(apart[0]), n, mean, against, p=p, kind="share"))
        return out

    def _figure(self, share: np.ndarray, null: np.ndarray, first: str, second: str) -> Any:
        return densities(
            {"latents": share, "corpora shuffled": null[0]},
            low=0.0,
            high=1.0,
            axis=f"δ: only in {first} at 0, only in {second} at 1",
            title="Energy of the two corpora",
            caption="Density of δ over the latents that fire on test examples of either corpus; one shuffle beside it.",
        )


def _ends(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The interval of every list; NaN where it fired in fewer than half of the draws."""
    known = (~np.isnan(drawn)).mean(axis=0) >= 0.5
    out = np.full((2, drawn.shape[1]), np.nan)
    if known.any():
        out[:, known] = np.nanquantile(drawn[:, known], LEVELS, axis=0)
    return out[0], out[1]


def _beyond(shares: np.ndarray, edge: float, side: int) -> np.ndarray:
    """How many lists of every draw lie below (side −1) or above (side 1) the edge."""
    with np.errstate(invalid="ignore"):
        return np.asarray((side * (shares - edge) > 0).sum(axis=1).astype(np.float64))


def _apart(shares: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nansum(np.abs(shares - 0.5), axis=1) / np.maximum((~np.isnan(shares)).sum(axis=1), 1))
