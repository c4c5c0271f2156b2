"""The scaffold: what it writes installs with pip, passes its own tests, and runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from omnisae.errors import ConfigError
from omnisae.scaffold import create, files


@pytest.mark.slow
def test_a_new_plugin_installs_passes_its_tests_and_runs(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    env = {**os.environ, "PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"}

    def python(*arguments: str, cwd: Path = tmp_path) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *arguments], capture_output=True, text=True, env=env, cwd=cwd, timeout=600
        )
        assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    python("omnisae", "new-plugin", "signals", str(source))
    python("pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(target), str(source))
    listed = python("omnisae", "plugins")
    assert any(line.split()[:4] == ["signals", "omnisae-signals", "0.1.0", "ok"] for line in listed.splitlines())
    assert "passed" in python("pytest", "-q", "-p", "no:cacheprovider", cwd=source)
    fast = ["--set", "train.tokens=4000", "--set", "score.controls.permutations=19", "--set", "dataset.examples=60"]
    said = python("omnisae", "run", str(source / "quickstart.yaml"), "--out", "run", *fast)
    assert "report: run/report/index.html" in said
    assert (tmp_path / "run" / "report" / "index.html").exists()


def test_every_file_is_filled_in() -> None:
    for path, text in files("my_field").items():
        assert "__NAME__" not in text + path
        assert "__PACKAGE__" not in text
    assert 'my_field = "omnisae_my_field.plugin"' in files("my_field")["pyproject.toml"]
    assert 'name = "omnisae-my-field"' in files("my_field")["pyproject.toml"]
    assert 'dependencies = ["omnisae>=0.1,<0.2"' in files("my_field")["pyproject.toml"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("My Field", "omnisae new-plugin my_field DIR"),
        ("9", "omnisae new-plugin signals DIR"),
        ("class", "cannot name a plug-in"),
        ("a.b", "omnisae new-plugin a_b DIR"),
    ],
)
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        create(name, tmp_path / "new")
    assert remedy in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the name 'core' is taken by omnisae"):
        create("core", tmp_path / "new")


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="exists and is not empty"):
        create("signals", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
