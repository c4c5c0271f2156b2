"""Plain networks: built from a class and tensors alone, read and measured under their own schedule."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from omnisae.errors import ConfigError, OmnisaeError
from omnisae_diffusion.asks import Ask
from omnisae_diffusion.module import over, process
from omnisae_diffusion.plugin import ModuleConfig
from omnisae_diffusion.process import Noising


class Little(torch.nn.Module):
    """A network that keeps what it was told."""

    def __init__(self, channels=1):
        super().__init__()
        self.conv = torch.nn.Conv2d(channels, channels, 3, padding=1)
        self.told = []

    def forward(self, x, when):
        self.told.append(when)
        return self.conv(x)


class Deaf(torch.nn.Module):
    def forward(self, x):
        return x


def config(**more):
    given = {"code": "diffusion_ddpm:UNet", "shape": (1, 28, 28), "steps": 2, "device": "cpu"}
    return ModuleConfig(**(given | more))


@pytest.fixture(scope="module")
def shared():
    """The checkpoint that others trained, and real digits, where the checkout has them."""
    folder = Path(os.environ.get("OMNISAE_SHARED_DATA") or Path(__file__).parents[4] / "shared" / "data") / "diffusion"
    if not folder.is_dir():
        pytest.skip(f"no checkpoint of others: {folder} is absent (set OMNISAE_SHARED_DATA)")
    return folder


@pytest.fixture(scope="module")
def real(shared):
    """Real digits from −1 to 1 in three channels."""
    pictures = np.load(shared / "mnist_t10k_first5000.npz")["images"][:128]
    return torch.from_numpy(pictures).float()[:, None].expand(-1, 3, -1, -1) / 127.5 - 1


def test_a_checkpoint_of_others_finds_as_much_noise_as_was_measured(ddpm, shared, real):
    made = process(config(weights=shared / "ddpm_mnist.pt", prefix="network.", steps=100))
    clean = made.latents(real)
    assert clean.shape == (128, 1, 28, 28)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    for time, known in ((10.0, 0.16), (100.0, 0.068), (400.0, 0.026), (950.0, 0.003)):
        found = made.noise_error([Ask()] * 128, Noising(clean, noise, (time,)))
        assert found.shape == (128,)
        assert float(found.mean()) == pytest.approx(known, rel=0.15), f"at {time:g}"


def test_a_checkpoint_of_others_draws_digits_as_bright_as_real_ones(ddpm, shared, real):
    made = process(config(weights=shared / "ddpm_mnist.pt", prefix="network.", steps=50))
    drawn = made.generate([Ask(seed=seed) for seed in range(16)])
    assert drawn.shape == (16, 28, 28, 3)
    assert (drawn[..., 0] == drawn[..., 2]).all(), "grey pictures in three equal channels"
    bright = (drawn[..., 0] > 127).mean(axis=(1, 2))
    truth = (real[:, 0] > 0).float().mean(dim=(1, 2))
    assert float(truth.min()) * 0.7 < bright.mean() < float(truth.max()) * 1.3


def test_weights_that_are_no_tensors_are_said(ddpm, tmp_path):
    path = tmp_path / "bad.pt"
    torch.save({"a": np.random.default_rng}, path)
    with pytest.raises(ConfigError) as error:
        process(config(weights=path))
    assert error.value.problem.startswith(f"extractor.weights: {path} cannot be read as tensors: ")
    assert error.value.remedy == "save its state_dict as .safetensors"


def test_weights_that_do_not_fit_are_said(ddpm, tmp_path):
    path = tmp_path / "other.safetensors"
    state = ddpm.UNet().state_dict()
    state["more"] = state.pop("conv_out.bias")
    save_file(state, path)
    with pytest.raises(ConfigError) as error:
        process(config(weights=path))
    assert error.value.problem == (
        f"extractor.weights: {path} does not fit diffusion_ddpm:UNet: 1 tensors missing (conv_out.bias), "
        "1 unknown (more)"
    )


def test_weights_of_another_shape_are_said(ddpm, tmp_path):
    path = tmp_path / "other.safetensors"
    state = ddpm.UNet().state_dict()
    state["conv_out.bias"] = torch.zeros(2)
    save_file(state, path)
    with pytest.raises(OmnisaeError, match="does not fit diffusion_ddpm:UNet"):
        process(config(weights=path))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("no_such_package:Net", "extractor.code: 'no_such_package:Net' cannot be imported"),
        ("diffusion_ddpm:Nothing", "extractor.code: 'diffusion_ddpm:Nothing' cannot be imported"),
        ("diffusion_ddpm:stage", "extractor.code: 'diffusion_ddpm:stage' is no class of torch.nn.Module"),
        ("os:getcwd", "extractor.code: 'os:getcwd' is no class of torch.nn.Module"),
    ],
)
def test_code_that_is_no_network_is_said(ddpm, code, said):
    with pytest.raises(ConfigError) as error:
        process(config(code=code))
    assert error.value.problem.startswith(said)


def test_code_without_a_class_is_said():
    with pytest.raises(ValueError, match="code is 'diffusion_ddpm'; write MODULE:CLASS"):
        config(code="diffusion_ddpm")


def test_a_network_that_takes_no_times_is_said():
    with pytest.raises(ConfigError) as error:
        over(Deaf(), config())
    assert error.value.problem == "diffusion_ddpm:UNet: its forward takes ['x']"


@pytest.mark.parametrize(("shape", "form"), [((1, 8, 8), "example"), ((3, 8, 4), "example 1")])
def test_times_have_the_form_that_is_declared(bench, shape, form):
    network = Little(shape[0])
    made = over(network, config(shape=shape, time_shape=form, steps=3))
    assert made.time == "when"
    drawn = made.generate([Ask(seed=1), Ask(seed=2)])
    assert drawn.shape == (2, *shape[1:], 3)
    assert [tuple(told.shape) for told in network.told] == [(2,) if form == "example" else (2, 1)] * 3
    assert [float(told.reshape(-1)[0]) for told in network.told] == list(made.plan().ticks) == [666.0, 333.0, 0.0]


def test_a_plain_network_is_read_step_by_step(bench):
    one = bench.DiffusionExtractor(
        config(shape=(1, 8, 8)), over(Little(), config(shape=(1, 8, 8))), bench.Given([Ask()])
    )
    point, tokens = bench.read(one, "denoiser.conv")
    assert point.axes == ("timestep", "y", "x")
    assert point.told["timestep"].argument == "when"
    assert len(tokens) == 2 * 8 * 8


def test_guidance_of_a_network_that_knows_no_label_is_said():
    with pytest.raises(ConfigError) as error:
        over(Little(), config(shape=(1, 8, 8), guidance=2.0))
    assert error.value.problem == "extractor.guidance is 2, and the model knows no label that stands for none"
