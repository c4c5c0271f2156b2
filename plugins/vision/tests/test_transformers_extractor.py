"""The extractor of transformers' vision models and of the towers of vision-language models."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

from omnisae.config import HookConfig
from omnisae.errors import ConfigError, HookError
from omnisae.testing import ExtractorTests
from omnisae_vision.plugin import TransformersConfig
from omnisae_vision.plugin_datasets import ImageFolderConfig

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from omnisae_vision.transformers_weights import build  # noqa: E402

PATCHES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64, "patch_size": 16}
BERTLIKE = {**PATCHES, "intermediate_size": 64}
VIT = {"model": "vit", "settings": BERTLIKE, "device": "cpu"}
WORDS = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 64}
MROPE = {**WORDS, "hidden_size": 48, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2,
         "rope_scaling": {"type": "mrope", "mrope_section": [2, 4, 6]}}  # fmt: skip


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
        return TransformersConfig(**VIT, loss="outputs", outputs="embedding")

    @pytest.fixture
    def hooks(self):
        return [
            HookConfig(at="layers.*"),
            HookConfig(at="layers.*.attention", select=(0,)),
            HookConfig(at="layers.1.mlp"),
        ]


class TestMaskedAutoencoder(Pictures):
    """It shuffles and hides patches unless it is told not to."""

    @pytest.fixture
    def config(self):
        return TransformersConfig(model="vit_mae", settings=BERTLIKE, device="cpu", loss="outputs", outputs="embedding")

    @pytest.fixture
    def hooks(self):
        return [HookConfig(at="layers.1")]


class TestPackedByRows(Pictures):
    @pytest.fixture
    def config(self):
        settings = {**{k: v for k, v in BERTLIKE.items() if k != "image_size"}, "num_patches": 16}
        return TransformersConfig(model="siglip2_vision_model", settings=settings, device="cpu", image_size=(48, 96))

    @pytest.fixture
    def hooks(self):
        return [HookConfig(at="encoder.layers.1"), HookConfig(at="head")]


class TestPackedBySquares(Pictures):
    @pytest.fixture
    def config(self):
        settings = {"depth": 2, "embed_dim": 32, "hidden_size": 48, "num_heads": 2, "patch_size": 14}
        return TransformersConfig(model="qwen2_vl_vision", settings=settings, device="cpu", image_size=(56, 84))

    @pytest.fixture
    def hooks(self):
        return [HookConfig(at="blocks.1"), HookConfig(at="merger")]


def saved(model, folder, seed=1):
    """A model with other weights than a random one has, saved."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = model()
    made.save_pretrained(folder)
    return made


def llava():
    vision = transformers.CLIPVisionConfig(**BERTLIKE)
    return transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(vision_config=vision, text_config=transformers.LlamaConfig(**WORDS))
    )


def paligemma():
    vision = transformers.SiglipVisionConfig(**BERTLIKE, vision_use_head=False)
    words = transformers.GemmaConfig(**WORDS, num_key_value_heads=2, head_dim=16)
    return transformers.PaliGemmaForConditionalGeneration(
        transformers.PaliGemmaConfig(vision_config=vision, text_config=words, projection_dim=32)
    )


def qwen():
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 48, "num_heads": 2, "patch_size": 14}
    return transformers.Qwen2VLForConditionalGeneration(
        transformers.Qwen2VLConfig(vision_config=vision, text_config=MROPE)
    )


def clip():
    words = {**WORDS, "bos_token_id": 1, "eos_token_id": 2}
    return transformers.CLIPModel(transformers.CLIPConfig(vision_config=BERTLIKE, text_config=words))


@pytest.mark.parametrize(
    ("make", "tower", "at", "size"),
    [
        (llava, "model.vision_tower", "encoder.layers.1", None),
        (paligemma, "model.vision_tower", "encoder.layers.1", None),
        (qwen, "model.visual", "blocks.1", (56, 84)),
        (clip, "vision_model", "encoder.layers.1", None),
    ],
)
def test_the_tower_of_a_vision_language_model(tmp_path, dataset, make, tower, at, size):
    whole = saved(make, tmp_path / "model")
    config = TransformersConfig(model=str(tmp_path / "model"), device="cpu", image_size=size)
    extractor = config.build(dataset)
    expected = whole.get_submodule(tower).state_dict()
    assert extractor.model.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in extractor.model.state_dict().items())
    (point,) = extractor.resolve([HookConfig(at=at)])
    assert {"y", "x"} <= set(point.axes)


@pytest.mark.parametrize("prefix", ["vision_tower.vision_model.", "model.vision_tower.vision_model.", "vision_tower."])
def test_older_names_of_a_tower_are_read(tmp_path, dataset, prefix):
    whole = saved(llava, tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    held = load_file(path)
    tower = {k.partition("vision_tower.")[2]: v for k, v in held.items() if "vision_tower." in k}
    rest = {k: v for k, v in held.items() if "vision_tower." not in k}
    save_file({prefix + k: v for k, v in tower.items()} | rest, path, metadata={"format": "pt"})
    extractor = TransformersConfig(model=str(tmp_path / "model"), device="cpu").build(dataset)
    expected = whole.model.vision_tower.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in extractor.model.state_dict().items())


def test_squares_of_patches_are_what_the_image_processor_packs(dataset):
    """And the layout says truly where each patch lies: its embedding is that of its own pixels."""
    config = TransformersConfig(
        model="qwen2_vl_vision",
        settings={"depth": 1, "embed_dim": 32, "hidden_size": 48, "num_heads": 2, "patch_size": 14},
        device="cpu",
        image_size=(56, 84),
    )
    extractor = config.build(dataset)
    picture = Image.fromarray(np.random.default_rng(3).integers(0, 256, (56, 84, 3), dtype=np.uint8))
    processor = transformers.Qwen2VLImageProcessor(min_pixels=56 * 84, max_pixels=56 * 84)
    packed = processor(images=picture, return_tensors="pt")
    inputs = extractor.geometry.tensor(picture)[None]
    found = extractor_arguments(extractor, inputs)
    assert torch.equal(found["grid_thw"], packed["image_grid_thw"])
    torch.testing.assert_close(found["hidden_states"], packed["pixel_values"], atol=1e-5, rtol=1e-5)
    (point,) = extractor.resolve([HookConfig(at="patch_embed")])
    tokens = extractor.extract([0], inputs, [point]).tokens[point.name]
    kernel = extractor.model.patch_embed.proj.weight.sum(2)
    maps = torch.nn.functional.conv2d(inputs, kernel, stride=14)[0]
    y, x, row, column = tokens.coords.T
    torch.testing.assert_close(tokens.values, maps[:, 2 * y + row, 2 * x + column].T, atol=1e-4, rtol=1e-4)


def extractor_arguments(extractor, inputs):
    from omnisae_vision.transformers_packing import arguments

    return arguments(extractor._own, extractor._parameters, inputs)


def test_rows_of_patches_are_what_the_image_processor_packs(dataset):
    settings = {**{k: v for k, v in BERTLIKE.items() if k != "image_size"}, "num_patches": 16}
    extractor = TransformersConfig(model="siglip2_vision_model", settings=settings, device="cpu").build(dataset)
    picture = Image.fromarray(np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    processor = transformers.Siglip2ImageProcessor(max_num_patches=16, patch_size=16)
    packed = processor(images=picture, return_tensors="pt")
    found = extractor_arguments(extractor, extractor.geometry.tensor(picture)[None])
    torch.testing.assert_close(found["pixel_values"], packed["pixel_values"], atol=1e-5, rtol=1e-5)
    assert torch.equal(found["spatial_shapes"], packed["spatial_shapes"])


def test_windows_are_refused_and_what_is_put_in_order_again_is_not(tmp_path, dataset):
    vision = {"depth": 2, "hidden_size": 32, "out_hidden_size": 48, "intermediate_size": 64, "num_heads": 2,
              "patch_size": 14, "fullatt_block_indexes": [1], "window_size": 56}  # fmt: skip
    config = transformers.Qwen2_5_VLConfig(vision_config=vision, text_config=MROPE)
    saved(lambda: transformers.Qwen2_5_VLForConditionalGeneration(config), tmp_path / "model")
    asked = TransformersConfig(model=str(tmp_path / "model"), device="cpu", image_size=(112, 168))
    extractor = asked.build(dataset)
    with pytest.raises(HookError, match="cannot be found"):
        extractor.resolve([HookConfig(at="blocks.1")])
    (point,) = extractor.resolve([HookConfig(at="", select=("pooler_output",))])
    assert (point.pattern, point.sizes) == ("(example y x) d", {"y": 4, "x": 6})


def vit(labels=3):
    return transformers.ViTForImageClassification(transformers.ViTConfig(**BERTLIKE, num_labels=labels))


def test_a_folder_with_a_head(tmp_path, dataset):
    whole = saved(vit, tmp_path / "model")
    rows = list(range(len(dataset)))
    config = TransformersConfig(model=str(tmp_path / "model"), head=True, device="cpu", loss="outputs")
    extractor = config.build(dataset)
    inputs = extractor.collate([extractor.prepare(dataset.load(row)) for row in rows])
    with torch.inference_mode():
        torch.testing.assert_close(extractor.answers(inputs), whole.eval()(inputs).logits)
    (point,) = extractor.resolve([HookConfig(at="vit.layers.1")])
    assert point.roles == ("content", "cls")
    with pytest.raises(Exception, match="the model has 3 outputs, and 2 targets"):
        TransformersConfig(model=str(tmp_path / "model"), head=True, device="cpu", loss="labels").build(dataset)


def test_the_loss_of_a_head_is_against_the_classes(tmp_path, dataset):
    saved(lambda: vit(2), tmp_path / "model")
    config = TransformersConfig(
        model=str(tmp_path / "model"), head=True, device="cpu", loss="labels", targets=("a", "b")
    )
    extractor = config.build(dataset)
    rows = list(range(len(dataset)))
    inputs = extractor.collate([extractor.prepare(dataset.load(row)) for row in rows])
    expected = cross_entropy(extractor.answers(inputs), torch.tensor([0, 0, 1, 1]), reduction="none")
    torch.testing.assert_close(extractor.loss(rows, inputs), expected)


def test_a_model_whose_checkpoint_has_no_pooler_does_without(tmp_path, dataset):
    saved(vit, tmp_path / "model")
    extractor = TransformersConfig(model=str(tmp_path / "model"), device="cpu").build(dataset)
    assert extractor.model.pooler is None
    inputs = extractor.probe()
    with torch.inference_mode():
        expected = extractor.model(inputs).last_hidden_state.mean(1)
    torch.testing.assert_close(extractor.answers(inputs), expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_hidden_layers": 3}, r"\d+ of its tensors are missing: layers\.2\."),
        ({"intermediate_size": 16}, r"have other shapes: layers\.[01]\..* \[\[64.*\], the model's \[16"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, settings, message):
    saved(vit, tmp_path / "model")
    with pytest.raises(ConfigError, match=message) as caught:
        build(TransformersConfig(model=str(tmp_path / "model"), settings=settings))
    assert "leave out extractor.settings" in caught.value.remedy


def test_weights_of_another_type_are_told_and_the_nearest_named(tmp_path):
    saved(lambda: transformers.Dinov2Model(transformers.Dinov2Config(**PATCHES)), tmp_path / "model")
    transformers.ViTConfig(**BERTLIKE).save_pretrained(tmp_path / "model")
    with pytest.raises(ConfigError, match=r"do not fit the vit model: \d+ of its tensors are missing") as caught:
        build(TransformersConfig(model=str(tmp_path / "model")))
    assert "look like those of a dinov2 model" in caught.value.remedy


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    transformers.ViTConfig(**BERTLIKE).save_pretrained(tmp_path)
    torch.save({"x": ImageFolderConfig(root="x")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="cannot be read"):
        build(TransformersConfig(model=str(tmp_path)))


def test_code_of_a_repository_is_never_run(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mine", "auto_map": {"AutoConfig": "evil.Config"}}))
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ConfigError, match="the configuration of .* cannot be read"):
        build(TransformersConfig(model=str(tmp_path)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "vitt"}, "transformers has no type of model 'vitt'"),
        ({"model": "facebook/dinov2-base"}, "there is no folder facebook/dinov2-base"),
        ({"model": "bert", "settings": {}}, "transformers has no vision model of type 'bert'"),
        ({"model": "llava", "settings": {}, "head": True}, "'llava' is a llava model, whose vision tower has none"),
        ({"settings": {"hiden_size": 3}}, "the configuration of a vit model has no 'hiden_size'"),
        ({"settings": {"hidden_size": "wide"}}, "extractor.settings: .*hidden_size"),
    ],
)
def test_models_that_are_not_there(change, message):
    with pytest.raises(ConfigError, match=message):
        build(TransformersConfig(**{**VIT, **change}))


def test_the_hub_is_asked_only_where_it_is_named():
    with pytest.raises(ConfigError) as caught:
        build(TransformersConfig(model="facebook/dinov2-base"))
    assert caught.value.remedy == "to fetch it from the hub, write model: hf-hub:facebook/dinov2-base"


def test_losses_that_need_a_head():
    with pytest.raises(ValidationError, match="needs the classification head; set head: true"):
        TransformersConfig(**VIT, loss="labels")


def test_pictures_come_to_the_model_as_its_image_processor_brings_them(tmp_path, dataset):
    saved(vit, tmp_path / "model")
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 80}, crop_size={"height": 64, "width": 64})
    processor.save_pretrained(tmp_path / "model")
    extractor = TransformersConfig(model=str(tmp_path / "model"), device="cpu").build(dataset)
    for row in range(len(dataset)):
        example = dataset.load(row)
        expected = processor(images=example.input, return_tensors="pt")["pixel_values"][0]
        assert torch.equal(extractor.prepare(example), expected)
        assert extractor.picture(example).shape == (64, 64, 3)
    mask = np.zeros((70, 90), dtype=bool)
    mask[:, 60:] = True
    painted = Image.fromarray(np.where(mask[..., None], 255, 0).astype(np.uint8).repeat(3, axis=2))
    bright = extractor.picture(type(example)(0, "x", painted))[..., 0] > 127
    placed = extractor.place(mask, dataset.load(0))
    assert (bright & placed).sum() / (bright | placed).sum() > 0.95


def test_a_larger_picture_keeps_the_share_that_is_cropped(tmp_path, dataset):
    saved(vit, tmp_path / "model")
    transformers.CLIPImageProcessor(size={"shortest_edge": 80}, crop_size={"height": 64, "width": 64}).save_pretrained(
        tmp_path / "model"
    )
    config = TransformersConfig(model=str(tmp_path / "model"), device="cpu", image_size=128)
    extractor = config.build(dataset)
    assert extractor.geometry.data["size"]["shortest_edge"] == 160
    (point,) = extractor.resolve([HookConfig(at="layers.1")])
    assert (point.sizes["y"], point.sizes["x"]) == (8, 8)


def test_a_model_without_a_size_asks_for_one(tmp_path, dataset):
    saved(qwen, tmp_path / "model")
    with pytest.raises(ConfigError, match=r"extractor\.image_size: a qwen2_vl_vision model has no picture size"):
        TransformersConfig(model=str(tmp_path / "model"), device="cpu").build(dataset)


def test_weights_without_an_image_processor_are_told(tmp_path, dataset):
    saved(vit, tmp_path / "model")
    with pytest.warns(UserWarning, match=r"has no preprocessor_config\.json"):
        TransformersConfig(model=str(tmp_path / "model"), device="cpu").build(dataset)


def test_random_weights_are_told_and_the_same_in_every_process(dataset):
    with pytest.warns(UserWarning, match="vit has random weights: set extractor.model to a folder"):
        one = TransformersConfig(**VIT).build(dataset)
    assert one.fingerprint() == TransformersConfig(**VIT).build(dataset).fingerprint()


def test_a_size_that_the_model_cannot_take(dataset):
    extractor = TransformersConfig(**VIT, image_size=8).build(dataset)
    with pytest.raises(ConfigError, match=r"'vit' cannot be run on pictures of 8 × 8"):
        extractor.resolve([HookConfig(at="layers.1")])


def test_half_precision_leaves_complex_rotations_alone(dataset):
    settings = {**PATCHES, "vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32,
                "intermediate_size": 128}  # fmt: skip
    config = TransformersConfig(model="llama4_vision_model", settings=settings, device="cpu", dtype="bfloat16")
    extractor = config.build(dataset)
    (point,) = extractor.resolve([HookConfig(at="model.layers.1", select=(0,))])
    tokens = extractor.extract([0], extractor.prepare(dataset.load(0))[None], [point]).tokens[point.name]
    assert tokens.values.dtype == torch.bfloat16
    assert torch.isfinite(tokens.values).all()
