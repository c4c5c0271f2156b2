"""Every vision config is sound, its hook points are found in the model it names, and it runs to its report with random
weights of that architecture on a handful of pictures."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from omnisae.config_file import load
from omnisae.errors import HookError
from omnisae_vision.plugin import OpenClipConfig, TimmConfig, TransformersConfig
from omnisae_vision.plugin_datasets import ImageFolderConfig

CONFIGS = Path(__file__).parents[3] / "configs" / "vision"
NAMES = sorted(path.name for path in CONFIGS.glob("*.yaml"))
SHALLOW = {"embed_dim": 48, "num_heads": 2}
"""A model of the same depth, grid and special tokens, thin enough to build in a moment."""
THIN_CLIP = {"embed_dim": 16, "vision_cfg": {"width": 32, "head_width": 16}}
SIGLIP = {"num_hidden_layers": 12, "image_size": 224, "patch_size": 16}
CLIP_L = {"num_hidden_layers": 24, "image_size": 336, "patch_size": 14}
THIN = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
CLIP_L_WIDE = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "projection_dim": 768}
BIG = ("dinov2_base.yaml", "clip_vit_b16.yaml", "siglip_base.yaml", "llava_tower.yaml")
MEMORY = 8 * 2**30


@pytest.fixture
def folder(tmp_path, paint):
    paint(tmp_path / "a.png")
    return ImageFolderConfig(root=str(tmp_path)).build()


def thin(asked):
    """The extractor that a config asks for, with random weights in a thin model of the same depth and grid."""
    if isinstance(asked, TimmConfig) and asked.checkpoint is not None:
        return asked.model_copy(update={"loss": "none", "device": "cpu"})
    if isinstance(asked, TimmConfig):
        return asked.model_copy(update={"pretrained": False, "arguments": SHALLOW, "device": "cpu"})
    if isinstance(asked, OpenClipConfig):
        return asked.model_copy(update={"pretrained": None, "arguments": THIN_CLIP, "device": "cpu"})
    assert isinstance(asked, TransformersConfig)
    kind, settings = ("siglip_vision_model", SIGLIP) if "siglip" in asked.model else ("clip_vision_model", CLIP_L)
    return asked.model_copy(update={"model": kind, "settings": {**settings, **THIN}, "device": "cpu"})


@pytest.mark.parametrize("name", NAMES)
def test_a_config_is_sound_and_its_hooks_are_found(name, folder):
    config = load(CONFIGS / name)
    if not isinstance(config.extractor, (TimmConfig, OpenClipConfig, TransformersConfig)):
        pytest.skip("its extractor is another plug-in's")
    extractor = thin(config.extractor).build(folder)
    points = extractor.resolve(config.hooks)
    assert len(points) >= len(config.hooks)
    for point in points:
        assert {"y", "x"} <= set(point.axes)
        assert set(config.tokens.train.roles) <= set(point.roles)
        assert ("cls" in point.roles) is ("siglip" not in name)


def test_the_quickstart_names_nothing_remote():
    config = load(CONFIGS / "quickstart.yaml")
    assert config.extractor.pretrained is False
    assert config.dataset.root.startswith("world:")


def test_a_hook_that_is_not_there_shows_the_nearest(folder):
    extractor = TimmConfig(model="vit_tiny_patch16_224", image_size=64, arguments=SHALLOW, device="cpu").build(folder)
    with pytest.raises(HookError, match="block"):
        extractor.resolve([load(CONFIGS / "quickstart.yaml").hooks[0].model_copy(update={"at": "block.3"})])


RANDOM = {
    "dinov2_base.yaml": ["extractor.pretrained=false"],
    "clip_vit_b16.yaml": ["extractor.pretrained=null", "dataset.group=null", "score.split.by=example"],
    "siglip_base.yaml": ["extractor.model=siglip_vision_model"],
    "llava_tower.yaml": ["extractor.model=clip_vision_model", f"extractor.settings={CLIP_L | CLIP_L_WIDE}"],
}
"""What is set so that nothing is fetched: random weights in the true architecture, at its true width and depth."""
SMALL = [
    "extractor.device=cpu", "extractor.batch_size=4", "train.tokens=2_000", "train.batch=256", "autoencoder.latents=64",
    "autoencoder.activation.k=8", "autoencoder.auxk=null", "autoencoder.nesting=null", "train.sweep={}",
    "score.effects=1", "report.latents=4", "report.examples=2",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", BIG)
def test_a_real_scale_config_runs_to_its_report(name, tmp_path, monkeypatch):
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(variable, "1")
    words = ["dataset.root=world:shapes?n=6&seed=5", *RANDOM[name], *SMALL]
    out = tmp_path / "run"
    command = [sys.executable, "-m", "omnisae", "run", str(CONFIGS / name), "--out", str(out)]
    said = subprocess.run([*command, *(f"--set={word}" for word in words)], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "has random weights" in said.stderr
    assert (out / "report" / "index.html").stat().st_size > 1000
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < MEMORY
