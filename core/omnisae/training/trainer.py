"""Training: several autoencoders in one pass over the data, resumed where it was broken off."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.config import TrainConfig
from omnisae.errors import TrainingError, did_you_mean
from omnisae.processes import is_first
from omnisae.store.source import TokenStream
from omnisae.training import launch
from omnisae.training.checkpoint import Identity
from omnisae.training.jobs import Job
from omnisae.training.learner import Learner, shares
from omnisae.training.loop import Loop
from omnisae.training.mesh import Mesh

__all__ = ["Job", "discard", "train"]


def train(
    jobs: Sequence[Job],
    streams: Mapping[str, TokenStream],
    samples: Mapping[str, Float[Tensor, "token width"]],
    config: TrainConfig,
    out: Path,
    *,
    key: str,
    observe: Callable[[dict[str, Any]], None] | None = None,
    progress: bool = True,
) -> dict[str, Autoencoder]:
    """Train every job and return the autoencoders by the jobs' names, on the CPU and ready for use.

    `streams` and `samples` are by hook point. Each batch of a stream is read once and learnt from by all jobs of its
    hook point; each autoencoder is initialised from the hook point's sample. What an autoencoder learns depends on its
    own config, its seed and the data, not on the jobs beside it.

    Writes `out/metrics.jsonl`, `out/tensorboard` and `out/checkpoint`, and goes on bit for bit from a checkpoint of the
    same `key` (a hash of everything that the result depends on). A finished training leaves its last checkpoint:
    calling again returns the autoencoders at once; `discard` removes it. `observe` is told of each log step
    (`{"event": "step", ...}` with the line of metrics.jsonl), `checkpoint` and `resumed`.

    Started by `torchrun`, or with `devices` above 1, every process calls this with the same arguments, reads the same
    streams and learns from its share of each batch; only the first writes. All return the autoencoders; but where
    `latent_shards` divides them, none holds a whole one: the first returns them whole, the others return none.

    Raises TrainingError for NaN or infinity (naming the step, the autoencoder and the origin of the batch), for a
    checkpoint that is damaged or of another training, and for a stream that does not fit; ConfigError for a device that
    is not there; StoreError where the disk is full.
    """
    _check(jobs, streams, samples)
    mesh = launch.start(config)
    learners = _learners(jobs, samples, config, mesh)
    if mesh.first:
        out.mkdir(parents=True, exist_ok=True)
    identity = Identity(key, _about(jobs, config))
    loop = Loop(learners, _used(streams, jobs), config, out, identity, mesh, observe or (lambda event: None))
    loop.resume()
    loop.run(progress)
    mesh.wait()
    finished = {learner.job.name: learner.finished() for learner in learners}
    return {name: autoencoder for name, autoencoder in finished.items() if autoencoder is not None}


def discard(out: Path) -> None:
    """Remove the checkpoint of a training whose autoencoders have been saved. The metrics stay."""
    if is_first():
        shutil.rmtree(out / "checkpoint", ignore_errors=True)


def _check(jobs: Sequence[Job], streams: Mapping[str, Any], samples: Mapping[str, Tensor]) -> None:
    if not jobs:
        raise TrainingError("there is no autoencoder to train", "name at least one hook point and one seed")
    names = [job.name for job in jobs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise TrainingError(f"two jobs are called {repeated[0]!r}", "give every job a name of its own")
    for job in jobs:
        for what, given in (("stream", streams), ("sample", samples)):
            if job.hook not in given:
                raise TrainingError(
                    f"job {job.name!r} reads hook point {job.hook!r}, for which there is no {what}",
                    did_you_mean(job.hook, given),
                )
    for hook, sample in samples.items():
        if not sample.isfinite().all():
            row = int((~sample.isfinite().all(dim=1)).nonzero()[0])
            raise TrainingError(
                f"the sample of hook point {hook!r} holds NaN or infinity (row {row})",
                "extract the activations anew, or leave out the examples they belong to",
            )


def _learners(jobs: Sequence[Job], samples: Mapping[str, Tensor], config: TrainConfig, mesh: Mesh) -> list[Learner]:
    """The learners in the order of their jobs. Each hook point's sample is on the device only while it is needed."""
    made: dict[str, Learner] = {}
    for hook in dict.fromkeys(job.hook for job in jobs):
        sample, first = samples[hook].to(mesh.device), dict[str, Learner]()
        for job in jobs:
            if job.hook == hook:
                made[job.name] = Learner(job, sample, mesh, config, like=first.get(shares(job)))
                first.setdefault(shares(job), made[job.name])
    return [made[job.name] for job in jobs]


def _used(streams: Mapping[str, TokenStream], jobs: Sequence[Job]) -> dict[str, TokenStream]:
    return {hook: streams[hook] for hook in dict.fromkeys(job.hook for job in jobs)}


def _about(jobs: Sequence[Job], config: TrainConfig) -> dict[str, Any]:
    """The settings behind the key, kept beside it so that a refusal can say what differs."""
    return {
        "train": config.model_dump(mode="json"),
        "autoencoders": {job.name: job.config.model_dump(mode="json") for job in jobs},
    }
