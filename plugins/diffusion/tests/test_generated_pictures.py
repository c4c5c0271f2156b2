"""Generated pictures as a dataset, and a planted blind spot: a generator that was never asked for a digit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from omnisae.config import RunConfig
from omnisae.errors import ConfigError
from omnisae.pipeline import run
from omnisae.testing import DatasetTests
from omnisae_diffusion.identity import identity
from omnisae_diffusion.plugin import GeneratedConfig, ModuleConfig, PipelineConfig

UNET = {"type": "diffusion.pipeline", "model": "world:digits/unet", "steps": 2, "batch_size": 4}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


def generated(kept, **more):
    fields = {"table": "world:digits", "concepts": ("digit", "ink"), "generator": UNET, "folder": kept, "first": 5}
    return GeneratedConfig(**(fields | more))


class TestGenerated(DatasetTests):
    @pytest.fixture
    def config(self, digits, kept):
        return generated(kept)


def test_pictures_are_those_of_the_model_for_these_prompts(digits, kept):
    dataset = generated(kept).build()
    made = generated(kept).making.process().generate(dataset.asks[:2])
    for row in range(2):
        example = dataset.load(row)
        assert example.input.mode == "RGB"
        # Another batch: the same up to rounding.
        assert np.abs(np.asarray(example.input).astype(int) - made[row]).max() <= 1
    assert list(dataset.annotations().labels) == list(generated(kept).build().annotations().labels)
    assert dataset.groups("prompt")[0] == dataset.asks[0].text


def test_what_is_there_is_not_made_again(digits, kept, monkeypatch):
    first = generated(kept).build()
    second = generated(kept, first=7).build()
    assert [second.picture_path(row) for row in range(5)] == [first.picture_path(row) for row in range(5)]
    monkeypatch.setattr(PipelineConfig, "process", lambda self: pytest.fail("a picture is made again"))
    again = generated(kept, first=6).build()
    assert again.fingerprint() != first.fingerprint()
    assert generated(kept).build().fingerprint() == first.fingerprint()
    assert json.loads((first.folder / "generator.json").read_text())["model"] == "world:digits/unet"


def test_only_what_is_missing_is_made(digits, kept):
    dataset = generated(kept).build()
    before = [dataset.picture_path(row).stat().st_mtime_ns for row in range(5)]
    whole = np.asarray(dataset.load(3).input)
    dataset.picture_path(3).unlink()
    again = generated(kept).build()
    after = [again.picture_path(row).stat().st_mtime_ns for row in range(5)]
    assert [row for row in range(5) if before[row] != after[row]] == [3]
    assert np.abs(np.asarray(again.load(3).input).astype(int) - whole).max() <= 1


def test_the_identity_follows_weights_and_sampling_not_where_or_how_fast(digits, tmp_path):
    from omnisae_datasets import checkpoint

    def of(**more):
        return identity(PipelineConfig(**(UNET | more)))

    weights = tmp_path / "other.safetensors"
    shutil.copy(checkpoint("world:digits", "unet"), weights)
    assert of() == of(device="cpu", batch_size=1) == of(model=str(weights))
    different = {of(), of(steps=3), of(guidance=2.0), of(scheduler={"class": "DDPMScheduler"}), of(model=str(tmp_path))}
    assert len(different) == 5
    assert of(model="world:digits/dit") not in different
    hub = "hf-hub:some/model"
    assert identity(PipelineConfig(model=hub)) != identity(PipelineConfig(model=hub, revision="v2"))


def test_the_identity_of_a_plain_network_follows_its_code(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    config = ModuleConfig(code="identity_of_this:Net", shape=(3, 8, 8))
    nowhere = identity(config)
    (tmp_path / "identity_of_this.py").write_text("class Net: pass\n")
    one = identity(config)
    (tmp_path / "identity_of_this.py").write_text("class Net: x = 1\n")
    assert len({nowhere, one, identity(config)}) == 3


def test_what_makes_no_pictures_is_refused(kept):
    with pytest.raises(ValueError, match=r"vision\.timm makes no pictures; name diffusion\.pipeline"):
        generated(kept, generator={"type": "vision.timm", "model": "digits_classifier"})
    with pytest.raises(ValueError, match=r"generator\.gather says what is read, and nothing is read here; leave it"):
        generated(kept, generator=UNET | {"gather": "noising"})


def test_an_error_of_the_generator_is_said_to_be_its(digits, kept, tmp_path):
    (tmp_path / "t.csv").write_text("prompt,label\na,77\n")
    with pytest.raises(ConfigError) as error:
        generated(kept, table=str(tmp_path / "t.csv"), concepts=()).build()
    assert error.value.problem == "dataset.generator: class label 77 is asked for"
    assert error.value.remedy == "the model knows labels 0 to 39"


@pytest.fixture(scope="module")
def compared(digits, tmp_path_factory):
    """What the shipped config finds with the world's U-Net, on fewer pictures of fewer steps."""
    import yaml

    folder = tmp_path_factory.mktemp("blind")
    config = yaml.safe_load((Path(__file__).parents[3] / "configs/diffusion/blindspots.yaml").read_text())
    config["dataset"]["parts"]["generated"] |= {"folder": str(folder / "kept"), "first": 320}
    config["dataset"]["parts"]["generated"]["generator"] |= {"steps": 5, "guidance": 1.0}
    config["train"]["tokens"], config["train"]["batch"] = 60_000, 512
    config["score"]["studies"][0] |= {"draws": 40, "permutations": 39}
    config["report"] = {"examples": 2, "random_examples": 0, "latents": 2}
    out = run(RunConfig.model_validate(config), folder / "run")
    (study,) = json.loads((out / "studies.json").read_text())["studies"]
    assert not study["failed"]
    return study


def test_a_digit_that_was_never_asked_for_is_the_concept_that_is_suppressed(compared):
    first, *others = compared["tables"]["Concepts, by the latent that tells each best"]
    assert first["concept"] == "digit=7"
    assert first["δ"] < 0.2
    assert first["high"] < 0.5
    assert first["generated that have it"] == 0.0 < first["natural that have it"]
    assert len(others) == 13
    assert all(other["δ"] > 0.25 for other in others)


def test_the_latents_that_are_suppressed_stand_for_that_digit(compared):
    meant = [row for row in compared["tables"]["Most suppressed in generated"] if row["its F1"] > 0.5]
    assert meant
    assert {row["concept"] for row in meant} == {"digit=7"}
    assert "Most exaggerated in generated" not in compared["tables"]
