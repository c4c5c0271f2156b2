"""Tables of latents: the file that a selection writes and operations read. No torch here."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float64, Int64

from omnisae.errors import ArtifactError
from omnisae_diffusion.selection.entry import Entry

Binding = Literal["time", "steps"]
"""What entries belong to: scheduler times, whatever the number of steps, or the steps of a run of as many."""
ROUNDING = 1e-3
"""How far a told time may stray by rounding, over the largest time of the table: some are told in half precision."""


@dataclass(frozen=True, eq=False)
class LatentTable:
    """What a selection found of a concept: one entry at each of `times`, or with `axis` None one for all tokens.

    `identity` is the hash of the autoencoder whose latents are meant (`Known.identity`) and `hook` the name of its hook
    point. `times` are values along `axis` in the order of the steps: scheduler times on `timestep`, places on
    `position`. With a `grid`, such as {"y": 8, "x": 8}, every time has an entry for each place, the last axis fastest.
    `facts` are what a report tells of the selection (percentile, numbers of examples), plain JSON.

    A table that `binds` to times serves runs of any number of steps whose times lie near enough: the entry is that of
    the nearest time. SAeUron's own tables are indexed by step and so bound to one number of steps; `binds="steps"`.

    Raises ArtifactError where no entry names a latent, and where times are missing, doubled or not finite.
    """

    method: str
    concept: str
    identity: str
    hook: str
    entries: tuple[Entry, ...]
    times: tuple[float, ...] = ()
    axis: str | None = "timestep"
    binds: Binding = "time"
    facts: dict[str, Any] = field(default_factory=dict)
    grid: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not any(len(entry) for entry in self.entries):
            raise ArtifactError(
                f"the table of {self.concept!r} ({self.method}) is empty: no latent was selected at any time",
                "select with a lower percentile, from more examples, or another concept",
            )
        needed = (1 if self.axis is None else len(self.times)) * self.places_each
        if len(self.entries) != needed or (self.axis is None and self.times):
            raise ArtifactError(
                f"the table of {self.concept!r} has {len(self.entries)} entries and {len(self.times)} times on axis "
                f"{self.axis!r}: one entry a time is needed, or without an axis one entry and no time",
                "select the latents again",
            )
        if not np.isfinite(self.times).all() or len(set(self.times)) < len(self.times):
            raise ArtifactError(
                f"the times of the table of {self.concept!r} are doubled or not finite: {self._told()}",
                "select the latents again",
            )
        if self.binds not in get_args(Binding):
            raise ArtifactError(
                f"the table of {self.concept!r} binds to {self.binds!r}", 'a table binds to "time" or to "steps"'
            )

    @property
    def places_each(self) -> int:
        """How many entries each time has."""
        return math.prod(self.grid.values())

    # -- use --------------------------------------------------------------------------------------------------------

    def check(self, identity: str, latents: int, ticks: Sequence[float] | None = None, hook: str | None = None) -> None:
        """Whether the table may be used with an artifact and, along its axis, in a run told `ticks` (None: not known).

        Raises ArtifactError where it was made with another artifact, names latents that this one lacks, or does not
        hold for the run's times or number of steps.
        """
        if identity != self.identity:
            places = f", which reads {hook!r} (the table's: {self.hook!r})" if hook not in (None, self.hook) else ""
            raise ArtifactError(
                f"the table of {self.concept!r} ({self.method}) was selected with autoencoder {self.identity[:16]}…, "
                f"and this one is {identity[:16]}…{places}: its latents mean something else",
                "select the latents again with this artifact, or load the artifact of the table",
            )
        if (largest := max(int(entry.latents.max(initial=-1)) for entry in self.entries)) >= latents:
            raise ArtifactError(
                f"the table of {self.concept!r} names latent {largest}, and the artifact has {latents} latents",
                "select the latents again with this artifact",
            )
        if self.axis is None or ticks is None:
            return
        if self.binds == "steps" and len(ticks) != len(self.times):
            raise ArtifactError(
                f"the table of {self.concept!r} is bound to runs of {len(self.times)} steps, and this one has "
                f"{len(ticks)}",
                f"generate with {len(self.times)} steps, select again with {len(ticks)}, or bind the table to times",
            )
        if self.binds == "time":
            self.places(ticks)

    def at(self, time: float | None = None) -> Entry:
        """The entry of the nearest time (of two as near, the earlier step's). ArtifactError where none is near."""
        self._refuse_map()
        return self.entries[0] if self.axis is None else self.entries[int(self.places([self._given(time)])[0])]

    def at_step(self, step: int) -> Entry:
        """The entry of a step of generation. Raises ArtifactError where the table has no such step."""
        self._refuse_map()
        if self.axis is None:
            return self.entries[0]
        if not 0 <= step < len(self.times):
            raise ArtifactError(
                f"the table of {self.concept!r} holds for steps 0 to {len(self.times) - 1}, and step {step} was "
                "asked for",
                "generate with the table's number of steps, or select again",
            )
        return self.entries[step]

    def places(self, times: "Sequence[float] | Float64[np.ndarray, ' time']") -> Int64[np.ndarray, " time"]:
        """The number of the entry of every time. Raises ArtifactError for a time further from every time of the table
        than half their spacing (the median distance of neighbours; a table of one time holds for that alone).
        """
        told = np.asarray(times, dtype=np.float64).reshape(-1)
        if self.axis is None:
            return np.zeros(len(told), dtype=np.int64)
        distances = np.abs(told[:, None] - np.asarray(self.times))
        nearest = distances.argmin(axis=1)
        far = ~(distances[np.arange(len(told)), nearest] <= self.reach)
        if far.any():
            raise ArtifactError(
                f"the table of {self.concept!r} ({self.method}) holds for the times {self._told()} and up to "
                f"{self.reach:g} beside them, and the model was told {told[far][0]:g}",
                "select the latents again with the steps of this run, or generate with the table's",
            )
        return np.asarray(nearest, dtype=np.int64)

    @cached_property
    def reach(self) -> float:
        """How far from a time its entry holds."""
        ordered = np.sort(np.asarray(self.times, dtype=np.float64))
        half = float(np.median(np.diff(ordered))) / 2 if len(ordered) > 1 else 0.0
        return half + ROUNDING * float(np.abs(ordered).max(initial=0.0))

    @property
    def latents(self) -> Int64[np.ndarray, " latent"]:
        """All latents of the table, ascending."""
        return np.unique(np.concatenate([entry.latents for entry in self.entries]))

    # -- files ------------------------------------------------------------------------------------------------------

    def save(self, path: Path | str) -> None:
        """Write the table whole, or leave what was there. Raises ArtifactError where `facts` are not plain JSON,
        StoreError where the disk is full."""
        from omnisae_diffusion.selection.table_file import write

        write(Path(path), self)

    @classmethod
    def load(cls, path: Path | str) -> "LatentTable":
        """Read a table. Raises ArtifactError where the file is missing, damaged, of a newer schema, or no table."""
        from omnisae_diffusion.selection.table_file import read

        return read(Path(path))

    @property
    def about(self) -> dict[str, Any]:
        """All but the arrays, as JSON."""
        names = ("method", "concept", "identity", "hook", "axis", "binds", "facts", "grid")
        found: dict[str, Any] = json.loads(json.dumps({name: getattr(self, name) for name in names}, allow_nan=False))
        return found

    def _refuse_map(self) -> None:
        if self.grid:
            raise ArtifactError(
                f"the map of {self.concept!r} has an entry for each of {self.places_each} places at every time",
                "look them up in `entries`: times vary slowest, the last axis of `grid` fastest",
            )

    def _given(self, time: float | None) -> float:
        if time is None:
            raise ArtifactError(
                f"the table of {self.concept!r} lies along {self.axis!r}, and no place on that axis was told",
                "use it at a hook point that has this axis",
            )
        return float(time)

    def _told(self) -> str:
        shown = [f"{time:g}" for time in self.times]
        return ", ".join(shown if len(shown) <= 8 else [*shown[:4], "…", *shown[-2:]]) + (
            f" ({len(shown)} in all)" if len(shown) > 8 else ""
        )
