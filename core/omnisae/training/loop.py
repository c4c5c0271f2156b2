"""The loop: every hook point's batches, each read once and learnt from by all of its learners."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omnisae.autoencoders.autoencoder import Batch
from omnisae.config import TrainConfig
from omnisae.store.source import TokenStream
from omnisae.training import checkpoint
from omnisae.training.feed import Feed
from omnisae.training.figures import Pending, Window
from omnisae.training.guard import FINITE, Guard, finite
from omnisae.training.interrupt import Interrupt
from omnisae.training.journal import Journal
from omnisae.training.learner import Learner
from omnisae.training.mesh import Mesh
from omnisae.training.progress import Bar
from omnisae.training.schedule import rate, steps

READ_EVERY = 16
"""Steps between readings of the device's scalars, so that it seldom waits and a NaN is soon found."""


class Loop:
    """One training under way. The processes of a distributed one walk in step; only the first writes and speaks."""

    def __init__(
        self,
        learners: Sequence[Learner],
        streams: Mapping[str, TokenStream],
        config: TrainConfig,
        out: Path,
        identity: checkpoint.Identity,
        mesh: Mesh,
        observe: Callable[[dict[str, Any]], None],
    ) -> None:
        self.learners, self.config, self.mesh = learners, config, mesh
        self.feeds = {hook: Feed(stream, hook, config.batch, mesh) for hook, stream in streams.items()}
        self.streams = {hook: feed.stream for hook, feed in self.feeds.items()}
        self.folder, self.identity, self.observe = out / "checkpoint", identity, observe
        self.out = out
        self.steps = steps(config)
        self.done = 0
        self.pending, self.guard = Pending(), Guard(self.streams)
        self.windows = {learner.job.name: Window() for learner in learners}
        self._hooks = {learner.job.name: learner.job.hook for learner in learners}
        self._seconds = 0.0  # spent by earlier, interrupted runs of this training

    def resume(self) -> None:
        """Go on from the checkpoint, where there is one. Raises TrainingError where it does not fit."""
        saved = checkpoint.read(self.folder, self.identity, list(self.windows))
        if saved is None:
            return
        progress, tensors = saved
        for learner in self.learners:
            learner.load(tensors(learner.job.name, learner.rows))
        for hook, stream in self.streams.items():
            stream.restore(progress.streams[hook])
        self.windows = {name: Window(**window) for name, window in progress.windows.items()}
        self.done, self._seconds = progress.step, progress.seconds
        self.guard.kept = _kept(self.folder, self.done)
        self.tell({"event": "resumed", "step": self.done, "steps": self.steps, "path": str(self.folder)})

    def run(self, progress: bool) -> None:
        """All steps that are left to do."""
        journal = Journal(self.out, self.done) if self.mesh.first else None
        title = self.learners[0].job.name + (f" (+{len(self.learners) - 1})" if len(self.learners) > 1 else "")
        bar = Bar(title, self.done, self.steps) if progress and self.mesh.first else None
        self._clock = self._logged = time.perf_counter()
        self._logged_at = self.done
        try:
            with Interrupt(polite=self.mesh.world.size == 1) as interrupt:
                while self.done < self.steps:
                    self._step(bar, journal)
                    if interrupt.asked:
                        self._read()
                        self._save(journal)
                        interrupt.obey()
        finally:
            for part in (journal, bar, *self.feeds.values()):
                if part is not None:
                    part.close()

    def _step(self, bar: Bar | None, journal: Journal | None) -> None:
        number = self.done
        self._learn(number, rate(number, self.config))
        self.done += 1
        last = self.done == self.steps
        log, save = (last or self.done % every == 0 for every in (self.config.log_every, self.config.checkpoint_every))
        if log or save or self.done % READ_EVERY == 0:
            self._read()
            if bar:
                bar.step(self.done)
        if log:
            line = self._line(number)
            if journal:
                journal.write(line)
            if bar:
                bar.show(line)
            self.tell({"event": "step", "steps": self.steps, **line})
        if save:
            self._save(journal)

    def _learn(self, number: int, lr: float) -> None:
        """One step of every learner. Step numbers that users see count from 1."""
        self.guard.note(number + 1)
        for hook, feed in self.feeds.items():
            x = feed.next()
            self.pending.add(number + 1, hook, {FINITE: finite(x)})
            prepared: dict[str, Batch] = {}
            for learner in self.learners:
                if learner.job.hook == hook:
                    if learner.shares not in prepared:
                        prepared[learner.shares] = learner.prepare(x)
                    self.pending.add(number + 1, learner.job.name, learner.step(prepared[learner.shares], number, lr))

    def _read(self) -> None:
        readings = self.pending.read(self.mesh.world.mean)
        self.guard.judge(readings, self._hooks)
        for reading in readings:
            if reading.owner in self.windows:
                self.windows[reading.owner].add(reading.values)

    def _line(self, number: int) -> dict[str, Any]:
        """The figures since the last line, which start anew."""
        now = time.perf_counter()
        tokens = (self.done - self._logged_at) * self.config.batch
        speed = tokens / max(now - self._logged, 1e-9)
        self._logged, self._logged_at = now, self.done
        jobs = {}
        for learner in self.learners:
            dead = int(learner.dead())
            share = dead / learner.autoencoder.latents
            jobs[learner.job.name] = {**self.windows[learner.job.name].figures(), "dead": dead, "dead_share": share}
            self.windows[learner.job.name] = Window()
        return {
            "step": self.done,
            "tokens": self.done * self.config.batch,
            "seconds": self._spent(now),
            "tokens_per_s": speed,
            "lr": rate(number, self.config),
            "jobs": jobs,
        }

    def _save(self, journal: Journal | None) -> None:
        for learner in self.learners:
            self.guard.weights(self.done, learner.job.name, learner.tensors(), self.mesh.world.least)
        progress = checkpoint.Progress(
            step=self.done,
            seconds=self._spent(time.perf_counter()),
            streams={hook: stream.state() for hook, stream in self.streams.items()},
            windows={name: window.state() for name, window in self.windows.items()},
        )
        whole = {learner.job.name: learner.whole for learner in self.learners}
        if journal:
            journal.sync()
            checkpoint.write(self.folder, self.identity, progress, whole)
        else:  # help the first process to gather them
            for ask in whole.values():
                ask()
        self.guard.kept = _kept(self.folder, self.done)
        self.tell({"event": "checkpoint", "step": self.done, "steps": self.steps, "path": str(self.folder)})

    def _spent(self, now: float) -> float:
        return self._seconds + now - self._clock

    def tell(self, event: dict[str, Any]) -> None:
        if self.mesh.first:
            self.observe(event)


def _kept(folder: Path, step: int) -> str:
    return f"the checkpoint of step {step} in {folder} is kept, and the same training would go on from it"
