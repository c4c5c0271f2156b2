"""Consistency under turns and mirrors: planted latents that do and do not change, each number beside its control."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch import nn

from omnisae.autoencoders.about import ArtifactInfo
from omnisae.autoencoders.artifact import Artifact, save
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.config import AutoencoderConfig, HookConfig
from omnisae.errors import DatasetError, UnreadableExample
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.module import ModuleExtractor
from omnisae.extract.split import SELECT, TEST
from omnisae.postings.health import Reconstruction, health
from omnisae.postings.writer import PostingsWriter
from omnisae.studies.study import Material
from omnisae.testing import StudyTests
from omnisae.tokens.filter import TokenFilter
from omnisae_galaxies.plugin import ConsistencyConfig
from omnisae_galaxies.turns import MIRRORS, TURNS, look

SIDE, EXAMPLES, BROKEN = 17, 60, 7
LIGHT, CORNER, HANDED = 0, 1, 2


class Blobs(Dataset):
    """Pictures with a red and a green blob at random places about the middle, of random brightness. One cannot be
    read."""

    def __init__(self, broken=()):
        self._ids, self._broken = [f"e{row}" for row in range(EXAMPLES)], set(broken)

    @property
    def ids(self):
        return self._ids

    def load(self, row):
        if row in self._broken:
            raise UnreadableExample(f"e{row} is broken", "mend it")
        random = np.random.default_rng(row)
        out = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
        y, x = np.mgrid[0:SIDE, 0:SIDE]
        for colour in range(2):
            at = random.integers(3, SIDE - 3, 2)
            out[..., colour] = (np.hypot(y - at[0], x - at[1]) < 2) * random.integers(60, 250)
        return Example(row, self._ids[row], Image.fromarray(out))

    def fingerprint(self):
        return "blobs"


class Tells(nn.Module):
    """Three numbers a picture: how bright it is; how bright its upper left quarter is; and on which hand of the red
    blob the green one lies, seen from the middle (the cross product of their places)."""

    def forward(self, x):
        half = SIDE // 2
        places = torch.arange(SIDE) - half
        mass = x.sum((2, 3)).clamp(min=1e-6)
        down = (x.sum(3) * places).sum(2) / mass
        right = (x.sum(2) * places).sum(2) / mass
        cross = right[:, 0] * down[:, 1] - down[:, 0] * right[:, 1]
        return torch.stack([x.sum((1, 2, 3)) / 50, x[:, :, :half, :half].sum((1, 2, 3)) / 50, cross / 20], dim=1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.tells, self.weight = Tells(), nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.tells(x)


class Extractor(ModuleExtractor):
    def prepare(self, example):
        return torch.from_numpy(np.asarray(example.input).transpose(2, 0, 1).copy()).float() / 255

    def probe(self):
        return torch.rand(2, 3, SIDE, SIDE)

    def declare(self, path, view, shape):
        return "example d", {}


def make(folder, dataset):
    """A run whose artifact gives every number of the model as a latent of its own, where it is positive."""
    extractor = Extractor(Net(), batch_size=16, device="cpu")
    (hook,) = extractor.resolve([HookConfig(at="tells")])
    autoencoder = Autoencoder(
        AutoencoderConfig.model_validate({"latents": 4, "activation": "core.relu", "normaliser": "core.none"}),
        3,
        seed=0,
    )
    state = autoencoder.state_dict()
    eye = torch.cat([torch.eye(3), -torch.eye(3)[2:]])
    state |= {"encoder": eye, "decoder": eye, "encoder_bias": torch.zeros(4)}
    autoencoder.load_state_dict(state)
    save(folder / "sae", autoencoder, ArtifactInfo(hook=hook), sample=torch.rand(32, 3) + 0.1)
    split = np.where(np.arange(EXAMPLES) % 4 == 0, SELECT, TEST).astype(np.uint8)
    rows = [row for row in range(EXAMPLES) if row not in dataset._broken]
    found = extractor.extract(rows, torch.stack([extractor.prepare(dataset.load(row)) for row in rows]), [hook])
    codes = np.maximum((found.tokens[hook.name].values @ eye.T).numpy(), 0)
    writer = PostingsWriter(folder / "codes", hook, TokenFilter(), 4, split, {})
    with writer:
        offsets = np.concatenate([[0], np.cumsum((codes > 0).sum(axis=1))])
        coords = np.zeros((len(rows), 0), dtype=np.int32)
        roles = np.zeros(len(rows), dtype=np.uint8)
        writer.append(np.array(rows), coords, roles, offsets, np.nonzero(codes)[1], codes[codes > 0])
        postings = writer.finish(health(Reconstruction(), writer.counts, len(codes)))
    return Material(
        postings=postings, source=None, dataset=dataset, extractor=extractor, artifact=folder / "sae", levels=[],
        table={}, siblings=(), seed=0, folder=folder,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("turns"), Blobs())


class TestConsistency(StudyTests):
    @pytest.fixture
    def config(self):
        return ConsistencyConfig(least=5)

    @pytest.fixture
    def material(self, made):
        return made


def measured(material, **settings):
    found = ConsistencyConfig(**{"least": 5} | settings).build().study(material)
    return {measure.name: np.asarray(measure.values) for measure in found.measures}, found


def test_what_does_not_hang_on_direction_is_told_from_what_does(made):
    values, _ = measured(made)
    turned, mirrored = values["rotation consistency"], values["flip consistency"]
    assert turned[LIGHT] == pytest.approx(1, abs=1e-3)  # sums in another order
    assert mirrored[LIGHT] == pytest.approx(1, abs=1e-3)
    assert turned[CORNER] < 0.5
    assert turned[HANDED] == pytest.approx(1, abs=0.02)
    assert mirrored[HANDED] < -0.5  # where it fires, the mirrored picture silences it


def test_the_numbers_are_spearmans_by_a_slow_reference(made):
    """Picture by picture, move by move, from the model's own three numbers."""
    values, _ = measured(made)
    rows = made.rows(TEST)

    def numbers(move):
        pictures = [made.dataset.load(int(row)).input for row in rows]
        moved = [p if move is None else p.transpose(move) for p in pictures]
        batch = torch.stack([made.extractor.prepare(Example(0, "", p)) for p in moved])
        found = made.extractor.model(batch).numpy()
        return np.maximum(np.concatenate([found, -found[:, 2:]], axis=1), 0)

    plain = numbers(None)
    for name, moves in (("rotation consistency", TURNS), ("flip consistency", MIRRORS)):
        each = [[spearmanr(plain[:, i], numbers(m)[:, i]).statistic for m in moves.values()] for i in range(4)]
        np.testing.assert_allclose(values[name], np.mean(each, axis=1), atol=1e-4)


def test_findings_stand_beside_neurons_and_another_latent(made):
    _, found = measured(made)
    rotation, flip = found.findings
    assert rotation.against == flip.against == "the model's neurons"
    assert rotation.value > flip.value
    assert rotation.n == 4
    assert "45 test pictures" in rotation.remark
    (rows,) = found.tables.values()
    assert {rows[0]["latent"], rows[1]["latent"]} == {"2", "3"}  # the handed one and its opposite
    assert rows[0]["lost by mirroring"] > 1


def test_few_pictures_are_a_fixed_part_and_rare_latents_have_no_number(made):
    one, found = measured(made, most=20)
    two, _ = measured(made, most=20)
    np.testing.assert_array_equal(one["rotation consistency"], two["rotation consistency"])
    assert "20 test pictures" in found.notes[0]
    rare, _ = measured(made, least=40)
    assert np.isnan(rare["rotation consistency"][HANDED])
    assert not np.isnan(rare["rotation consistency"][LIGHT])
    with pytest.raises(DatasetError, match="no latent fires in 46 of 45 test pictures|45 test pictures could be read"):
        measured(made, least=46)


def test_strengths_of_unmoved_pictures_are_those_of_the_posting_lists(made):
    artifact = Artifact.load(made.artifact)
    seen, kept = look(made.dataset, made.extractor, artifact, made.postings.hook, made.rows(TEST))
    np.testing.assert_array_equal(kept, made.rows(TEST))
    want = made.strengths.tocsr()[kept].toarray()
    np.testing.assert_allclose(seen[""].lists.toarray(), want, atol=1e-5)
    assert seen[""].neurons.shape == (len(kept), 3)


def test_broken_pictures_are_left_out(tmp_path):
    material = make(tmp_path, Blobs(broken=[BROKEN]))
    _, found = measured(replace(material))
    assert "44 test pictures" in found.notes[0]


def test_vectors_without_a_model_are_refused(made):
    with pytest.raises(DatasetError, match="vectors that were computed elsewhere cannot be turned"):
        measured(replace(made, extractor=object()))


def test_examples_that_are_no_pictures_are_refused(made):
    class Vectors(Blobs):
        def load(self, row):
            return Example(row, self.ids[row], np.zeros(3))

    with pytest.raises(DatasetError, match="an example's input is a ndarray; pictures are needed"):
        measured(replace(made, dataset=Vectors()))
