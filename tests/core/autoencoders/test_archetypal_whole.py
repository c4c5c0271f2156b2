"""The archetypal decoder through training, checkpoints, artifacts and sweeps."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from omnisae.autoencoders.artifact import Artifact, ArtifactInfo, save
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.configs import ArchetypalConfig, FreeConfig, TopKConfig
from omnisae.config import AutoencoderConfig, TrainConfig
from omnisae.errors import ConfigError, PluginError
from omnisae.hooks.point import HookPoint
from omnisae.store.source import TokenStream
from omnisae.testing.planted import planted
from omnisae.training.jobs import Job
from omnisae.training.sweep import override
from omnisae.training.trainer import train

X = planted(8, 16, 3, 512, 3)[0]
INFO = ArtifactInfo(
    hook=HookPoint(name="mid", at=("blocks.3",), pattern="example position d", sizes={"position": 4}, width=8)
)
UNIT = pytest.mark.parametrize("unit", [True, False], ids=["unit", "scaled"])


class Rows(TokenStream):
    """The planted rows over and over; the position is the number of batches read."""

    def __init__(self) -> None:
        self.read = 0

    def next(self) -> torch.Tensor:
        self.read += 1
        return X[torch.randint(len(X), (64,), generator=torch.Generator().manual_seed(self.read))]

    def state(self) -> dict[str, Any]:
        return {"read": self.read}

    def restore(self, state: dict[str, Any]) -> None:
        self.read = state["read"]

    def where(self) -> str:
        return f"batch {self.read}"


def config(unit: bool = True, **fields: Any) -> AutoencoderConfig:
    decoder = ArchetypalConfig(points=16, **fields)
    return AutoencoderConfig(latents=24, activation=TopKConfig(k=3), decoder=decoder, unit_norm=unit)


def learn(out: Path, made: AutoencoderConfig, observe: Any = None) -> Autoencoder:
    settings = TrainConfig(tokens=64 * 30, batch=64, lr=0.01, checkpoint_every=10, log_every=5, accelerator="cpu")
    jobs = [Job("one", "mid", made, 0)]
    return train(jobs, {"mid": Rows()}, {"mid": X}, settings, out, key="k", observe=observe, progress=False)["one"]


@pytest.mark.slow
@UNIT
def test_resuming_goes_on_bit_for_bit(unit: bool, tmp_path: Path) -> None:
    whole = learn(tmp_path / "whole", config(unit))

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "checkpoint" and event["step"] == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(tmp_path / "parts", config(unit), stop)
    told: list[str] = []
    resumed = learn(tmp_path / "parts", config(unit), lambda event: told.append(event["event"]))
    assert "resumed" in told
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


@UNIT
def test_training_lowers_the_loss(unit: bool, tmp_path: Path) -> None:
    start = Autoencoder(config(unit), 8, 0)
    start.initialise(X)
    assert float(learn(tmp_path, config(unit))(X).loss.detach()) < 0.8 * float(start(X).loss.detach())


@UNIT
def test_an_artifact_holds_plain_rows(unit: bool, tmp_path: Path) -> None:
    """What they were made of stays behind, but for its config; codes are those of the trained autoencoder."""
    trained = learn(tmp_path / "train", config(unit))
    save(tmp_path / "sae", trained, INFO)
    assert not [name for name in load_file(tmp_path / "sae" / "sae.safetensors") if "dictionary" in name]
    loaded = Artifact.load(tmp_path / "sae")
    assert loaded.autoencoder.dictionary is None
    assert loaded.autoencoder.config == trained.config
    assert torch.equal(loaded.autoencoder.decoder_rows(), trained.decoder_rows())
    one, two = trained.encode(X), loaded.encode(X)
    assert torch.equal(one.latents, two.latents)
    assert torch.equal(one.values, two.values)
    assert torch.equal(trained.decode(one), loaded.decode(two))
    save(tmp_path / "again", loaded.autoencoder, loaded.info)
    files = [(tmp_path / name / "sae.safetensors").read_bytes() for name in ("sae", "again")]
    assert files[0] == files[1]


def test_an_artifact_from_before_decoders_had_parts_is_free(tmp_path: Path) -> None:
    save(tmp_path, learn(tmp_path / "train", AutoencoderConfig(latents=24, activation=TopKConfig(k=3))), INFO)
    file = tmp_path / "sae.json"
    raw = json.loads(file.read_text())
    assert raw["autoencoder"]["config"].pop("decoder") == {"type": "core.free"}
    file.write_text(json.dumps(raw))
    assert Artifact.load(tmp_path).autoencoder.config.decoder == FreeConfig()


def test_a_decoder_of_an_absent_plugin_is_told_as_such(tmp_path: Path) -> None:
    save(tmp_path, learn(tmp_path / "train", config()), INFO)
    file = tmp_path / "sae.json"
    raw = json.loads(file.read_text())
    raw["autoencoder"]["config"]["decoder"]["type"] = "elsewhere.cone"
    file.write_text(json.dumps(raw))
    with pytest.raises(PluginError, match="elsewhere"):
        Artifact.load(tmp_path)


def test_sweeps_reach_it() -> None:
    assert override(config(), {"decoder.points": 8}).decoder == ArchetypalConfig(points=8)
    free = AutoencoderConfig(latents=24, activation=TopKConfig(k=3))
    assert override(free, {"decoder": "core.archetypal"}).decoder == ArchetypalConfig()
    with pytest.raises(ConfigError, match=r"names 'decoder\.points', but autoencoder\.decoder has no field 'points'"):
        override(free, {"decoder.points": 8})
    with pytest.raises(ConfigError, match=r"decoder.*delta.*greater than or equal to 0"):
        override(config(), {"decoder.delta": -1.0})
