"""The overview: is the autoencoder healthy, does it beat its controls, what to be careful about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int
from markupsafe import Markup

from omnisae import svg
from omnisae.report.facts import CONTROLS, Claim, Facts
from omnisae.report.notes import convincing
from omnisae.report.words import DASH, chance, named, percent, plural, share, short, signed, whole

SHOWN = 30
"""Concepts in the picture of the overview; the rest stand in the table."""
WIDTH, HEIGHT = 520, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 10, 40


@dataclass(frozen=True, slots=True)
class Tile:
    """One number of health: its n, what it is compared with, and its definition."""

    title: str
    value: str
    n: str
    beside: str
    note: str


def tiles(facts: Facts, counts: Int[np.ndarray, " latent"], tokens: int) -> list[Tile]:
    """The numbers of health."""
    metrics = facts.metrics
    n = f"n = {plural(int(metrics.get('tokens_evaluated') or tokens), 'test token')}"
    dead = metrics.get("dead_fraction")
    dead = float((counts == 0).mean()) if dead is None and len(counts) else dead
    l0 = metrics.get("l0")
    l0 = float(counts.sum() / tokens) if l0 is None and tokens else l0
    recovered, loss = metrics.get("loss_recovered"), facts.loss
    wiped = "no latent firing" if loss.get("control") == "silent" else "the mean activation everywhere"
    return [
        Tile(
            "Explained variance",
            share(metrics.get("explained_variance")),
            n,
            "0 is the mean alone, 1 is perfect",
            "1 − Σ‖x − x̂‖² / Σ‖x − mean‖², over tokens that the autoencoder did not learn from.",
        ),
        Tile(
            "Loss recovered",
            DASH if recovered is None else share(recovered),
            _n_of(loss) or (facts.why_no_effects or "the model has no loss of its own" if recovered is None else ""),
            f"0 is {wiped}, 1 is the model untouched" + _losses(loss),
            "How much of the model's own loss is kept when the reconstruction takes the place of the activations.",
        ),
        Tile(
            "Latents per token (L0)",
            DASH if l0 is None else f"{l0:.1f}",
            n,
            f"of {whole(len(counts))} latents",
            "Mean number of latents that fire on a token.",
        ),
        Tile(
            "Dead latents",
            percent(dead),
            f"n = {plural(tokens, 'held-out token')}",
            f"of {plural(len(counts), 'latent')}",
            "Share of latents that fire on none of the held-out tokens.",
        ),
        *_bipolar(metrics, counts, tokens),
    ]


def _bipolar(metrics: Mapping[str, Any], counts: Int[np.ndarray, " latent"], tokens: int) -> list[Tile]:
    """What only signed codes can tell."""
    bipolar, rarer = metrics.get("bipolar_fraction"), metrics.get("rarer_sign")
    if bipolar is None or rarer is None:
        return []
    return [
        Tile(
            "Bipolar latents",
            percent(bipolar),
            f"n = {plural(tokens, 'held-out token')}",
            f"of {plural(int((counts > 0).sum()), 'living latent')}; "
            f"the rarer sign makes up {percent(rarer)} of the median one's firings",
            "Share of living latents that fire with positive codes on some tokens and negative ones on others.",
        )
    ]


def _n_of(loss: Mapping[str, Any]) -> str:
    return f"n = {plural(int(loss['n']), 'test example')}" if loss.get("n") else ""


def _losses(loss: Mapping[str, Any]) -> str:
    three = [loss.get(name) for name in ("zeroed", "spliced", "original")]
    if any(value is None for value in three):
        return ""
    return " (loss {}, {} with the reconstruction, {})".format(*(short(value) for value in three))


def density(counts: Int[np.ndarray, " latent"], tokens: int) -> dict[str, Any]:
    """The histogram of how often latents fire, in powers of ten of their share of tokens."""
    alive = counts[counts > 0]
    if not len(alive) or not tokens:
        return {"drawing": Markup(""), "caption": "No latent fires on the held-out tokens."}
    logs = np.log10(alive / tokens)
    low = float(np.floor(np.log10(1 / tokens)))
    bars, edges = np.histogram(logs, bins=int(-low * 6), range=(low, 0.0))
    inner, tall, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM, int(bars.max())

    def across(value: float) -> float:
        return _LEFT + inner * (value - low) / -low

    parts = []
    for tick in svg.ticks(0, high, 4, counts=True):
        y = _TOP + tall * (1 - tick / high)
        parts.append(svg.line(_LEFT, y, WIDTH - _RIGHT, y, kind="gridline"))
        parts.append(svg.text(_LEFT - 6, y + 4, whole(tick), anchor="end"))
    for count, left, right in zip(bars.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if count:
            y, tip = (
                _TOP + tall * (1 - count / high),
                f"{percent(10**left)} to {percent(10**right)} of tokens: {whole(count)}",
            )
            parts.append(
                svg.rect(
                    across(left) + 0.5, y, across(right) - across(left) - 1, tall * count / high, kind="bar", tip=tip
                )
            )
    for power in range(int(low), 1):
        parts.append(svg.text(across(power), HEIGHT - 24, percent(10.0**power).replace(" ", ""), anchor="middle"))
    parts.append(svg.line(_LEFT, _TOP + tall, WIDTH - _RIGHT, _TOP + tall, kind="axis"))
    parts.append(svg.text(_LEFT + inner / 2, HEIGHT - 5, "share of tokens on which a latent fires", anchor="middle"))
    middle = percent(float(np.median(alive)) / tokens)
    caption = (
        f"How often latents fire, n = {plural(len(alive), 'living latent')} over {plural(tokens, 'held-out token')}; "
        f"median {middle} of tokens. Latents near the right end fire on everything and mean little."
    )
    return {"drawing": Markup(svg.drawing(WIDTH, HEIGHT, parts, alt=caption).decode()), "caption": caption}


@dataclass(frozen=True, slots=True)
class Dot:
    """One concept in the picture: places along the strip in percent, and the numbers beside it."""

    concept: str
    latent: int | str
    f1: float
    controls: Mapping[str, float]
    control: float
    margin: str
    n: str
    q: str
    sure: bool
    alt: str


def dots(best: Sequence[Claim]) -> list[Dot]:
    """The concepts that have an F1, in the order of their margin."""
    return [_dot(claim) for claim in best if claim.f1 == claim.f1][:SHOWN]


def _dot(claim: Claim) -> Dot:
    spoken = ", ".join(f"{name} {share(claim.controls[name], 2)}" for name in CONTROLS if name in claim.controls)
    return Dot(
        concept=claim.concept,
        latent=claim.latent,
        f1=100 * claim.f1,
        controls={name: 100 * value for name, value in claim.controls.items()},
        control=100 * claim.control if claim.controls else 100 * claim.f1,
        margin=signed(claim.margin),
        n=whole(claim.n_test),
        q=chance(claim.q_value),
        sure=convincing(claim),
        alt=f"F1 of latent {named(claim.latent)}: {share(claim.f1, 2)}; controls: {spoken or 'none'}",
    )
