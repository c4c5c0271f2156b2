"""Configs: what is read, what is written back, and what is said of what is wrong."""

from pathlib import Path

import pytest

from omnisae.config_file import dump, load, parse
from omnisae.errors import ConfigError


def test_a_config_is_read(text: str) -> None:
    config = parse(text)
    assert (config.name, config.autoencoder.latents, config.train.lr) == ("shapes", 1024, 0.001)
    assert config.dataset.type == "toy.items"
    assert config.autoencoder.activation.type == "core.topk"


def test_a_dump_is_resolved_and_round_trips(text: str) -> None:
    config = parse(text, overrides=['train.sweep."activation.k"=[4, 8]', "score.split.by='1e-3'", "hooks.0.layout=y"])
    written = dump(config)
    assert parse(written) == config
    assert dump(parse(written)) == written
    assert "n: 3" in written, "defaults of components are written out"
    assert "mode: fast" in written
    assert "dtype: bfloat16" in written


def told(text: str, *overrides: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text, "run.yaml", overrides)
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "problem", "remedy"),
    [
        (
            "latents",
            "latentz",
            "run.yaml, line 7: autoencoder.latents is missing",
            "add `latents:` (number of latents)",
        ),
        (
            "checkpoint",
            "chekpoint",
            "run.yaml, line 3: extractor.chekpoint: 'toy.net' has no field 'chekpoint'",
            "did you mean 'checkpoint'?",
        ),
        (
            "checkpoint: large",
            "mode: fats",
            "run.yaml, line 3: extractor.mode = 'fats': it must be 'fast' or 'slow'",
            "did you mean 'fast'?",
        ),
        (
            "view: output",
            "vew: output",
            "run.yaml, line 6: hooks.0.vew: 'hooks.0' has no field 'vew'",
            "did you mean 'view'?",
        ),
        (
            "1_024",
            "-5",
            "run.yaml, line 8: autoencoder.latents = -5: it must be greater than 0",
            "choose a value above 0 (number of latents)",
        ),
        (
            "blocks.*",
            "[1]",
            "run.yaml, line 5: hooks.0.at = [1]: it must be a valid string",
            "change the value (module path, glob over module paths, or several to concatenate)",
        ),
        (
            "toy.net",
            "tay.net",
            "run.yaml, line 3: extractor: there is no extractor 'tay.net': no plug-in 'tay' is installed",
            "did you mean 'toy.net'?",
        ),
        (
            "core.topk",
            "topk",
            "run.yaml, line 9: autoencoder.activation: there is no activation rule 'topk'",
            "did you mean 'core.topk'?",
        ),
        (
            "{type: toy.net, checkpoint: large}",
            "core.topk",
            "run.yaml, line 3: extractor: 'core.topk' is an activation rule, and an extractor is wanted here",
            "",
        ),
        (
            "toy.items",
            "{n: 3}",
            "run.yaml, line 2: dataset: the dataset has no `type`",
            "toy.items",
        ),
        (
            "name: shapes",
            "name: two shapes",
            "run.yaml, line 1: name = 'two shapes': it must match pattern",
            "the run's name",
        ),
        ("train: {", "trains: {", "run.yaml, line 1: train is missing", "add `train:`"),
    ],
)
def test_each_fault_is_told_with_place_value_rule_and_remedy(
    text: str, old: str, new: str, problem: str, remedy: str
) -> None:
    message = str(told(text.replace(old, new, 1)))
    assert problem in message
    assert remedy in message


def test_several_faults_are_one_error(text: str) -> None:
    message = str(told(text.replace("latents: 1_024", "latents: 0").replace("lr: 1e-3", "lr: fast")))
    assert message == (
        "run.yaml: 2 fields are wrong\n"
        "  run.yaml, line 8: autoencoder.latents = 0: it must be greater than 0\n"
        "    → choose a value above 0 (number of latents)\n"
        "  run.yaml, line 10: train.lr = 'fast': it must be a valid number, unable to parse string as a number\n"
        "    → change the value (peak learning rate of Adam)"
    )


def test_hook_points_with_one_name_are_refused(text: str) -> None:
    twice = text.replace("view: output", "name: mid").replace("autoencoder:", "  - {at: head, name: mid}\nautoencoder:")
    assert "hook points share a name: ['mid', 'mid']; give each its own" in told(twice).problem


def test_overrides_change_fields(text: str) -> None:
    config = parse(
        text,
        overrides=[
            "train.tokens=5",
            "hooks.0.at=head",
            "hooks.1={at: neck}",
            "dataset.n=7",
            "autoencoder.activation=core.relu",
            "autoencoder.activation.type=core.topk",
            "autoencoder.activation.k=2",
            'train.sweep."activation.k"=[1, 2]',
        ],
    )
    assert (config.train.tokens, [hook.at for hook in config.hooks]) == (5, ["head", "neck"])
    assert config.dataset.model_dump() == {"type": "toy.items", "n": 7}
    assert config.autoencoder.activation.model_dump() == {"type": "core.topk", "k": 2}
    assert config.train.sweep == {"activation.k": (1, 2)}


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("train.lr=fast", "--set train.lr=fast: train.lr = 'fast': it must be a valid number"),
        ("train.lr", "--set 'train.lr' is not of the form a.b=value"),
        ("train..lr=3", "--set 'train..lr=3' is not of the form a.b=value"),
        ("hooks.3.at=x", "--set hooks.3.at=x: 3 is no place in a list of 1"),
        ("hooks.first.at=x", "--set hooks.first.at=x: 'first' is no place in a list of 1"),
        ("train.tokens.x=1", "--set train.tokens.x=1: there is no field 'x' in the value 100000"),
        ("train.lr=[1", "--set train.lr=[1, line 1"),
        ("train.tokns=1", "--set train.tokns=1: train.tokns: 'train' has no field 'tokns'"),
    ],
)
def test_a_wrong_override_is_named(text: str, override: str, problem: str) -> None:
    assert told(text, override).problem.startswith(problem)


def test_a_missing_file_is_answered_with_the_nearest(tmp_path: Path, text: str) -> None:
    (tmp_path / "quickstart.yaml").write_text(text)
    with pytest.raises(
        ConfigError, match=r"there is no config file .*quikstart.yaml\n.*did you mean .*quickstart.yaml"
    ):
        load(tmp_path / "quikstart.yaml")
    with pytest.raises(ConfigError, match=r"is a folder, and a config file is wanted\n.*quickstart.yaml"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="there is no folder"):
        load(tmp_path / "none" / "x.yaml")
    assert load(tmp_path / "quickstart.yaml").name == "shapes"


def test_what_is_no_config_is_refused(tmp_path: Path) -> None:
    assert told("").problem == "run.yaml is empty"
    assert told("- 1\n").problem == "run.yaml holds [1], and must hold a mapping of fields"
    (tmp_path / "bytes.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(tmp_path / "bytes.yaml")
