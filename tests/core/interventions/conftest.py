from pathlib import Path

import pytest
import torch
from torch import nn

from omnisae.autoencoders.about import ArtifactInfo
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.config import AutoencoderConfig
from omnisae.hooks.fingerprint import fingerprint
from omnisae.hooks.point import HookPoint
from omnisae.interventions.sae import SAE
from omnisae.tokens.filter import TokenFilter, TokenFilters

WIDTH, LATENTS = 8, 24


class Maps(nn.Module):
    """A convolutional network with a residual block."""

    pattern = "example d y x"

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 1)
        self.block = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.Tanh())
        self.head = nn.Conv2d(WIDTH, 2, 1)

    def forward(self, x):
        return self.head(self.block(self.stem(x)))

    def probe(self, n=3):
        return torch.randn(n, 3, 4, 5)


class Rows(nn.Module):
    """A network over a special token and a row of positions."""

    pattern = "example ([cls] + position) d"

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(3, WIDTH)
        self.block = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, x):
        return self.head(self.block(self.stem(x)))

    def probe(self, n=3):
        return torch.randn(n, 7, 3)


def make_sae(model, *, view="output", at="block", filters=None, normaliser="core.standard", parent=True, **config):
    torch.manual_seed(1)
    given = {"latents": LATENTS, "activation": {"type": "core.topk", "k": 5}, "normaliser": normaliser, **config}
    autoencoder = Autoencoder(AutoencoderConfig.model_validate(given), WIDTH, seed=0)
    autoencoder.initialise(torch.randn(512, WIDTH))
    with torch.no_grad():
        autoencoder.decoder.add_(torch.randn_like(autoencoder.decoder) * 0.3)
    autoencoder.eval().requires_grad_(False)
    hook = HookPoint(name="h", at=(at,), view=view, pattern=model.pattern, width=WIDTH)
    info = ArtifactInfo(
        hook=hook,
        tokens=filters or TokenFilters(),
        parent=fingerprint(model) if parent else None,
        dataset="d",
        source="s",
    )
    return SAE(autoencoder, info, {"max": torch.arange(LATENTS) + 1.0}, Path("runs/x/sae"))


@pytest.fixture(params=[Maps, Rows])
def model(request):
    torch.manual_seed(0)
    return request.param().eval()


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return Maps().eval()


@pytest.fixture
def rows():
    torch.manual_seed(0)
    return Rows().eval()


@pytest.fixture
def build():
    return make_sae


@pytest.fixture
def everywhere():
    return TokenFilters(edit=TokenFilter(roles=("content", "cls")))
