"""Depth in a taxonomy at which the classes of a latent's strongest pictures meet."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from omnisae.errors import DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.studies.agreement import top_examples
from omnisae.studies.columns import classes
from omnisae.studies.resample import generator, interval, p_value, permutations
from omnisae.studies.study import Finding, Findings, Material, Measure, Study
from omnisae_vision.studies.tree import Tree, load

SHOWN = 25


class Taxonomy(Study):
    title = "How special is what a latent sees?"
    about = (
        "The lowest class of the taxonomy that contains all of a latent's strongest held-out pictures, by its depth (0 "
        "is the root), and the mean over their pairs (Pach et al. 2025, on iNaturalist). Latents that fire in fewer "
        "pictures are left out. Controls: the model's own neurons, and classes shuffled among the pictures."
    )

    def __init__(self, taxonomy: Path, column: str, examples: int, permutations: int) -> None:
        self.taxonomy, self.column, self.examples, self.permutations = taxonomy, column, examples, permutations

    def study(self, material: Material) -> Findings:
        tree = load(self.taxonomy)
        found = classes(material, self.column)
        depth = tree.depths(found.classes)
        rows = np.sort(np.concatenate([material.rows(SELECT), material.rows(TEST)]))
        rows = rows[found.known[rows]]
        kind = found.values[rows].astype(np.int64)
        tops = self._tops(material.strengths.tocsr()[rows])
        if not (tops >= 0).any():
            raise DatasetError(
                f"no latent fires in {self.examples} held-out pictures whose class is known",
                "look at fewer (`examples`), or give more pictures",
            )
        strongest = np.argsort(-material.activations(rows, "max"), axis=0, kind="stable")[: self.examples].T
        random = generator(material, "taxonomy")
        orders = list(permutations(material, rows, self.permutations, random))
        told = {"all": deepest(depth, kind, tops), "pairs": pairwise(depth, kind, tops)}
        null = {
            "all": np.stack([deepest(depth, kind[order], tops) for order in orders]),
            "pairs": np.stack([pairwise(depth, kind[order], tops) for order in orders]),
        }
        neurons = {"all": deepest(depth, kind, strongest), "pairs": pairwise(depth, kind, strongest)}
        p = np.array([p_value(one, draws) for one, draws in zip(told["pairs"], null["pairs"].T, strict=True)])
        p[np.isnan(told["pairs"])] = np.nan
        return Findings(
            findings=_findings(told, null, neurons, random),
            measures=[
                Measure("LCA depth", told["all"], "depth of the class that holds all its strongest pictures"),
                Measure(
                    "LCA depth of pairs", told["pairs"], "mean depth at which pairs of its strongest pictures meet"
                ),
                Measure("LCA p", p, "chance of as deep pairs with shuffled classes", "chance"),
                Measure(
                    "sees", _names(tree, found.classes, kind, tops), "the class of all its strongest pictures", "text"
                ),
            ],
            tables=_table(material, tree, found.classes, kind, tops, told),
            notes=[
                f"{len(found.classes)} classes in {len(rows)} held-out pictures; the deepest lies at {depth.max()}."
            ],
        )

    def _tops(self, strong: Any) -> Int[np.ndarray, "list example"]:
        return top_examples(strong, np.arange(strong.shape[1]), self.examples)


def deepest(
    depth: Int[np.ndarray, "class class"], kind: Int[np.ndarray, " row"], tops: Int[np.ndarray, "unit example"]
) -> Float[np.ndarray, " unit"]:
    """The depth at which all pictures of a set meet: the least at which the first meets any other. NaN for none."""
    found = depth[kind[tops[:, :1]], kind[tops]].min(axis=1).astype(np.float64)
    return np.where((tops >= 0).all(axis=1), found, np.nan)


def pairwise(
    depth: Int[np.ndarray, "class class"], kind: Int[np.ndarray, " row"], tops: Int[np.ndarray, "unit example"]
) -> Float[np.ndarray, " unit"]:
    """The mean depth at which two pictures of a set meet. NaN for none."""
    one, two = np.triu_indices(tops.shape[1], 1)
    found = depth[kind[tops[:, one]], kind[tops[:, two]]].mean(axis=1)
    return np.where((tops >= 0).all(axis=1), found, np.nan)


def _findings(
    told: dict[str, np.ndarray],
    null: dict[str, np.ndarray],
    neurons: dict[str, np.ndarray],
    random: np.random.Generator,
) -> list[Finding]:
    out = []
    for key, name in (("pairs", "Mean depth of pairs"), ("all", "Mean depth of all")):
        value, n = float(np.nanmean(told[key])), int((~np.isnan(told[key])).sum())
        chance, ends = np.nanmean(null[key], axis=1), interval(told[key], random)
        out.append(
            Finding(
                name,
                value,
                n,
                float(chance.mean()),
                "classes shuffled among the pictures",
                *ends,
                p_value(value, chance),
            )
        )
        out.append(
            Finding(f"{name}, against neurons", value, n, float(np.nanmean(neurons[key])), "the model's neurons", *ends)
        )
    return out


def _names(
    tree: Tree, names: tuple[str, ...], kind: Int[np.ndarray, " row"], tops: Int[np.ndarray, "list example"]
) -> list[str]:
    return [tree.meeting([names[i] for i in kind[top]]) if (top >= 0).all() else "" for top in tops]


def _table(
    material: Material,
    tree: Tree,
    names: tuple[str, ...],
    kind: Int[np.ndarray, " row"],
    tops: Int[np.ndarray, "list example"],
    told: dict[str, np.ndarray],
) -> dict[str, list[dict[str, Any]]]:
    """The latents whose pictures meet deepest."""
    order = np.argsort(-np.nan_to_num(told["pairs"], nan=-1.0), kind="stable")[:SHOWN]
    rows = []
    for one in order:
        if np.isnan(told["pairs"][one]):
            continue
        seen = [names[i] for i in kind[tops[one]]]
        rows.append(
            {
                "latent": str(material.postings.poles.name(int(one))),
                "sees": tree.meeting(seen),
                "depth": int(told["all"][one]),
                "depth of pairs": float(told["pairs"][one]),
                "most frequent class": max(sorted(set(seen)), key=seen.count),
            }
        )
    return {"Latents whose pictures meet deepest": rows}
