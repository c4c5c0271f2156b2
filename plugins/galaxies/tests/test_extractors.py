"""Zoobot's encoders and checkpoints, and tables of embeddings joined by id."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import timm
import torch
from PIL import Image

from omnisae.config import HookConfig
from omnisae.errors import ConfigError, DatasetError, HookError
from omnisae.testing import ExtractorTests
from omnisae_galaxies.plugin import CutoutsConfig, EmbeddingsConfig, ZoobotConfig

pytestmark = pytest.mark.filterwarnings("ignore:.*have no row")
THIN = {"depths": [1, 1, 1, 1], "dims": [8, 12, 16, 20]}


@pytest.fixture
def cutouts(tmp_path):
    for i in range(5):
        values = np.random.default_rng(i).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(values).save(tmp_path / "images" / f"g{i}.png")
    return CutoutsConfig(root=str(tmp_path)).build()


@pytest.fixture
def dataset(cutouts):
    return cutouts


@pytest.fixture
def zoobot_file(tmp_path):
    """A checkpoint as Lightning writes zoobot's: encoder and head, hyper-parameters beside them."""

    def write(name="z.ckpt", channels=3, **others):
        torch.manual_seed(3)
        encoder = timm.create_model("convnext_nano", num_classes=0, in_chans=channels, **THIN)
        weights = {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
        weights |= {"head.1.weight": torch.zeros(34, 20), "head.1.bias": torch.zeros(34)}
        about = {"hyper_parameters": {"architecture_name": "convnext_nano"}, "pytorch-lightning_version": "2.2.0"}
        torch.save({"state_dict": weights, "epoch": 7, **about, **others}, tmp_path / name)
        return tmp_path / name, encoder.eval()

    return write


class TestZoobot(ExtractorTests):
    @pytest.fixture
    def dataset(self, cutouts):
        return cutouts

    @pytest.fixture
    def config(self):
        return ZoobotConfig(
            model="convnext_nano", arguments={**THIN, "num_classes": 0}, image_size=64, device="cpu", loss="outputs",
            outputs="embedding",
        )  # fmt: skip

    @pytest.fixture
    def hooks(self):
        return [HookConfig(at="stages.2"), HookConfig(at="head", name="pooled")]

    def test_patches_and_pooled(self, points):
        assert [point.pattern for point in points] == ["example d y x", "example d"]
        assert [point.width for point in points] == [16, 20]
        assert points[0].sizes == {"y": 4, "x": 4}


def asked(path, **settings):
    return ZoobotConfig(
        **{"model": "convnext_nano", "arguments": THIN, "image_size": 64, "device": "cpu", "checkpoint": str(path)}
        | settings
    )


def test_the_encoder_of_a_zoobot_checkpoint_is_taken(zoobot_file, dataset):
    path, encoder = zoobot_file()
    extractor = asked(path, normalise="unit").build(dataset)
    inputs = extractor.prepare(dataset.load(0))
    assert 0 <= float(inputs.min()) < float(inputs.max()) <= 1
    assert inputs.shape == (3, 64, 64)
    with torch.inference_mode():
        want = encoder(inputs[None])
    torch.testing.assert_close(extractor.answers(inputs[None]), want)


def test_normalisation_is_the_models_unless_unit_is_asked_for(zoobot_file, dataset):
    path, _ = zoobot_file()
    unit = asked(path, normalise="unit").build(dataset).prepare(dataset.load(0))
    model = asked(path).build(dataset)
    mean, std = (torch.tensor(model.geometry.data[name])[:, None, None] for name in ("mean", "std"))
    torch.testing.assert_close(model.prepare(dataset.load(0)), (unit - mean) / std)
    assert model.fingerprint() != asked(path, normalise="unit").build(dataset).fingerprint()


def test_a_grey_encoder_sees_the_mean_of_the_colours(zoobot_file, dataset):
    path, encoder = zoobot_file(channels=1)
    extractor = asked(path, normalise="unit").build(dataset)
    inputs = torch.stack([extractor.prepare(dataset.load(row)) for row in range(2)])
    with torch.inference_mode():
        want = encoder(inputs.mean(1, keepdim=True))
    torch.testing.assert_close(extractor.answers(inputs), want)
    (point,) = extractor.resolve([HookConfig(at="stages.3")])
    assert point.pattern == "example d y x"


def test_a_checkpoint_that_does_not_fit_is_told_tensor_by_tensor(zoobot_file, dataset):
    path, _ = zoobot_file()
    with pytest.raises(ConfigError, match="does not fit the model 'convnext_nano': .* shape") as caught:
        asked(path, arguments={**THIN, "dims": [8, 12, 16, 24]}).build(dataset)
    assert str(path) in caught.value.problem
    assert caught.value.remedy


def test_code_in_a_checkpoint_is_never_run(zoobot_file, dataset, tmp_path):
    class Mischief:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path, _ = zoobot_file(callbacks=Mischief())
    with pytest.raises(ConfigError, match="cannot be read"):
        asked(path).build(dataset)
    assert not (tmp_path / "ran").exists()


def test_checkpoints_that_are_not_zoobots_are_read_as_vision_reads_them(dataset, tmp_path):
    model = timm.create_model("convnext_nano", num_classes=3, **THIN)
    torch.save(model.state_dict(), tmp_path / "plain.pth")
    extractor = asked(tmp_path / "plain.pth").build(dataset)
    assert extractor.answers(extractor.probe()).shape == (3, 3)
    with pytest.raises(ConfigError, match="there is no file"):
        asked(tmp_path / "absent.ckpt").build(dataset)


def test_a_hub_encoder_gets_no_head(monkeypatch, dataset):
    """What is asked of timm for `hf_hub:` names; nothing is fetched here."""
    seen = {}

    def create(name, **arguments):
        seen[name] = arguments
        raise ConnectionError("no network")

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(ConfigError, match="could not be fetched from the hub"):
        ZoobotConfig(model="hf_hub:mwalmsley/zoobot-encoder-convnext_nano", pretrained=True).build(dataset)
    (arguments,) = seen.values()
    assert arguments["num_classes"] == 0
    assert arguments["pretrained"] is True


def test_the_worlds_encoder_predicts_votes(world):
    from scipy.stats import spearmanr

    from omnisae_galaxies.plugin import Stretch

    dataset = CutoutsConfig(
        root=str(world), bands=("z", "r", "g"), stretch=Stretch(minimum=0.0, stretch=0.6), catalogue="catalogue.fits",
        minus="NEG", fractions=(), numbers=("redshift",),
    ).build()  # fmt: skip
    extractor = ZoobotConfig(model="convnext_galaxies", checkpoint="world:galaxies", device="cpu").build(dataset)
    from omnisae_datasets.galaxies.morphology import galaxy
    from omnisae_datasets.galaxies.tree import ANSWERS

    inputs = torch.stack([extractor.prepare(dataset.load(row)) for row in range(60)])
    logits = extractor.answers(inputs).numpy()
    truth = [float(galaxy(0, row).kind == "smooth") for row in range(60)]
    assert spearmanr(logits[:, ANSWERS.index("smooth-or-featured_smooth")], truth).statistic > 0.7


@pytest.fixture
def table(tmp_path):
    """Embeddings in another order than the cut-outs, one galaxy without, one stranger."""
    names = ["g3", "stranger", "g0", "g4", "g1"]
    vectors = {name: np.arange(4, dtype=np.float32) + 10 * i for i, name in enumerate(names)}
    rows = {"id_str": names, "block_11": [v.tolist() for v in vectors.values()], "z": [0.1] * 5}
    rows["block_9"] = [[float(v[0]), 1.0] for v in vectors.values()]
    pq.write_table(pa.table(rows), tmp_path / "e.parquet")
    return tmp_path / "e.parquet", vectors


class TestEmbeddings(ExtractorTests):
    @pytest.fixture
    def dataset(self, cutouts):
        return cutouts

    @pytest.fixture
    def config(self, table):
        return EmbeddingsConfig(table=str(table[0]))

    @pytest.fixture
    def hooks(self):
        return [HookConfig(at="block_11"), HookConfig(at="block_9")]

    @pytest.fixture
    def rows(self):
        return [0, 1, 3]

    def test_vectors_are_joined_by_id(self, extractor, dataset, points, table):
        found = self.extract(extractor, dataset, [0, 1, 2, 3, 4], points).tokens["block_11"]
        assert found.example.tolist() == [0, 1, 3, 4]  # g2 has none
        for row, values in zip(found.example.tolist(), found.values.numpy(), strict=True):
            np.testing.assert_array_equal(values, table[1][f"g{row}"])

    def test_reports_show_the_cutouts(self, extractor, dataset):
        np.testing.assert_array_equal(extractor.picture(dataset.load(1)), np.asarray(dataset.load(1).input))

    def test_what_did_not_match_is_told(self, config, dataset):
        with pytest.warns(UserWarning, match="1 of 5 rows have no cut-out: 'stranger'"):
            config.build(dataset)


def test_npy_tables_need_their_ids(dataset, tmp_path):
    np.save(tmp_path / "e.npy", np.ones((2, 3), np.float32))
    with pytest.raises(DatasetError, match="holds no ids to join by"):
        EmbeddingsConfig(table=str(tmp_path / "e.npy")).build(dataset)
    (tmp_path / "ids.txt").write_text("g1\ng0\n")
    extractor = EmbeddingsConfig(table=str(tmp_path / "e.npy"), ids=str(tmp_path / "ids.txt")).build(dataset)
    (point,) = extractor.resolve([HookConfig(at="vectors")])
    assert point.width == 3


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"id_str": ["g0", "g0"], "v": [[1.0], [2.0]]}, "names rows 0 and 1"),
        ({"id_str": ["x", "y"], "v": [[1.0], [2.0]]}, "none of its 2 ids"),
        ({"id_str": ["g0", "g1"], "v": [[1.0], [float("nan")]]}, "v of 'g1' is not finite"),
        ({"id_str": ["g0", "g1"], "v": [[1.0], [2.0, 3.0]]}, "no vectors of one length"),
        ({"id_str": ["g0", "g1"], "v": [1.0, 2.0]}, "has no column of vectors"),
        ({"name": ["g0", "g1"], "v": [[1.0], [2.0]]}, "has no column 'id_str'"),
    ],
)
def test_tables_that_do_not_fit_are_told(dataset, tmp_path, rows, words):
    pq.write_table(pa.table(rows), tmp_path / "e.parquet")
    with pytest.raises(DatasetError, match=words):
        EmbeddingsConfig(table=str(tmp_path / "e.parquet")).build(dataset)


def test_a_column_that_is_not_there_is_told(dataset, table):
    extractor = EmbeddingsConfig(table=str(table[0])).build(dataset)
    with pytest.raises(HookError, match="block_12"):
        extractor.resolve([HookConfig(at="block_12")])
    with pytest.raises(DatasetError, match="there is no file"):
        EmbeddingsConfig(table=str(table[0].with_name("f.parquet"))).build(dataset)
