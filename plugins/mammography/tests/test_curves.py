"""Keeping and removing latents: identities that must hold, and a model whose diagnosis one latent carries."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from omnisae.autoencoders.about import ArtifactInfo
from omnisae.autoencoders.artifact import save
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.concepts.annotations import Annotations
from omnisae.config import AutoencoderConfig
from omnisae.errors import DatasetError
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.module import ModuleExtractor
from omnisae.extract.split import SELECT, TEST
from omnisae.hooks.point import HookPoint
from omnisae.interventions.sae import SAE
from omnisae.postings.health import Reconstruction, health
from omnisae.postings.writer import PostingsWriter
from omnisae.studies.study import Material
from omnisae.testing import StudyTests
from omnisae.tokens.filter import TokenFilter
from omnisae_mammography.plugin import CurvesConfig
from omnisae_mammography.splice import Splice

EXAMPLES, WIDTH, GRID = 40, 6, (3, 2)


class Vectors(Dataset):
    """Maps of six channels; channel 0 is on where the finding is, channel 1 always, the others at random."""

    def __init__(self):
        random = np.random.default_rng(0)
        self.finding = (np.arange(EXAMPLES) // 2 % 2).astype(float)
        self.maps = random.random((EXAMPLES, WIDTH, *GRID)).astype(np.float32) * 0.3
        self.maps[:, 0] = self.finding[:, None, None] + random.random((EXAMPLES, *GRID)) * 0.2
        self.maps[:, 1] = 3.0

    @property
    def ids(self):
        return [f"e{row}" for row in range(EXAMPLES)]

    def load(self, row):
        return Example(row, f"e{row}", self.maps[row])

    def fingerprint(self):
        return "vectors"

    def annotations(self):
        return Annotations(self.ids, {"has_Mass": self.finding})


class Mean(nn.Module):
    """Answers with the mean of channel 0, and with that of channel 2."""

    def __init__(self):
        super().__init__()
        self.map = nn.Identity()
        self.weight = nn.Parameter(torch.eye(WIDTH)[[0, 2]])

    def forward(self, x):
        return self.map(x).mean((2, 3)) @ self.weight.T


class Extractor(ModuleExtractor):
    outputs = ("has_Mass", "other")

    def __init__(self):
        super().__init__(Mean(), batch_size=7, device="cpu")

    def probe(self):
        return torch.zeros(2, WIDTH, *GRID)

    def answers(self, inputs):
        with torch.inference_mode():
            return self.forward(inputs)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Each channel is a latent."""
    folder, data, extractor = tmp_path_factory.mktemp("curves"), Vectors(), Extractor()
    hook = HookPoint(name="map", at=("map",), pattern="example d y x", sizes={"y": GRID[0], "x": GRID[1]}, width=WIDTH)
    config = {"latents": WIDTH, "activation": {"type": "core.topk", "k": WIDTH}, "normaliser": "core.none"}
    made = Autoencoder(AutoencoderConfig.model_validate(config), WIDTH, seed=0)
    with torch.no_grad():
        for part in (made.encoder, made.decoder):
            part.copy_(torch.eye(WIDTH))
        made.encoder_bias.zero_()
        made.decoder_bias.zero_()
    tokens = data.maps.transpose(0, 2, 3, 1).reshape(-1, WIDTH)
    info = ArtifactInfo(hook=hook, parent=extractor.parent(), dataset="vectors", source="vectors")
    save(folder / "sae", made.eval().requires_grad_(False), info, sample=torch.from_numpy(tokens))
    split = np.where(np.arange(EXAMPLES) % 2 == 0, SELECT, TEST).astype(np.uint8)
    with PostingsWriter(folder / "codes", hook, TokenFilter(), WIDTH, split, {}) as writer:
        y, x = (np.tile(axis.ravel(), EXAMPLES) for axis in np.indices(GRID))
        writer.append(
            np.repeat(np.arange(EXAMPLES), GRID[0] * GRID[1]), np.stack([y, x], axis=1).astype(np.int32),
            np.zeros(len(tokens), dtype=np.uint8), np.arange(len(tokens) + 1) * WIDTH,
            np.tile(np.arange(WIDTH), len(tokens)), tokens.ravel(),
        )  # fmt: skip
        postings = writer.finish(health(Reconstruction(), writer.counts, len(tokens)))
    return Material(
        postings=postings, source=None, dataset=data, extractor=extractor, artifact=folder / "sae", levels=[],
        table={"concept": np.array([]), "list": np.array([])}, siblings=(), seed=0, folder=folder,
    )  # fmt: skip


class TestCurves(StudyTests):
    @pytest.fixture
    def config(self):
        return CurvesConfig(k=(1, 3), draws=60)

    @pytest.fixture
    def material(self, material):
        return material


def choice(*latents):
    found = np.zeros(WIDTH, dtype=bool)
    found[list(latents)] = True
    return found


def test_with_the_error_term_and_all_latents_nothing_changes(material):
    splice = Splice(SAE.load(material.artifact), material.extractor, error=True)
    rows, answers = splice.answers(material.dataset, range(EXAMPLES), [None, choice(*range(WIDTH))])
    assert rows.tolist() == list(range(EXAMPLES))
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)


def test_only_what_is_chosen_speaks(material):
    splice = Splice(SAE.load(material.artifact), material.extractor, error=False)
    _, answers = splice.answers(material.dataset, range(EXAMPLES), [None, choice(0), choice(1, 2, 3), choice()])
    np.testing.assert_allclose(answers[1][:, 0], answers[0][:, 0], atol=1e-6)
    assert (answers[1][:, 1] == 0).all()
    assert (answers[2][:, 0] == 0).all()
    assert (answers[3] == 0).all()


def test_afterwards_the_model_is_as_before(material):
    splice = Splice(SAE.load(material.artifact), material.extractor, error=False)
    before = material.extractor.answers(torch.from_numpy(material.dataset.maps))
    splice.answers(material.dataset, range(4), [choice(0)])
    assert torch.equal(before, material.extractor.answers(torch.from_numpy(material.dataset.maps)))


def test_one_latent_carries_the_diagnosis(material):
    found = {f.name: f for f in CurvesConfig(k=(1, 5), draws=60).build().study(material).findings}
    assert found["The model's own AUROC, has_Mass"].value == 1
    assert found["1 latents kept, has_Mass"].value == 1
    assert found["1 latents removed, has_Mass"].value == 0.5
    assert found["1 latents kept, has_Mass"].control < 1
    assert found["1 latents removed, has_Mass"].control > 0.5


def test_by_the_mean_what_is_loud_comes_first(material):
    """Mammo-SAE's ranking puts the channel first that is always on, and the diagnosis second."""
    found = {f.name: f for f in CurvesConfig(k=(1, 2), by="mean", draws=60).build().study(material).findings}
    assert found["1 latents kept, has_Mass"].value == 0.5
    assert found["2 latents kept, has_Mass"].value == 1


def test_an_output_that_is_no_concept_is_named(material):
    with pytest.raises(DatasetError, match="no output 'has_mass'"):
        CurvesConfig(concepts=("has_mass",)).build().study(material)


def test_a_model_whose_outputs_have_no_names_is_refused(material):
    class Nameless(Extractor):
        outputs = None

    with pytest.raises(DatasetError, match="which concept each output") as caught:
        CurvesConfig().build().study(replace(material, extractor=Nameless()))
    assert "extractor.targets" in caught.value.remedy
