"""The study `galaxies.consistency`: the sky knows no up, so what a latent says of a galaxy should not hang on it."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from omnisae.autoencoders.artifact import Artifact
from omnisae.errors import DatasetError
from omnisae.extract.split import TEST
from omnisae.studies.ranks import unit_ranks
from omnisae.studies.resample import generator, interval
from omnisae.studies.study import Finding, Findings, Material, Measure, Study
from omnisae_galaxies.turns import MIRRORS, TURNS, look

Values = Float[np.ndarray, "example unit"]


class Consistency(Study):
    title: ClassVar[str] = "Does a latent stay the same when the picture is turned or mirrored?"
    about: ClassVar[str] = (
        "Spearman's correlation, over test examples, of a latent's strength in a picture with its strength in the same "
        "picture turned by 90°, 180° and 270° (their mean: rotation consistency), or mirrored left to right and top to "
        "bottom (flip consistency). Beside it the model's own neurons, and every latent against another latent, "
        "which is what agrees by brightness and size alone. What is steady when turned, not when mirrored, tells "
        "handedness."
    )

    def __init__(self, most: int, least: int, top: int) -> None:
        self.most, self.least, self.top = most, least, top

    def study(self, material: Material) -> Findings:
        if getattr(material.extractor, "model", None) is None:
            raise DatasetError(
                "there is no model that sees pictures: vectors that were computed elsewhere cannot be turned",
                "name the model in the extractor, or leave this study out",
            )
        rows = material.rows(TEST)
        if len(rows) > self.most:
            rows = np.sort(generator(material, "consistency").permutation(rows)[: self.most])
        artifact = Artifact.load(material.artifact)
        point = material.postings.hook
        seen, kept = look(material.dataset, material.extractor, artifact, point, rows)
        if len(kept) < max(self.least, 3):
            raise DatasetError(
                f"{len(kept)} test pictures could be read; {max(self.least, 3)} are needed",
                "add examples to the test side",
            )
        fires = np.asarray((seen[""].lists > 0).sum(axis=0)).ravel()
        judged = np.flatnonzero(fires >= self.least)
        if not len(judged):
            raise DatasetError(
                f"no latent fires in {self.least} of {len(kept)} test pictures",
                "set `least` lower, or give more test examples",
            )
        values = {name: np.asarray(one.lists[:, judged].toarray()) for name, one in seen.items()}
        other = _partners(fires[judged])
        families = {
            "latents": _both(values),
            "chance": _both({name: v if name == "" else v[:, other] for name, v in values.items()}),
            "neurons": _both({name: one.neurons for name, one in seen.items()}),
        }
        return Findings(
            findings=self._findings(material, families, len(kept)),
            measures=self._measures(len(material.postings.poles), judged, families["latents"]),
            tables=self._tables(material, judged, families["latents"], fires),
            notes=[
                f"{len(kept)} test pictures, each turned thrice and mirrored twice; {len(judged)} latents fire in "
                f"{self.least} of them at least."
            ],
        )

    def _findings(
        self, material: Material, families: Mapping[str, Mapping[str, Float[np.ndarray, " unit"]]], n: int
    ) -> list[Finding]:
        random = generator(material, "consistency intervals")
        out = []
        for kind, words in (("rotation", "Rotation consistency"), ("flip", "Flip consistency")):
            mine, chance = families["latents"][kind], families["chance"][kind]
            out.append(
                Finding(
                    f"{words}, mean over latents",
                    float(np.nanmean(mine)),
                    int((~np.isnan(mine)).sum()),
                    _mean(families["neurons"][kind]),
                    "the model's neurons",
                    *interval(mine, random),
                    kind="signed",
                    remark=f"{_mean(chance):.3f} for a latent and another as frequent one; {n} test pictures",
                )
            )
        return out

    def _measures(
        self, lists: int, judged: Int[np.ndarray, " unit"], mine: Mapping[str, Float[np.ndarray, " unit"]]
    ) -> list[Measure]:
        out = []
        for kind, what in (("rotation", "turned"), ("flip", "mirrored")):
            values = np.full(lists, np.nan)
            values[judged] = mine[kind]
            note = f"Spearman of its strengths in test pictures and in the same pictures {what}"
            out.append(Measure(f"{kind} consistency", values, note, "signed"))
        return out

    def _tables(
        self,
        material: Material,
        judged: Int[np.ndarray, " unit"],
        mine: Mapping[str, Float[np.ndarray, " unit"]],
        fires: Int[np.ndarray, " list"],
    ) -> dict[str, Sequence[Mapping[str, Any]]]:
        lost = mine["rotation"] - mine["flip"]
        order = np.argsort(-np.nan_to_num(lost, nan=-np.inf), kind="stable")[: self.top]
        rows = [
            {
                "latent": str(material.postings.poles.name(int(judged[i]))),
                "rotation consistency": float(mine["rotation"][i]),
                "flip consistency": float(mine["flip"][i]),
                "lost by mirroring": float(lost[i]),
                "test pictures": int(fires[judged[i]]),
            }
            for i in order
            if not np.isnan(lost[i])
        ]
        return {"Latents that mirroring changes most, beyond what turning does": rows} if rows else {}


def _both(values: Mapping[str, Values]) -> dict[str, Float[np.ndarray, " unit"]]:
    """Mean Spearman's ρ of each unit over the turns, and over the mirrors; NaN where it is constant under one."""
    plain = unit_ranks(values[""])
    return {
        kind: np.mean([_spearman(plain, unit_ranks(values[name])) for name in moves], axis=0)
        for kind, moves in (("rotation", TURNS), ("flip", MIRRORS))
    }


def _spearman(one: Values, other: Values) -> Float[np.ndarray, " unit"]:
    """The correlation of equal columns of unit ranks."""
    return np.where(one.any(axis=0) & other.any(axis=0), (one * other).sum(axis=0), np.nan)


def _partners(fires: Int[np.ndarray, " unit"]) -> Int[np.ndarray, " unit"]:
    """For every latent another one that fires about as often: the next in the order of frequency, the last one's is the
    first."""
    order = np.argsort(fires, kind="stable")
    out = np.empty(len(fires), dtype=np.int64)
    out[order] = np.roll(order, -1)
    return out


def _mean(values: Float[np.ndarray, " unit"]) -> float:
    return float(np.nanmean(values)) if (~np.isnan(values)).any() else float("nan")
