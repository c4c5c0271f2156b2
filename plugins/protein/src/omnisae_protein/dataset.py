"""The dataset `protein.sequences`."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from omnisae.concepts.annotations import Annotations, Interval, Region
from omnisae.errors import DatasetError, UnreadableExample, did_you_mean
from omnisae.extract.dataset import Dataset, Example
from omnisae.store.key import content_key, file_digest
from omnisae_protein import annotated, checks, homology, place, structures, tables
from omnisae_protein.features import Feature
from omnisae_protein.plugin import ProteinsConfig
from omnisae_protein.records import Record, read

AXIS = "residue"
HOMOLOGY = "homology"
SITES = "sites"


@dataclass(frozen=True)
class Protein:
    """What the extractor is given: a name and residues in one-letter code."""

    id: str
    sequence: str


class Proteins(Dataset):
    """Proteins. Their features are regions along `residue`; families are concepts of whole proteins.

    A protein that no annotation names counts for no concept. Beside that: `sequence`, `features_of`, `structure`.
    """

    def __init__(self, config: ProteinsConfig) -> None:
        self._config = config
        self._root = place.folder(config.root)
        self._records, self._notes = checks.checked(self._read(), config)
        self._ids = [one.id for one in self._records]
        self._about = self._tables()
        self._annotate()
        for note in self._notes:
            warnings.warn(note, stacklevel=3)

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def load(self, row: int) -> Example:
        one = self._records[row]
        strange = checks.strange(one.sequence)
        if strange and self._config.nonstandard == "skip":
            raise UnreadableExample(
                f"{one.id!r} has non-standard residues: {', '.join(strange)} (dataset.nonstandard: skip)",
                "set dataset.nonstandard: keep or mask",
            )
        return Example(row, one.id, Protein(one.id, one.sequence))

    def sequence(self, row: int) -> str:
        """A protein's residues in one-letter code."""
        return self._records[row].sequence

    def features_of(self, row: int) -> Sequence[Feature]:
        """What is annotated in a protein, by its first residue."""
        return sorted(self._features.get(row, ()), key=lambda one: (one.start, -one.stop))

    @property
    def has_structures(self) -> bool:
        """Whether the config names a folder of structures."""
        return self._config.structures is not None

    def structure(self, row: int) -> Path | None:
        """Where a protein's structure lies; None where there is none."""
        if self._config.structures is None:
            return None
        return structures.find(self._root / self._config.structures, self._ids[row])

    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        config = self._config
        named = [config.sequences, *config.annotations, *([config.group_by] if config.group_by else [])]
        settings = config.model_dump(mode="json", exclude={"root", "structures"})
        return content_key([settings, [file_digest(self._root / name) for name in named]])

    def annotations(self) -> Annotations:
        return Annotations(
            self._ids, self._families, self._regions, self._concepts, self._unknown if self._partial else None
        )

    def labels(self) -> Mapping[str, Sequence[str]]:
        family = self._config.family
        return {"family": self._about[family]} if family in self._about else {}

    def groups(self, column: str) -> Sequence[str]:
        if column == HOMOLOGY and self._config.homology is not None:
            return self._clusters
        if column in self._about:
            return [word or f"?{row}" for row, word in enumerate(self._about[column])]
        return super().groups(column)

    def group_columns(self) -> Sequence[str]:
        return [*([HOMOLOGY] if self._config.homology is not None else []), *self._about]

    def must_split_by(self) -> str | None:
        return HOMOLOGY if self._config.homology is not None else None

    def notes(self) -> Sequence[str]:
        return self._notes

    @cached_property
    def _clusters(self) -> list[str]:
        assert self._config.homology is not None
        found, how = homology.clusters(self._ids, [one.sequence for one in self._records], self._config.homology)
        sizes = Counter(found)
        largest = max(sizes.values())
        self._notes.append(
            f"homology: {len(sizes)} clusters of {len(found)} proteins by {how}; the largest has {largest}"
        )
        return found

    def _read(self) -> list[Record]:
        config = self._config
        found = read(self._root / config.sequences, config.letters, config.unknown_letters)
        for key, wanted in config.where.items():
            known = sorted({one.about.get(key, "") for one in found} - {""})
            found = [one for one in found if one.about.get(key) == wanted]
            if not found:
                raise DatasetError(f"dataset.where: no record has {key} = {wanted!r}", did_you_mean(wanted, known))
        return found

    def _tables(self) -> dict[str, list[str]]:
        """Columns of words by protein: of UniProt tables, of records, of `group_by`."""
        config, family = self._config, self._config.family
        found: dict[str, dict[str, str]] = {}
        for name in (config.sequences, *config.annotations):
            path = self._root / name
            if family and path.name.removesuffix(".gz").endswith((".tsv", ".tab")) and family in tables.columns(path):
                found[family] = {row["Entry"]: row[family] for _, row in tables.rows(path)}
        for key in {key for one in self._records for key in one.about} - {"id", "Sequence", "Entry"}:
            values = {one.id: one.about.get(key, "") for one in self._records}
            if 1 < len(set(values.values())) < len(values) / 2:
                found.setdefault(key, values)
        if config.group_by is not None:
            heading, rows = tables.csv_columns(self._root / config.group_by, "dataset.group_by")
            if "id" not in heading:
                raise DatasetError(
                    f"dataset.group_by: {config.group_by} has no column 'id'", did_you_mean("id", heading)
                )
            for name in heading:
                if name != "id":
                    found[name] = {row["id"]: row[name] for row in rows}
        return {name: [values.get(one, "") for one in self._ids] for name, values in found.items()}

    def _annotate(self) -> None:
        config = self._config
        lengths = {one.id: len(one.sequence) for one in self._records}
        joined = annotated.join([self._root / name for name in config.annotations], lengths, config.bounds)
        self._features: dict[int, list[Feature]] = {}
        self._annotated: set[int] = set()
        for row, one in enumerate(self._records):
            mine = [*one.features, *joined.features.get(one.id, ())]
            if one.id in joined.features or one.known:
                self._annotated.add(row)
            self._features[row] = mine
        for why, count in sorted(joined.lost.items()):
            self._notes.append(f"{count} annotated features {why}, and are left out")
        if joined.strangers:
            self._notes.append(f"{joined.strangers} annotated entries are none of the proteins, and are left out")
        self._choose_concepts()

    def _choose_concepts(self) -> None:
        """Concepts that enough proteins have; and of which of them each record knows, where records know of some."""
        count = Counter(name for mine in self._features.values() for name in {one.concept for one in mine})
        self._concepts = sorted(name for name, proteins in count.items() if proteins >= self._config.least)
        rare = len(count) - len(self._concepts)
        if rare:
            self._notes.append(f"{rare} concepts are in fewer than {self._config.least} proteins, and left out (least)")
        wanted = set(self._concepts)
        self._features = {row: [one for one in mine if one.concept in wanted] for row, mine in self._features.items()}
        tracks = {track: set(names.values()) for track, names in self._config.letters.items()}
        tracks[SITES] = {f.concept for one in self._records for f in one.features if f.key == "BINDING"}
        self._of_track = {track: names & wanted for track, names in tracks.items()}
        self._partial = any(one.known or one.unknown for one in self._records)

    def _regions(self, row: int) -> Sequence[Region] | None:
        if row not in self._annotated:
            return None
        return [
            Region(one.concept, number, Interval(AXIS, *span))
            for number, one in enumerate(self._features[row])
            for span in one.spans()
        ]

    def _unknown(self, row: int) -> Sequence[Region]:
        """Concepts of tracks that this record lacks, everywhere; those of its tracks where they tell nothing."""
        one = self._records[row]
        whole = Interval(AXIS, 0, len(one.sequence))
        out = []
        for track, names in self._of_track.items():
            places = [whole] if track not in one.known else []
            if track in one.known and track != SITES:
                places = [Interval(AXIS, *span) for span in one.unknown]
            out += [Region(name, 0, where) for name in sorted(names) for where in places]
        return out

    @cached_property
    def _families(self) -> dict[str, Float[np.ndarray, " example"]]:
        """Families as concepts of whole proteins, where enough belong to them. UniProt names the superfamily first."""
        column = self._about.get(self._config.family or "")
        if column is None:
            return {}
        words = np.array([text.split(";")[0].strip() for text in column])
        count = Counter(words.tolist())
        return {
            f"family: {name}": np.where(words == "", np.nan, (words == name) * 1.0)
            for name, proteins in sorted(count.items())
            if name and self._config.least <= proteins < len(words)
        }
