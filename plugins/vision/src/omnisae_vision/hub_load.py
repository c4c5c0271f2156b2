"""Finding a Hugging Face dataset: saved on disk, parquet, a folder of pictures, or on the hub where it is named."""

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from omnisae.errors import DatasetError, PluginError, did_you_mean
from omnisae_vision.plugin_datasets import HubDatasetConfig

CARDS = ("README.md", ".huggingface.yaml")
"""Files in which a folder may say, in YAML, where its data lie."""
_FRONT = re.compile(r"\s*---[\r\n]+([\S\s]*?)[\r\n]+---")
"""The YAML at the head of a README."""


@dataclass(frozen=True)
class Loaded:
    """A dataset, the files on this machine that it was read from, and what else tells one version from another."""

    data: Any
    files: Sequence[Path]
    stamp: str


def load(config: HubDatasetConfig) -> Loaded:
    """The split that a config names. Raises DatasetError, or PluginError where the library is not installed."""
    library = _library()
    try:
        held, files = _local(library, config) if config.hub is None else (_remote(library, config), [])
    except (DatasetError, PluginError):
        raise
    except Exception as error:  # the library raises whatever its many readers do
        what = config.path if config.hub is None else f"{config.hub!r} of the hub"
        raise DatasetError(
            f"{what} cannot be read as a dataset of pictures: {_first(error)}",
            "dataset.path names a folder of save_to_disk, .parquet files, or a folder of pictures"
            if config.hub is None
            else "check its name and the network; a private dataset needs `hf auth login`",
        ) from error
    data = _split(held, config.split)
    if not len(data):
        raise DatasetError("the dataset holds no row", "name another split in dataset.split")
    return Loaded(data.with_format(None), files, "" if config.hub is None else str(data._fingerprint))


def _local(library: Any, config: HubDatasetConfig) -> tuple[Any, list[Path]]:
    """What lies on this machine; nothing is fetched."""
    path = Path(config.path).expanduser()
    if any((path / name).is_file() for name in ("state.json", "dataset_dict.json")):
        return library.load_from_disk(str(path)), _below(path)
    if path.is_dir():
        _refuse_elsewhere(path)
        return library.load_dataset(str(path.resolve()), cache_dir=config.cache), _below(path)
    files = sorted(Path(one) for one in glob.glob(str(path), recursive=True))
    if not files:
        raise DatasetError(f"dataset.path: there is no file or folder {path}", "a name on the hub is hf-hub:owner/name")
    if any(one.suffix != ".parquet" for one in files):
        raise DatasetError(f"dataset.path: {files[0]} is no .parquet file", "name a folder, or .parquet files")
    named = {"train": [str(one.resolve()) for one in files]}
    return library.load_dataset("parquet", data_files=named, cache_dir=config.cache), files


def _refuse_elsewhere(folder: Path) -> None:
    """The library would fetch what a folder's README (or YAML) names, wherever that is. Raises DatasetError."""
    for name in CARDS:
        try:
            text = (folder / name).read_text(encoding="utf-8")
            front = _FRONT.match(text)
            held = yaml.safe_load(front[1] if front else text)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue  # not there, or prose
        found = [word for word in _words(held.get("configs")) if "://" in word] if isinstance(held, dict) else []
        if found:
            raise DatasetError(
                f"dataset.path: {folder / name} says that data lie at {found[0]}, and nothing is fetched for a dataset "
                "on this machine",
                "take it out of the file's `configs`, or name a dataset on the hub as hf-hub:owner/name",
            )


def _words(held: Any) -> Iterator[str]:
    """All texts in nested lists and mappings."""
    if isinstance(held, str):
        yield held
    elif isinstance(held, (list, Mapping)):
        for one in held.values() if isinstance(held, Mapping) else held:
            yield from _words(one)


def _remote(library: Any, config: HubDatasetConfig) -> Any:
    return library.load_dataset(config.hub, config.subset, revision=config.revision, cache_dir=config.cache)


def _split(held: Any, wanted: str | None) -> Any:
    if not isinstance(held, Mapping):
        return held
    if wanted is None:
        wanted = "train" if "train" in held or len(held) != 1 else next(iter(held))
    if wanted not in held:
        raise DatasetError(f"dataset.split: there is no split {wanted!r}", did_you_mean(wanted, map(str, held)))
    return held[wanted]


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _first(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise PluginError(
            f"vision.hub_dataset needs the package datasets, which is not installed ({error})",
            "pip install 'omnisae-vision[hub]'",
        ) from error
    if int(datasets.__version__.split(".")[0]) < 4:
        raise PluginError(
            f"vision.hub_dataset needs datasets 4 or newer, which run no dataset's code; here: {datasets.__version__}",
            "pip install -U datasets",
        )
    datasets.disable_progress_bars()
    # It would report the reading of local files, too, to a counter on the network.
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False
    return datasets
