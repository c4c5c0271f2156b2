"""One run: its dataset, extractor, hook points, split and autoencoders, and the content key of every stage."""

import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from omnisae.config import HookConfig, RunConfig
from omnisae.errors import RunError
from omnisae.extract.split import assign
from omnisae.hooks.point import HookPoint
from omnisae.run_folder import RunFolder
from omnisae.store.key import content_key, digest

if TYPE_CHECKING:
    from omnisae.extract.dataset import Dataset
    from omnisae.extract.extractor import Extractor
    from omnisae.store.source import TokenSource
    from omnisae.training.jobs import Job


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
        _ = self.split  # a split that is refused must be so before hours of extraction
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
        train = config.train.model_dump(mode="json", exclude={"log_every", "devices", "latent_shards", "accelerator"})
        keys["train"] = content_key(
            [
                keys["extract"],
                config.autoencoder.model_dump(mode="json"),
                train,
                split,
                tokens.train.model_dump(mode="json"),
            ]
        )
        kept = [tokens.select.model_dump(mode="json"), tokens.evaluate.model_dump(mode="json")]
        keys["encode"] = content_key([keys["train"], kept])
        read = [digest(path) for study in config.score.studies for path in study.reads()]
        keys["score"] = content_key([keys["encode"], config.score.model_dump(mode="json"), *read])
        keys["report"] = content_key([keys["score"], config.report.model_dump(mode="json")])
        return keys

    def roles(self) -> list[str]:
        """The roles of tokens that any stage keeps: what extraction has to store."""
        from omnisae.extract.gather import needed_roles

        return list(needed_roles(self.config.tokens))

    def scored(self) -> "list[Job]":
        """The autoencoders that are scored: the first, or all."""
        return self.jobs if self.config.score.of == "all" else self.jobs[:1]

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
                columns=point.columns,
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
