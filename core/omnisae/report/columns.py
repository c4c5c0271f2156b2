"""The columns of the report's tables: what they are called, how they are written, and what they mean."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from omnisae.report.facts import Claim

Kind = Literal["latent", "text", "share", "signed", "count", "raw", "chance", "percent"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its key in the data, its heading, how its values are written, and what it means."""

    key: str
    title: str
    kind: Kind
    note: str


_LATENT = Column("latent", "Latent", "latent", "the latent's number; leads to its page")
_CONTROL = "F1 of the best {}, chosen and measured in the same way"
CLAIM = (
    Column("concept", "Concept", "text", "the label people gave"),
    Column("level", "Level", "text", "what is counted: whole examples, or single tokens"),
    _LATENT,
    Column("margin", "Margin", "signed", "F1 less that of the best control; the table's order"),
    Column("q_value", "q", "chance", "p corrected for the number of tests (Benjamini–Hochberg)"),
    Column("f1", "F1", "share", "harmonic mean of precision and recall, on test examples"),
    Column("precision", "Prec.", "share", "of what the latent marks, the share that has the concept"),
    Column("recall", "Recall", "share", "of what has the concept, the share that the latent marks"),
    Column("recall_instance", "Rec. inst.", "share", "share of the concept's instances that the latent marks anywhere"),
    Column(
        "auroc", "AUROC", "share", "chance that it is stronger where the concept is than where it is not; 0.5 is luck"
    ),
    Column("iou", "IoU", "share", "overlap of what it marks with the concept's region, over their union"),
    Column("spearman", "Spearman", "signed", "rank correlation with a fraction, for concepts that are not yes or no"),
    Column("control_neuron_f1", "Neuron", "share", _CONTROL.format("of the model's own neurons, either sign")),
    Column("control_pca_f1", "PCA", "share", _CONTROL.format("principal component, either sign")),
    Column("control_random_f1", "Random", "share", _CONTROL.format("random direction")),
    Column("n_test", "n test", "count", "test examples or tokens with a known label, on which the row is measured"),
    Column("n_select", "n select", "count", "select examples or tokens with a known label, on which latent was chosen"),
    Column("threshold", "Thresh.", "share", "where the latent counts as on, as a share of its largest value on select"),
    Column("p_value", "p", "chance", "how often permuted labels score as high"),
)
LATENT = (
    _LATENT,
    Column("frequency", "Fires on", "percent", "share of the scored tokens on which it fires"),
    Column("examples", "Examples", "count", "scored examples in which it fires at least once"),
    Column("maximum", "Maximum", "raw", "its largest value over the scored tokens, in the units of the codes"),
    Column("concept", "Best concept", "text", "the concept for which it ranked highest on the select split"),
    Column("f1", "F1", "share", "for that concept, on test examples"),
    Column("margin", "Margin", "signed", "that F1 less the best control's"),
    Column("auroc", "AUROC", "share", "for that concept, on test examples"),
    Column("n_test", "n test", "count", "test examples or tokens behind that score"),
    Column("q_value", "q", "chance", "for that concept, corrected for the number of tests"),
)


_SIGNED = {
    "latent": "the latent's number and the sign of the codes meant; leads to its page",
    "maximum": "its largest magnitude over the scored tokens, in the units of the codes",
}
"""What columns mean where codes are signed."""


def noted(columns: Sequence[Column], signed: bool) -> list[Column]:
    """The columns with what they mean, be codes signed or not."""
    return [replace(c, note=_SIGNED[c.key]) if signed and c.key in _SIGNED else c for c in columns]


def described(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """The columns as a chunk holds them."""
    return [asdict(column) for column in columns]


def value(claim: Claim, key: str) -> Any:
    """One cell of the concept table."""
    return claim.extra[key] if key in claim.extra else getattr(claim, key)


def further(claims: Sequence[Claim]) -> tuple[Column, ...]:
    """The columns of the concept table: the fixed ones, and those of metrics that plug-ins bring."""
    names = list(claims[0].extra) if claims else []
    return (*CLAIM, *(Column(name, name, "raw", "a metric of a plug-in; see its documentation") for name in names))


def used(columns: Sequence[Column], claims: Sequence[Claim]) -> list[Column]:
    """The columns in which at least one claim has something to say."""
    return [
        c for c in columns if c.kind == "text" or any(value(claim, c.key) == value(claim, c.key) for claim in claims)
    ]
