"""The extractor: conformance, geometry, weights, the model's own loss, real photographs."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import save_file

from omnisae.config import HookConfig
from omnisae.errors import ConfigError, DatasetError
from omnisae.extract.dataset import Example
from omnisae.extract.loading import batches
from omnisae.testing import ExtractorTests, PluginTests
from omnisae_vision.plugin import OpenClipConfig, TimmConfig, TransformersConfig
from omnisae_vision.plugin_datasets import ImageFolderConfig
from omnisae_vision.weights import build as build_model

TINY = {"embed_dim": 32, "depth": 2, "num_heads": 2}
VIT = {"model": "vit_tiny_patch16_224", "image_size": 64, "arguments": TINY, "device": "cpu"}


@pytest.fixture
def dataset(tmp_path, paint):
    """Pictures of several sizes, in two classes."""
    return several(tmp_path, paint)


def several(tmp_path, paint):
    for i, size in enumerate([(70, 90), (64, 64), (130, 40), (33, 35)]):
        paint(tmp_path / f"data/{'ab'[i % 2]}/{i}.png", size, seed=i)
    return ImageFolderConfig(root=str(tmp_path / "data")).build()


class TestPlugin(PluginTests):
    name = "vision"

    @pytest.fixture
    def configs(self):
        named = [
            TimmConfig(model="vit_tiny_patch16_224"),
            OpenClipConfig(model="ViT-B-16"),
            TransformersConfig(model="vit"),
        ]
        return [ImageFolderConfig(root="pictures"), *named]


class TestTransformer(ExtractorTests):
    @pytest.fixture
    def dataset(self, tmp_path, paint):
        return several(tmp_path, paint)

    @pytest.fixture
    def config(self):
        return TimmConfig(**VIT, loss="outputs")

    @pytest.fixture
    def hooks(self):
        return [HookConfig(at="blocks.*"), HookConfig(at="blocks.1", view="update"), HookConfig(at="head")]


class TestConvolution(ExtractorTests):
    @pytest.fixture
    def dataset(self, tmp_path, paint):
        return several(tmp_path, paint)

    @pytest.fixture
    def config(self):
        return TimmConfig(model="resnet18", image_size=(64, 96), device="cpu", batch_size=2)

    @pytest.fixture
    def hooks(self):
        return [HookConfig(at="layer3"), HookConfig(at="global_pool")]


class TestWorld(ExtractorTests):
    @pytest.fixture
    def dataset(self, shapes):
        return ImageFolderConfig(root=str(shapes), masks="masks", attributes="attributes.csv").build()

    @pytest.fixture
    def config(self):
        return TimmConfig(model="vit_shapes_tiny", checkpoint="world:shapes", loss="multilabel", device="cpu")

    @pytest.fixture
    def hooks(self):
        return [HookConfig(at="blocks.3")]


@pytest.mark.parametrize("size", [(48, 64), (90, 40), (64, 64)])
@pytest.mark.parametrize("mode", ["center", "squash", "border"])
def test_a_mask_lands_on_the_patches_that_saw_it(dataset, size, mode):
    """Two pictures differ only in what the mask covers: only the patches it lands on may differ once embedded."""
    extractor = TimmConfig(**VIT).build(dataset)
    data = {**extractor.geometry.data, "crop_mode": mode, "crop_pct": 0.9}
    extractor.geometry = type(extractor.geometry)(data)
    points = extractor.resolve([HookConfig(at="patch_embed")])
    mask = np.zeros(size, dtype=bool)
    mask[size[0] // 2 : size[0] // 2 + 9, size[1] // 3 : size[1] // 3 + 7] = True
    plain = np.full((*size, 3), 128, dtype=np.uint8)
    painted = plain.copy()
    painted[mask] = 255
    seen = [Example(i, str(i), Image.fromarray(p)) for i, p in enumerate((plain, painted))]
    tokens = extractor.extract([0, 1], torch.stack([extractor.prepare(e) for e in seen]), points).tokens[points[0].name]
    before, after = (tokens.values[tokens.example == i].reshape(4, 4, -1) for i in (0, 1))
    moved = (after - before).norm(dim=2).numpy()
    placed = extractor.place(mask, seen[1]).reshape(4, 16, 4, 16).mean((1, 3))
    assert placed.sum() > 0
    assert (moved[placed > 0.02] > 0).all()
    assert moved[placed == 0].max(initial=0) < 0.35 * moved.max()  # edges are smoothed over a pixel or two
    bright = (extractor.picture(seen[1])[..., 0].astype(int) - extractor.picture(seen[0])[..., 0]) > 63
    whole = extractor.place(mask, seen[1])
    assert (bright & whole).sum() / (bright | whole).sum() > 0.8


def test_a_mask_of_another_size_is_refused(dataset):
    extractor = TimmConfig(**VIT).build(dataset)
    with pytest.raises(DatasetError, match="a mask of 5 × 4 pixels lies over 'a/0' of 90 × 70"):
        extractor.place(np.ones((4, 5), dtype=bool), dataset.load(0))


def test_a_corrupt_picture_is_left_out_and_told(tmp_path, paint):
    for i in range(5):
        paint(tmp_path / f"{i}.png")
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:60])
    dataset = ImageFolderConfig(root=str(tmp_path)).build()
    extractor, skipped = TimmConfig(**VIT).build(dataset), []
    rows = [row for found, _ in batches(dataset, extractor, range(5), 0, skipped.append) for row in found]
    assert rows == [0, 1, 3, 4]
    assert [(s.row, s.id) for s in skipped] == [(2, "2")]
    assert "2.png" in skipped[0].reason


def inputs(extractor, dataset):
    rows = list(range(len(dataset)))
    return rows, extractor.collate([extractor.prepare(dataset.load(row)) for row in rows])


def test_loss_against_itself_sees_edits_and_only_those(dataset):
    extractor = TimmConfig(**VIT, loss="outputs").build(dataset)
    rows, x = inputs(extractor, dataset)
    logits = extractor.model(x)
    clean = extractor.loss(rows, x)
    entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1)
    torch.testing.assert_close(clean, entropy)
    handle = extractor.model.blocks[1].register_forward_hook(lambda m, i, o: o * 0)
    try:
        edited = extractor.loss(rows, x)
        fresh = TimmConfig(**VIT, loss="outputs").build(dataset)
    finally:
        handle.remove()
    assert (edited > clean).all()
    torch.testing.assert_close(extractor.loss(rows, x), clean)
    torch.testing.assert_close(fresh.loss(rows, x), clean)


def test_the_reference_is_unedited_even_where_the_first_loss_is_under_an_edit(dataset):
    extractor = TimmConfig(**VIT, loss="outputs", outputs="embedding").build(dataset)
    rows, x = inputs(extractor, dataset)
    handle = extractor.model.blocks[1].register_forward_hook(lambda m, i, o: o * 0)
    try:
        assert (extractor.loss(rows, x) > 1e-3).all()
    finally:
        handle.remove()
    assert extractor.loss(rows, x).abs().max() < 1e-5


def test_multilabel_ignores_what_is_unknown(tmp_path, paint, table):
    for i in range(2):
        paint(tmp_path / f"{i}.png")
    table(tmp_path / "t.csv", ["id", "p", "q"], [["0", 1, ""], ["1", "", ""]])
    dataset = ImageFolderConfig(root=str(tmp_path), attributes="t.csv").build()
    config = {**VIT, "arguments": {**TINY, "num_classes": 2}}
    extractor = TimmConfig(**config, loss="multilabel", targets=("p", "q")).build(dataset)
    rows, x = inputs(extractor, dataset)
    expected = torch.nn.functional.softplus(-extractor.model(x)[0, 0])
    torch.testing.assert_close(extractor.loss(rows, x), torch.stack([expected, torch.tensor(0.0)]))
    with pytest.raises(DatasetError, match="the dataset has no attribute 'r'"):
        TimmConfig(**config, loss="multilabel", targets=("p", "r")).build(dataset)
    with pytest.raises(DatasetError, match="nothing says which attribute"):
        TimmConfig(**config, loss="multilabel").build(dataset)


def test_labels_are_the_classes(dataset):
    config = {**VIT, "arguments": {**TINY, "num_classes": 2}}
    extractor = TimmConfig(**config, loss="labels").build(dataset)
    rows, x = inputs(extractor, dataset)
    expected = torch.nn.functional.cross_entropy(extractor.model(x), torch.tensor([0, 0, 1, 1]), reduction="none")
    assert [name.split("/")[0] for name in dataset.ids] == ["a", "a", "b", "b"]
    torch.testing.assert_close(extractor.loss(rows, x), expected)
    with pytest.raises(DatasetError, match="the model has 1000 outputs, and 2 targets"):
        TimmConfig(**VIT, loss="labels").build(dataset)


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_local_checkpoints(tmp_path, ending):
    config = {**VIT, "arguments": {**TINY, "num_classes": 3}}
    model = build_model(TimmConfig(**config)).model
    weights = {name: value + 0.01 for name, value in model.state_dict().items()}
    path = tmp_path / f"mine.{ending}"
    save_file(weights, path) if ending == "safetensors" else torch.save({"state_dict": weights, "epoch": 3}, path)
    found = build_model(TimmConfig(**VIT, checkpoint=str(path))).model
    assert found.num_classes == 3
    for name, value in found.state_dict().items():
        torch.testing.assert_close(value, weights[name])


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": ImageFolderConfig(root="x")}, path)
    with pytest.raises(ConfigError, match=r"evil\.pth cannot be read"):
        build_model(TimmConfig(**VIT, checkpoint=str(path)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "vit_tinny_patch16_224"}, "timm has no model 'vit_tinny_patch16_224'"),
        ({"model": "vit_tiny_patch16_224.nowhere"}, "timm has no weights 'nowhere'"),
        ({"checkpoint": "absent.safetensors"}, "there is no file absent.safetensors"),
        ({"checkpoint": "x.pth", "pretrained": True}, "both given"),
        ({"arguments": {"depht": 2}}, "extractor.arguments does not fit"),
    ],
)
def test_models_that_are_not_there(change, message):
    with pytest.raises(ConfigError, match=message):
        build_model(TimmConfig(**{**VIT, **change}))


def test_a_checkpoint_of_another_model(tmp_path):
    weights = build_model(TimmConfig(**VIT)).model.state_dict()
    save_file(weights, tmp_path / "a.safetensors")
    other = {**VIT, "arguments": {**TINY, "depth": 3}}
    with pytest.raises(ConfigError, match=r"does not fit the model .*: 12 are missing: blocks\.2\.") as caught:
        build_model(TimmConfig(**other, checkpoint=str(tmp_path / "a.safetensors")))
    assert caught.value.remedy.startswith("mend extractor.arguments")


def test_random_weights_are_the_same_in_every_process():
    one, two = (build_model(TimmConfig(**VIT)).model.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_random_weights_are_told(dataset):
    with pytest.warns(UserWarning, match="vit_tiny_patch16_224 has random weights: set extractor.pretrained"):
        TimmConfig(**VIT).build(dataset)


def test_half_precision(dataset):
    extractor = TimmConfig(**VIT, dtype="bfloat16", loss="outputs").build(dataset)
    rows, x = inputs(extractor, dataset)
    (point,) = extractor.resolve([HookConfig(at="blocks.1")])
    assert extractor.extract(rows, x, [point]).tokens[point.name].values.dtype == torch.bfloat16
    assert extractor.loss(rows, x).dtype == torch.float32


def test_real_photographs(photos):
    root = photos / "coco_open"
    with (root / "classes.yaml").open() as file:
        assert file.read(1)
    dataset = ImageFolderConfig(root=str(root), images="images", classes=False).build()
    assert len(dataset) > 40
    extractor = TimmConfig(**VIT).build(dataset)
    (point,) = extractor.resolve([HookConfig(at="blocks.1")])
    rows = list(range(8))
    _, x = next(iter(batches(dataset, extractor, rows, 0)))
    tokens = extractor.extract(rows, x, [point]).tokens[point.name]
    assert torch.isfinite(tokens.values).all()
    assert len(tokens) == 8 * 17


def test_real_table_of_classes(photos):
    root = photos / "clothing_cc0"
    with (root / "labels.csv").open() as file:
        said = {row["file"].rpartition(".")[0]: row["label"] for row in csv.DictReader(file)}
    dataset = ImageFolderConfig(root=str(root), attributes="labels.csv", id="file").build()
    labels = dataset.labels()
    assert labels["label"] == labels["class"] == [said[name.rpartition("/")[2]] for name in dataset.ids]


@pytest.mark.parametrize("key", ["augmentation", "random_crop", "is_training"])
def test_augmentation_is_refused(key):
    with pytest.raises(ValidationError, match=rf"extractor\.{key} asks for pictures other than the stored ones"):
        TimmConfig(model="resnet18", **{key: True})
