"""The dataset `mammography.exams`."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float, UInt16

from omnisae.concepts.annotations import Annotations, Region
from omnisae.errors import DatasetError, UnreadableExample, did_you_mean
from omnisae.extract.dataset import Dataset, Example
from omnisae_mammography import files, header, pixels, table
from omnisae_mammography.breast import only_breast
from omnisae_mammography.plugin import ExamsConfig
from omnisae_mammography.regions import Regions
from omnisae_mammography.turn import chest_side, turned
from omnisae_vision import world

MOST_WORDS = 40
FEW_WORDS = 8
"""An attribute of more different words is refused, and one of at least `FEW_WORDS` that nearly all belong to one
patient each: it is no class, and may tell who somebody is."""


class Exams(Dataset):
    """Mammograms of exams. `load` gives grey values (16 bit, y × x), windowed, with the chest wall on the left.

    Concepts of regions: the table's findings. Concepts of pictures: `has_<finding>` and `<attribute>=<word>`. Columns:
    view, laterality, scanner (A, B, … in the order of the makers' hashes), burned_in, implant, and the attributes.
    A split divides no patient.
    """

    def __init__(self, config: ExamsConfig) -> None:
        self._config = config
        self._root = world.folder(config.root)
        below = config.images if config.images is not None else ("images" if (self._root / "images").is_dir() else ".")
        self._home = self._root / below
        masks = {self._root / p for p in (config.contours,) if p}
        found = [p for p in files.find(self._home) if not any((self._home / p).is_relative_to(m) for m in masks)]
        self._table_path = self._root / config.table if config.table is not None else None
        if self._table_path is not None and not self._table_path.is_file():
            near = did_you_mean(str(config.table), (p.name for p in self._root.iterdir() if p.is_file()))
            raise DatasetError(f"dataset.table: there is no file {self._table_path}", near)
        read = table.read(self._table_path, config.mapping, found) if self._table_path is not None else None
        found, known = _without_masks(found, read)
        self._paths = [self._home / path for path in found]
        self._ids = [files.pseudonym("picture", path) for path in found]
        self._known = known
        self._lost = (read.lost, read.lines) if read is not None else (0, 0)
        self._headers = [self._header(row) for row in range(len(found))]
        self._named = [_groups(config.pattern, path) for path in found]
        self._patients = self._find_patients()
        self._regions = Regions(config, self._root, self._paths, self._ids, known, self._headers)

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def load(self, row: int) -> Example:
        name = f"picture {self._ids[row]!r}"
        if self._headers[row] is None and self._paths[row].suffix.lower() not in pixels.PICTURES:
            header.read(self._paths[row], name)
        grey = pixels.read(self._paths[row], name, self._config.window)
        if self._config.keep == "breast":
            grey = only_breast(grey)
        return Example(row, self._ids[row], turned(grey) if self._is_turned(row, grey) else grey)

    def fingerprint(self) -> str:
        config = self._config.model_dump(mode="json", exclude={"root"})
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        for path in [*self._paths, *self._regions.files, *([self._table_path] if self._table_path else [])]:
            about = path.stat()
            place = path.relative_to(self._root).as_posix() if path.is_relative_to(self._root) else path.name
            digest.update(f"\n{place} {about.st_size} {about.st_mtime_ns}".encode())
        return digest.hexdigest()

    def annotations(self) -> Annotations:
        labels = self._findings() | self._attribute_concepts()
        if not self._regions.concepts:
            return Annotations(self._ids, labels)
        return Annotations(self._ids, labels, self._regions_of, self._regions.concepts)

    def labels(self) -> Mapping[str, Sequence[str]]:
        return {name: values for name, values in self._columns.items() if any(values)}

    def groups(self, column: str) -> Sequence[str]:
        known = {**self.labels(), "patient": self._patients, "exam": self._exams}
        if column not in known:
            raise DatasetError(
                f"this dataset has no column {column!r} to group by", did_you_mean(column, self.group_columns())
            )
        return known[column]

    def group_columns(self) -> Sequence[str]:
        return ["patient", "exam", *self.labels()]

    def must_split_by(self) -> str:
        return "patient"

    def notes(self) -> Sequence[str]:
        said = []
        lost, lines = self._lost
        if lost:
            said.append(f"{lost} of {lines} lines of the table name no picture, and count for nothing.")
        burned = sum(value == "yes" for value in self._columns["burned_in"])
        if burned and self._config.keep == "all":
            said.append(
                f"{burned} of {len(self)} pictures say that words are burned into them, which this report may show; "
                "dataset.keep: breast blackens everything but the breast."
            )
        told = [about.chest for about in self._headers if about is not None and about.chest]
        if self._config.face == "left":
            right, unsure = sum(side == "right" for side in told), len(self) - len(told)
            said.append(f"{right} of {len(self)} pictures were turned so that the chest wall lies on the left.")
            if unsure:
                said.append(f"Of {unsure} more no header tells where the chest wall lies: their brightness decided.")
        return said + self._regions.notes()

    def partners(self, row: int) -> Sequence[int]:
        """The other pictures of the same breast in the same exam, other views first."""
        mine = (self._patients[row], self._exams[row], self._columns["laterality"][row])
        view = self._columns["view"]
        same = [at for at in range(len(self)) if at != row and self._breasts[at] == mine]
        return sorted(same, key=lambda at: (view[at] == view[row], at))

    @cached_property
    def _breasts(self) -> list[tuple[str, str, str]]:
        return list(zip(self._patients, self._exams, self._columns["laterality"], strict=True))

    @cached_property
    def _chest(self) -> dict[int, str]:
        """The side of the chest wall as stored: where a header tells, and where a picture's brightness has decided."""
        return {row: about.chest for row, about in enumerate(self._headers) if about is not None and about.chest}

    @cached_property
    def _columns(self) -> dict[str, list[str]]:
        """What may be shown of every picture; "" is unknown."""
        columns = {name: [self._word(row, name) for row in range(len(self._ids))] for name in ("view", "laterality")}
        columns["scanner"] = _coded([about.maker if about else "" for about in self._headers])
        for name in ("burned_in", "implant"):
            columns[name] = [getattr(about, name) if about else "" for about in self._headers]
        for name in self._config.mapping.attributes if self._table_path is not None else ():
            values = [
                self._known[r].attributes.get(name, "") if r in self._known else "" for r in range(len(self._ids))
            ]
            self._refuse_identifying(name, values)
            columns[name] = values
        return columns

    def _refuse_identifying(self, name: str, values: Sequence[str]) -> None:
        """Raises DatasetError where an attribute may tell who somebody is; its words are not told."""
        homes: dict[str, set[str]] = {}
        for word, patient in zip(values, self._patients, strict=True):
            if word:
                homes.setdefault(word, set()).add(patient)
        alone = sum(len(patients) == 1 for patients in homes.values())
        why = ""
        if len(homes) > MOST_WORDS:
            why = f"has {len(homes)} different words; a class has at most {MOST_WORDS}"
        elif any(files.pseudonym("patient", word) in self._called for word in homes):
            why = "holds what patients are called by"
        elif len(homes) >= FEW_WORDS and alone > 0.9 * len(homes):
            why = f"has {len(homes)} words, of which {alone} belong to one patient each"
        if why:
            raise DatasetError(
                f"dataset.columns.attributes: {name!r} {why}", "leave the column out: it may tell who somebody is"
            )

    @cached_property
    def _called(self) -> set[str]:
        """Pseudonyms of whatever header, table or path calls patients by."""
        words = {about.patient for about in self._headers if about} | {one.patient for one in self._known.values()}
        return {
            files.pseudonym("patient", word) for word in words | {n.get("patient", "") for n in self._named} if word
        }

    @cached_property
    def _exams(self) -> list[str]:
        return [
            files.pseudonym("exam", self._word(row, "exam") or self._patients[row]) for row in range(len(self._ids))
        ]

    def _word(self, row: int, name: str) -> str:
        """A fact of a picture: by its header, else the table, else its path; "" where none tells."""
        sources = (self._headers[row], self._known.get(row))
        told = next((word for one in sources if one is not None and (word := getattr(one, name, ""))), "")
        return told or self._named[row].get(name, "")

    def _header(self, row: int) -> header.Header | None:
        """What the file says of itself; None for a picture without header, or one that will turn out unreadable."""
        path = self._paths[row]
        if path.suffix.lower() in pixels.PICTURES:
            return None
        try:
            return header.read(path, f"picture {self._ids[row]!r}")
        except UnreadableExample:
            return None

    def _find_patients(self) -> list[str]:
        """Pseudonyms of the patients. Raises DatasetError where one is not known and must be."""
        found, unknown = [], 0
        for row, about in enumerate(self._headers):
            word = (self._known[row].patient if row in self._known else "") or (about.patient if about else "")
            word = word or self._named[row].get("patient", "")
            unread = about is None and self._paths[row].suffix.lower() not in pixels.PICTURES
            unknown += not word and not unread
            found.append(files.pseudonym("patient", word) if word else f"alone {self._ids[row]}")
        if unknown and self._config.patient == "known":
            raise DatasetError(
                f"of {unknown} of {len(found)} pictures the patient is not known, so that no split can keep patients "
                "apart",
                "name the table's column (dataset.columns.patient), give dataset.pattern with (?P<patient>…), or say "
                "dataset.patient: picture where every picture is of another patient",
            )
        return found

    def _is_turned(self, row: int, grey: UInt16[np.ndarray, "y x"] | None = None) -> bool:
        if self._config.face == "stored":
            return False
        if row not in self._chest:
            if grey is None:
                grey = pixels.read(self._paths[row], f"picture {self._ids[row]!r}", self._config.window)
            self._chest[row] = chest_side(grey)
        return self._chest[row] == "right"

    def _regions_of(self, row: int) -> Sequence[Region] | None:
        return self._regions.of(row, turn=lambda: self._is_turned(row))

    def _findings(self) -> dict[str, Float[np.ndarray, " example"]]:
        """Whether each finding is in each picture; NaN where the picture is in no table."""
        found = {}
        for concept in self._regions.all_concepts:
            column = np.full(len(self), np.nan)
            for row in self._regions.annotated:
                column[row] = float(concept in self._regions.present(row))
            found[f"has_{concept}"] = column
        return found

    def _attribute_concepts(self) -> dict[str, Float[np.ndarray, " example"]]:
        found = {}
        for name in self._config.mapping.attributes if self._table_path is not None else ():
            values = self._columns[name]
            for word in sorted(set(values) - {""}):
                found[f"{name}={word}"] = np.array([np.nan if v == "" else float(v == word) for v in values])
        return found


def _without_masks(found: list[str], read: table.Table | None) -> tuple[list[str], dict[int, table.Known]]:
    """Pictures that the table names as masks are none of the dataset's."""
    if read is None:
        return found, {}
    masks = {f.mask for known in read.known.values() for f in known.findings if f.mask}
    stems = {m.removeprefix("images/") for m in masks} | masks
    kept = [row for row, path in enumerate(found) if path not in stems]
    place = {row: at for at, row in enumerate(kept)}
    return [found[row] for row in kept], {place[row]: k for row, k in read.known.items() if row in place}


def _groups(pattern: str | None, path: str) -> dict[str, str]:
    match = re.search(pattern, path) if pattern else None
    found = {key: value or "" for key, value in match.groupdict().items()} if match else {}
    if "laterality" in found:
        found["laterality"] = table.SIDES.get(found["laterality"].lower(), "")
    if "view" in found:
        found["view"] = found["view"].upper()
    return found


def _coded(makers: Sequence[str]) -> list[str]:
    """A, B, … for makers, whose names tell where somebody was seen; in the order of their hashes."""
    names = sorted({m for m in makers if m}, key=lambda m: hashlib.sha256(m.encode()).digest())
    letters = {name: chr(ord("A") + i) if i < 26 else f"scanner {i + 1}" for i, name in enumerate(names)}
    return [letters.get(maker, "") for maker in makers]
