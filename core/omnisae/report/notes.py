"""What a reader must be careful about, in plain words."""

from collections.abc import Mapping, Sequence
from typing import Any

from omnisae.config import RunConfig
from omnisae.report.facts import Claim, Facts
from omnisae.report.words import clip, percent, plural, share, whole

FEW = 20
"""Positive test examples below which a score may be luck."""
Q = 0.05
NOTES = 12
"""Notes of the scoring that are written out."""


def convincing(claim: Claim) -> bool:
    """Whether a latent beats every control, and permuted labels too."""
    return claim.margin > 0 and claim.q_value < Q


def verdict(best: Sequence[Claim]) -> str:
    """One sentence on the whole run."""
    compared = [claim for claim in best if claim.margin == claim.margin]
    if not best:
        return "No concept was scored, so nothing here says what a latent stands for."
    if not compared:
        return f"{plural(len(best), 'concept')} scored; no control was run, so there is nothing to compare them with."
    won = sum(convincing(claim) for claim in compared)
    return (
        f"{whole(won)} of {plural(len(compared), 'concept')} have a latent that beats every control "
        f"on examples that did not choose it (q < {Q})."
    )


def warnings(
    facts: Facts, config: RunConfig, sides: Mapping[str, int], unreadable: Sequence[str], broken: Mapping[str, str]
) -> list[str]:
    """The warnings of a run, the gravest first."""
    return [
        *_health(facts.metrics),
        *_concepts(facts),
        *_examples(facts, sides, unreadable),
        *_choices(config),
        *(f"The visualizer {name} failed and is left out: {reason}" for name, reason in broken.items()),
    ]


def _health(metrics: Mapping[str, Any]) -> list[str]:
    said = []
    explained, dead = metrics.get("explained_variance"), metrics.get("dead_fraction")
    recovered = metrics.get("loss_recovered")
    if explained is not None and explained < 0.7:
        said.append(
            f"The autoencoder explains {share(explained, 2)} of the variance. What it leaves out, no latent can show."
        )
    if dead is not None and dead > 0.2:
        said.append(
            f"{percent(dead)} of the latents are dead: more latents than the data fills, or too little training."
        )
    if recovered is not None and recovered < 0.8:
        said.append(
            f"With the reconstruction in place of the activations, {share(recovered, 2)} of the model's loss is kept: "
            "part of what the model uses is missing here."
        )
    return said


def _concepts(facts: Facts) -> list[str]:
    best = facts.best()
    said = []
    compared = [claim for claim in best if claim.margin == claim.margin]
    lost = [claim.concept for claim in compared if not convincing(claim)]
    if lost:
        said.append(
            f"{_some(lost)} {_do(lost)} not beat every control with q < {Q}; do not read a meaning into {_it(lost)}."
        )
    if best and len(compared) < len(best):
        alone = [claim.concept for claim in best if claim.margin != claim.margin]
        said.append(f"{_some(alone)} {_do(alone, 'has', 'have')} no control to stand beside.")
    few = [
        f"{concept['name']} ({whole(concept['positives_test'])})"
        for concept in facts.concepts.get("concepts", [])
        if 0 < (concept.get("positives_test") or 0) < FEW
    ]
    if few:
        said.append(f"Fewer than {FEW} positive test examples, so the scores are uncertain: {_some(few)}.")
    notes = [str(note) for note in facts.concepts.get("notes", [])]
    more = [f"And {plural(len(notes) - NOTES, 'further note')}, in concepts.json."] if len(notes) > NOTES else []
    return said + notes[:NOTES] + more


def _examples(facts: Facts, sides: Mapping[str, int], unreadable: Sequence[str]) -> list[str]:
    said = []
    if sides.get("test", 0) < 100:
        said.append(f"Only {plural(sides.get('test', 0), 'test example')} in all; every score here is a rough one.")
    if facts.skipped:
        ids = [identity for identity, _ in facts.skipped]
        said.append(
            f"{plural(len(ids), 'example')} could not be read and {_do(ids, 'was', 'were')} skipped: {_some(ids)}."
        )
    if unreadable:
        said.append(
            f"The picture of {plural(len(unreadable), 'example')} could not be read: {_some(list(unreadable))}."
        )
    return said


def _choices(config: RunConfig) -> list[str]:
    said = []
    if config.tokens.evaluate.fraction < 1:
        said.append(
            f"Only {percent(config.tokens.evaluate.fraction)} of the tokens were scored (tokens.evaluate.fraction). "
            "In drawings the others look silent."
        )
    controls = config.score.controls
    off = [n for n, on in (("neurons", controls.neurons), ("PCA", controls.pca), ("random", controls.random)) if not on]
    if off:
        said.append(f"Switched off in the config: the control {_some(off)}. A margin over fewer controls says less.")
    return said


def _some(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(clip(str(name), 40) for name in names[:most])
    return shown + (f" and {whole(len(names) - most)} more" if len(names) > most else "")


def _do(names: Sequence[str], one: str = "does", many: str = "do") -> str:
    return one if len(names) == 1 else many


def _it(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"
