import io

import pytest
from rich.console import Console

from omnisae.training import progress
from omnisae.training.progress import Bar


def _line(step, **figures):
    job = {
        "loss": 1.0,
        "terms": {},
        "explained_variance": 0.8765,
        "l0": 31.96,
        "dead": 3,
        "dead_share": 0.0123,
    } | figures
    return {
        "step": step,
        "tokens": step * 1000,
        "seconds": 1.0,
        "tokens_per_s": 123_456.0,
        "lr": 1e-3,
        "jobs": {"a": job},
    }


def _console(terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=140)


def test_plain_lines_are_few_and_whole(monkeypatch):
    clock = iter([0.0, 5.0, 11.0, 12.0, 13.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    console = _console(False)
    bar = Bar("blocks.3-s0", 0, 400, console)
    for step in (100, 200, 300, 400):
        bar.step(step)
        bar.show(_line(step))
    bar.close()
    lines = console.file.getvalue().splitlines()
    assert lines == [
        "blocks.3-s0: step 200 of 400, 123.5k tokens/s, explained variance 0.876, L0 32.0, dead 1.2%, 0:02 left",
        "blocks.3-s0: step 400 of 400, 123.5k tokens/s, explained variance 0.876, L0 32.0, dead 1.2%, 0:00 left",
    ]


def test_the_bar_shows_the_figures_on_a_terminal():
    console = _console(True)
    bar = Bar("blocks.3-s0", 0, 400, console)
    bar.step(400)
    bar.show(_line(400))
    bar.close()
    text = console.file.getvalue()
    for part in ("blocks.3-s0", "400/400", "123.5k tokens/s", "explained variance 0.876", "L0 32.0", "dead 1.2%"):
        assert part in text


def test_what_is_not_known_is_a_dash():
    console = _console(False)
    Bar("a", 0, 1, console).show(_line(1, explained_variance=None, l0=None))
    assert "explained variance –, L0 –," in console.file.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(5, "0:05"), (65.2, "1:05"), (3725, "1:02:05")])
def test_the_clock(seconds, text):
    assert progress._clock(seconds) == text
