"""The extractor: grey of 16 bits, the breast's tokens, bands, and Mammo-CLIP's checkpoints."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from omnisae.config import HookConfig
from omnisae.errors import ConfigError, HookError
from omnisae.hooks.point import HookPoint
from omnisae.hooks.taps import tap
from omnisae.testing import ExtractorTests
from omnisae_mammography.plugin import ExamsConfig, MammographyTimmConfig


def reference():
    spec = importlib.util.spec_from_file_location("mammo_reference", Path(__file__).with_name("reference.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def dataset(world):
    return ExamsConfig(root=str(world), table="finding_annotations.csv").build()


def small(**more):
    return MammographyTimmConfig(
        model="test_efficientnet", image_size=(128, 96), device="cpu", **{"batch_size": 4, **more}
    )


class TestWorld(ExtractorTests):
    @pytest.fixture
    def dataset(self, dataset):
        return dataset

    @pytest.fixture
    def config(self):
        return MammographyTimmConfig(
            model="efficientnet_phantoms", checkpoint="world:phantoms", loss="multilabel", device="cpu"
        )

    @pytest.fixture
    def hooks(self):
        return [HookConfig(at="bn2"), HookConfig(at="blocks.3"), HookConfig(at="global_pool")]


class TestBands(ExtractorTests):
    @pytest.fixture
    def dataset(self, dataset):
        return dataset

    @pytest.fixture
    def config(self):
        return small(tile=3, tissue="all")

    @pytest.fixture
    def hooks(self):
        return [HookConfig(at="bn2"), HookConfig(at="blocks.3.0")]


def test_the_shipped_model_knows_the_lesions_through_the_loader(dataset):
    """Decoding, windowing, turning and normalising give the model what it learnt on."""
    config = MammographyTimmConfig(model="efficientnet_phantoms", checkpoint="world:phantoms", device="cpu")
    extractor = config.build(dataset)
    inputs = extractor.collate([extractor.prepare(dataset.load(row)) for row in range(len(dataset))])
    answers = extractor.answers(inputs).numpy()
    for i, name in enumerate(extractor.outputs):
        truth = dataset.annotations().labels[name]
        assert ((answers[:, i] > 0) == (truth == 1)).mean() > 0.95, name


def test_sixteen_bits_reach_the_model(dataset):
    """Two pictures that differ by less than a step of 8 bits are two to the model."""
    extractor = small().build(dataset)
    one = np.full((256, 192), 30_000, dtype=np.uint16)
    difference = extractor.geometry.tensor(one + 20) - extractor.geometry.tensor(one)
    assert difference.abs().max() > 0
    assert (extractor.geometry.eight_bits(one) == extractor.geometry.eight_bits(one + 20)).all()


@pytest.mark.parametrize("fit", ["pad", "stretch"])
@pytest.mark.parametrize("shape", [(100, 30), (64, 96), (300, 200)])
def test_a_mask_lands_where_its_pixels_do(dataset, fit, shape):
    extractor = small(fit=fit).build(dataset)
    mask = np.zeros(shape, dtype=bool)
    mask[shape[0] // 4 : shape[0] // 2, shape[1] // 3 : shape[1] // 3 * 2] = True
    bright = extractor.geometry.eight_bits(mask.astype(np.uint16) * 65_535)
    placed = extractor.geometry.place(mask)
    assert placed.shape == (128, 96)
    assert placed.any()
    assert (bright[placed] >= 127).all()
    assert (bright[~placed] <= 128).all()


def test_air_is_left_out_and_letters_with_it(dataset):
    """All: whatever is bright; largest: the breast alone; off: every token."""
    rows = [row for row in range(len(dataset)) if dataset.labels()["burned_in"][row] == "yes"][:3]
    counts = {}
    for tissue in ("off", "all", "largest"):
        extractor = small(tissue=tissue, share=0.1, arguments={"output_stride": 16}).build(dataset)
        (point,) = extractor.resolve([HookConfig(at="bn2")])
        inputs = extractor.collate([extractor.prepare(dataset.load(row)) for row in rows])
        batch = extractor.extract(rows, inputs, [point]).tokens[point.name]
        counts[tissue] = {(int(e), int(y), int(x)) for e, (y, x) in zip(batch.example, batch.coords, strict=True)}
    assert counts["largest"] | counts["all"] < counts["off"]
    assert len(counts["off"]) == 3 * 8 * 6
    corner = {place for place in counts["all"] - counts["largest"] if place[1] <= 2 and place[2] >= 3}
    assert {place[0] for place in corner} == set(rows)


def test_a_cell_counts_by_its_share_of_tissue(dataset):
    """A quarter of a cell is enough at share 0.25, and not above."""
    grey = np.zeros((128, 96), dtype=np.uint16)
    grey[:32, :32] = 40_000
    grey[32:48, 32:48] = 40_000  # a quarter of the cell in the second row and column
    for share, kept in ((0.25, True), (0.3, False)):
        extractor = small(tissue="all", share=share).build(dataset)
        cells = extractor.kept(extractor.geometry.tensor(grey)[None], (4, 3))[0]
        assert bool(cells[0, 0])
        assert bool(cells[1, 1]) == kept
        assert not cells[3, 2]


@pytest.mark.parametrize("rows", [1, 4, 7, 1000])
@pytest.mark.parametrize("model", ["test_efficientnet", "tf_efficientnet_b0", "mobilenetv3_small_050"])
def test_bands_give_the_same(dataset, model, rows):
    """Squeeze-and-excitation, SAME padding and strides included, for pictures of awkward sizes."""
    plain = MammographyTimmConfig(model=model, image_size=(101, 75), device="cpu", tissue="off").build(dataset)
    banded = MammographyTimmConfig(model=model, image_size=(101, 75), device="cpu", tissue="off", tile=rows).build(
        dataset
    )
    inputs = torch.stack([plain.prepare(dataset.load(row)) for row in range(2)])
    with torch.inference_mode():
        one, two = (e.model.forward_features(inputs.expand(-1, 3, -1, -1)) for e in (plain, banded))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
    assert plain.parent() == banded.parent()


def test_within_a_band_nothing_is_hooked(dataset):
    with pytest.raises(HookError, match=r"lies within 'blocks.3.0', which extractor.tile computes in bands"):
        small(tile=4).build(dataset).resolve([HookConfig(at="blocks.3.0.conv_pwl")])


def test_a_model_without_such_blocks_has_no_bands(dataset):
    with pytest.raises(ConfigError, match="no inverted-residual block"):
        MammographyTimmConfig(model="resnet10t", image_size=64, device="cpu", tile=4).build(dataset)


@pytest.fixture(scope="module")
def b0():
    return reference().randomised(reference().Encoder(1.0, 1.0, 224))


@pytest.mark.parametrize("classes", [None, 2])
def test_a_checkpoint_of_mammo_clip_is_read(tmp_path, dataset, b0, classes):
    """The converted model gives what the original gives, and `bn2` is the head's call of the shared `_swish`."""
    held = {f"image_encoder.{name}": value for name, value in b0.state_dict().items()}
    if classes:
        held |= {
            "classifier.classification_head.weight": torch.randn(classes, 1280),
            "classifier.classification_head.bias": torch.randn(classes),
        }
    else:
        held |= {"text_encoder.weight": torch.zeros(3)}
    path = tmp_path / "model.tar"
    torch.save({"model": held, "epoch": 3}, path)
    extractor = MammographyTimmConfig(
        model="tf_efficientnet_b0", checkpoint=str(path), image_size=(96, 70), device="cpu", tissue="off"
    ).build(dataset)
    assert (extractor.geometry.mean, extractor.geometry.std) == (0.3089279, 0.25053555408335154)
    inputs = torch.stack([extractor.prepare(dataset.load(row)) for row in range(2)])
    theirs = HookPoint(name="swish", at=("_swish",), call=1, pattern="example d y x", width=1280)
    ours = extractor.resolve([HookConfig(at="bn2")])
    with torch.inference_mode(), tap(b0, [theirs], stop=False) as seen:
        b0(inputs.expand(-1, 3, -1, -1))
    with torch.inference_mode(), tap(extractor.model, ours, stop=False) as mine:
        answer = extractor.forward(inputs)
    torch.testing.assert_close(mine["bn2.output"], seen["swish"], rtol=1e-3, atol=1e-4)
    assert answer.shape[1] == (classes or 1280)
    if classes:
        head = held["classifier.classification_head.weight"], held["classifier.classification_head.bias"]
        want = torch.nn.functional.linear(seen["swish"].mean((2, 3)), *head)
        torch.testing.assert_close(answer, want, rtol=1e-3, atol=1e-3)


def test_a_module_that_fires_twice_is_chosen_by_its_call(b0):
    """Mammo-SAE's hook: without a call the shared module is refused, and the calls are listed."""
    point = HookPoint(name="swish", at=("_swish",), pattern="example d y x", width=1280)
    with (
        pytest.raises(HookError, match="fired 2 times in one forward"),
        torch.inference_mode(),
        tap(b0, [point], stop=False),
    ):
        b0(torch.zeros(1, 3, 64, 64))


def test_a_checkpoint_of_another_size_is_refused(tmp_path, dataset, b0):
    path = tmp_path / "b0.pt"
    torch.save({"model": {f"image_encoder.{k}": v for k, v in b0.state_dict().items()}}, path)
    with pytest.raises(ConfigError, match="has 16 blocks, and the model 39"):
        MammographyTimmConfig(model="tf_efficientnet_b5", checkpoint=str(path), device="cpu").build(dataset)
    with pytest.raises(ConfigError, match="holds Mammo-CLIP's EfficientNet"):
        MammographyTimmConfig(model="resnet18", checkpoint=str(path), device="cpu").build(dataset)


def test_a_checkpoint_that_lacks_a_tensor_says_which(tmp_path, dataset, b0):
    held = {f"image_encoder.{k}": v for k, v in b0.state_dict().items() if "_conv_head" not in k}
    torch.save({"model": held}, tmp_path / "b0.pt")
    with pytest.raises(ConfigError, match=r"1 is missing: conv_head.weight"):
        MammographyTimmConfig(model="tf_efficientnet_b0", checkpoint=str(tmp_path / "b0.pt"), device="cpu").build(
            dataset
        )


FULL = """
import resource, sys
import numpy as np, torch
torch.set_num_threads(2)
from omnisae.config import HookConfig
from omnisae.extract.dataset import Example
from omnisae_mammography.plugin import MammographyTimmConfig
config = MammographyTimmConfig(model="tf_efficientnet_b5", arguments={"num_classes": 0}, image_size=(3328, 2560),
                               device="cpu", batch_size=1, tile=64, tissue="all")
extractor = config.build(None)
for stage in extractor.model.blocks:  # what a map passes through again at the same size takes the same memory again
    del stage[2:]
(point,) = extractor.resolve([HookConfig(at="bn2")])
picture = np.random.default_rng(0).integers(20_000, 60_000, (3328, 2560)).astype(np.uint16)
inputs = extractor.collate([extractor.prepare(Example(0, "x", picture))])
tokens = extractor.extract([0], inputs, [point]).tokens[point.name]
assert tokens.values.shape == (104 * 80, 2048), tokens.values.shape
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.slow
def test_a_mammogram_of_full_size_stays_under_four_gigabytes():
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[-1]) < 4.0
