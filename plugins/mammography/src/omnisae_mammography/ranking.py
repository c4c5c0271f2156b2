"""Which latents go with a finding: by their mean within it, and by how far it differs from the mean without it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.studies.columns import concepts
from omnisae.studies.ranks import auroc
from omnisae.studies.resample import LEVELS, generator, weights
from omnisae.studies.study import Finding, Findings, Material, Measure, Study
from omnisae_mammography.contrast import Contrast, contrast, ordered


class Ranking(Study):
    title = "Which latents go with a finding?"
    about = (
        "Latents ranked on select pictures, by their mean over the pictures with a finding and all their tokens "
        "(Mammo-SAE, Nakka 2025), and by its standardised difference from the pictures without it. Latents "
        "that are always strong lead the first ranking for presence and absence alike; the second asks what differs. "
        "Both are judged on test pictures."
    )

    def __init__(self, names: Sequence[str] | None, top: int, draws: int) -> None:
        self.names, self.top, self.draws = names, top, draws

    def study(self, material: Material) -> Findings:
        select, test = material.rows(SELECT), material.rows(TEST)
        codes = material.means.tocsr()
        living = np.flatnonzero(np.asarray(material.postings.counts) > 0)
        findings: list[Finding] = []
        measures: list[Measure] = []
        tables: dict[str, list[dict[str, Any]]] = {}
        for name, label in concepts(material, self.names):
            chosen, judged = (rows[~np.isnan(label[rows])] for rows in (select, test))
            chose = contrast(codes[chosen], label[chosen] == 1)
            found = contrast(codes[judged], label[judged] == 1)
            strengths = codes[judged]
            tables[f"{name}: latents by contrast, and by mean"] = self._table(
                material, chose, found, strengths, label[judged] == 1
            )
            findings += self._findings(material, name, chose, found, judged, label, codes, living)
            measures.append(
                Measure(
                    f"contrast {name}",
                    found.d,
                    f"standardised difference of its mean with and without {name}, on test",
                    "signed",
                )
            )
        if not findings:
            raise DatasetError(
                "no binary concept has five examples with and five without on either side of the split",
                "give findings in the dataset's table, or more examples",
            )
        return Findings(findings, measures, tables=tables)

    def _table(
        self, material: Material, chose: Contrast, found: Contrast, codes: Any, positive: np.ndarray
    ) -> list[dict[str, Any]]:
        """The top latents of both rankings side by side, with what test pictures say of them."""
        rows = []
        by_contrast, by_mean = ordered(chose.d, self.top), ordered(chose.within, self.top)
        for place, (one, other) in enumerate(zip(by_contrast, by_mean, strict=True), start=1):
            area = auroc(codes[:, [one, other]].toarray(), positive)
            rows.append(
                {
                    "rank": place,
                    "by contrast": material.postings.poles.name(int(one)),
                    "its contrast on test": float(found.d[one]),
                    "its AUROC": float(area[0]),
                    "by mean": material.postings.poles.name(int(other)),
                    "contrast of that": float(found.d[other]),
                    "AUROC of that": float(area[1]),
                }
            )
        return rows

    def _findings(
        self,
        material: Material,
        name: str,
        chose: Contrast,
        found: Contrast,
        judged: Int[np.ndarray, " row"],
        label: Float[np.ndarray, " example"],
        codes: Any,
        living: Int[np.ndarray, " list"],
    ) -> list[Finding]:
        best, loudest = int(ordered(chose.d, 1)[0]), int(ordered(chose.within, 1)[0])
        draws = weights(material, judged, self.draws, generator(material, f"ranking {name}"))
        column = codes[judged][:, [best]].toarray()
        again = np.array([contrast(column, label[judged] == 1, draw).d[0] for draw in draws])
        low, high = np.nanquantile(again, LEVELS)
        shared = np.intersect1d(ordered(chose.within, self.top), ordered(chose.without, self.top))
        poles = material.postings.poles
        return [
            Finding(
                f"Contrast of the first latent by contrast, {name}",
                float(found.d[best]),
                len(judged),
                float(found.d[loudest]),
                f"the first by mean within it, {poles.name(loudest)}",
                float(low),
                float(high),
                kind="signed",
                remark=f"latent {poles.name(best)}, chosen on select",
            ),
            Finding(
                f"Shared by the first {self.top} by mean with and without {name}",
                len(shared) / self.top,
                self.top,
                min(self.top / max(len(living), 1), 1.0),
                "two random choices of as many living latents",
                kind="share",
                remark="latents that tell presence from absence are not shared",
            ),
        ]
