"""Decision trees of Galaxy Zoo: questions, their answers, and which answer leads to which question. No torch here."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field


class Question(BaseModel):
    """A question of the tree."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    answers: tuple[str, ...] = Field(min_length=1, description="its answers, as the catalogue's columns call them")
    after: str | None = Field(
        None, description="the answer that leads to it, as question_answer; none: everybody is asked"
    )


Tree = Mapping[str, Question]

_COUNTED = ("1", "2", "3", "4", "more-than-4", "cant-tell")
_WINDING = ("tight", "medium", "loose")


def _asked(*answers: str, after: str | None = None) -> Question:
    return Question(answers=answers, after=after)


TREES: dict[str, Tree] = {
    "decals": {
        "smooth-or-featured": _asked("smooth", "featured-or-disk", "artifact"),
        "disk-edge-on": _asked("yes", "no", after="smooth-or-featured_featured-or-disk"),
        "has-spiral-arms": _asked("yes", "no", after="disk-edge-on_no"),
        "bar": _asked("strong", "weak", "no", after="disk-edge-on_no"),
        "bulge-size": _asked("dominant", "large", "moderate", "small", "none", after="disk-edge-on_no"),
        "how-rounded": _asked("round", "in-between", "cigar-shaped", after="smooth-or-featured_smooth"),
        "edge-on-bulge": _asked("boxy", "none", "rounded", after="disk-edge-on_yes"),
        "spiral-winding": _asked(*_WINDING, after="has-spiral-arms_yes"),
        "spiral-arm-count": _asked(*_COUNTED, after="has-spiral-arms_yes"),
        "merging": _asked("none", "minor-disturbance", "major-disturbance", "merger"),
    },
    "cosmic_dawn": {
        "smooth-or-featured": _asked("smooth", "featured-or-disk", "problem"),
        "disk-edge-on": _asked("yes", "no", after="smooth-or-featured_featured-or-disk"),
        "clumps": _asked("yes", "no", after="disk-edge-on_no"),
        "has-spiral-arms": _asked("yes", "no", after="disk-edge-on_no"),
        "bar": _asked("strong", "weak", "no", after="disk-edge-on_no"),
        "bulge-size": _asked("dominant", "large", "moderate", "small", "none", after="disk-edge-on_no"),
        "how-rounded": _asked("round", "in-between", "cigar-shaped", after="smooth-or-featured_smooth"),
        "edge-on-bulge": _asked("boxy", "none", "rounded", after="disk-edge-on_yes"),
        "spiral-winding": _asked(*_WINDING, after="has-spiral-arms_yes"),
        "spiral-arm-count": _asked(*_COUNTED, after="has-spiral-arms_yes"),
        "merging": _asked("none", "minor-disturbance", "major-disturbance", "merger"),
        "problem": _asked("star", "artifact", "zoom", after="smooth-or-featured_problem"),
    },
    "gz2": {
        "smooth-or-featured": _asked("smooth", "featured-or-disk", "artifact"),
        "disk-edge-on": _asked("yes", "no", after="smooth-or-featured_featured-or-disk"),
        "has-spiral-arms": _asked("yes", "no", after="disk-edge-on_no"),
        "bar": _asked("yes", "no", after="disk-edge-on_no"),
        "bulge-size": _asked("dominant", "obvious", "just-noticeable", "no", after="disk-edge-on_no"),
        "something-odd": _asked("yes", "no"),
        "how-rounded": _asked("round", "in-between", "cigar", after="smooth-or-featured_smooth"),
        "bulge-shape": _asked("round", "boxy", "no-bulge", after="disk-edge-on_yes"),
        "spiral-winding": _asked(*_WINDING, after="has-spiral-arms_yes"),
        "spiral-arm-count": _asked(*_COUNTED, after="has-spiral-arms_yes"),
    },
}
"""In the words of the catalogues that galaxy-datasets publishes. decals: Galaxy Zoo DECaLS and DESI (Walmsley et al.
2022, 2023); cosmic_dawn: Galaxy Zoo Cosmic Dawn, JWST and Euclid; gz2: Galaxy Zoo 2 (Willett et al. 2013). Merging is
put to everybody here, though those who chose artifact or problem are not asked: their votes are missing."""


def fault(tree: Tree) -> str | None:
    """What is wrong with a tree, or None: an unknown answer leads on, an answer stands twice, it goes in a circle."""
    columns = {f"{name}_{answer}": name for name, question in tree.items() for answer in question.answers}
    for name, question in tree.items():
        if len(set(question.answers)) < len(question.answers):
            return f"the question {name!r} has an answer twice"
        if question.after is not None and question.after not in columns:
            return f"the question {name!r} comes after {question.after!r}, which is no answer of the tree"
    for name in tree:
        seen, at = set[str](), name
        while (after := tree[at].after) is not None:
            if at in seen:
                return f"the question {name!r} leads to itself"
            seen.add(at)
            at = columns[after]
    return None


def path(tree: Tree, name: str) -> list[str]:
    """The answers that lead to a question, the first one first."""
    columns = {f"{q}_{answer}": q for q, question in tree.items() for answer in question.answers}
    found: list[str] = []
    while (after := tree[name].after) is not None:
        found.append(after)
        name = columns[after]
    return found[::-1]
