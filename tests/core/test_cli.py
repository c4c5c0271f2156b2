"""The command line: words, exit codes, and what it does not import."""

import errno
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from omnisae.cli import main
from omnisae.errors import ConfigError, RunError


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def imported(*arguments: str) -> list[str]:
    """The modules that a command leaves imported."""
    code = (
        "import sys\nfrom omnisae.cli import main\n"
        f"try: main({list(arguments)!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('\\n@@', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("@@")[2].split()


def test_help_imports_nothing_heavy() -> None:
    found = imported("--help")
    assert not {"torch", "numpy", "pydantic", "pluggy", "yaml", "jaxtyping"} & set(found)


@pytest.mark.parametrize("arguments", [["plugins"], ["plugins", "--offers"], ["schema"], ["schema", "--markdown"]])
def test_plugins_and_schema_import_no_torch(arguments: list[str]) -> None:
    found = imported(*arguments)
    assert "torch" not in found
    assert "omnisae.plugins.registry" in found


def test_importing_omnisae_imports_no_torch() -> None:
    code = "import omnisae, sys; assert not {'torch', 'numpy'} & set(sys.modules); print(omnisae.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", done.stdout), done.stderr


def test_public_names_are_there() -> None:
    import omnisae

    for name in omnisae.__all__:
        assert getattr(omnisae, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = omnisae.nothing


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    result = call("plugin")
    assert result.exit_code == 2
    assert "there is no command 'plugin'; did you mean 'plugins'?" in result.output


def test_plugins_shows_a_table() -> None:
    result = call("plugins")
    assert result.exit_code == 0
    head, *rows = result.output.splitlines()
    assert head.split() == ["name", "distribution", "version", "status", "offers"]
    assert any(row.startswith("core") and " ok " in row for row in rows)


def test_offers_stand_under_their_hooks() -> None:
    lines = call("plugins", "--offers").output.splitlines()
    start = lines.index("omnisae_autoencoders")
    assert any(line.strip().startswith("core.topk") for line in lines[start:])


def test_json_is_json() -> None:
    (core,) = [record for record in json.loads(call("plugins", "--json").output) if record["name"] == "core"]
    assert core["status"] == "ok"
    assert {"type", "kind", "hook", "summary"} == set(core["offers"][0])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("name: digits\n")
    return path


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A pipeline that only remembers what it was asked to do, and does what it is told."""

    def run(config: Any, out: Path | None = None, stages: Sequence[str] | None = None) -> Path:
        fake.calls.append((config.name, out, stages))
        fake.act(tmp_path)
        return out or tmp_path

    fake = SimpleNamespace(run=run, calls=[], act=lambda path: None)
    monkeypatch.setitem(sys.modules, "omnisae.pipeline", fake)
    return fake


@pytest.fixture(autouse=True)
def _any_config_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnisae.config_file.load", lambda path, overrides=(): _load(path, overrides))


def _load(path: Path, overrides: Sequence[str]) -> Any:
    if "train.tokens=-1" in overrides:
        raise ConfigError(
            "--set train.tokens=-1: train.tokens = -1: it must be greater than 0", "choose a value above 0"
        )
    return SimpleNamespace(name="digits")


def test_run_does_all_stages_and_says_where_the_report_lies(config: Path, pipeline: Any, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("")
    result = call("run", str(config), "--out", str(tmp_path))
    assert result.output == f"report: {tmp_path / 'report' / 'index.html'}\n"
    assert pipeline.calls == [("digits", tmp_path, None)]


@pytest.mark.parametrize("stage", ["extract", "train", "encode", "score", "report"])
def test_each_stage_is_a_command(config: Path, pipeline: Any, stage: str, tmp_path: Path) -> None:
    result = call(stage, str(config))
    assert result.exit_code == 0
    assert pipeline.calls == [("digits", None, (stage,))]
    assert result.output == f"run folder: {tmp_path}\n"


def test_a_config_error_ends_with_2(config: Path, pipeline: Any) -> None:
    result = call("run", str(config), "--set", "train.tokens=-1")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --set train.tokens=-1: train.tokens = -1: it must be greater than 0\n  → ")
    assert not pipeline.calls


def raising(error: BaseException) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        raise error

    return act


def test_another_error_ends_with_1_and_no_traceback(config: Path, pipeline: Any) -> None:
    pipeline.act = raising(RunError("the folder is in use by process 12", "wait for it"))
    result = call("run", str(config))
    assert (result.exit_code, result.stderr) == (1, "error: the folder is in use by process 12\n  → wait for it\n")


@pytest.mark.parametrize("arguments", [["--debug", "run"], ["run", "--debug"]])
def test_debug_shows_the_traceback(config: Path, pipeline: Any, arguments: list[str]) -> None:
    pipeline.act = raising(RunError("in use", "wait"))
    assert isinstance(call(*arguments, str(config)).exception, RunError)


def test_a_full_disk_is_one_message(config: Path, pipeline: Any) -> None:
    pipeline.act = raising(OSError(errno.ENOSPC, "No space left on device", "runs/digits/store"))
    result = call("run", str(config))
    assert result.exit_code == 1
    assert result.stderr == (
        "error: runs/digits/store: No space left on device\n"
        "  → free some space, then give the same command again; what is done is kept\n"
    )


def test_ctrl_c_says_what_is_kept(config: Path, pipeline: Any) -> None:
    pipeline.act = raising(KeyboardInterrupt())
    result = call("run", str(config))
    assert result.exit_code == 130
    assert (
        "interrupted; what is finished is kept in runs/digits, and the same command goes on from there" in result.stderr
    )


def test_a_fault_of_the_program_keeps_its_traceback(config: Path, pipeline: Any) -> None:
    pipeline.act = raising(ZeroDivisionError())
    assert isinstance(call("run", str(config)).exception, ZeroDivisionError)


def test_plugin_goes_with_markdown() -> None:
    assert call("schema", "--plugin", "core").exit_code == 2
    assert call("schema", "--markdown", "--plugin", "core").output.startswith("## `core.")
    result = call("schema", "--markdown", "--plugin", "cor")
    assert (result.exit_code, "did you mean 'core'?" in result.stderr) == (1, True)
