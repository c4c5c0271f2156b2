"""The decision tree that simulated volunteers walk: questions, answers, and which answer leads to which question."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its answers; `after` is the answer (`question_answer`) that leads to it, None: it is always
    asked."""

    name: str
    answers: tuple[str, ...]
    after: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """What the catalogue calls each answer."""
        return tuple(f"{self.name}_{answer}" for answer in self.answers)


TREE: tuple[Question, ...] = (
    Question("smooth-or-featured", ("smooth", "featured-or-disk", "problem")),
    Question("how-rounded", ("round", "in-between", "cigar-shaped"), "smooth-or-featured_smooth"),
    Question("disk-edge-on", ("yes", "no"), "smooth-or-featured_featured-or-disk"),
    Question("bar", ("yes", "no"), "disk-edge-on_no"),
    Question("bulge-size", ("small", "moderate", "large"), "disk-edge-on_no"),
    Question("has-spiral-arms", ("yes", "no"), "disk-edge-on_no"),
    Question("spiral-direction", ("clockwise", "anticlockwise"), "has-spiral-arms_yes"),
    Question("spiral-arm-count", ("2", "3", "4"), "has-spiral-arms_yes"),
    Question("merging", ("none", "merger")),
)
"""In the order in which they are asked, in the words of Galaxy Zoo DECaLS (Walmsley et al. 2022); the direction of
spiral arms is Galaxy Zoo 1's (Lintott et al. 2008)."""
ANSWERS: tuple[str, ...] = tuple(column for question in TREE for column in question.columns)
