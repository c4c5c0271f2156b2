"""Layouts are found from the model, at any picture size, and refused where the model does not decide."""

import pytest

from omnisae.config import HookConfig
from omnisae.errors import HookError
from omnisae_vision.plugin import TimmConfig
from omnisae_vision.plugin_datasets import ImageFolderConfig

TINY = {"embed_dim": 32, "depth": 2, "num_heads": 2}
SWIN = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}
CLS = "example ([cls] + y x) d"


@pytest.fixture
def folder(tmp_path, paint):
    paint(tmp_path / "a.png")
    return ImageFolderConfig(root=str(tmp_path)).build()


def resolve(folder, model, size, at, view="output", **arguments):
    config = TimmConfig(model=model, image_size=size, arguments=arguments, device="cpu")
    (point,) = config.build(folder).resolve([HookConfig(at=at, view=view)])
    return point


@pytest.mark.parametrize(
    ("model", "size", "at", "pattern", "sizes", "width"),
    [
        ("vit_tiny_patch16_224", (64, 96), "blocks.1", CLS, {"cls": 1, "y": 4, "x": 6}, 32),
        ("vit_tiny_patch16_224", (64, 96), "blocks.0.mlp.act", CLS, {"cls": 1, "y": 4, "x": 6}, 128),
        ("vit_tiny_patch16_224", (64, 96), "patch_embed", "example (y x) d", {"y": 4, "x": 6}, 32),
        ("vit_tiny_patch16_224", (64, 96), "patch_embed.proj", "example d y x", {"y": 4, "x": 6}, 32),
        ("vit_tiny_patch16_224", 64, "fc_norm", "example d", {}, 32),
        (
            "vit_base_patch14_reg4_dinov2",
            56,
            "blocks.1",
            "example ([cls] + [register] + y x) d",
            {"cls": 1, "register": 4, "y": 4, "x": 4},
            32,
        ),
        (
            "deit_tiny_distilled_patch16_224",
            (48, 64),
            "blocks.0.attn",
            "example ([cls] + [dist] + y x) d",
            {"cls": 1, "dist": 1, "y": 3, "x": 4},
            32,
        ),
        ("vit_base_patch16_siglip_224", 64, "blocks.1", "example (y x) d", {"y": 4, "x": 4}, 32),
    ],
)
def test_transformers(folder, model, size, at, pattern, sizes, width):
    point = resolve(folder, model, size, at, **TINY)
    assert (point.pattern, point.sizes, point.width) == (pattern, sizes, width)


@pytest.mark.parametrize(
    ("at", "pattern", "y", "width"),
    [
        ("layers.0", "example y x d", 28, 8),
        ("layers.1.blocks.0", "example y x d", 14, 16),
        ("layers.1.blocks.0.mlp", "example (y x) d", 14, 16),
        ("patch_embed.proj", "example d y x", 28, 8),
    ],
)
def test_windows_keep_channels_last(folder, at, pattern, y, width):
    point = resolve(folder, "swin_tiny_patch4_window7_224", 112, at, **SWIN)
    assert (point.pattern, point.sizes, point.width) == (pattern, {"y": y, "x": y}, width)


@pytest.mark.parametrize(
    ("model", "at", "pattern", "sizes"),
    [
        ("test_resnet", "layer2", "example d y x", {"y": 12, "x": 20}),
        ("test_convnext", "stages.1", "example d y x", {"y": 12, "x": 20}),
        ("test_convnext", "stages.1.blocks.0.mlp.act", "example y x d", {"y": 12, "x": 20}),
        ("test_efficientnet", "conv_stem", "example d y x", {"y": 48, "x": 80}),
    ],
)
def test_convolutions(folder, model, at, pattern, sizes):
    import timm

    if not timm.is_model(model):
        pytest.skip(f"this timm has no {model}")
    point = resolve(folder, model, (96, 160), at)
    assert (point.pattern, point.sizes) == (pattern, sizes)


@pytest.mark.parametrize(
    ("model", "size", "at", "arguments"),
    [
        ("vit_tiny_patch16_224", 64, "blocks.0.attn.q_norm", TINY),
        ("swin_tiny_patch4_window7_224", 112, "layers.0.blocks.0.attn", SWIN),
    ],
)
def test_heads_and_windows_are_not_taken_for_patches(folder, model, size, at, arguments):
    with pytest.raises(HookError, match=r"layout of its output, a tensor of shape .* cannot be found") as caught:
        resolve(folder, model, size, at, **arguments)
    assert "declare it under `hooks:`" in caught.value.remedy


def test_tokens_in_another_order_are_not_taken_for_a_grid(folder):
    with pytest.raises(HookError, match="cannot be found"):
        resolve(folder, "hiera_tiny_224", 224, "blocks.0", embed_dim=16, num_heads=1, stages=(1, 1, 1, 1))


def test_a_declared_layout_is_kept(folder):
    config = TimmConfig(model="vit_tiny_patch16_224", image_size=64, arguments=TINY, device="cpu")
    asked = HookConfig(at="blocks.0.attn.q_norm", layout="example head ([cls] + y x) d", sizes={"y": 4, "x": 4})
    (point,) = config.build(folder).resolve([asked])
    assert (point.axes, point.width) == (("head", "y", "x"), 16)


def test_input_and_update_have_layouts(folder):
    for view in ("input", "update"):
        assert resolve(folder, "vit_tiny_patch16_224", 64, "blocks.1", view, **TINY).pattern == CLS
