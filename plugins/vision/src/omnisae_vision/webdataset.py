"""The dataset `vision.webdataset`: pictures in tar shards."""

import glob
import io
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from omnisae.concepts.annotations import Annotations, Region
from omnisae.errors import DatasetError, UnreadableExample
from omnisae.extract.dataset import Example
from omnisae_vision import decode, webdataset_fields
from omnisae_vision.attributes import Attributes
from omnisae_vision.image_folder import fingerprint
from omnisae_vision.labelled import Labelled
from omnisae_vision.masks import by_value, fits
from omnisae_vision.plugin_datasets import WebDatasetConfig
from omnisae_vision.webdataset_index import Sample, read

_RANGE = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")


class WebDataset(Labelled):
    """Samples of local tar shards in the order of the shards: see WebDatasetConfig. Any of them is one seek away; no
    member that holds a pickle is ever opened."""

    def __init__(self, config: WebDatasetConfig) -> None:
        self._config = config
        self._root = Path(config.root).expanduser()
        self._shards = [read(path) for path in _paths(self._root, config.shards)]
        samples = [sample for shard in self._shards for sample in shard.samples]
        self._samples = [sample for sample in samples if self._picture(sample)]
        self._without = len(samples) - len(self._samples)
        if not self._samples:
            endings = sorted({ending for sample in samples for ending in sample.members})
            raise DatasetError(
                f"none of {len(samples)} samples in {len(self._shards)} shards has a picture",
                f"dataset.image names their endings, here {', '.join(config.image)}; found: {', '.join(endings[:12])}",
            )
        self._ids = _ids(self._samples)
        for note in self.notes():
            warnings.warn(note, stacklevel=2)

    @property
    def ids(self) -> Sequence[str]:
        return self._ids

    def load(self, row: int) -> Example:
        sample = self._samples[row]
        ending = self._picture(sample)
        held = io.BytesIO(_bytes(sample, ending))
        return Example(row, self._ids[row], decode.read(held, exif=self._config.exif, name=sample.what(ending)))

    def fingerprint(self) -> str:
        settings = self._config.model_dump(mode="json", exclude={"root"})
        return fingerprint(settings, [shard.path for shard in self._shards], self._root)

    def annotations(self) -> Annotations:
        labels = self.concepts()
        if self._config.masks is None:
            return Annotations(self._ids, labels)
        return Annotations(self._ids, labels, self._regions, tuple(sorted(set(self._config.mask_values.values()))))

    def labels(self) -> Mapping[str, Sequence[str]]:
        return {**super().labels(), **({} if self._texts is None else {"text": self._texts})}

    def notes(self) -> Sequence[str]:
        said = [
            f"{shard.path.name} is damaged ({shard.damage}): the {len(shard.samples)} samples before are read"
            for shard in self._shards
            if shard.damage
        ]
        if self._without:
            said.append(f"{self._without} samples have no picture and are left out")
        pickles = sum(shard.pickles for shard in self._shards)
        return [*said, f"{pickles} members hold pickles and are never read"] if pickles else said

    def _picture(self, sample: Sample) -> str:
        """The ending of a sample's picture; empty where it has none."""
        return next((ending for ending in self._config.image if ending in sample.members), "")

    @cached_property
    def classes(self) -> list[str] | None:
        config = self._config
        return (
            None if config.label is None else webdataset_fields.classes(self._samples, config.label, config.class_names)
        )

    @cached_property
    def attributes(self) -> Attributes:
        config = self._config
        return webdataset_fields.fields(self._samples, self._ids, config.document, config.fields, config.group)

    @cached_property
    def _texts(self) -> list[str] | None:
        ending = self._config.text
        if ending is None or not any(ending in sample.members for sample in self._samples):
            return None
        return [webdataset_fields.text(sample, ending) or "" for sample in self._samples]

    def _regions(self, row: int) -> list[Region] | None:
        sample, ending = self._samples[row], self._config.masks
        if ending is None or ending not in sample.members:
            return None
        name = sample.what(ending)
        numbers = decode.read_mask(io.BytesIO(_bytes(sample, ending)), name=name)
        of = self._picture(sample)
        size = decode.size(io.BytesIO(_bytes(sample, of)), exif=self._config.exif, name=sample.what(of))
        fits(f"the mask {name}", (numbers.shape[0], numbers.shape[1]), "its picture", size, exif=self._config.exif)
        return by_value(numbers, self._config.mask_values)


def _bytes(sample: Sample, ending: str) -> bytes:
    try:
        return sample.read(ending)
    except OSError as error:
        raise UnreadableExample(
            f"{sample.what(ending)} cannot be read: {error}", "mend or restore the shard"
        ) from error


def _ids(samples: Sequence[Sample]) -> list[str]:
    """A sample's key; with its shard's name before it where shards share a key."""
    often = Counter(sample.key for sample in samples)
    found = [s.key if often[s.key] == 1 else f"{s.shard.stem}/{s.key}" for s in samples]
    twice = [name for name, count in Counter(found).items() if count > 1]
    if twice:
        raise DatasetError(f"the sample {twice[0]!r} stands twice in shards of one name", "give shards different names")
    return found


def _paths(root: Path, patterns: Sequence[str]) -> list[Path]:
    """The shards that patterns name, in their order, each once. Raises DatasetError where one names none."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        if "://" in pattern or pattern.startswith("pipe:"):
            raise DatasetError(
                f"dataset.shards names {pattern!r}: only local shards are read, and no command is run",
                "copy them to this machine",
            )
        for name in _expanded(pattern):
            paths = sorted(Path(path) for path in glob.glob(str(root / name), recursive=True))
            if not paths:
                raise DatasetError(f"dataset.shards: there is no file {root / name}", "name tar shards below the root")
            found |= dict.fromkeys(paths)
    return list(found)


def _expanded(pattern: str) -> Iterator[str]:
    """A pattern's braces written out: `{000..012}` and `{train,val}`, as WebDataset does."""
    match = _RANGE.search(pattern)
    if match is None:
        yield pattern
        return
    low, high, words = match.groups()
    if words is not None:
        options: Sequence[str] = words.split(",")
    else:
        options = [str(n).zfill(len(low)) for n in range(int(low), int(high) + 1)]
    for option in options:
        yield from _expanded(pattern[: match.start()] + option + pattern[match.end() :])
