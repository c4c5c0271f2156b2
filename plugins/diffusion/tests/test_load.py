"""Loading of denoisers: folders, files, worlds and schedulers, and what is wrong with them."""

import numpy as np
import pytest
import torch

from omnisae.errors import ConfigError, DatasetError
from omnisae_diffusion.plugin import PipelineConfig


def test_a_bare_denoiser_is_loaded_from_its_folder(bench, tiny, tmp_path):
    tiny.unet2d(tmp_path)
    config = PipelineConfig(model=str(tmp_path), steps=2, guidance=2.0, device="cpu")
    one = config.build(bench.Given(bench.labelled()))
    straight = bench.extractor(bench.bare(tiny, guidance=2.0), bench.labelled())
    asks = bench.labelled()
    np.testing.assert_array_equal(one.pictures(asks), straight.pictures(asks))
    assert one.parent() == straight.parent()


@pytest.mark.parametrize(
    ("model", "problem", "remedy"),
    [
        (
            "no/such/folder",
            "extractor.model: 'no/such/folder' is no folder of a pipeline (with model_index.json) or denoiser "
            "(config.json, scheduler/)",
            "name such a folder; for a model on the hub write 'hf-hub:no/such/folder'",
        ),
        ("world:digits", "extractor.model: 'world:digits' names no model", "write e.g. 'world:digits/unet'"),
    ],
)
def test_a_model_that_is_not_there_is_said(digits, bench, model, problem, remedy):
    with pytest.raises(ConfigError) as error:
        PipelineConfig(model=model).build(bench.Given([]))
    assert (error.value.problem, error.value.remedy) == (problem, remedy)


def test_an_unknown_model_of_the_world_is_said(digits, bench):
    with pytest.raises(Exception, match="unet") as error:
        PipelineConfig(model="world:digits/unett").build(bench.Given([]))
    assert isinstance(error.value, DatasetError | ConfigError) or hasattr(error.value, "remedy")


def test_tensors_that_do_not_say_what_they_are_are_refused(bench, tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "a.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(ConfigError) as error:
        PipelineConfig(model=str(path)).build(bench.Given([]))
    assert error.value.problem == (
        f"extractor.model: {path} does not say what it is (no 'omnisae_diffusers' in its metadata)"
    )


@pytest.mark.parametrize(
    "told", ["{", "[]", "{}", '{"class": "Nothing", "config": {}}', '{"class": "UNet2DModel", "config": {"no": 1}}']
)
def test_tensors_that_say_something_wrong_are_refused(bench, tmp_path, told):
    from safetensors.torch import save_file

    path = tmp_path / "a.safetensors"
    save_file({"a": torch.zeros(2)}, path, metadata={"omnisae_diffusers": told})
    with pytest.raises(ConfigError) as error:
        PipelineConfig(model=str(path)).build(bench.Given([]))
    assert str(path) in error.value.problem


def test_a_damaged_file_is_refused(bench, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match=r"cannot be read"):
        PipelineConfig(model=str(tmp_path / "a.safetensors")).build(bench.Given([]))


def test_a_folder_without_a_scheduler_needs_one(bench, tiny, tmp_path):
    tiny.unet2d(tmp_path)
    (tmp_path / "scheduler" / "scheduler_config.json").unlink()
    with pytest.raises(ConfigError) as error:
        PipelineConfig(model=str(tmp_path), device="cpu").build(bench.Given([]))
    assert error.value.problem == f"extractor.model: {tmp_path} holds a denoiser and no scheduler/scheduler_config.json"
    config = PipelineConfig(model=str(tmp_path), steps=2, scheduler={"class": "EulerDiscreteScheduler"}, device="cpu")
    assert config.build(bench.Given([])).plan.ticks == (999.0, 0.0)


def test_another_scheduler_may_be_named(bench, tiny, tmp_path):
    tiny.unet2d(tmp_path)
    changes = {"class": "DPMSolverMultistepScheduler", "num_train_timesteps": 500}
    one = PipelineConfig(model=str(tmp_path), steps=2, scheduler=changes, device="cpu").build(bench.Given([]))
    assert type(one.process.scheduler).__name__ == "DPMSolverMultistepScheduler"
    assert max(one.plan.ticks) < 500


def test_a_field_that_the_scheduler_lacks_is_said(bench, tiny, tmp_path):
    tiny.unet2d(tmp_path)
    with pytest.raises(ConfigError) as error:
        PipelineConfig(model=str(tmp_path), scheduler={"timestep_spacin": "trailing"}, device="cpu").build(
            bench.Given([])
        )
    assert error.value.problem == "extractor.scheduler: DDIMScheduler has no field 'timestep_spacin'"
    assert "'timestep_spacing'" in error.value.remedy


def test_an_unknown_scheduler_shows_the_nearest(bench, tiny, tmp_path):
    tiny.unet2d(tmp_path)
    with pytest.raises(ConfigError) as error:
        PipelineConfig(model=str(tmp_path), scheduler={"class": "DDIMSheduler"}, device="cpu").build(bench.Given([]))
    assert error.value.problem == "extractor.scheduler: diffusers has no 'DDIMSheduler'"
    assert "DDIMScheduler" in error.value.remedy


def test_a_class_that_is_no_scheduler_is_refused(bench, tiny, tmp_path):
    tiny.unet2d(tmp_path)
    with pytest.raises(ConfigError, match=r"extractor.scheduler: diffusers has no 'UNet2DModel'"):
        PipelineConfig(model=str(tmp_path), scheduler={"class": "UNet2DModel"}, device="cpu").build(bench.Given([]))
