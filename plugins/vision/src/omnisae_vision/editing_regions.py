"""Which latents are edited, in which pictures, and at which of their tokens."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from omnisae.errors import ConfigError, DatasetError, did_you_mean
from omnisae.extract.split import SELECT
from omnisae.studies.study import Material
from omnisae_vision.plugin_edits import RegionEffectsConfig

Grid = Bool[np.ndarray, "y x"]
Grids = Mapping[int, Grid]
"""Grids of tokens by the row of their picture."""


@dataclass(frozen=True)
class Subject:
    """A latent, by its posting list, and the concept that it was found best for (empty: none is known)."""

    list: int
    concept: str


@dataclass(frozen=True)
class Places:
    """Pictures, and the region of each: tokens within, and the tokens that are edited outside of it."""

    rows: Int[np.ndarray, " row"]
    inside: Bool[np.ndarray, "row y x"]
    outside: Bool[np.ndarray, "row y x"]


class Regions:
    """The regions of every subject on either side of the split."""

    def __init__(self, material: Material, config: RegionEffectsConfig) -> None:
        self._material, self._config, self._postings = material, config, material.postings
        axes = self._postings.hook.axes
        if not {"y", "x"} <= set(axes):
            raise DatasetError(
                f"the tokens of {self._postings.hook.name!r} lie along {list(axes) or 'no axis'}, not along y and x",
                "edit in regions where a hook point has both",
            )
        self._y, self._x = axes.index("y"), axes.index("x")
        sizes = self._postings.hook.known_sizes
        if sizes["y"] is None or sizes["x"] is None:
            raise DatasetError(
                f"pictures have different grids of tokens at {self._postings.hook.name!r}",
                "declare the sizes of y and x under `hooks:`, where all pictures have one size",
            )
        self._shape = sizes["y"], sizes["x"]
        self._masks: dict[str, tuple[Grids, set[int]]] = {}

    def subjects(self) -> list[Subject]:
        """The latents to edit. Raises ConfigError where one is unknown, DatasetError where there is none."""
        table, config = self._material.table, self._config
        level = "token" if config.region == "mask" else None
        of = [i for i, one in enumerate(table.get("level", ())) if level is None or one == level]
        if config.region == "mask" and not of:
            raise DatasetError(
                "no concept of regions was scored, so no region is known", "give masks or boxes, or set region: firing"
            )
        if config.latents is not None:
            return [self._named(str(one).replace("−", "-"), of) for one in config.latents]
        found: dict[int, Subject] = {}
        for concept in dict.fromkeys(str(table["concept"][i]) for i in of):
            best = next(int(table["list"][i]) for i in of if table["concept"][i] == concept)
            found.setdefault(best, Subject(best, concept))
        often = {one: len(self._with_region(one, SELECT)) for one in found.values()}
        chosen = sorted((one for one in often if often[one]), key=lambda one: -often[one])[: config.most]
        if not chosen:
            raise DatasetError(
                "no concept's best latent fires in a select picture", "train longer, or score more concepts"
            )
        return chosen

    def places(self, subject: Subject, side: int) -> Places:
        """At most `pictures` pictures of one side, drawn at random, each with its region."""
        random = np.random.default_rng([self._material.seed, subject.list, side, *self._config.switch.encode()])
        grids = self._with_region(subject, side)
        if self._config.switch == "off":
            rows = np.sort(random.permutation(np.array(list(grids), dtype=np.int64))[: self._config.pictures])
            inside = [grids[int(row)] for row in rows]
            outside = [~grid for grid in inside]
        else:
            rows = np.sort(random.permutation(self._without(subject, side))[: self._config.pictures if grids else 0])
            donors = list(grids.values())
            inside = [donors[int(random.integers(len(donors)))] for _ in rows]
            outside = [_as_many(grid, random) for grid in inside]
        shape = (len(rows), *self._shape)
        return Places(rows, np.array(inside).reshape(shape), np.array(outside).reshape(shape))

    def _named(self, name: str, of: Sequence[int]) -> Subject:
        lists = {str(self._postings.poles.name(i)): i for i in range(len(self._postings.poles))}
        if name not in lists:
            raise ConfigError(f"latents: there is no latent {name!r}", did_you_mean(name, lists))
        table, seen = self._material.table, Counter[str]()
        ranked: list[tuple[int, str]] = []
        for i in of:  # rows of one concept stand in the order of their rank on SELECT
            concept = str(table["concept"][i])
            seen[concept] += 1
            if int(table["list"][i]) == lists[name]:
                ranked.append((seen[concept], concept))
        if ranked:
            return Subject(lists[name], min(ranked)[1])
        if self._config.region == "mask":
            raise ConfigError(
                f"latents: {name!r} is among the best of no concept of regions, so its region is not known",
                "set region: firing, or raise score.top",
            )
        return Subject(lists[name], "")

    def _with_region(self, subject: Subject, side: int) -> Grids:
        """The regions in pictures that have one in which the latent fires."""
        rows = set(self._material.rows(side).tolist())
        firing = {row: grid for row, grid in self._firing(subject.list).items() if row in rows}
        if self._config.region == "firing":
            return firing
        masks, _ = self._of_concept(subject.concept)
        return {row: masks[row] for row, grid in firing.items() if row in masks and (masks[row] & grid).any()}

    def _without(self, subject: Subject, side: int) -> Int[np.ndarray, " row"]:
        """Pictures in which the latent is silent and, where regions are masks, known not to show its concept."""
        rows = self._material.rows(side)
        silent = rows[self._postings.strength(subject.list)[rows] == 0]
        if self._config.region == "firing":
            return np.asarray(silent)
        masks, known = self._of_concept(subject.concept)
        return np.array([row for row in silent.tolist() if row in known and row not in masks], dtype=np.int64)

    def _firing(self, posting_list: int) -> Grids:
        tokens, _ = self._postings.entries(posting_list)
        return self._grids(np.asarray(tokens, dtype=np.int64))

    def _of_concept(self, concept: str) -> tuple[Grids, set[int]]:
        """The concept's tokens in every picture, and the pictures that are annotated."""
        if concept not in self._masks:
            labels = next(level.labels for level in self._material.levels if level.labels.level == "token")
            number = next(i for i, one in enumerate(labels.concepts) if one.name == concept)
            tokens = np.asarray(labels.unit[labels.concept == number], dtype=np.int64)
            known = set(np.unique(labels.example_of_unit[labels.eligible]).tolist())
            self._masks[concept] = self._grids(tokens), known
        return self._masks[concept]

    def _grids(self, tokens: Int[np.ndarray, " token"]) -> Grids:
        """Grids of tokens by their numbers in the token table; special tokens have no place."""
        if not len(tokens):
            return {}
        coords = np.asarray(self._postings.coords[tokens])
        placed = (coords >= 0).all(axis=1)
        example = np.asarray(self._postings.example[tokens])[placed]
        order = np.argsort(example, kind="stable")
        y, x = (coords[placed][order, axis] for axis in (self._y, self._x))
        rows, starts = np.unique(example[order], return_index=True)
        found: dict[int, Grid] = {}
        for row, of_y, of_x in zip(rows.tolist(), np.split(y, starts[1:]), np.split(x, starts[1:]), strict=True):
            found[row] = np.zeros(self._shape, dtype=bool)
            found[row][of_y, of_x] = True
        return found


def _as_many(grid: Grid, random: np.random.Generator) -> Grid:
    """As many other places, drawn at random; all of them where there are fewer."""
    others = np.flatnonzero(~grid.ravel())
    chosen = np.zeros(grid.size, dtype=bool)
    chosen[random.permutation(others)[: int(grid.sum())]] = True
    return chosen.reshape(grid.shape)
