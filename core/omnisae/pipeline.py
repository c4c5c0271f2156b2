"""The stages in order: extract, train, encode, score, report. What has not changed is skipped, and said so."""

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from omnisae.atomic import write_text
from omnisae.config import HookConfig, RunConfig
from omnisae.config_file import dump
from omnisae.errors import ConfigError, RunError
from omnisae.extract.split import assign
from omnisae.hooks.point import HookPoint
from omnisae.lock import run_lock
from omnisae.plugins.registry import registry
from omnisae.processes import is_first, wait_until
from omnisae.run_folder import STAGES, RunFolder
from omnisae.store.key import content_key

if TYPE_CHECKING:
    from omnisae.extract.dataset import Dataset
    from omnisae.extract.extractor import Extractor
    from omnisae.store.source import TokenSource
    from omnisae.training.jobs import Job

OUTPUTS = {
    "encode": ("codes/manifest.json", "codes/health.json"),
    "score": ("concepts.parquet", "concepts.json", "effects.json", "metrics.json"),
    "report": ("report/index.html",),
}
"""What the stages that look at one autoencoder leave beside each other."""


def run(config: RunConfig, out: Path | None = None, stages: Sequence[str] | None = None) -> Path:
    """Run these stages (default: all) of a config and return the run folder.

    Raises RunError where another process holds the folder, or an earlier stage that was not asked for is missing.
    """
    wanted = tuple(STAGES if stages is None else stages)
    unknown = set(wanted) - set(STAGES)
    if unknown:
        raise ConfigError(f"no stage {sorted(unknown)[0]!r}", f"the stages are {', '.join(STAGES)}")
    folder = RunFolder(Path(out) if out is not None else Path("runs") / config.name)
    if not is_first():
        Run(config, folder).help_training(wanted)
        return folder.path
    folder.path.mkdir(parents=True, exist_ok=True)
    with run_lock(folder.path):
        Run(config, folder).do(wanted)
    return folder.path


class Run:
    """One run: its parts are made when first needed, so that a skipped stage costs nothing."""

    def __init__(self, config: RunConfig, folder: RunFolder) -> None:
        self.config = config
        self.folder = folder

    @cached_property
    def dataset(self) -> "Dataset":
        return self.config.dataset.build()

    @cached_property
    def extractor(self) -> "Extractor":
        return self.config.extractor.build(self.dataset)

    @cached_property
    def points(self) -> list[HookPoint]:
        return self.extractor.resolve(self.config.hooks)

    @cached_property
    def jobs(self) -> "list[Job]":
        from omnisae.training.jobs import jobs

        return jobs(self.config, self.points)

    @cached_property
    def split(self) -> UInt8[np.ndarray, " example"]:
        by = self.config.score.split
        return assign(self.dataset, by=by.by, train=self.config.train.examples, select=by.select, seed=by.seed)

    @cached_property
    def keys(self) -> dict[str, str]:
        """The content key of each stage: a hash of its own settings and of the key of the stage before it."""
        config, tokens = self.config, self.config.tokens
        keys = {}
        keys["extract"] = content_key(
            {
                "model": self.extractor.fingerprint(),
                "dataset": self.dataset.fingerprint(),
                "points": [point.model_dump(mode="json") for point in self.points],
                "roles": self.roles(),
                "dtype": "live" if config.store.live else config.store.dtype,
            }
        )
        split = config.score.split.model_dump(mode="json")
        train = config.train.model_dump(mode="json", exclude={"log_every", "devices", "accelerator"})
        keys["train"] = content_key(
            [
                keys["extract"],
                config.autoencoder.model_dump(mode="json"),
                train,
                split,
                tokens.train.model_dump(mode="json"),
            ]
        )
        keys["encode"] = content_key([keys["train"], tokens.evaluate.model_dump(mode="json")])
        keys["score"] = content_key([keys["encode"], config.score.model_dump(mode="json")])
        keys["report"] = content_key([keys["score"], config.report.model_dump(mode="json")])
        return keys

    def roles(self) -> list[str]:
        """The roles of tokens that any stage keeps: what extraction has to store."""
        from omnisae.extract.gather import needed_roles

        return list(needed_roles(self.config.tokens))

    def do(self, wanted: Iterable[str]) -> None:
        """Do the wanted stages in order; each of the others must be done already."""
        from omnisae import stages

        write_text(self.folder.config, dump(self.resolved()))
        wanted = set(wanted)
        last = max(STAGES.index(stage) for stage in wanted)
        for stage in STAGES[: last + 1]:
            for name, step in self.steps(stage):
                self.step(stage, name, step, stage in wanted)
        if "report" in wanted:
            for job in self.scored():
                stages.add_seconds(self, job)

    def help_training(self, wanted: Iterable[str]) -> None:
        """What every process but the first does, under torchrun: wait for the store, learn from its share, and end."""
        from omnisae import stages

        if "train" not in wanted or self.folder.is_done("train", self.keys["train"]):
            return
        if not self.config.store.live:
            wait_until(lambda: self.folder.is_done("extract", self.keys["extract"]), "the activation store")
        stages.fit(self)

    def step(self, stage: str, name: str, step: Callable[[], None], wanted: bool) -> None:
        key = self.keys[stage]
        if not wanted:
            self.folder.require(name, key)
        elif self.folder.is_done(name, key) and self.outputs_are_there(stage, name):
            self.say(f"{name}: nothing has changed, skipped")
            registry().observe({"event": "stage_skipped", "run": self.config.name, "stage": name})
        else:
            self.say(f"{name} …")
            registry().observe({"event": "stage_started", "run": self.config.name, "stage": name})
            with self.folder.doing(name, key):
                step()
            seconds = self.folder.seconds()[name]
            self.say(f"{name}: done in {seconds:.1f} s")
            registry().observe({"event": "stage_finished", "run": self.config.name, "stage": name, "seconds": seconds})

    def steps(self, stage: str) -> list[tuple[str, Callable[[], None]]]:
        """A stage's steps with their names in the ledger: one, or one an autoencoder where all are scored."""
        from omnisae import stages

        if stage == "extract":
            return [] if self.config.store.live else [(stage, partial(stages.extract, self))]
        if stage == "train":
            return [(stage, partial(stages.train, self))]
        does = {"encode": stages.encode, "score": stages.score, "report": stages.report}[stage]
        return [
            (stage if self.first(job) else f"{stage}:{job.name}", partial(does, self, job)) for job in self.scored()
        ]

    def scored(self) -> "list[Job]":
        """The autoencoders that are scored: the first, or all."""
        return self.jobs if self.config.score.of == "all" else self.jobs[:1]

    def outputs_are_there(self, stage: str, name: str) -> bool:
        """Whether a finished stage's files still lie where it wrote them: somebody may have removed them since."""
        if stage == "extract":
            files = [self.folder.store(point.name) / "manifest.json" for point in self.points]
        elif stage == "train":
            files = [self.folder.artifact(job.name, self.first(job)) / "sae.json" for job in self.jobs]
        else:
            job = next((job for job in self.jobs if name == f"{stage}:{job.name}"), self.jobs[0])
            found = self.folder.findings(job.name, self.first(job))
            files = [found / output for output in OUTPUTS[stage]]
        return all(file.exists() for file in files)

    def first(self, job: "Job") -> bool:
        return job.name == self.jobs[0].name

    def source(self, hook: str) -> "TokenSource":
        """The tokens of a hook point: from the store, or from the extractor at work."""
        if self.config.store.live:
            from omnisae.extract.live import LiveSource

            point = next(point for point in self.points if point.name == hook)
            return LiveSource(self.dataset, self.extractor, point, workers=self.config.store.workers)
        from omnisae.store.store import Store

        return Store.open(self.folder.store(hook))

    def resolved(self) -> RunConfig:
        """The config with every hook point's layout and sizes as the extractor found them."""
        hooks = tuple(
            HookConfig(
                at=point.at[0] if len(point.at) == 1 else point.at,
                view=point.view,
                select=point.select,
                call=point.call,
                layout=point.pattern,
                sizes=dict(point.sizes),
                name=point.name,
            )
            for point in self.points
        )
        return self.config.model_copy(update={"hooks": hooks})

    def say(self, line: str) -> None:
        print(f"[{self.config.name}] {line}", file=sys.stderr, flush=True)


def open_run(path: Path) -> Run:
    """A run folder as it stands, from its own resolved config. Raises RunError where there is none."""
    from omnisae.config_file import load

    folder = RunFolder(Path(path))
    if not folder.config.exists():
        raise RunError(
            f"{path} is no run folder: it has no config.yaml", "name a folder that `omnisae run` has written"
        )
    return Run(load(folder.config), folder)
