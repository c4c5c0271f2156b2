"""Every config that the repository brings is valid."""

from pathlib import Path

import pytest
import yaml

from omnisae.config_file import dump, load, parse

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_config_is_valid_and_written_out_whole_says_the_same(path: Path) -> None:
    config = load(path)
    assert parse(dump(config), "its own dump") == config


def test_the_readme_shows_the_quickstart_as_it_is() -> None:
    readme = (ROOT / "README.md").read_text()
    shown = readme.split("```yaml\n")[1].split("```")[0]
    assert yaml.safe_load(shown) == yaml.safe_load((ROOT / "configs/vision/quickstart.yaml").read_text())
