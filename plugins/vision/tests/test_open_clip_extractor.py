"""The extractor of open_clip's image towers, and its text tower."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy, normalize

from omnisae.config import HookConfig
from omnisae.errors import ConfigError
from omnisae.testing import ExtractorTests
from omnisae_vision.plugin import OpenClipConfig
from omnisae_vision.plugin_datasets import ImageFolderConfig

open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed")

from omnisae_vision.open_clip_text import TextTower  # noqa: E402
from omnisae_vision.open_clip_weights import build  # noqa: E402

VISION = {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
TEXT = {"context_length": 16, "width": 16, "heads": 2, "layers": 1}
THIN = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}
VIT = {"model": "ViT-B-16", "arguments": THIN, "device": "cpu"}
COCA = {
    "model": "coca_ViT-B-32",
    "arguments": {**THIN, "vision_cfg": {**VISION, "attn_pooler_heads": 2}},
    "device": "cpu",
}


def several(tmp_path, paint):
    """Pictures of several sizes, in two classes."""
    for i, size in enumerate([(70, 90), (64, 64), (130, 40), (33, 35)]):
        paint(tmp_path / f"data/{'ab'[i % 2]}/{i}.png", size, seed=i)
    return ImageFolderConfig(root=str(tmp_path / "data")).build()


@pytest.fixture
def dataset(tmp_path, paint):
    return several(tmp_path, paint)


class Pictures(ExtractorTests):
    @pytest.fixture
    def dataset(self, tmp_path, paint):
        return several(tmp_path, paint)


class TestTransformer(Pictures):
    @pytest.fixture
    def config(self):
        return OpenClipConfig(**VIT, loss="outputs", outputs="embedding")

    @pytest.fixture
    def hooks(self):
        blocks = "transformer.resblocks.*"
        return [HookConfig(at=blocks), HookConfig(at=f"{blocks}.attn", select=(0,)), HookConfig(at=f"{blocks}.mlp")]


class TestCoca(Pictures):
    @pytest.fixture
    def config(self):
        return OpenClipConfig(**COCA)

    @pytest.fixture
    def hooks(self):
        pooled = HookConfig(at="", select=(0,), name="pooled")
        return [HookConfig(at="transformer.resblocks.1"), HookConfig(at="attn_pool"), pooled]


class TestResNet(Pictures):
    @pytest.fixture
    def config(self):
        vision = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8}
        return OpenClipConfig(model="RN50", arguments={"embed_dim": 16, "vision_cfg": vision}, device="cpu")

    @pytest.fixture
    def hooks(self):
        return [HookConfig(at="layer3"), HookConfig(at="attnpool")]


def test_pictures_come_to_the_model_as_open_clip_brings_them(dataset):
    config = OpenClipConfig(**VIT)
    extractor = config.build(dataset)
    with torch.random.fork_rng():
        *_, transform = open_clip.create_model_and_transforms("ViT-B-16", force_image_size=64)
    for row in range(len(dataset)):
        example = dataset.load(row)
        assert torch.equal(extractor.prepare(example), transform(example.input))
        assert extractor.picture(example).shape == (64, 64, 3)


def test_a_model_without_weights_has_the_preprocessing_of_its_usual_ones(dataset):
    extractor = OpenClipConfig(model="ViT-B-16-SigLIP", device="cpu").build(dataset)
    assert extractor.geometry.data["mean"] == (0.5, 0.5, 0.5)
    assert extractor.geometry.data["resize_mode"] == "squash"


def test_a_mask_lands_where_the_picture_does(dataset):
    extractor = OpenClipConfig(**VIT).build(dataset)
    example = dataset.load(0)
    mask = np.zeros((70, 90), dtype=bool)
    mask[:, 60:] = True
    painted = Image.fromarray(np.where(mask[..., None], 255, 0).astype(np.uint8).repeat(3, axis=2))
    bright = extractor.picture(type(example)(0, "x", painted))[..., 0] > 127
    placed = extractor.place(mask, example)
    assert (bright & placed).sum() / (bright | placed).sum() > 0.95


def sequence_first(tower):
    """An image tower whose blocks take the tokens' dimension first, as those of early open_clip do."""
    old, tower.transformer = tower.transformer, open_clip.transformer.Transformer(32, 2, 2, 4.0, batch_first=False)
    tower.transformer.load_state_dict(old.state_dict())
    return tower.eval()


@pytest.mark.parametrize("vision", [VISION, {**VISION, "image_size": [16, 32]}])
def test_sequence_first_blocks_give_the_same_tokens(dataset, vision):
    """Also where there are as many tokens as pictures in the trial batch, and shapes alone say nothing."""
    config = OpenClipConfig(**{**VIT, "arguments": {**THIN, "vision_cfg": vision}})
    one, other = config.build(dataset), config.build(dataset)
    sequence_first(other.model)
    hooks = [HookConfig(at="transformer.resblocks.1")]
    (batch_first,), (late,) = one.resolve(hooks), other.resolve(hooks)
    assert batch_first.pattern == "example ([cls] + y x) d"
    assert late.pattern == "([cls] + y x) example d"
    inputs = one.collate([one.prepare(dataset.load(row)) for row in range(4)])
    a, b = (e.extract(range(4), inputs, [p]).tokens[p.name] for e, p in ((one, batch_first), (other, late)))
    assert torch.equal(a.example, b.example)
    assert torch.equal(a.coords, b.coords)
    torch.testing.assert_close(a.values, b.values, atol=1e-5, rtol=1e-5)


@pytest.fixture
def checkpoint(tmp_path):
    """The whole model's tensors, unlike those of a model with random weights."""
    model = build(OpenClipConfig(**VIT), text=True).model
    return {name: value + 0.01 for name, value in model.state_dict().items()}


@pytest.mark.parametrize("kind", ["whole", "whole under module.", "image tower", "image tower under visual."])
def test_local_checkpoints(tmp_path, checkpoint, kind):
    visual = {name: value for name, value in checkpoint.items() if name.startswith("visual.")}
    path = tmp_path / ("mine.pt" if "under" in kind else "mine.safetensors")
    if kind == "whole":
        save_file(checkpoint, path)
    elif kind == "whole under module.":
        torch.save({"state_dict": {f"module.{k}": v for k, v in checkpoint.items()}, "epoch": 3}, path)
    elif kind == "image tower":
        save_file({name.removeprefix("visual."): value for name, value in visual.items()}, path)
    else:
        torch.save(visual, path)
    found = build(OpenClipConfig(**VIT, checkpoint=str(path))).model.visual.state_dict()
    assert all(torch.equal(value, checkpoint[f"visual.{name}"]) for name, value in found.items())


@pytest.mark.parametrize("vision", [VISION, {"timm_model_name": "test_vit", "timm_proj": "linear", "image_size": 160}])
def test_weights_of_another_picture_size_are_resampled(tmp_path, vision, dataset):
    config = {**VIT, "arguments": {**THIN, "vision_cfg": vision}}
    kept = build(OpenClipConfig(**config)).model.visual
    save_file({name: value.contiguous() for name, value in kept.state_dict().items()}, tmp_path / "a.safetensors")
    larger = OpenClipConfig(**config, checkpoint=str(tmp_path / "a.safetensors"), image_size=192)
    extractor = larger.build(dataset)
    assert extractor.picture_size == (192, 192)
    assert extractor.geometry.data["size"] == (192, 192)
    at = "trunk.blocks.1" if hasattr(kept, "trunk") else "transformer.resblocks.1"
    (point,) = extractor.resolve([HookConfig(at=at)])
    assert (point.sizes["y"], point.sizes["x"]) == (12, 12)
    same = [name for name, value in kept.state_dict().items() if torch.equal(value, extractor.model.state_dict()[name])]
    assert len(same) == len(kept.state_dict()) - 1  # all but the positions


def test_texts_need_the_whole_checkpoint(tmp_path, checkpoint):
    save_file(checkpoint, tmp_path / "whole.safetensors")
    tower = TextTower(OpenClipConfig(**VIT, checkpoint=str(tmp_path / "whole.safetensors")))
    assert tower.has_weights
    assert all(torch.equal(value, checkpoint[name]) for name, value in tower.model.state_dict().items())
    visual = {name: value for name, value in checkpoint.items() if name.startswith("visual.")}
    save_file(visual, tmp_path / "image.safetensors")
    with pytest.raises(ConfigError, match="holds an image tower alone, and texts are to be encoded"):
        TextTower(OpenClipConfig(**VIT, checkpoint=str(tmp_path / "image.safetensors"))).encode(["a"])


def test_a_checkpoint_of_another_model_is_told_and_the_nearest_named(tmp_path):
    other = build(OpenClipConfig(model="ViT-S-32")).model.visual
    save_file({name: value.contiguous() for name, value in other.state_dict().items()}, tmp_path / "a.safetensors")
    with pytest.raises(
        ConfigError, match=r"does not fit the model 'ViT-B-32': \d+ have other shapes: visual\."
    ) as caught:
        build(OpenClipConfig(model="ViT-B-32", checkpoint=str(tmp_path / "a.safetensors")))
    assert "visual.class_embedding [384, the model's 768]" in caught.value.problem
    assert "did you mean model: ViT-S-32? 100% of its tensors agree" in caught.value.remedy


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    torch.save({"state_dict": ImageFolderConfig(root="x")}, tmp_path / "evil.pt")
    with pytest.raises(ConfigError, match=r"evil\.pt cannot be read"):
        build(OpenClipConfig(**VIT, checkpoint=str(tmp_path / "evil.pt")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "ViT-B-61"}, "open_clip has no model 'ViT-B-61'"),
        ({"pretrained": "nowhere"}, "open_clip has no weights 'nowhere' for 'ViT-B-16'"),
        ({"model": "file:x"}, "'file:x' is no address that open_clip knows"),
        ({"model": "local-dir:nowhere"}, "there is no open_clip_config.json in nowhere"),
        ({"checkpoint": "absent.pt"}, r"there is no file absent\.pt"),
        ({"arguments": {"vision_cfg": {"layer": 2}}}, "extractor.arguments does not fit 'ViT-B-16'"),
    ],
)
def test_models_that_are_not_there(change, message):
    with pytest.raises(ConfigError, match=message):
        build(OpenClipConfig(**{**VIT, **change}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pretrained": "openai", "checkpoint": "a.pt"}, "weights are named twice"),
        ({"model": "hf-hub:a/b", "checkpoint": "a.pt"}, "weights are named twice"),
        ({"loss": "labels"}, "without extractor.classes the model answers with an embedding"),
        ({"prompts": ("a photo",)}, r"must hold \{\} once each"),
        ({"prompts": ()}, r"must hold \{\} once each"),
    ],
)
def test_configs_that_contradict_themselves(change, message):
    with pytest.raises(ValidationError, match=message):
        OpenClipConfig(**{**VIT, **change})


def test_a_folder_that_open_clip_saved(tmp_path, checkpoint, dataset):
    import json

    own = open_clip.get_model_config("ViT-B-16")
    own = {**own, "embed_dim": 16, "vision_cfg": VISION, "text_cfg": {**own["text_cfg"], **TEXT}}
    config = {"model_cfg": own, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1.0, 1.0, 1.0]}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    save_file(checkpoint, tmp_path / "open_clip_model.safetensors")
    extractor = OpenClipConfig(model=f"local-dir:{tmp_path}", device="cpu").build(dataset)
    assert torch.equal(extractor.model.conv1.weight, checkpoint["visual.conv1.weight"])
    assert extractor.geometry.data["mean"] == (0.1, 0.2, 0.3)


def test_random_weights_are_told_and_the_same_in_every_process(dataset):
    with pytest.warns(UserWarning, match="ViT-B-16 has random weights: set extractor.pretrained"):
        one = OpenClipConfig(**VIT).build(dataset)
    assert one.fingerprint() == OpenClipConfig(**VIT).build(dataset).fingerprint()


def test_text_and_pictures_are_unit_vectors_of_one_space():
    tower = TextTower(OpenClipConfig(**VIT))
    assert "model" not in vars(tower)  # nothing is built before it is asked
    texts, pictures = tower.encode(["a cat", "a dog"]), tower.embed_pictures([Image.new("RGB", (50, 70))] * 3, 2)
    assert texts.shape == (2, 16)
    assert pictures.shape == (3, 16)
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(pictures.norm(dim=1), torch.ones(3))
    with torch.inference_mode():
        expected = tower.model.encode_text(open_clip.get_tokenizer("ViT-B-16", context_length=16)(["a cat"]))
    torch.testing.assert_close(texts[:1], normalize(expected, dim=1))
    assert tower.embed_pictures([]).shape == (0, 16)
    assert not tower.has_weights
    with pytest.raises(ConfigError, match="no text is given"):
        tower.encode([])


def test_classes_average_their_prompts():
    tower = TextTower(OpenClipConfig(**VIT))
    found = tower.classes(["cat", "dog"], ["a {}.", "the {}."])
    each = tower.encode(["a cat.", "the cat."])
    torch.testing.assert_close(found[0], normalize(each.mean(0), dim=0))


def test_zero_shot_logits_are_scaled_cosines(dataset):
    extractor = OpenClipConfig(**VIT, classes=("a", "b"), loss="labels").build(dataset)
    rows = list(range(len(dataset)))
    inputs = extractor.collate([extractor.prepare(dataset.load(row)) for row in rows])
    tower = TextTower(OpenClipConfig(**VIT))
    with torch.inference_mode():
        image, text = extractor.model(inputs), tower.classes(["a", "b"])
        expected = tower.model.logit_scale.exp() * normalize(image, dim=1) @ text.T
    torch.testing.assert_close(extractor.answers(inputs), expected)
    torch.testing.assert_close(
        extractor.loss(rows, inputs), cross_entropy(expected, torch.tensor([0, 0, 1, 1]), reduction="none")
    )


def test_zero_shot_answers_need_no_labels_to_be_compared_with_themselves(dataset):
    extractor = OpenClipConfig(**VIT, classes=("cat", "dog", "cow"), loss="outputs").build(dataset)
    rows = list(range(len(dataset)))
    inputs = extractor.collate([extractor.prepare(dataset.load(row)) for row in rows])
    logits = extractor.answers(inputs)
    torch.testing.assert_close(extractor.loss(rows, inputs), -(logits.softmax(1) * logits.log_softmax(1)).sum(1))
    handle = extractor.model.transformer.resblocks[1].register_forward_hook(lambda m, i, o: o.flip(2))
    try:
        moved = extractor.loss(rows, inputs)
    finally:
        handle.remove()
    assert (moved > extractor.loss(rows, inputs)).all()


def test_nothing_is_logged_and_no_logging_set_up(dataset):
    """open_clip's first warning would give the whole program a handler of its own."""
    code = (
        "import logging, warnings; warnings.simplefilter('ignore')\n"
        "from omnisae_vision.plugin import OpenClipConfig\n"
        "from omnisae_vision.open_clip_weights import build\n"
        f"build(OpenClipConfig(model='ViT-B-16', arguments={THIN!r}))\n"
        "print(logging.root.handlers)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
    assert not said.stderr
