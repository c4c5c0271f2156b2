"""A tiny model whose answer reads one direction at one place, and the artifact of its only layer."""

from pathlib import Path

import torch
from torch import nn

from omnisae.autoencoders.about import ArtifactInfo
from omnisae.autoencoders.artifact import save
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.config import AutoencoderConfig
from omnisae.hooks.fingerprint import fingerprint
from omnisae.hooks.point import HookPoint
from omnisae.interventions.sae import SAE

WIDTH, GRID = 6, (3, 4)
PLACE = (1, 2)
BIAS = -0.25


class Planted(nn.Module):
    """`hidden` is a map of WIDTH channels over GRID, taken from the input as it is. Answer 0 is channel 0 at PLACE plus
    BIAS; answer 1 the mean of channel 1 over the map, plus BIAS; answers 2 and 3 are constant."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(WIDTH, WIDTH, 1, bias=False)
        self.hidden = nn.Identity()
        self.norm = nn.Identity()
        self.head = nn.Linear(WIDTH, 4)
        with torch.no_grad():
            self.stem.weight.copy_(torch.eye(WIDTH)[:, :, None, None])
            self.head.weight.zero_()
            self.head.weight[0, 0] = self.head.weight[1, 1] = 1.0
            self.head.bias.copy_(torch.tensor([BIAS, BIAS, 0.1, -0.1]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(self.hidden(self.stem(x))).permute(0, 2, 3, 1)
        there, mean = tokens[:, PLACE[0], PLACE[1]], tokens.mean(dim=(1, 2))
        read = torch.cat([there[:, :1], mean[:, 1:]], dim=1)
        return self.head(read)


def artifact(model: Planted, folder: Path, sizes: bool = True) -> SAE:
    """An artifact whose latents are the channels: codes are the activations above zero."""
    given = {"latents": WIDTH, "activation": {"type": "core.topk", "k": WIDTH}, "normaliser": "core.none"}
    made = Autoencoder(AutoencoderConfig.model_validate(given), WIDTH, seed=0)
    with torch.no_grad():
        for weight in (made.encoder, made.decoder):
            weight.copy_(torch.eye(WIDTH))
        made.encoder_bias.zero_()
        made.decoder_bias.zero_()
    made.eval().requires_grad_(False)
    grid = {"y": GRID[0], "x": GRID[1]} if sizes else {}
    hook = HookPoint(name="hidden", at=("hidden",), pattern="example d y x", sizes=grid, width=WIDTH)
    info = ArtifactInfo(hook=hook, parent=fingerprint(model), dataset="planted", source="planted")
    save(folder, made, info, sample=torch.rand(8, WIDTH), statistics={"max": torch.ones(WIDTH)})
    return SAE.load(folder)
