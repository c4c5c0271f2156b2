"""The study `diffusion.blocks`."""

from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from omnisae.errors import DatasetError
from omnisae.extract.split import TEST
from omnisae.interventions.operation import Tokens
from omnisae.interventions.sae import SAE
from omnisae.interventions.sparse import silent
from omnisae.studies.study import Finding, Findings, Material, Study
from omnisae_diffusion.asks import Ask
from omnisae_diffusion.extractor import DiffusionExtractor
from omnisae_diffusion.process import Pictures
from omnisae_diffusion.prompts import Prompts

ASPECTS = ("layout", "detail", "colour")
COARSE = 8
"""Cells along the shorter side on which layout and colour are looked at."""


class Blocks(Study):
    title: ClassVar[str] = "What does each block's autoencoder hold of the picture: layout, detail, colour?"
    about: ClassVar[str] = (
        "At each hook point of the run all latents are silenced, what the autoencoder does not explain is kept, and "
        "the same prompts are drawn from the same noise. Layout: how far the coarse light and dark move (8 cells "
        "along the shorter side); detail: how far what is finer moves; colour: how far the coarse hue and saturation "
        "move. Each as a share of how far apart two pictures of one prompt from different noise are, so 1 is as far as "
        "another picture."
    )

    def __init__(self, pictures: int) -> None:
        self.pictures = pictures

    def study(self, material: Material) -> Findings:
        extractor, prompts = material.extractor, material.dataset
        if not isinstance(extractor, DiffusionExtractor) or not isinstance(prompts, Prompts):
            raise DatasetError("pictures are made of prompts", "use diffusion.prompts and diffusion.pipeline")
        rows = np.random.default_rng([material.seed, *b"blocks"]).permutation(material.rows(TEST))[: self.pictures]
        asks = [prompts.asks[int(row)] for row in np.sort(rows)]
        plain = extractor.pictures(asks)
        other = extractor.pictures([Ask(a.text, a.label, a.seed + 7_919_003, a.negative) for a in asks])
        unit = _apart(plain, other)
        table = []
        for name, path in material.artifacts.items():
            sae = SAE.load(path).attach(extractor.model)
            made = self._silenced(extractor, sae, asks)
            moved = {aspect: float(value) for aspect, value in _apart(plain, made).items()}
            shares = {aspect: moved[aspect] / unit[aspect] if unit[aspect] else float("nan") for aspect in ASPECTS}
            leads = max(ASPECTS, key=lambda aspect: np.nan_to_num(shares[aspect], nan=-1.0))
            table.append({"hook point": name, **shares, "most": leads, "n": len(asks)})
        own = next(row for row in table if row["hook point"] == material.postings.hook.name)
        said = "as a share of the distance of another picture of the prompt"
        return Findings(
            findings=[Finding(aspect, float(own[aspect]), len(asks), 0.0, "an edit of nothing", remark=said)
                      for aspect in ASPECTS],
            tables={"What silencing each hook point's latents moves": table},
        )  # fmt: skip

    def _silenced(self, extractor: DiffusionExtractor, sae: SAE, asks: list[Ask]) -> Pictures:
        def change(x: Float[Tensor, "token width"], tokens: Tokens) -> tuple[Tensor, Tensor]:
            codes = sae.encode(x, check=False)
            return torch.arange(len(x), device=x.device), sae.decode(silent(codes)) - sae.decode(codes)

        made, size = [], extractor.batch_size()
        for start in range(0, len(asks), size):
            with sae.editing(extractor.model, change, delta=True):
                made.append(extractor.process.generate(asks[start : start + size]))
        return np.concatenate(made)


def _apart(one: Pictures, other: Pictures) -> dict[str, Any]:
    """How far pictures are apart in each aspect: means of absolute differences, of values from 0 to 1."""
    a, b = _looked_at(one), _looked_at(other)
    return {aspect: float((a[aspect] - b[aspect]).abs().mean()) for aspect in ASPECTS}


def _looked_at(pictures: Pictures) -> dict[str, Tensor]:
    values = torch.from_numpy(pictures).float().permute(0, 3, 1, 2) / 255
    light = (values * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    hue = torch.cat([values[:, :1] - light, values[:, 2:] - light], dim=1)
    cell = max(1, min(values.shape[2:]) // COARSE)
    coarse = avg_pool2d(light, cell)
    back = interpolate(coarse, light.shape[2:], mode="nearest")
    return {"layout": coarse, "detail": light - back, "colour": avg_pool2d(hue, cell)}
