"""Families of models, thin and random: layouts are right where one is found.

The truth is planted, and looked for by what the extractor gives, not by what finds the layout: a change in one cell of
the picture must move the token of that very cell the most. Models with overlapping receptive fields may move the one
beside it.
"""

import re
from pathlib import Path

import pytest
import torch

from omnisae.config import HookConfig
from omnisae.errors import HookError
from omnisae_vision.plugin import OpenClipConfig, TimmConfig, TransformersConfig
from omnisae_vision.plugin_datasets import ImageFolderConfig

THIN = {"embed_dim": 32, "depth": 2, "num_heads": 2}
PATCHES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64, "patch_size": 16}
BERTLIKE = {**PATCHES, "intermediate_size": 64}
VISION = {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import numpy as np
    from PIL import Image

    root = tmp_path_factory.mktemp("pictures")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)).save(root / "a.png")
    return ImageFolderConfig(root=str(root)).build()


def errors(extractor, point, count=4):
    """How many cells away from the planted one the token lies that moves the most, for several planted cells."""
    height, width = extractor.picture_size
    rows, columns = point.sizes["y"], point.sizes["x"]
    plain = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))
    before = extractor.extract([0], plain, [point]).tokens[point.name]
    found = []
    for i in range(count):
        y, x = rows * (2 * i + 1) // (2 * count), columns * ((3 * i + 1) % count) // count
        changed = plain.clone()
        high, wide = height // rows, width // columns
        changed[:, :, y * high : (y + 1) * high, x * wide : (x + 1) * wide] += 4
        after = extractor.extract([0], changed, [point]).tokens[point.name]
        moved = (after.values - before.values).float().norm(dim=1).masked_fill(before.role != 0, -1)
        place = before.coords[moved.argmax()]
        off = [place[point.axes.index(axis)] - cell for axis, cell in (("y", y), ("x", x))]
        found.append(int(max(map(abs, off))))
    return found


def check(config, folder, at, roles, grid, select=(), apart=0):
    extractor = config.build(folder)
    (point,) = extractor.resolve([HookConfig(at=at, select=select)])
    assert point.roles == ("content", *roles)
    assert (point.sizes["y"], point.sizes["x"]) == grid
    if apart is None:  # with random weights attention is even, and no token tells where it stands
        (block,) = extractor.resolve([HookConfig(at=at.rpartition(".")[0])])
        assert (point.pattern, point.sizes) == (block.pattern, block.sizes)
    else:
        assert max(errors(extractor, point)) <= apart


@pytest.mark.parametrize(
    ("model", "at", "size", "arguments", "roles", "grid"),
    [
        ("vit_base_patch14_reg4_dinov2", "blocks.1", 56, THIN, ("cls", "register"), (4, 4)),
        ("vit_small_patch16_dinov3", "blocks.1", (64, 96), THIN, ("cls", "register"), (4, 6)),
        ("vit_base_patch16_siglip_224", "blocks.1", 64, THIN, (), (4, 4)),
        ("vit_base_patch16_siglip_224", "blocks.1.attn", 64, THIN, (), (4, 4)),
        ("eva02_tiny_patch14_224", "blocks.1", 56, THIN, ("cls",), (4, 4)),
        ("eva02_tiny_patch14_224", "blocks.1.mlp", 56, THIN, ("cls",), (4, 4)),
        ("beit_base_patch16_224", "blocks.1", 64, THIN, ("cls",), (4, 4)),
        ("deit3_small_patch16_224", "blocks.1", 64, THIN, ("cls",), (4, 4)),
        ("vit_pe_core_tiny_patch16_384", "blocks.1", 64, THIN, ("cls",), (4, 4)),
        ("vit_relpos_small_patch16_224", "blocks.1", 64, THIN, (), (4, 4)),
        ("naflexvit_base_patch16_gap", "blocks.1", 64, THIN, ("register",), (4, 4)),
        ("samvit_base_patch16", "blocks.1", 128, THIN, (), (8, 8)),
        ("cait_xxs24_224", "blocks.1", 64, THIN, (), (4, 4)),
        ("vit_small_r26_s32_224", "blocks.1", (128, 96), THIN, ("cls",), (4, 3)),
        ("vit_tiny_r_s16_p8_224", "blocks.1", 128, THIN, ("cls",), (4, 4)),
        ("aimv2_large_patch14_224", "blocks.1", 56, THIN, (), (4, 4)),
    ],
)
def test_timm_transformers(folder, model, at, size, arguments, roles, grid):
    import timm

    if not timm.is_model(model):
        pytest.skip(f"this timm has no {model}")
    config = TimmConfig(model=model, image_size=size, arguments=arguments, device="cpu")
    check(config, folder, at, roles, grid, apart=None if at.endswith("attn") else 0)


@pytest.mark.parametrize(
    ("model", "at", "size", "grid", "apart"),
    [
        ("test_resnet", "layer2", (96, 160), (12, 20), 0),
        ("test_convnext", "stages.2", (96, 160), (6, 10), 0),
        ("test_efficientnet", "blocks.2", (96, 160), (12, 20), 1),
        ("efficientnet_b0", "blocks.3", (96, 160), (6, 10), 1),
        ("test_nfnet", "stages.1", (96, 160), (12, 20), 1),
        ("test_byobnet", "stages.1", 96, (12, 12), 0),
        ("test_mambaout", "stages.2", 96, (6, 6), 1),
        ("mobilenetv3_small_050", "blocks.1", 96, (12, 12), 1),
        ("edgenext_xx_small", "stages.2", 128, (8, 8), 1),
        ("mobilevit_xxs", "stages.2", 128, (16, 16), 1),
        ("fastvit_t8", "stages.2", 128, (8, 8), 1),
        ("pvt_v2_b0", "stages.2", 128, (8, 8), 1),
        ("poolformer_s12", "stages.2", 128, (8, 8), 0),
        ("swin_tiny_patch4_window7_224", "layers.1", 112, (14, 14), 0),
        ("convit_tiny", "blocks.2", 224, (14, 14), 0),
    ],
)
def test_timm_maps(folder, model, at, size, grid, apart):
    import timm

    if not timm.is_model(model):
        pytest.skip(f"this timm has no {model}")
    check(TimmConfig(model=model, image_size=size, device="cpu"), folder, at, (), grid, apart=apart)


@pytest.mark.parametrize(
    ("model", "vision", "at", "select", "roles", "grid"),
    [
        ("ViT-B-16", VISION, "transformer.resblocks.1", (), ("cls",), (4, 4)),
        ("ViT-B-16", VISION, "transformer.resblocks.1.attn", (0,), ("cls",), (4, 4)),
        ("ViT-B-16", VISION, "transformer.resblocks.1.mlp", (), ("cls",), (4, 4)),
        ("ViT-B-16", {**VISION, "image_size": [64, 96]}, "transformer.resblocks.1", (), ("cls",), (4, 6)),
        ("ViT-B-16", {**VISION, "scale_attn": True}, "transformer.resblocks.1.attn", (), ("cls",), (4, 4)),
        ("coca_ViT-B-32", {**VISION, "attn_pooler_heads": 2}, "transformer.resblocks.1", (), ("cls",), (4, 4)),
        ("RN50", {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8}, "layer2", (), (), (8, 8)),
    ],
)
def test_open_clip_towers(folder, model, vision, at, select, roles, grid):
    pytest.importorskip("open_clip", reason="open_clip is not installed")
    config = OpenClipConfig(model=model, arguments={"embed_dim": 16, "vision_cfg": vision}, device="cpu")
    apart = None if at.endswith("attn") else int("RN" in model)
    check(config, folder, at, roles, grid, select, apart)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "at", "roles", "grid", "apart"),
    [
        ("ViT-B-16-SigLIP", "trunk.blocks.1", (), (14, 14), 0),
        ("convnext_tiny", "trunk.stages.1", (), (28, 28), 0),
        ("EVA02-B-16", "trunk.blocks.1", ("cls",), (14, 14), 0),
        ("swin_base_patch4_window7_224", "trunk.layers.1", (), (28, 28), 0),
        ("MobileCLIP-S1", "trunk.stages.1", (), (32, 32), 1),
        ("ViTamin-S", "trunk.blocks.1", (), (14, 14), 1),
        ("vit_relpos_medium_patch16_cls_224", "trunk.blocks.1", ("cls",), (14, 14), 0),
    ],
)
def test_open_clip_towers_of_timm(folder, model, at, roles, grid, apart):
    pytest.importorskip("open_clip", reason="open_clip is not installed")
    check(OpenClipConfig(model=model, device="cpu"), folder, at, roles, grid, apart=apart)


LLAMA4 = {"vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32, "intermediate_size": 128}


@pytest.mark.parametrize(
    ("model", "settings", "at", "select", "roles", "grid", "apart"),
    [
        ("vit", BERTLIKE, "layers.1", (), ("cls",), (4, 4), 0),
        ("vit", BERTLIKE, "layers.1.attention", (0,), ("cls",), (4, 4), None),
        ("vit", BERTLIKE, "layers.1.mlp", (), ("cls",), (4, 4), 0),
        ("deit", BERTLIKE, "layers.1", (), ("cls", "dist"), (4, 4), 0),
        ("dinov2", PATCHES, "encoder.layer.1", (), ("cls",), (4, 4), 0),
        ("dinov2_with_registers", PATCHES, "encoder.layer.1", (), ("cls", "register"), (4, 4), 0),
        ("dinov2_with_registers", PATCHES, "encoder.layer.1.attention", (0,), ("cls", "register"), (4, 4), None),
        ("dinov3_vit", {**BERTLIKE, "num_register_tokens": 4}, "model.layer.1", (), ("cls", "register"), (4, 4), 0),
        ("dinov3_vit", BERTLIKE, "model.layer.1", (), ("cls",), (4, 4), 0),
        ("siglip_vision_model", BERTLIKE, "encoder.layers.1", (), (), (4, 4), 0),
        ("clip_vision_model", BERTLIKE, "encoder.layers.1", (), ("cls",), (4, 4), 0),
        ("metaclip_2_vision_model", BERTLIKE, "encoder.layers.1", (), ("cls",), (4, 4), 0),
        ("mlcd_vision_model", BERTLIKE, "encoder.layers.1", (), ("cls",), (4, 4), 0),
        ("aimv2_vision_model", BERTLIKE, "encoder.layers.1", (), (), (4, 4), 0),
        ("vit_mae", BERTLIKE, "layers.1", (), ("cls",), (4, 4), 0),
        ("vit_msn", BERTLIKE, "layers.1", (), ("cls",), (4, 4), 0),
        ("beit", BERTLIKE, "layers.1", (), ("cls",), (4, 4), 0),
        ("data2vec-vision", BERTLIKE, "encoder.layer.1", (0,), ("cls",), (4, 4), 0),
        ("ijepa", BERTLIKE, "layers.1", (), (), (4, 4), 0),
        ("internvl_vision", {**BERTLIKE, "image_size": [64, 64], "patch_size": [16, 16]}, "encoder.layer.1", (),
         ("cls",), (4, 4), 0),
        ("yolos", {**BERTLIKE, "image_size": [64, 64], "num_detection_tokens": 5}, "encoder.layer.1", (),
         ("cls", "detection"), (4, 4), 0),
        ("llama4_vision_model", {**PATCHES, **LLAMA4}, "model.layers.1", (0,), ("cls",), (4, 4), 0),
        ("swin", {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 1], "image_size": 56}, "encoder.layers.0", (0,),
         (), (7, 7), 0),
        ("swin", {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 1], "image_size": 56},
         "encoder.layers.1.blocks.0", (0,), (), (7, 7), 0),
        ("swinv2", {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 1], "image_size": 64, "window_size": 8},
         "encoder.layers.1.blocks.0", (0,), (), (8, 8), 0),
        ("convnext", {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "image_size": 64}, "encoder.stages.1",
         (), (), (8, 8), 0),
        ("convnextv2", {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "image_size": 64},
         "encoder.stages.1", (), (), (8, 8), 0),
        ("dinov3_convnext", {"hidden_sizes": [8, 16], "depths": [1, 1], "image_size": 64}, "model.stages.1", (), (),
         (8, 8), 0),
    ],
)  # fmt: skip
def test_transformers_towers(folder, model, settings, at, select, roles, grid, apart):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    if model not in transformers.CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {model}")
    check(TransformersConfig(model=model, settings=settings, device="cpu"), folder, at, roles, grid, select, apart)


@pytest.mark.parametrize(
    ("model", "settings", "at"),
    [
        ("resnet", {"hidden_sizes": [8, 16], "depths": [1, 1], "embedding_size": 8}, "encoder.stages.1"),
        ("segformer", {"hidden_sizes": [8, 16, 16, 16], "depths": [1] * 4, "num_attention_heads": [1] * 4},
         "stages.1.blocks.0"),
    ],
)  # fmt: skip
def test_transformers_without_a_size_of_their_own(folder, model, settings, at):
    pytest.importorskip("transformers", reason="transformers is not installed")
    config = TransformersConfig(model=model, settings=settings, device="cpu", image_size=(64, 96))
    check(config, folder, at, (), (8, 12), apart=1)


@pytest.mark.parametrize(
    ("model", "settings", "at", "reason"),
    [
        ("hiera", {"embed_dim": 8, "image_size": [64, 64], "depths": [1] * 4, "num_heads": [1] * 4},
         "encoder.stages.0.layers.0", "the model's grid and stages do not tell"),
        ("pixtral", {**BERTLIKE, "head_dim": 16}, "transformer.layers.1", "one after another in one sequence"),
    ],
)  # fmt: skip
def test_tokens_in_another_order_are_refused(folder, model, settings, at, reason):
    pytest.importorskip("transformers", reason="transformers is not installed")
    extractor = TransformersConfig(model=model, settings=settings, device="cpu").build(folder)
    with pytest.raises(HookError) as caught:
        extractor.resolve([HookConfig(at=at)])
    assert reason in caught.value.problem or "choose the tensor by `select`" in caught.value.remedy


PAGE = Path(__file__).parents[3] / "docs" / "domains" / "vision-models.md"
STAGED = {"depths": [1, 1], "image_size": 64}
CNN = {**STAGED, "hidden_sizes": [8, 16], "num_stages": 2}
WINDOWS = {**STAGED, "embed_dim": 8, "num_heads": [1, 1], "window_size": 8}
NAFLEX = {**{key: value for key, value in BERTLIKE.items() if key != "image_size"}, "num_patches": 16}
SETTINGS = {"dinov2": PATCHES, "dinov2_with_registers": PATCHES, "siglip2_vision_model": NAFLEX, "swin": WINDOWS,
            "swinv2": WINDOWS, "convnext": CNN, "convnextv2": CNN}  # fmt: skip
OPEN_CLIP = {"ViT-B-16": VISION, "RN50": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8}}
THIN_TIMM = {"vit": THIN, "swin": {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}}


def rows():
    """Library, model, and the paths of the page's table with what is selected of them."""
    table = PAGE.read_text().split("<!-- paths -->")[1].split("<!-- end -->")[0]
    for line in table.strip().splitlines()[2:]:
        library, models, *paths = (cell.strip() for cell in line.strip("|").split("|"))
        for model in re.findall(r"`([^`]+)`", models):
            whole = [pytest.mark.slow] if library == "open_clip" and model not in OPEN_CLIP else []
            found = [tuple(re.findall(r"`([^`]+)`", path)) for path in paths if path]
            yield pytest.param(library, model, found, marks=whole)


@pytest.mark.parametrize(
    ("library", "model", "paths"), list(rows()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_documented_paths_are_there(folder, library, model, paths):
    if library != "timm":
        pytest.importorskip(library, reason=f"{library} is not installed")
    if library == "timm":
        arguments = THIN_TIMM.get(model.partition("_")[0], {})
        config = TimmConfig(model=model, arguments=arguments, device="cpu")
    elif library == "open_clip":
        arguments = {"embed_dim": 16, "vision_cfg": OPEN_CLIP[model]} if model in OPEN_CLIP else {}
        config = OpenClipConfig(model=model, arguments=arguments, device="cpu")
    else:
        config = TransformersConfig(model=model, settings=SETTINGS.get(model, BERTLIKE), device="cpu")
    extractor = config.build(folder)
    for path, *select in paths:
        chosen = (0,) if select else ()
        (point,) = extractor.resolve([HookConfig(at=path.replace("N", "1"), select=chosen)])
        assert point.width > 0
