"""The dataset `galaxies.cutouts`."""

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from omnisae.concepts.annotations import Annotations
from omnisae.errors import DatasetError, UnreadableExample
from omnisae.extract.dataset import Dataset, Example, FeatureTable
from omnisae_galaxies import catalogue, files, fits_image, place, stretch, votes
from omnisae_galaxies.join import Joined, join
from omnisae_galaxies.plugin import CutoutsConfig
from omnisae_vision import decode, world

USUAL = ("cutouts", "images")
MOST_WORDS = 100


class Cutouts(Dataset):
    """Galaxies. `load` gives PIL pictures in RGB, north up where the file's WCS says so: fluxes stretched, their first
    row at the bottom.

    Concepts: the fraction of votes for each `question_answer`, further fractions, `clean:<question>_<answer>` where
    clean samples are asked for, `column=word`. Measurements are features. Beside that: `tally` (a galaxy's votes by
    question), `positions` (right ascension and declination), `arcsec` (arcseconds a pixel), `wcs`.
    """

    def __init__(self, config: CutoutsConfig) -> None:
        self._config = config
        self._root = world.folder(config.root)
        if not self._root.is_dir():
            raise DatasetError(f"dataset.root: there is no folder {self._root}", "name a folder, or 'world:galaxies'")
        below = config.images or next((name for name in USUAL if (self._root / name).is_dir()), ".")
        self._home = self._root / below
        self._table_path = self._root / config.catalogue if config.catalogue is not None else None
        self._files = files.find(self._home, (self._table_path,) if self._table_path else ())
        self._ids = [files.identity(name) for name in self._files]
        self._table, self._joined = self._read()
        self._tally = votes.tally(config.votes, self._table) if config.votes and self._table else None
        self._labels = self._read_labels()
        self._concepts = self._read_concepts()
        self._features = self._read_features()

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def path(self, row: int) -> Path:
        """Where a cut-out lies."""
        return self._home / self._files[row]

    def load(self, row: int) -> Example:
        path = self.path(row)
        if files.is_fits(path.name):
            try:
                picture = Image.fromarray(stretch.picture(self.bands(row), self._config.stretch))
            except UnreadableExample as error:
                told = error.problem if str(path) in error.problem else f"{path}: {error.problem}"
                raise UnreadableExample(told, error.remedy) from error
        else:
            picture = decode.read(path)
        return Example(row, self._ids[row], picture)

    def bands(self, row: int) -> Float[np.ndarray, "band y x"]:
        """A FITS cut-out's bands in the file's units, row 0 the lowest."""
        return fits_image.read(self.path(row), self._config.bands)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(
            json.dumps(self._config.model_dump(mode="json", exclude={"root"}), sort_keys=True).encode()
        )
        for path in [*map(self.path, range(len(self))), *([self._table_path] if self._table_path else [])]:
            about = path.stat()
            where = os.path.relpath(path, self._root)  # cut-outs may lie elsewhere
            digest.update(f"\n{Path(where).as_posix()} {about.st_size} {about.st_mtime_ns}".encode())
        return digest.hexdigest()

    def annotations(self) -> Annotations:
        return Annotations(self._ids, self._concepts)

    def labels(self) -> Mapping[str, Sequence[str]]:
        return self._labels

    def features(self) -> FeatureTable | None:
        return self._features

    def groups(self, column: str) -> Sequence[str]:
        if column not in self.group_columns():
            return super().groups(column)
        known = self._labels[column] if column in self._labels else self._spread(self._table.words(column), "")
        # A galaxy of unknown group is a group of its own.
        return [word or f"?{row}" for row, word in enumerate(known)]

    def group_columns(self) -> Sequence[str]:
        extra = [self._config.group] if self._config.group and self._config.group not in self._labels else []
        return [*self._labels, *extra]

    def notes(self) -> Sequence[str]:
        told = list(self._joined.notes) if self._joined else []
        return told + list(self._tally.notes if self._tally else ())

    def tally(self, row: int) -> dict[str, dict[str, float]]:
        """A galaxy's fractions by question and answer; questions that it was not asked are left out."""
        found: dict[str, dict[str, float]] = {}
        for question, answers in (self._tally.questions if self._tally else {}).items():
            shares = {answer: float(self._concepts[f"{question}_{answer}"][row]) for answer in answers}
            if not any(np.isnan(share) for share in shares.values()):
                found[question] = shares
        return found

    @cached_property
    def positions(self) -> Float[np.ndarray, "example 2"]:
        """Right ascension and declination in degrees, from the catalogue, else of the middle by the WCS; NaN where
        neither tells."""
        out = np.full((len(self), 2), np.nan)
        if self._config.position is not None:
            for axis, name in enumerate(self._config.position):
                out[:, axis] = self._spread(self._table.numbers(name), np.nan)
        for row in np.flatnonzero(np.isnan(out).any(axis=1)):
            found = self._by_wcs(int(row), place.middle)
            out[row] = (np.nan, np.nan) if found is None else found
        return out

    def arcsec(self, row: int) -> float | None:
        """Arcseconds along a pixel of the cut-out: as the config says, else by its WCS; None where neither tells."""
        given = self._config.pixel_scale
        if isinstance(given, str):
            value = float(self._scales[row])
            return value if value > 0 else None
        return given if given is not None else self._by_wcs(row, place.pixel_scale)

    def wcs(self, row: int) -> Any:
        """The cut-out's celestial WCS (astropy.wcs.WCS), None where it has none. Its pixels are those of the file: the
        picture's rows are counted from the other end."""
        path = self.path(row)
        return fits_image.celestial(path) if files.is_fits(path.name) else None

    @cached_property
    def _scales(self) -> Float[np.ndarray, " example"]:
        return self._spread(self._table.numbers(str(self._config.pixel_scale)), np.nan)

    def _by_wcs(self, row: int, ask: Any) -> Any:
        """What the WCS tells; None where there is none, or where the file cannot be read (which loading it tells)."""
        try:
            found = self.wcs(row)
            return None if found is None else ask(found, fits_image.shape_of(self.path(row)))
        except UnreadableExample:
            return None

    def _wanted(self) -> list[str]:
        """The catalogue's columns that the config names."""
        config = self._config
        named = [config.id, *config.fractions, *config.classes, *config.numbers, *(config.position or ())]
        named += [config.group] if config.group else []
        named += [config.pixel_scale] if isinstance(config.pixel_scale, str) else []
        if config.votes:
            named += [*votes.columns(config.votes).values(), *votes.totals(config.votes).values()]
        return list(dict.fromkeys(named))

    def _read(self) -> tuple[Any, Joined | None]:
        if self._table_path is None:
            return None, None
        table = catalogue.read(self._table_path, self._wanted(), self._config.id)
        joined = join(self._ids, table.ids(self._config.id), self._table_path.name, self._config.minus)
        for note in joined.notes:
            warnings.warn(note, stacklevel=4)
        return table, joined

    def _spread(self, values: Any, missing: Any) -> Any:
        """A catalogue's column by cut-out."""
        row = self._joined.row if self._joined is not None else np.empty(0, dtype=int)
        if isinstance(values, np.ndarray):
            return np.where(row >= 0, values[row], missing)
        return [values[i] if i >= 0 else missing for i in row]

    def _read_labels(self) -> dict[str, list[str]]:
        return {name: self._spread(self._table.words(name), "") for name in self._config.classes}

    def _read_concepts(self) -> dict[str, Float[np.ndarray, " example"]]:
        found: dict[str, Float[np.ndarray, " example"]] = {}
        if self._tally is not None:
            found |= self._tally.fractions
            asked = self._config.votes
            found |= votes.clean(asked, self._tally, asked.clean) if asked and asked.clean is not None else {}
        found |= {name: self._fraction(name) for name in self._config.fractions}
        out = {name: self._spread(values, np.nan) for name, values in found.items()}
        for name, words in self._labels.items():
            kinds = sorted(set(words) - {""})
            if len(kinds) > MOST_WORDS:
                raise DatasetError(
                    f"dataset.classes: {name!r} has {len(kinds)} different words; at most {MOST_WORDS} make concepts",
                    "name it in dataset.numbers or dataset.group, or leave it out",
                )
            column = np.array(words)
            out |= {f"{name}={kind}": np.where(column == "", np.nan, (column == kind) * 1.0) for kind in kinds}
        return out

    def _fraction(self, name: str) -> Float[np.ndarray, " row"]:
        values = self._table.numbers(name)
        wrong = np.flatnonzero(~np.isnan(values) & ~((values >= 0) & (values <= 1)))
        if len(wrong):
            raise DatasetError(
                f"{self._table.path}, row {wrong[0] + 1}: {name} is {values[wrong[0]]:g}; fractions lie between 0 and "
                "1",
                f"name {name!r} in dataset.numbers, or scale it",
            )
        return values

    def _read_features(self) -> FeatureTable | None:
        names = self._config.numbers
        if not names:
            return None
        return FeatureTable(
            names, np.stack([self._spread(self._table.numbers(n), np.nan) for n in names], 1), "measurement"
        )
