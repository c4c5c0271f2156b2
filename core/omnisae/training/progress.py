"""The progress of a training on the terminal: a bar, or plain lines where nobody watches."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_EVERY = 10.0
"""Seconds between plain lines."""


class Bar:
    """Shows tokens/s, explained variance, L0, dead latents and the time left of the primary autoencoder."""

    def __init__(self, title: str, step: int, steps: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._title, self._steps = title, steps
        self._said = time.monotonic()
        self._bar: Progress | None = None
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._bar.add_task(title, total=steps, completed=step, figures="")
            self._bar.start()

    def step(self, done: int) -> None:
        """So many steps are done."""
        if self._bar:
            self._bar.update(self._task, completed=done)

    def show(self, line: dict[str, Any]) -> None:
        """Show the figures of a line of the log."""
        figures = _figures(line)
        if self._bar:
            self._bar.update(self._task, figures=figures)
            return
        now, last = time.monotonic(), line["step"] >= self._steps
        if last or now - self._said >= PLAIN_EVERY:
            self._said = now
            left = (self._steps - line["step"]) * line["tokens"] / line["step"] / max(line["tokens_per_s"], 1e-9)
            self._console.print(
                f"{self._title}: step {line['step']:,} of {self._steps:,}, {figures}, {_clock(left)} left",
                highlight=False,
                soft_wrap=True,
            )

    def close(self) -> None:
        if self._bar:
            self._bar.stop()


def _figures(line: dict[str, Any]) -> str:
    first = next(iter(line["jobs"].values()))
    variance, l0 = first["explained_variance"], first["l0"]
    return (
        f"{_short(line['tokens_per_s'])} tokens/s, "
        f"explained variance {'–' if variance is None else format(variance, '.3f')}, "
        f"L0 {'–' if l0 is None else format(l0, '.1f')}, dead {first['dead_share']:.1%}"
    )


def _short(number: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
