"""Artifacts: written and read without loss, and refused with the reason where they are damaged or misused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from omnisae.autoencoders.about import describe
from omnisae.autoencoders.artifact import Artifact, ArtifactInfo, annotate, save
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import (
    BatchTopKConfig,
    JumpReLUConfig,
    L1Config,
    LayerNormConfig,
    MatryoshkaConfig,
    ModulatedConfig,
    NoneConfig,
    ReLUConfig,
    StandardConfig,
    TopKConfig,
)
from omnisae.errors import ArtifactError, PluginError
from omnisae.hooks.point import HookPoint
from omnisae.store.key import file_digest
from omnisae.testing.planted import planted
from omnisae.tokens.filter import TokenFilter, TokenFilters

X = planted(8, 16, 3, 256, 3)[0]
INFO = ArtifactInfo(
    hook=HookPoint(name="mid", at=("blocks.3",), pattern="example position d", sizes={"position": 4}, width=8),
    tokens=TokenFilters(evaluate=TokenFilter(fraction=0.5)),
    parent="a" * 64,
    dataset="d" * 64,
    source="s" * 64,
    trained={"seed": 0, "tokens": 1000},
)


@pytest.fixture
def saved(make: Any, tmp_path: Path) -> Path:
    save(tmp_path / "sae", make(BatchTopKConfig(k=3), normaliser=StandardConfig()), INFO, sample=X)
    return tmp_path / "sae"


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    file = folder / "sae.json"
    raw = json.loads(file.read_text())
    change(raw)
    file.write_text(json.dumps(raw))


def reweigh(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Alter tensors and keep the checksum true, as a faulty tool would."""
    file = folder / "sae.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)
    rewrite(folder, lambda raw: raw["weights"].update(sha256=file_digest(file), bytes=file.stat().st_size))


@pytest.mark.parametrize(
    ("rule", "parts"),
    [
        (TopKConfig(k=3), {"normaliser": LayerNormConfig(floor=1e-4)}),
        (BatchTopKConfig(k=3), {"nesting": MatryoshkaConfig(prefixes=(8, 24)), "normaliser": StandardConfig()}),
        (JumpReLUConfig(l0=3), {"normaliser": StandardConfig()}),
        (TopKConfig(k=3), {"normaliser": ModulatedConfig(knots=8, per_dimension=True)}),
        (ReLUConfig(), {"penalties": (L1Config(weight=0.1),), "normaliser": NoneConfig()}),
    ],
    ids=["topk", "batchtopk", "jumprelu", "modulated", "relu"],
)
def test_what_is_saved_is_loaded_bit_for_bit(rule: Any, parts: Any, make: Any, train: Any, tmp_path: Path) -> None:
    autoencoder = train(make(rule, **parts), X, steps=10, batch=64)
    save(tmp_path, autoencoder, INFO)
    loaded = Artifact.load(tmp_path)
    assert loaded.info == INFO
    assert loaded.autoencoder.config == autoencoder.config
    before, after = autoencoder.state_dict(), loaded.autoencoder.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    one, two = autoencoder.encode(X), loaded.encode(X)
    assert torch.equal(one.latents, two.latents)
    assert torch.equal(one.values, two.values)
    assert torch.equal(autoencoder.decode(one).detach(), loaded.decode(two))
    save(tmp_path / "again", loaded.autoencoder, loaded.info)
    assert (tmp_path / "again" / "sae.safetensors").read_bytes() == (tmp_path / "sae.safetensors").read_bytes()


def test_either_file_names_the_artifact(saved: Path) -> None:
    for path in (saved, str(saved), saved / "sae.json", saved / "sae.safetensors"):
        assert Artifact.load(path).path == saved


def test_statistics_are_kept_and_added(saved: Path) -> None:
    annotate(saved, {"max": torch.arange(24.0)})
    annotate(saved, {"mean": torch.ones(24), "max": torch.arange(24.0) * 2})
    loaded = Artifact.load(saved)
    assert loaded.statistics.keys() == {"max", "mean"}
    assert torch.equal(loaded.statistics["max"], torch.arange(24.0) * 2)
    assert describe(saved)["statistics"] == ["max", "mean"]
    with pytest.raises(ArtifactError, match=r"statistic 'max' has shape \(3,\); the autoencoder has 24 latents"):
        annotate(saved, {"max": torch.zeros(3)})


def test_describe_tells_the_facts(saved: Path) -> None:
    told = describe(saved)
    assert told["width"] == 8
    assert told["latents"] == 24
    assert told["hook"]["at"] == ["blocks.3"]
    assert told["parts"]["activation"] == {"type": "core.batchtopk", "k": 3}
    assert told["fires"].startswith("fires where the pre-activation exceeds")
    assert told["parent"] == "a" * 64


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds no artifact: sae\.json is missing"):
        Artifact.load(tmp_path)


def test_a_run_is_not_its_artifact(saved: Path) -> None:
    with pytest.raises(ArtifactError, match="this is a run; its artifact is"):
        Artifact.load(saved.parent)


def test_truncated_weights_are_named(saved: Path) -> None:
    file = saved / "sae.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"sae\.safetensors is truncated: it has [\d,]+ bytes, and sae\.json says"):
        Artifact.load(saved)


def test_altered_weights_are_named(saved: Path) -> None:
    file = saved / "sae.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match=r"sae\.safetensors is altered: its sha256 is"):
        Artifact.load(saved)


def test_missing_weights_are_named(saved: Path) -> None:
    (saved / "sae.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"sae\.safetensors is missing"):
        Artifact.load(saved)


def test_truncated_facts_are_named(saved: Path) -> None:
    file = saved / "sae.json"
    file.write_text(file.read_text()[:50])
    with pytest.raises(ArtifactError, match=r"sae\.json is truncated or altered"):
        Artifact.load(saved)


def test_altered_facts_are_named(saved: Path) -> None:
    rewrite(saved, lambda raw: raw["weights"].update(bytes="many"))
    with pytest.raises(ArtifactError, match=r"sae\.json is altered: .*\nweights\.bytes"):
        Artifact.load(saved)


def test_another_json_is_refused(saved: Path) -> None:
    (saved / "sae.json").write_text('{"model": "x"}')
    with pytest.raises(ArtifactError, match="does not describe an omnisae artifact"):
        Artifact.load(saved)


def test_a_newer_schema_is_refused(saved: Path) -> None:
    rewrite(saved, lambda raw: raw.update(schema=3))
    with pytest.raises(ArtifactError, match=r"has schema 3; this omnisae reads up to 2\n.*update omnisae"):
        Artifact.load(saved)


def test_a_rule_of_an_absent_plugin_is_told_as_such(saved: Path) -> None:
    rewrite(saved, lambda raw: raw["autoencoder"]["config"]["activation"].update(type="elsewhere.spike"))
    with pytest.raises(PluginError, match="elsewhere"):
        Artifact.load(saved)


def test_a_field_that_does_not_fit_is_told(saved: Path) -> None:
    rewrite(saved, lambda raw: raw["autoencoder"]["config"].update(latents=-1))
    with pytest.raises(ArtifactError, match="its autoencoder does not fit the installed parts"):
        Artifact.load(saved)


def test_missing_tensors_are_told(saved: Path) -> None:
    reweigh(saved, lambda tensors: tensors.pop("model.encoder"))  # type: ignore[arg-type,return-value]
    with pytest.raises(ArtifactError, match="does not hold the tensors of its config"):
        Artifact.load(saved)


@pytest.mark.parametrize("name", ["encoder", "decoder", "decoder_bias", "normaliser.mean", "activation.threshold"])
def test_the_golden_pair_finds_tensors_that_changed(name: str, saved: Path) -> None:
    reweigh(saved, lambda tensors: tensors[f"model.{name}"].mul_(1.3).add_(0.1))  # type: ignore[arg-type,return-value]
    with pytest.raises(ArtifactError, match=r"golden tokens now get other codes .*\(largest deviation [\d.e+-]+ of"):
        Artifact.load(saved)
    assert isinstance(Artifact.load(saved, verify=False), Artifact)


def test_the_golden_pair_forgives_rounding(saved: Path) -> None:
    reweigh(saved, lambda tensors: tensors["golden.values"].mul_(1 + 1e-5))  # type: ignore[arg-type,return-value]
    Artifact.load(saved)


def test_another_width_is_refused_with_hook_and_remedy(saved: Path) -> None:
    told = r"shape \(4, 9\) given; this artifact encodes rows of width 8, from hook point 'mid' \(output of blocks\.3\)"
    with pytest.raises(ArtifactError, match=told) as caught:
        Artifact.load(saved).encode(torch.zeros(4, 9))
    assert "token rows" in caught.value.remedy


@pytest.mark.parametrize("factor", [100.0, -100.0])
def test_another_normalisation_is_refused(factor: float, saved: Path) -> None:
    artifact = Artifact.load(saved)
    with pytest.raises(ArtifactError, match="the median squared norm of 256 tokens is") as caught:
        artifact.encode(X * factor)
    assert "check=False" in caught.value.remedy
    assert len(artifact.encode(X * factor, check=False)) == 256


def test_one_odd_token_is_no_other_normalisation(saved: Path) -> None:
    artifact = Artifact.load(saved)
    artifact.encode(X[:1] * 1000)
    odd = X.clone()
    odd[0] *= 1000
    artifact.encode(odd)
    artifact.encode(X * 1.5)


def test_a_failed_save_leaves_what_was_there(saved: Path, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("omnisae.autoencoders.artifact.save_file", full)
    with pytest.raises(Exception, match="disk is full"):
        save(saved, make(TopKConfig(k=3)), INFO)
    monkeypatch.undo()
    assert Artifact.load(saved).autoencoder.config.activation.type == "core.batchtopk"
    assert sorted(file.name for file in saved.iterdir()) == ["sae.json", "sae.safetensors"]


def test_an_autoencoder_never_started_can_be_saved(tmp_path: Path, make: Any) -> None:
    config = make(TopKConfig(k=3)).config
    save(tmp_path, Autoencoder(config, 8, 0), INFO)
    assert describe(tmp_path)["latents"] == 24
