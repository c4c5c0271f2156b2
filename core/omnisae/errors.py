"""Every error a user may meet: what was found, the rule, and the remedy."""

from collections.abc import Iterable
from difflib import get_close_matches


class OmnisaeError(Exception):
    """An error that a user can mend.

    `problem` states the value and the rule it breaks, and names the file, row or field; `remedy` says what to do.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem}\n  → {remedy}" if remedy else problem)


class ConfigError(OmnisaeError):
    """A config file or an option on the command line is wrong."""


class PluginError(OmnisaeError):
    """A plug-in is unknown, broken, or lacks a dependency."""


class LayoutError(OmnisaeError):
    """A layout pattern is malformed or does not fit a tensor."""


class HookError(OmnisaeError):
    """A hook point matches nothing, never fires, or yields something that is not a tensor."""


class StoreError(OmnisaeError):
    """An activation store is missing, truncated, altered, or was written by a newer version."""


class ArtifactError(OmnisaeError):
    """An artifact is damaged, or does not belong to the model, layer, width or normalisation it is used with."""


class DatasetError(OmnisaeError):
    """A dataset cannot be read, or its labels join no example."""


class UnreadableExample(DatasetError):
    """One example cannot be read; the run reports it, counts it and goes on without it."""


class TrainingError(OmnisaeError):
    """Training cannot go on: NaN activations, a diverged loss, a checkpoint that does not fit."""


class RunError(OmnisaeError):
    """A run folder is in use by another process, or a stage's input is missing."""


def did_you_mean(name: str, known: Iterable[str], n: int = 3) -> str:
    """`"did you mean 'a' or 'b'?"`, or the list of what is known where nothing comes near."""
    options = sorted(set(known))
    near = get_close_matches(name, options, n=n, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(repr(option) for option in near) + "?"
    if not options:
        return "there is none to choose from"
    shown = ", ".join(options[:12])
    return f"choose from: {shown}" + (f" … ({len(options)} in all)" if len(options) > 12 else "")
