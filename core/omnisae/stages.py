"""What each stage does, given a run. Each reads what the one before it wrote on disk."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from omnisae.atomic import write_json
from omnisae.extract.split import SELECT, TEST, TRAIN
from omnisae.plugins.registry import registry
from omnisae.run import Run

if TYPE_CHECKING:
    from torch import Tensor

    from omnisae.autoencoders.autoencoder import Autoencoder
    from omnisae.concepts.level import Level
    from omnisae.postings.poles import Poles
    from omnisae.postings.postings import Postings
    from omnisae.training.jobs import Job

SAMPLE = 16_384
"""Tokens from which each autoencoder's normaliser and bias are fitted."""

SAMPLE_SEED = 2**31 - 1
"""Seed of the stream that gives them: one that no training is likely to use."""


def extract(run: Run) -> None:
    """The model over every example, once: activations of all hook points into their stores."""
    from omnisae.autoencoders.parts import rule_and_nesting
    from omnisae.extract.gather import check_roles, gather
    from omnisae.store.writer import StoreWriter

    config = run.config.store
    for job in run.jobs:  # what training would refuse must be refused before hours of extraction
        rule_and_nesting(job.config)
    check_roles(run.points, run.roles())
    for point in run.points:
        if _finished(run.folder.store(point.name)):
            run.say(f"extract: {point.name} is outdated or damaged; its store is replaced")
            shutil.rmtree(run.folder.store(point.name))
    about = {"model": run.extractor.fingerprint(), "dataset": run.dataset.fingerprint(), "run": run.config.name}
    writers = {
        point.name: StoreWriter.open(
            run.folder.store(point.name),
            point,
            key=run.keys["extract"],
            dtype=config.dtype,
            shard_mb=config.shard_mb,
            about=about,
        )
        for point in run.points
    }
    summary = gather(run.dataset, run.extractor, run.points, writers, roles=run.roles(), workers=config.workers)
    run.say(f"extract: {summary.tokens:,} tokens of {summary.examples:,} examples")
    if summary.skipped:
        names = ", ".join(list(summary.skipped)[:5])
        run.say(f"extract: {len(summary.skipped)} unreadable examples were skipped: {names}")


def _finished(store: Path) -> bool:
    """Whether a store was once complete: one that is half-written goes on, or is refused by its writer."""
    from omnisae.store.manifest import Manifest

    return (store / "manifest.json").exists() and Manifest.read(store).complete


def train(run: Run) -> None:
    """Every autoencoder of the run in one pass over the data, each saved as an artifact."""
    from omnisae.autoencoders.artifact import ArtifactInfo, save
    from omnisae.training.trainer import discard

    trained, samples = fit(run)
    points = {point.name: point for point in run.points}
    for job in run.jobs:
        info = ArtifactInfo(
            hook=points[job.hook],
            tokens=run.config.tokens,
            parent=run.extractor.parent(),
            dataset=run.dataset.fingerprint(),
            source=run.source(job.hook).fingerprint(),
            trained={"job": job.name, "seed": job.seed, "tokens": run.config.train.tokens, "key": run.keys["train"]},
        )
        path, sample = run.folder.artifact(job.name, run.first(job)), samples[job.hook]
        save(path, trained[job.name], info, sample=sample, statistics=_statistics(trained[job.name], sample))
    discard(run.folder.train)


def fit(run: Run) -> "tuple[dict[str, Autoencoder], dict[str, Tensor]]":
    """Train every autoencoder; and the samples from which their normalisers were fitted, by hook point."""
    from omnisae.training.trainer import train as learn

    config, keep, mine = run.config.train, run.config.tokens.train, run.split == TRAIN
    sources = {point.name: run.source(point.name) for point in run.points}
    samples = {
        name: source.stream(keep, mine, batch=min(SAMPLE, config.pool), seed=SAMPLE_SEED, pool=config.pool).next()
        for name, source in sources.items()
    }
    streams = {
        name: source.stream(keep, mine, batch=config.batch, seed=config.seeds[0], pool=config.pool)
        for name, source in sources.items()
    }
    trained = learn(
        run.jobs, streams, samples, config, run.folder.train, key=run.keys["train"], observe=registry().observe
    )
    return trained, samples


def _statistics(autoencoder: "Autoencoder", sample: "Tensor") -> "dict[str, Tensor]":
    """Of each latent on training tokens: its largest value, its mean where it fires, and how often it fires; where
    codes are signed, for either sign."""
    import torch

    from omnisae.interventions.operation import of_sign
    from omnisae.postings.poles import Poles

    codes = autoencoder.encode(sample)
    poles = Poles(codes.width, autoencoder.activation.signed)
    entries = poles.of(codes.latents.long().numpy(), codes.values.float().numpy())
    lists, values = (torch.from_numpy(part) for part in entries)
    zeros, fires = torch.zeros(len(poles)), torch.bincount(lists, minlength=len(poles))
    found = {
        "max": zeros.scatter_reduce(0, lists, values, "amax"),
        "mean": zeros.scatter_add(0, lists, values) / fires.clamp(min=1),
        "frequency": fires / max(len(codes), 1),
    }
    return {of_sign(name, sign): column[part] for name, column in found.items() for sign, part in poles.split().items()}


def encode(run: Run, job: "Job") -> None:
    """The held-out examples through the artifact: posting lists, and how well it reconstructs."""
    from omnisae.autoencoders.artifact import Artifact
    from omnisae.postings.encode import encode as invert

    artifact = Artifact.load(run.folder.artifact(job.name, run.first(job)))
    codes = run.folder.findings(job.name, run.first(job)) / "codes"
    codes.parent.mkdir(parents=True, exist_ok=True)
    invert(artifact, run.source(job.hook), run.split, codes)


def score(run: Run, job: "Job") -> None:
    """Latents against concepts, with controls; the model's own loss with the artifact spliced in."""
    from omnisae.concepts.score import score as measure
    from omnisae.postings.postings import Postings

    out = run.folder.findings(job.name, run.first(job))
    postings = Postings.open(out / "codes")
    levels = measure(postings, run.dataset, run.extractor, run.source(job.hook), run.config.score, out)
    _annotate(run, job, postings)
    _measure_effects(run, job, out)
    _study(run, job, postings, levels, out)
    _write_metrics(run, job, out)


def _annotate(run: Run, job: "Job", postings: "Postings") -> None:
    """Put the units of edits into the artifact: quantiles of each latent, and its mean within each concept."""
    from omnisae.autoencoders.artifact import annotate
    from omnisae.interventions.statistics import statistics

    notes = run.dataset.annotations()
    held = run.split == SELECT
    concepts = {name: notes.labels[name] for name in notes.binary() if (notes.labels[name][held] == 1).any()}
    annotate(run.folder.artifact(job.name, run.first(job)), statistics(postings, concepts=concepts))


def _study(run: Run, job: "Job", postings: "Postings", levels: "Sequence[Level]", out: Path) -> None:
    """Whatever else the config asks about the autoencoder and its latents."""
    import pyarrow.parquet as pq

    from omnisae.concepts.level import blocks
    from omnisae.studies.ask import ask
    from omnisae.studies.study import Material

    table = pq.read_table(out / "concepts.parquet")
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    signs = columns.get("sign", np.full(len(table), None))
    lists = [postings.poles.at(int(latent), sign) for latent, sign in zip(columns["latent"], signs, strict=True)]
    by = run.config.score.split.by
    material = Material(
        postings=postings,
        source=run.source(job.hook),
        dataset=run.dataset,
        extractor=run.extractor,
        artifact=run.folder.artifact(job.name, run.first(job)),
        levels=levels,
        table=columns | {"list": np.array(lists, dtype=np.int64)},
        siblings=[run.folder.artifact(other.name, run.first(other)) for other in _siblings(run, job)],
        seed=run.config.score.split.seed,
        folder=out,
        groups=None if by == "example" else blocks(run.dataset, by),
        artifacts={other.hook: run.folder.artifact(other.name, run.first(other)) for other in reversed(run.jobs)},
    )
    ask(run.config.score.studies, material, out)


def _measure_effects(run: Run, job: "Job", out: Path) -> None:
    """Loss recovered, and what switching single latents off does, where the model has a loss of its own."""
    if run.extractor.model is None:
        write_json(out / "effects.json", {"loss": None, "latents": [], "why": "the extractor has no model to edit"})
        return
    from omnisae.interventions.effects import measure
    from omnisae.interventions.sae import SAE
    from omnisae.postings.postings import Postings

    sae = SAE.load(run.folder.artifact(job.name, run.first(job)))
    postings = Postings.open(out / "codes")
    test = np.flatnonzero(run.split == TEST)
    best = _best_latents(out, postings.poles, run.config.score.effects)
    write_json(out / "effects.json", measure(sae, run.extractor, run.dataset, postings, test, best))


def _best_latents(out: Path, poles: "Poles", count: int) -> list[int]:
    """The latents that best match a concept on held-out data, each once, by their posting lists."""
    import pyarrow.parquet as pq

    table = pq.read_table(out / "concepts.parquet").to_pydict()
    lists = map(poles.at, table["latent"], table.get("sign", [None] * len(table["latent"])))
    scored = sorted(zip(table["f1"], lists, strict=True), key=lambda pair: -np.nan_to_num(pair[0], nan=-1.0))
    return list(dict.fromkeys(pole for _, pole in scored))[:count]


def _write_metrics(run: Run, job: "Job", out: Path) -> None:
    health = json.loads((out / "codes" / "health.json").read_text())
    effects = json.loads((out / "effects.json").read_text())
    loss = effects.get("loss")
    metrics: dict[str, Any] = {
        "explained_variance": health["explained_variance"],
        "l0": health["l0"],
        "dead_fraction": health["dead_fraction"],
        "loss_recovered": loss["recovered"] if loss else None,
        "tokens": run.config.train.tokens,
        "tokens_evaluated": health["tokens"],
        "autoencoder": job.name,
        "examples": {name: int((run.split == side).sum()) for side, name in enumerate(("train", "select", "test"))},
        "seed_agreement": _agreement(run, job),
        "seconds": run.folder.seconds(),
    }
    write_json(out / "metrics.json", metrics)


def _agreement(run: Run, job: "Job") -> float | None:
    """Mean best cosine between this autoencoder's decoder rows and those of its siblings by seed; None without any."""
    from omnisae.autoencoders.agreement import mean_max_cosine
    from omnisae.autoencoders.artifact import Artifact

    def artifact(other: "Job") -> Artifact:
        return Artifact.load(run.folder.artifact(other.name, run.first(other)))

    siblings = _siblings(run, job)
    if not siblings:
        return None
    me = artifact(job)
    mine, others = me.autoencoder.decoder_rows(), (artifact(other).autoencoder.decoder_rows() for other in siblings)
    return float(np.mean([mean_max_cosine(mine, other, signed=me.signed) for other in others]))


def _siblings(run: Run, job: "Job") -> "list[Job]":
    """The autoencoders that differ from this one by their seed alone."""
    return [
        other for other in run.jobs if other.hook == job.hook and other.config == job.config and other.seed != job.seed
    ]


def report(run: Run, job: "Job") -> None:
    """The pages."""
    from omnisae.postings.postings import Postings
    from omnisae.report.build import build

    out = run.folder.findings(job.name, run.first(job))
    point = next(point for point in run.points if point.name == job.hook)
    add_seconds(run, job)  # the page shows those of the stages before it
    page = build(out, run.config, run.dataset, run.extractor, Postings.open(out / "codes"), point)
    run.say(f"report: {page}")


def add_seconds(run: Run, job: "Job") -> None:
    """How long each stage took, once all are done."""
    file = run.folder.findings(job.name, run.first(job)) / "metrics.json"
    write_json(file, json.loads(file.read_text()) | {"seconds": run.folder.seconds()})
