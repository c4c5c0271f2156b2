"""Every vision config is sound, and its hook points are found in the model it names, weights aside."""

from pathlib import Path

import pytest

from omnisae.config_file import load
from omnisae.errors import HookError
from omnisae_vision.plugin import ImageFolderConfig, TimmConfig

CONFIGS = Path(__file__).parents[3] / "configs" / "vision"
NAMES = sorted(path.name for path in CONFIGS.glob("*.yaml"))
SHALLOW = {"embed_dim": 48, "num_heads": 2}
"""A model of the same depth, grid and special tokens, thin enough to build in a moment."""


@pytest.fixture
def folder(tmp_path, paint):
    paint(tmp_path / "a.png")
    return ImageFolderConfig(root=str(tmp_path)).build()


@pytest.mark.parametrize("name", NAMES)
def test_a_config_is_sound_and_its_hooks_are_found(name, folder):
    config = load(CONFIGS / name)
    asked = config.extractor
    assert isinstance(asked, TimmConfig)
    if asked.checkpoint is None:
        asked = asked.model_copy(update={"pretrained": False, "arguments": SHALLOW, "device": "cpu"})
    else:
        asked = asked.model_copy(update={"loss": "none", "device": "cpu"})
    points = asked.build(folder).resolve(config.hooks)
    assert len(points) >= len(config.hooks)
    for point in points:
        assert {"y", "x"} <= set(point.axes)
        assert "cls" in point.roles


def test_the_quickstart_names_nothing_remote():
    config = load(CONFIGS / "quickstart.yaml")
    assert config.extractor.pretrained is False
    assert config.dataset.root.startswith("world:")


def test_a_hook_that_is_not_there_shows_the_nearest(folder):
    extractor = TimmConfig(model="vit_tiny_patch16_224", image_size=64, arguments=SHALLOW, device="cpu").build(folder)
    with pytest.raises(HookError, match="block"):
        extractor.resolve([load(CONFIGS / "quickstart.yaml").hooks[0].model_copy(update={"at": "block.3"})])
