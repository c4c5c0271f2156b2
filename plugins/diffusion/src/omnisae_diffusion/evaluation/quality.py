"""The distance of generated pictures from natural ones, before and after a concept is erased."""

from dataclasses import replace

import numpy as np
from PIL import Image

from omnisae.errors import DatasetError
from omnisae.extract.split import TEST
from omnisae.studies.study import Finding
from omnisae_diffusion.evaluation.erasing import Choice
from omnisae_diffusion.evaluation.studio import Studio
from omnisae_diffusion.inputs import sized
from omnisae_diffusion.plugin_studies import ErasureConfig
from omnisae_diffusion.process import Pictures
from omnisae_vision import world

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


def quality(studio: Studio, choice: Choice, config: ErasureConfig) -> list[Finding]:
    """FID and KID of test pictures of all prompts that do not ask for the concept: unedited, and with it erased."""
    if config.quality is None:
        return []
    rows = studio.some(studio.without([choice.concept], TEST), config.others, f"quality {choice.concept}")
    asks = studio.asks(rows)
    plain, edited = studio.make(asks), studio.make(asks, choice.operation())
    natural = pictures(config.quality.natural, plain.shape[1:3], config.quality.most)
    compare = config.quality.distance.build()
    found = []
    for name, made in (("unedited", plain), (f"{choice.concept} erased", edited)):
        distances = compare(made, natural, studio.material.seed)
        found += [replace(one, name=f"{one.name} ({name})") for one in distances.findings()]
        found[-1] = replace(found[-1], remark="; ".join([found[-1].remark, *distances.warnings]))
    return found


def pictures(address: str, size: tuple[int, int], most: int) -> Pictures:
    """Natural pictures of a folder (a world's `natural/`), at one size; at most so many, evenly picked."""
    home = world.folder(address)
    home = home / "natural" if (home / "natural").is_dir() else home
    files = sorted(path for path in home.rglob("*") if path.suffix.lower() in ENDINGS)
    if not files:
        raise DatasetError(f"quality.natural: {home} holds no picture", f"name a folder of {', '.join(ENDINGS)}")
    chosen = files if len(files) <= most else [files[i] for i in np.linspace(0, len(files) - 1, most).astype(int)]
    read = []
    for path in chosen:
        with Image.open(path) as opened:
            read.append(np.asarray(sized(opened.convert("RGB"), size), dtype=np.uint8))
    return np.stack(read)
