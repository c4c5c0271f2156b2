"""The dataset `diffusion.generated`: pictures that a model makes of prompts, made once and kept on disk."""

import os
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from omnisae.atomic import replacing, write_json
from omnisae.errors import ConfigError
from omnisae.extract.dataset import Example
from omnisae.store.key import content_key
from omnisae_diffusion.asks import Ask
from omnisae_diffusion.identity import identity
from omnisae_diffusion.plugin import GeneratedConfig, ProcessConfig
from omnisae_diffusion.prompts import Prompts
from omnisae_vision import decode

ABOUT = "generator.json"
"""Beside the pictures: the config of what made them."""


class GeneratedPictures(Prompts):
    """Examples are pictures in RGB (PIL), one for each prompt and repeat; ids, concepts and groups are the prompts'.

    What is not there yet is made when the dataset is built, batch by batch, each picture a PNG named by what was asked
    for, in a folder named by the generator: fewer prompts or other ones make none anew, and what was interrupted goes
    on where it was. Raises ConfigError where the generator cannot be built or asked, StoreError where the disk is full.
    """

    def __init__(self, config: GeneratedConfig) -> None:
        super().__init__(config)
        generator = config.making
        try:
            self._identity = identity(generator)
            self.folder = (config.folder.expanduser() if config.folder else _cache()) / self._identity[:24]
            self._paths = [self.folder / f"{_name(ask)}.png" for ask in self.asks]
            missing = {path: ask for path, ask in zip(self._paths, self.asks, strict=True) if not path.is_file()}
            if missing:
                _make(missing, generator, self.folder)
        except ConfigError as error:
            raise ConfigError(f"dataset.generator: {error.problem}", error.remedy) from error

    def picture_path(self, row: int) -> Path:
        """Where a picture is kept."""
        return self._paths[row]

    def load(self, row: int) -> Example:
        return Example(row, self.ids[row], decode.read(self._paths[row]))

    def fingerprint(self) -> str:
        return content_key([super().fingerprint(), self._identity])


def _make(missing: Mapping[Path, Ask], generator: ProcessConfig, folder: Path) -> None:
    """Make pictures and keep each under its path, batch by batch, told on the terminal."""
    from rich.console import Console
    from rich.progress import track

    process, paths = generator.process(), list(missing)
    write_json(folder / ABOUT, generator.model_dump(mode="json"))
    starts = range(0, len(paths), generator.batch_size)
    for start in track(starts, f"making {len(paths)} pictures", console=Console(stderr=True)):
        some = paths[start : start + generator.batch_size]
        for path, pixels in zip(some, process.generate([missing[path] for path in some]), strict=True):
            with replacing(path) as temporary:
                Image.fromarray(pixels).save(temporary, format="PNG")


def _name(ask: Ask) -> str:
    return content_key([ask.text, ask.label, ask.seed, ask.negative])[:32]


def _cache() -> Path:
    named = os.environ.get("OMNISAE_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(named) if named else home / "omnisae") / "generated"
