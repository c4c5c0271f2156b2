"""The study `diffusion.selection`."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from omnisae.studies.study import Finding, Findings, Material, Study
from omnisae_diffusion.evaluation.choosing import Choosing, Found
from omnisae_diffusion.plugin_studies import SelectionConfig

TABLES = "tables"
USE = {
    "saeuron": "{type: diffusion.erase, table: …}",
    "itd": "{type: diffusion.deactivate, table: …}",
    "saedit": "{type: diffusion.steer, table: …}",
    "steerers": "{type: diffusion.steer, table: …}",
}


class Selection(Study):
    title: ClassVar[str] = "Which latents stand for a concept, and do they tell it on prompts that chose nothing?"
    about: ClassVar[str] = (
        "Chosen on select prompts by each paper's formula: SAeUron's difference of normalised means at every scheduler "
        "time (Cywiński & Deja 2025); Interpret-then-Deactivate's strongest latents of the concept less those of every "
        "other prompt, with its zero-shot classifier (Tian et al. 2025); SAEdit's direction common to pairs of prompts "
        "(Kamenetsky et al. 2025); Concept Steerers' codes of one prompt without the sparsity rule (Kim & Ghadiyaram "
        "2025). On test prompts: AUROC of the chosen latents' summed activations, or of the projection onto the "
        "direction. Controls: random latents that fire about as often; of Concept Steerers directions of other "
        "concepts' prompts."
    )

    def __init__(self, config: SelectionConfig) -> None:
        self.config = config

    def study(self, material: Material) -> Findings:
        choosing = Choosing(material, self.config)
        by_method: dict[str, list[dict[str, Any]]] = {}
        notes = []
        for method in choosing.methods:
            rows = []
            for concept, found in choosing.found(method).items():
                self._write(material, method, concept, found)
                rows.append({"concept": concept, **found.line})
                notes += [found.note] if found.note else []
            by_method[method] = rows
        notes.insert(
            0,
            "Tables lie beside the codes, tables/METHOD_CONCEPT.safetensors: "
            + "; ".join(f"{method} for {USE[method]}" for method in choosing.methods)
            + ".",
        )
        return Findings(
            findings=[one for method, rows in by_method.items() for one in _summary(method, rows)],
            tables={f"By {method}": rows for method, rows in by_method.items()},
            notes=notes,
        )

    def _write(self, material: Material, method: str, concept: str, found: Found) -> None:
        folder = material.folder / TABLES
        folder.mkdir(parents=True, exist_ok=True)
        safe = "".join(letter if letter.isalnum() else "_" for letter in concept)
        place = folder / f"{method}_{safe}.safetensors"
        if found.table is None:
            place.unlink(missing_ok=True)  # of an earlier run with other settings
        else:
            found.table.save(place)


def _summary(method: str, rows: Sequence[dict[str, Any]]) -> list[Finding]:
    """Means over the concepts for which something was chosen."""
    told = [row for row in rows if row["latents"]]
    if not told:
        return []
    control = "other prompts' directions" if method == "steerers" else "random latents as frequent"
    names = [("AUROC", "AUROC", "AUROC by chance", control, "raw")]
    names += [("own prompts found", "found", "", "", "share"), ("others mistaken", "mistaken", "", "", "share")]
    names += [("cosine with held-out pairs", "cosine", "cosine by chance", "pairs the other way by a coin", "raw")]
    out = []
    for name, key, beside, against, kind in names:
        if key in told[0]:
            chance = float(np.mean([row[beside] for row in told])) if beside else float("nan")
            value = float(np.mean([row[key] for row in told]))
            said = f"mean over {len(told)} of {len(rows)} concepts"
            out.append(Finding(f"{method}: {name}", value, len(told), chance, against, kind=kind, remark=said))  # type: ignore[arg-type]
    return out
