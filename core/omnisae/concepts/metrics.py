"""Core's own metrics, all out of the counts that one pass makes."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from jaxtyping import Float64

from omnisae.concepts.metric import Evidence, Metric

Column = Float64[np.ndarray, " row"]


class F1(Metric):
    """Precision, recall and F1 at the chosen threshold, and the recall of instances.

    precision = TP / (TP + FP), recall = TP / (TP + FN), F1 = 2 TP / (2 TP + FP + FN); 0 where nothing is predicted.
    recall_instance = instances with a unit above the threshold / all instances (InterPLM, Simon & Zou 2024).
    """

    columns: ClassVar[tuple[str, ...]] = ("precision", "recall", "recall_instance", "f1")

    def score(self, evidence: Evidence) -> Mapping[str, Column]:
        c = evidence.counts
        return {
            "precision": np.where(c["predicted"] == 0, 0.0, _ratio(c["hits"], c["predicted"])),
            "recall": _ratio(c["hits"], c["positives"]),
            "recall_instance": np.where(evidence.kinds("region"), _ratio(c["touched"], c["instances"]), np.nan),
            "f1": _ratio(2 * c["hits"], c["predicted"] + c["positives"]),
        }


class Auroc(Metric):
    """Area under the ROC curve: the chance that a positive unit's activation is above a negative's, ties counting half.

    Exact, from mid-ranks over all units, the silent ones included: (R − P(P+1)/2) / (P (N − P)), R the positives' rank
    sum (Hanley & McNeil 1982).
    """

    columns: ClassVar[tuple[str, ...]] = ("auroc",)

    def score(self, evidence: Evidence) -> Mapping[str, Column]:
        c = evidence.counts
        positives = c["positives"]
        return {
            "auroc": _ratio(c["rank_sum"] - positives * (positives + 1) / 2, positives * (c["n"] - positives)),
        }


class Iou(Metric):
    """Intersection over union of the units above the threshold and the positive ones: TP / (TP + FP + FN)."""

    columns: ClassVar[tuple[str, ...]] = ("iou",)

    def score(self, evidence: Evidence) -> Mapping[str, Column]:
        c = evidence.counts
        return {"iou": _ratio(c["hits"], c["predicted"] + c["positives"] - c["hits"])}


class Spearman(Metric):
    """Spearman's rank correlation with a fraction, over the examples where it is known; mid-ranks for ties."""

    columns: ClassVar[tuple[str, ...]] = ("spearman",)

    def score(self, evidence: Evidence) -> Mapping[str, Column]:
        return {"spearman": evidence.counts["spearman"]}


def _ratio(top: Column, bottom: Column) -> Column:
    """NaN where there is nothing to divide by."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(bottom > 0, top / bottom, np.nan)
