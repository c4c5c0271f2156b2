"""The stages in order: extract, train, encode, score, report. What has not changed is skipped, and said so."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from omnisae import stages
from omnisae.atomic import write_text
from omnisae.config import RunConfig
from omnisae.config_file import dump
from omnisae.errors import ConfigError, StoreError
from omnisae.lock import run_lock
from omnisae.plugins.registry import registry
from omnisae.processes import is_first, wait_until
from omnisae.run import Run
from omnisae.run_folder import STAGES, RunFolder

OUTPUTS = {
    "encode": ("codes/manifest.json", "codes/health.json"),
    "score": ("concepts.parquet", "concepts.json", "effects.json", "studies.json", "latents.parquet", "metrics.json"),
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
        _help_training(Run(config, folder), wanted)
        return folder.path
    folder.path.mkdir(parents=True, exist_ok=True)
    with run_lock(folder.path):
        _do(Run(config, folder), wanted)
    return folder.path


def _do(run: Run, wanted: Iterable[str]) -> None:
    """Do the wanted stages in order; each of the others must be done already."""
    write_text(run.folder.config, dump(run.resolved()))
    wanted = set(wanted)
    last = max(STAGES.index(stage) for stage in wanted)
    for stage in STAGES[: last + 1]:
        for name, step in _steps(run, stage):
            _step(run, stage, name, step, stage in wanted)
    if "report" in wanted:
        for job in run.scored():
            stages.add_seconds(run, job)


def _help_training(run: Run, wanted: Iterable[str]) -> None:
    """What every process but the first does, under torchrun: wait for the store, learn from its share, and end."""
    if "train" not in wanted or _is_done(run, "train", "train"):
        return
    if not run.config.store.live:
        wait_until(lambda: _is_done(run, "extract", "extract"), "the activation store")
    stages.fit(run)


def _steps(run: Run, stage: str) -> list[tuple[str, Callable[[], None]]]:
    """A stage's steps with their names in the ledger: one, or one an autoencoder where all are scored."""
    if stage == "extract":
        return [] if run.config.store.live else [(stage, partial(stages.extract, run))]
    if stage == "train":
        return [(stage, partial(stages.train, run))]
    does = {"encode": stages.encode, "score": stages.score, "report": stages.report}[stage]
    return [(stage if run.first(job) else f"{stage}:{job.name}", partial(does, run, job)) for job in run.scored()]


def _step(run: Run, stage: str, name: str, step: Callable[[], None], wanted: bool) -> None:
    """One step, unless it is done with this very input and its files are there."""
    folder, key = run.folder, run.keys[stage]
    about = {"run": run.config.name, "stage": name}
    if not wanted:
        folder.require(name, key)
    elif _is_done(run, stage, name):
        run.say(f"{name}: nothing has changed, skipped")
        registry().observe({"event": "stage_skipped"} | about)
    else:
        run.say(f"{name} …")
        registry().observe({"event": "stage_started"} | about)
        with folder.doing(name, key):
            step()
        seconds = folder.seconds()[name]
        run.say(f"{name}: done in {seconds:.1f} s")
        registry().observe({"event": "stage_finished", "seconds": seconds} | about)


def _is_done(run: Run, stage: str, name: str) -> bool:
    """Whether a step was done with this very input and its output is still there. All processes must ask the same."""
    return run.folder.is_done(name, run.keys[stage]) and _outputs_are_there(run, stage, name)


def _outputs_are_there(run: Run, stage: str, name: str) -> bool:
    """Whether a finished stage's files still lie where it wrote them: somebody may have removed them since."""
    if stage == "extract":
        return all(_is_whole(run.folder.store(point.name), run.keys["extract"]) for point in run.points)
    if stage == "train":
        files = [run.folder.artifact(job.name, run.first(job)) / "sae.json" for job in run.jobs]
    else:
        job = next((job for job in run.jobs if name == f"{stage}:{job.name}"), run.jobs[0])
        found = run.folder.findings(job.name, run.first(job))
        files = [found / output for output in OUTPUTS[stage]]
    return all(file.exists() for file in files)


def _is_whole(store: Path, key: str) -> bool:
    """Whether a store is complete, of this extraction, and its shards have their lengths."""
    from omnisae.store.store import Store

    try:
        return Store.open(store).manifest.key == key
    except StoreError:
        return False
