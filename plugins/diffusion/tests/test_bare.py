"""Bare denoisers that expect text: run as their pipelines run them when told nothing; what they cannot hear is said."""

import numpy as np
import pytest
import torch

from omnisae.errors import ConfigError
from omnisae_diffusion.asks import Ask
from omnisae_diffusion.plugin import PipelineConfig
from omnisae_diffusion.process import Noising
from omnisae_diffusion.schedule import Schedule

BLOCK = {
    "stable_diffusion": "unet.mid_block.attentions.0",
    "pixart": "transformer.transformer_blocks.13",
    "sd3": "transformer.transformer_blocks.11",
    "flux": "transformer.transformer_blocks.9",
    "flux, shifted": "transformer.transformer_blocks.9",
}


@pytest.fixture(scope="module")
def made(bench, tiny):
    """A pipeline, with DDIM where it adds noise."""
    held = {}

    def get(name):
        if name not in held:
            kind = name.partition(",")[0]
            pipe = tiny.flux(guidance_embeds=True) if kind != name else tiny.PIPELINES[kind]()
            held[name] = pipe if kind in ("sd3", "flux") else bench.with_ddim(pipe)
        return held[name]

    return get


@pytest.fixture
def bare(bench, made, tmp_path):
    """The extractor over a pipeline's denoiser alone, out of its folder."""

    def make(name):
        pipe = made(name)
        part = "unet" if hasattr(pipe, "unet") else "transformer"
        getattr(pipe, part).save_pretrained(tmp_path / part)
        pipe.scheduler.save_pretrained(tmp_path / "scheduler")
        size = (8, 8) if name.startswith("flux") else None
        config = PipelineConfig(model=str(tmp_path), steps=2, size=size, device="cpu")
        return config.build(bench.Given([Ask(seed=1)]))

    return make


def told_nothing(pipe, noise):
    """A pipeline's call whose text encoders say zeros, as far as its class has them."""
    config = getattr(pipe, "unet", None) or pipe.transformer
    config, takes = config.config, type(pipe).__call__.__annotations__
    width = next(
        getattr(config, name)
        for name in ("caption_channels", "joint_attention_dim", "cross_attention_dim")
        if getattr(config, name, None)
    )
    told = {"prompt_embeds": torch.zeros(1, 77, width), "latents": noise, "guidance_scale": 1.0}
    told |= {"height": 64, "width": 64, "num_inference_steps": 2, "output_type": "latent"}
    if "pooled_prompt_embeds" in takes:
        told["pooled_prompt_embeds"] = torch.zeros(1, config.pooled_projection_dim)
    if "prompt_attention_mask" in takes:
        mask = torch.ones(1, 77)
        told |= {"prompt_attention_mask": mask, "negative_prompt_attention_mask": mask, "use_resolution_binning": False}
        told |= {"negative_prompt_embeds": torch.zeros(1, 77, width), "negative_prompt": None}
    return told


@pytest.mark.parametrize("name", sorted(BLOCK))
def test_a_bare_denoiser_is_run_as_its_pipeline_runs_it_when_told_nothing(bench, bare, made, name):
    one, pipe = bare(name), made(name)
    noise = torch.randn(1, *one.process.noise_shape, generator=torch.Generator().manual_seed(3))
    with bench.seen(one.process.model, 0) as alone:
        one.process.generate([Ask()], noise=noise)
    given = noise.flatten(2).transpose(1, 2) if name.startswith("flux") else noise
    denoiser = getattr(pipe, "unet", None) or pipe.transformer
    with bench.seen(denoiser, 0) as within:
        pipe(**told_nothing(pipe, given))
    assert len(alone) == len(within) == 2
    for step, (a, b) in enumerate(zip(alone, within, strict=True)):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=f"step {step}")
    assert one.plan.ticks == pytest.approx(bench.pipeline(pipe, size=(64, 64)).plan().ticks, abs=1e-3)


@pytest.mark.parametrize("name", ["pixart", "sd3", "flux, shifted"])
def test_tokens_of_a_bare_denoiser_lie_at_the_times_it_is_told(bench, bare, name):
    point, tokens = bench.read(bare(name), BLOCK[name])
    assert point.axes == ("timestep", "y", "x")
    assert tokens.coords[:, 0].unique().tolist() == [0, 1]
    assert len(tokens) == 2 * 8 * 8


@pytest.mark.parametrize("name", ["stable_diffusion", "pixart", "sd3", "flux"])
def test_a_prompt_that_a_bare_denoiser_cannot_hear_is_refused(bench, bare, name):
    one = bare(name)
    with pytest.raises(ConfigError) as error:
        one.pictures([Ask(), Ask("a red cat")])
    kind = type(one.process.model).__name__
    assert error.value.problem == (
        f"the prompt 'a red cat' would not be heard: the model is a bare {kind}, without the text encoders that it "
        "listens to"
    )
    assert error.value.remedy.startswith("name the whole pipeline")


@pytest.mark.parametrize("name", ["sd3", "flux, shifted"])
def test_pictures_are_noised_along_the_flow_at_the_times_asked_for(bench, bare, name):
    one = bare(name)
    clean, noise = torch.ones(1, *one.process.noise_shape), torch.full((1, *one.process.noise_shape), 3.0)
    given = []
    handle = one.process.model.register_forward_pre_hook(
        lambda module, args, kwargs: given.append(kwargs["hidden_states"]), with_kwargs=True
    )
    one.process.denoise([Ask()], Noising(clean, noise, one.plan.ticks[1:]))
    handle.remove()
    (seen,) = given
    sigma = one.process.scheduler.sigmas[1]
    assert torch.allclose(seen, 1 + 2 * sigma.expand_as(seen))


@pytest.mark.parametrize(
    ("kind", "fields", "wanted"),
    [
        ("DDIMScheduler", {}, lambda clean, noise, a: noise),
        ("DDIMScheduler", {"prediction_type": "sample"}, lambda clean, noise, a: clean),
        # Salimans & Ho 2022: v = √ᾱ · noise − √(1 − ᾱ) · picture
        ("DDIMScheduler", {"prediction_type": "v_prediction"}, lambda x, e, a: a.sqrt() * e - (1 - a).sqrt() * x),
        ("FlowMatchEulerDiscreteScheduler", {}, lambda clean, noise, a: noise - clean),
    ],
)
def test_what_a_denoiser_is_asked_for_follows_the_scheduler(kind, fields, wanted):
    import diffusers

    schedule = Schedule(getattr(diffusers, kind)(**fields))
    schedule.start(4)
    clean, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    time = list(schedule.times())[1]
    a = torch.tensor(0.0) if schedule.flows else schedule.scheduler.alphas_cumprod[int(time)]
    torch.testing.assert_close(schedule.wanted(clean, noise, time), wanted(clean, noise, a))


def test_what_is_not_known_to_be_asked_for_has_no_error():
    from diffusers import DDPMScheduler

    schedule = Schedule(DDPMScheduler(prediction_type="epsilon"))
    schedule.scheduler.register_to_config(prediction_type="another")
    schedule.start(2)
    assert schedule.wanted(torch.ones(1), torch.ones(1), next(schedule.times())) is None


def test_the_error_of_a_denoiser_that_flows_is_that_of_its_velocity(bench, bare):
    one = bare("sd3")
    clean, noise = (torch.randn(2, *one.process.noise_shape) for _ in range(2))
    with bench.seen(one.process.model, 0) as answers:
        found = one.process.noise_error([Ask(), Ask()], Noising(clean, noise))
    slow = np.mean([((a - (noise - clean)) ** 2).flatten(1).mean(1).numpy() for a in answers], axis=0)
    np.testing.assert_allclose(found.numpy(), slow, rtol=1e-5)
