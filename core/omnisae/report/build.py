"""The report: a folder of pages that opens from disk, with no network. It is built aside, then put in place whole."""

import logging
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel

from omnisae.config import AutoencoderConfig, RunConfig
from omnisae.extract.dataset import Dataset
from omnisae.extract.extractor import Extractor
from omnisae.extract.split import NAMES
from omnisae.hooks.point import HookPoint
from omnisae.plugins.kinds import VisualizerConfig
from omnisae.plugins.registry import registry
from omnisae.report import answers
from omnisae.report.choose import pictured
from omnisae.report.columns import LATENT, further, noted
from omnisae.report.facts import Claim, Facts, read
from omnisae.report.gallery import Gallery
from omnisae.report.latents import Latents
from omnisae.report.notes import verdict, warnings
from omnisae.report.overview import SHOWN, density, dots, tiles
from omnisae.report.pages import write_pages, write_run
from omnisae.report.tables import BRIEF, write_brief, write_concepts, write_latents
from omnisae.report.visualizer import Visualizer
from omnisae.report.words import plural

if TYPE_CHECKING:
    from omnisae.postings.postings import Postings

log = logging.getLogger(__name__)


def build(
    run: Path, config: RunConfig, dataset: Dataset, extractor: Extractor, postings: "Postings", hook: HookPoint
) -> Path:
    """Write the report of one autoencoder into `run/report` and return its first page.

    Reads concepts.parquet, concepts.json, metrics.json and effects.json under `run`; what is missing is left out and
    said so. The former report stays until the new one is complete. Raises RunError where one of the files is damaged.
    """
    facts = read(run, postings.poles)
    aside = run / "report.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    _write(aside, config, facts, answers.read(run), Latents(postings, dataset, extractor, hook))
    _swap(aside, run / "report")
    return run / "report" / "index.html"


def _write(folder: Path, config: RunConfig, facts: Facts, asked: answers.Answers, latents: Latents) -> None:
    postings, claims, poles = latents.postings, facts.by_latent(), facts.poles
    counts = np.asarray(postings.counts)
    drawn = pictured(_margins(claims, len(poles)), counts, config.report.latents)
    fired = poles.per_latent(counts)
    visualizers, broken = _visualizers(config)
    gallery = Gallery(latents, visualizers, config.report, folder, _workers(config))
    gallery.write(drawn)
    write_concepts(folder, facts)
    write_latents(folder, latents, claims, drawn, asked)
    write_brief(folder, latents, facts, claims, drawn, asked)
    asked.copy_figures(folder)
    title = config.report.title or config.name
    signed = {"signed": True} if poles.signed else {}
    write_run(folder, {"title": title, "latents": poles.latents, "brief": BRIEF, "why": facts.why_no_effects, **signed})
    best, ids = facts.best(), latents.dataset.ids
    scored, split = latents.scored, np.asarray(postings.split)
    sides = {name: int(((split == side) & (scored | (side == 0))).sum()) for side, name in enumerate(NAMES)}
    unreadable = [str(ids[row]) for row in gallery.shelf.unreadable]
    broken |= gallery.broken
    for name, reason in broken.items():
        log.warning("the visualizer %r failed and is left out of the report: %s", name, reason)
    write_pages(
        folder,
        {
            "title": title,
            "hook": latents.hook,
            "verdict": verdict(best),
            "tiles": tiles(facts, fired, int(postings.n_tokens)),
            "density": density(fired, int(postings.n_tokens)),
            "dots": dots(best),
            "more_dots": max(sum(c.f1 == c.f1 for c in best) - SHOWN, 0),
            "concepts": len(best),
            "warnings": warnings(facts, config, sides, unreadable, broken) + asked.warnings,
            "studies": asked.pages(),
            "sides": sides,
            "latents": poles.latents,
            "signed": poles.signed,
            "drawn": len(drawn),
            "made": _made(config, facts, latents),
            "claim_columns": noted(further(facts.claims), poles.signed),
            "latent_columns": [*noted(LATENT, poles.signed), *asked.columns],
        },
    )


def _visualizers(config: RunConfig) -> tuple[dict[str, Visualizer], dict[str, str]]:
    """The visualizers of the config; where it names none, all that need no settings. And those that cannot be built."""
    configs: Sequence[Any] | None = config.report.visualizers
    found: dict[str, Visualizer] = {}
    broken: dict[str, str] = {}
    if configs is not None:
        return {chosen.type: chosen.build() for chosen in configs}, broken
    for component in registry().all(VisualizerConfig):  # type: ignore[type-abstract]
        if any(field.is_required() for field in component.model_fields.values()):
            continue
        name = str(component.model_fields["type"].default)
        try:
            found[name] = component().build()  # type: ignore[call-arg]
        except Exception as error:  # an installed plug-in that this run does not name must not stop it
            broken[name] = f"{type(error).__name__}: {error}"
    return found, broken


def _margins(claims: Mapping[int, Sequence[Claim]], lists: int) -> Float[np.ndarray, " list"]:
    margins = np.full(lists, np.nan)
    for latent, own in claims.items():
        score = [c.margin if not math.isnan(c.margin) else c.f1 for c in own]
        margins[latent] = np.nanmax(score) if not np.isnan(score).all() else -1.0
    return margins


def _named(component: BaseModel) -> str:
    """A component's type and what the config sets of it; of a path only the last part."""
    given = component.model_dump(mode="json", exclude_unset=True, exclude={"type"})
    words = [f"{name} {str(value).rpartition('/')[2]}" for name, value in given.items()]
    return ", ".join([str(component.model_dump()["type"]), *words])


def _parts(autoencoder: AutoencoderConfig) -> list[str]:
    """Its activation rule, and the other parts that the config sets."""
    others = [getattr(autoencoder, name) for name in ("decoder", "nesting") if name in autoencoder.model_fields_set]
    return [_named(part) for part in (autoencoder.activation, *others) if part is not None]


def _made(config: RunConfig, facts: Facts, latents: Latents) -> list[tuple[str, str]]:
    """How the run was made, for the foot of the overview."""
    made = [
        ("Dataset", f"{config.dataset.type}, {plural(len(latents.dataset), 'example')}"),
        ("Model", _named(config.extractor)),
        ("Hook point", f"{latents.hook.name}, {latents.hook.width} values a token, axes {_axes(latents.hook)}"),
        ("Autoencoder", "; ".join([plural(latents.postings.latents, "latent"), *_parts(config.autoencoder)])),
        ("Split", f"by {config.score.split.by}"),
    ]
    agreement = facts.metrics.get("seed_agreement")
    if agreement is not None:
        made.append(("Seeds agree", f"mean best cosine {agreement:.3f} with the decoders trained from other seeds"))
    seconds = facts.metrics.get("seconds") or {}
    if isinstance(seconds, Mapping) and seconds:
        made.append(("Seconds", ", ".join(f"{stage} {value:.1f}" for stage, value in seconds.items())))
    return made


def _axes(hook: HookPoint) -> str:
    return ", ".join(hook.axes) or "none"


def _workers(config: RunConfig) -> int:
    return config.store.workers if config.store.workers is not None else min(os.cpu_count() or 1, 4)


def _swap(new: Path, place: Path) -> None:
    """Put the new report in the place of the old. Both renames are atomic; a crash between leaves the old one aside."""
    old = place.with_name("report.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        os.replace(place, old)
    os.replace(new, place)
    shutil.rmtree(old, ignore_errors=True)
