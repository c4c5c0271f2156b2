"""The data behind the concept table and the latent table, in chunks that load one after the other."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from omnisae.postings.poles import Poles
from omnisae.report import chunks
from omnisae.report.answers import Answers
from omnisae.report.columns import LATENT, Column, described, further, noted, used, value
from omnisae.report.facts import Claim, Facts
from omnisae.report.latents import Latents

if TYPE_CHECKING:
    from omnisae.postings.postings import Postings

ROWS = 4096
"""Latents in a chunk of the latent table."""
BRIEF = 256
"""Latents in a chunk of brief facts, of which a latent's page loads one."""


def write_concepts(folder: Path, facts: Facts) -> None:
    """The concept table: the best latent of every concept first, by margin; then the other kept latents."""
    order = facts.best() + sorted((c for c in facts.claims if c.rank), key=lambda c: (c.rank, c.concept))
    columns = noted(used(further(order), order), facts.poles.signed)
    rows = {column.key: [value(claim, column.key) for claim in order] for column in columns}
    rows["rank"] = [claim.rank for claim in order]
    chunks.write(folder, "concepts/0", {"columns": described(columns), "rows": rows, "parts": 1})


def write_latents(
    folder: Path,
    latents: Latents,
    claims: Mapping[int, Sequence[Claim]],
    pictured: Int[np.ndarray, " picked"],
    asked: Answers,
) -> None:
    """The latent table, a row a latent (where codes are signed, a pole), in chunks of ROWS."""
    postings, poles = latents.postings, latents.postings.poles
    n = len(poles)
    examples, drawn = latents.spread(), np.zeros(n, dtype=bool)
    drawn[pictured] = True
    best = [claims[latent][0] if claims.get(latent) else None for latent in range(n)]
    columns = noted(used_latent(best), poles.signed)
    parts = max(-(-n // ROWS), 1)
    for part in range(parts):
        here = range(part * ROWS, min((part + 1) * ROWS, n))
        span = slice(here.start, here.stop)
        known = {
            "latent": [poles.name(pole) for pole in here],
            "frequency": np.asarray(postings.counts[span]) / max(postings.n_tokens, 1),
            "examples": examples[span],
            "maximum": np.asarray(postings.maxima[span]),
        }
        rows = {c.key: known[c.key] if c.key in known else [_cell(best[i], c.key) for i in here] for c in columns}
        rows |= {column.key: asked.values[column.key][span] for column in asked.columns}
        rows["drawn"] = drawn[span].astype(int)
        chunks.write(
            folder, f"latents/{part}", {"columns": described([*columns, *asked.columns]), "rows": rows, "parts": parts}
        )


def used_latent(best: Sequence[Claim | None]) -> list[Column]:
    """The columns of the latent table that have something to say; those of concepts go where there is none."""
    claims = [claim for claim in best if claim is not None]
    own = ("latent", "frequency", "examples", "maximum")
    return [c for c in LATENT if c.key in own or (claims and c in used([c], claims))]


def write_brief(
    folder: Path,
    latents: Latents,
    facts: Facts,
    claims: Mapping[int, Sequence[Claim]],
    pictured: Int[np.ndarray, " picked"],
    asked: Answers,
) -> None:
    """What every latent's page says, pictures or none: numbers, concepts, the effect of switching it off; where codes
    are signed, what its other pole is about."""
    postings, examples, poles = latents.postings, latents.spread(), facts.poles
    drawn, columns = set(pictured.tolist()), used(further(facts.claims), facts.claims)
    effects = {_pole(effect, poles): _effect(effect, poles) for effect in facts.effects if "latent" in effect}
    scored = int(latents.scored.sum())
    for start in range(0, len(poles), BRIEF):
        here = range(start, min(start + BRIEF, len(poles)))
        chunk = {
            "columns": described([c for c in columns if c.key != "latent"]),
            "measures": described(asked.columns),
            "tokens": int(postings.n_tokens),
            "examples": scored,
            "latents": [
                {
                    "count": int(postings.counts[latent]),
                    "examples": int(examples[latent]),
                    "maximum": float(postings.maxima[latent]),
                    "drawn": latent in drawn,
                    "claims": [[value(c, k.key) for k in columns if k.key != "latent"] for c in claims.get(latent, ())],
                    "measured": asked.of(latent),
                    "effect": effects.get(latent),
                    **_other(postings, claims, poles.other(latent)),
                }
                for latent in here
            ],
        }
        chunks.write(folder, f"brief/{start // BRIEF}", chunk)


def _other(postings: "Postings", claims: Mapping[int, Sequence[Claim]], pole: int | None) -> dict[str, Any]:
    """What a page says of the opposite pole of its latent."""
    if pole is None:
        return {}
    best = claims.get(pole)
    name, count = postings.poles.name(pole), int(postings.counts[pole])
    return {"other": {"latent": name, "count": count, "concept": best[0].concept if best else None}}


def _pole(effect: Mapping[str, Any], poles: Poles) -> int:
    return poles.at(int(effect["latent"]), effect.get("sign"))


def _effect(effect: Mapping[str, Any], poles: Poles) -> dict[str, Any]:
    """An effect with the names that pages know latents by."""
    if not poles.signed:
        return dict(effect)
    controls = [{**one, "latent": poles.name(_pole(one, poles))} for one in effect.get("controls", ())]
    return {**effect, "latent": poles.name(_pole(effect, poles)), "controls": controls}


def _cell(claim: Claim | None, key: str) -> Any:
    return None if claim is None else value(claim, key)
