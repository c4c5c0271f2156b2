"""Pipelines of diffusers: their branches, layouts and text encoders, as their own calls have them."""

import numpy as np
import pytest
import torch
from PIL import Image

from omnisae.errors import ConfigError, HookError
from omnisae_diffusion.asks import Ask
from omnisae_diffusion.plugin import PipelineConfig

BLOCK = {
    "stable_diffusion": "unet.mid_block.attentions.0",
    "sdxl_turbo": "unet.mid_block.attentions.0",
    "pixart": "transformer.transformer_blocks.13",
    "flux": "transformer.transformer_blocks.9",
    "sd3": "transformer.transformer_blocks.11",
    "dit": "transformer.transformer_blocks.13",
}


# -- all of them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(BLOCK))
def test_every_pipeline_is_read_step_by_step(bench, over, name):
    one = over(name)
    point, tokens = bench.read(one, BLOCK[name])
    y, x = point.known_sizes["y"], point.known_sizes["x"]
    assert point.axes == ("timestep", "y", "x")
    assert (y, x) == {"stable_diffusion": (2, 2), "sdxl_turbo": (4, 4)}.get(name, (8, 8))
    assert len(tokens) == 2 * 2 * y * x
    assert len(point.told["timestep"].ticks) == 2
    assert one.process.size == (64, 64)
    assert one.picture(one.dataset.load(0)).shape == (64, 64, 3)


@pytest.mark.parametrize("name", ["stable_diffusion", "sdxl_turbo", "sd3"])
def test_ticks_are_the_scheduler_s_times(bench, over, pipes, name):
    one = over(name, steps=3)
    assert one.plan.ticks == pytest.approx([float(time) for time in pipes(name).scheduler.timesteps])
    assert len(one.plan.ticks) == 3


def test_flux_is_told_thousandths(over, pipes):
    one = over("flux", steps=3)
    assert one.plan.ticks == pytest.approx([float(time) / 1000 for time in pipes("flux").scheduler.timesteps])


@pytest.mark.parametrize("name", ["stable_diffusion", "sdxl_turbo", "flux", "dit"])
def test_one_step_is_enough(bench, over, name):
    point, tokens = bench.read(over(name, steps=1), BLOCK[name])
    assert len(point.told["timestep"].ticks) == 1
    assert tokens.coords[:, 0].unique().tolist() == [0]


def test_pictures_are_the_pipeline_s_own(over, pipes):
    one = over("stable_diffusion", guidance=3.0)
    made = pipes("stable_diffusion")(
        prompt="a red cat", num_inference_steps=2, guidance_scale=3.0, generator=torch.Generator().manual_seed(4)
    )
    found = one.pictures([Ask("a red cat", seed=4)])[0]
    np.testing.assert_array_equal(found, np.asarray(made.images[0]))


def test_pictures_have_the_size_that_is_asked_for(bench, over):
    one = over("stable_diffusion", size=(64, 96))
    point, _ = bench.read(one, "unet.conv_in")
    assert (point.known_sizes["y"], point.known_sizes["x"]) == (16, 24)
    assert one.picture(one.dataset.load(0)).shape == (64, 96, 3)
    point, _ = bench.read(over("flux", size=(64, 96)), BLOCK["flux"])
    assert (point.known_sizes["y"], point.known_sizes["x"]) == (8, 12)


def test_pndm_the_default_of_stable_diffusion_is_refused(bench, tiny):
    with pytest.raises(HookError) as error:
        bench.extractor(bench.pipeline(tiny.stable_diffusion(), steps=4))
    assert error.value.problem.startswith(
        "the scheduler PNDMScheduler tells the model the times 751, 501, 501, 251, 1…: some twice"
    )


def test_a_pipeline_is_loaded_from_its_folder(bench, tiny, tmp_path):
    tiny.stable_diffusion(tmp_path)
    config = PipelineConfig(
        model=str(tmp_path), steps=2, guidance=2.0, scheduler={"class": "DDIMScheduler"}, device="cpu"
    )
    one = config.build(bench.Given(bench.asks()))
    point, _ = bench.read(one, "unet.mid_block")
    assert point.axes == ("timestep", "branch", "y", "x")
    assert one.plan.ticks == (501.0, 1.0)
    assert one.process.describe()["scheduler"]["class"] == "DDIMScheduler"


# -- branches -------------------------------------------------------------------------------------------------------


def first_step(bench, one, at):
    """Of two examples the values in the first step, where both start from one noise."""
    point, tokens = bench.read(one, at)
    first = tokens.take(tokens.coords[:, 0] == 0)
    return point, first.take(first.example == 0).values, first.take(first.example == 1).values


@pytest.mark.parametrize("name", ["stable_diffusion", "sdxl_turbo", "pixart", "sd3"])
def test_the_unconditional_branch_comes_first_where_guidance_stacks(bench, over, name):
    same_noise = [Ask("a red cat", seed=1), Ask("the blue house in ink", seed=1)]
    known = {}
    for branch in ("conditional", "unconditional"):
        one = over(name, guidance=3.0, inputs=same_noise, branch=branch)
        assert one.plan.branches == ("unconditional", "conditional")
        point, a, b = first_step(bench, one, BLOCK[name])
        assert point.axes == ("timestep", "branch", "y", "x")
        known[branch] = float((a - b).abs().max() / a.abs().max())
    assert known["unconditional"] < 1e-4, "told nothing of the prompt"
    assert known["conditional"] > 10 * known["unconditional"]


def test_the_conditional_branch_comes_first_in_dit_pipelines(bench, over):
    same_noise = [Ask(label=3, seed=1), Ask(label=700, seed=1)]
    found = {}
    for branch in ("conditional", "unconditional"):
        one = over("dit", guidance=3.0, inputs=same_noise, branch=branch)
        assert one.plan.branches == ("conditional", "unconditional")
        _, a, b = first_step(bench, one, BLOCK["dit"])
        found[branch] = float((a - b).abs().max() / a.abs().max())
    assert found["unconditional"] < 1e-4 < found["conditional"]


def test_branches_of_flux_are_calls(bench, over):
    asks = [Ask("a red cat", seed=1, negative="blue"), Ask("the house in ink", seed=1, negative="blue")]
    found = {}
    for branch in ("conditional", "unconditional"):
        call = {"true_cfg_scale": 3.0, "negative_prompt": "blue"}
        one = over("flux", inputs=asks, call=call, branch=branch)
        assert (one.plan.by, one.plan.branches) == ("call", ("conditional", "unconditional"))
        assert len(one.plan.ticks) == 2
        point, a, b = first_step(bench, one, BLOCK["flux"])
        assert point.axes == ("timestep", "branch", "y", "x")
        assert point.known_sizes["branch"] == 2
        found[branch] = float((a - b).abs().max() / a.abs().max())
    assert found["unconditional"] < 1e-4 < found["conditional"]
    both = over("flux", inputs=asks, call=call, branch="both")
    _, tokens = bench.read(both, BLOCK["flux"])
    places = torch.cat([tokens.example[:, None], tokens.coords], dim=1)
    assert len(places.unique(dim=0)) == len(tokens) == 2 * 2 * 2 * point.known_sizes["y"] * point.known_sizes["x"]


def test_a_single_step_that_a_scheduler_cannot_tell_is_said(bench, tiny):
    process = bench.pipeline(tiny.pixart(), steps=1)
    with pytest.raises(ConfigError) as error:
        bench.extractor(process, bench.asks())
    assert error.value.problem == (
        "extractor.steps is 1, and of one step PixArtAlphaPipeline takes the scheduler's guess at the clean picture, "
        "which DPMSolverMultistepScheduler does not tell"
    )
    assert "extractor.scheduler: {class: DDIMScheduler}" in error.value.remedy
    told = bench.extractor(bench.pipeline(bench.with_ddim(tiny.pixart()), steps=1), bench.asks())
    assert told.pictures(bench.asks()).shape == (2, 64, 64, 3)


def test_a_branch_of_a_pipeline_without_guidance_is_said(over):
    with pytest.raises(HookError) as error:
        over("stable_diffusion", branch="conditional")
    assert error.value.problem == "extractor.branch is 'conditional', and with guidance 1 there is one branch only"


def test_a_negative_prompt_reaches_the_unconditional_branch(bench, over):
    asks = [Ask("a cat", seed=1, negative="blue house"), Ask("a cat", seed=1, negative="neon")]
    _, a, b = first_step(bench, over("stable_diffusion", guidance=3.0, inputs=asks, branch="unconditional"),
                         BLOCK["stable_diffusion"])  # fmt: skip
    assert not torch.allclose(a, b)


# -- hook points ----------------------------------------------------------------------------------------------------


def test_maps_of_a_unet_block_are_the_first_of_a_tuple(bench, over):
    one = over("stable_diffusion")
    for view in ("output", "input", "update"):
        point, tokens = bench.read(one, "unet.up_blocks.1.attentions.1", view=view)
        assert point.pattern == "example d y x"
        assert len(tokens) == 2 * 2 * 4 * 4
    inner, tokens = bench.read(one, "unet.up_blocks.1.attentions.1.transformer_blocks.0")
    assert inner.pattern == "example (y x) d"
    assert (inner.known_sizes["y"], inner.known_sizes["x"]) == (4, 4)


@pytest.mark.parametrize("name", ["flux", "sd3"])
@pytest.mark.parametrize("view", ["output", "update"])
def test_of_blocks_of_two_streams_the_picture_s_is_read(bench, over, name, view):
    point, tokens = bench.read(over(name, steps=1), BLOCK[name], view=view)
    assert point.select == (1,)
    assert point.pattern == "example (y x) d"
    assert len(tokens) == 2 * 64


def test_the_update_of_two_streams_is_the_picture_s_own(bench, over):
    one = over("flux", steps=1)
    before = bench.read(one, "transformer.transformer_blocks.8")[1].values
    after = bench.read(one, "transformer.transformer_blocks.9")[1].values
    update = bench.read(one, "transformer.transformer_blocks.9", view="update")[1].values
    torch.testing.assert_close(update, after - before)


def test_places_of_tokens_are_row_by_row(bench, over):
    one = over("pixart")
    found = []
    block = one.process.components.transformer.transformer_blocks[13]
    handle = block.register_forward_hook(lambda m, a, out: found.append(out.clone()))
    _, tokens = bench.read(one, BLOCK["pixart"])
    handle.remove()
    place = (tokens.coords == torch.tensor([0, 2, 5])).all(dim=1) & (tokens.example == 1)
    assert torch.equal(tokens.values[place][0], found[-2][1, 2 * 8 + 5])


def test_named_tensors_of_callbacks_are_hook_points(bench, over):
    one = over("stable_diffusion", guidance=3.0)
    embeds, tokens = bench.read(one, "prompt_embeds")
    assert embeds.name == "prompt_embeds"
    assert embeds.axes == ("timestep", "branch", "position")
    assert embeds.width == 16
    assert len(tokens) == 2 * 2 * 77
    latents, tokens = bench.read(one, "latents")
    assert (latents.axes, latents.width) == (("timestep", "branch", "y", "x"), 4)
    first = tokens.take((tokens.coords[:, 0] == 0) & (tokens.example == 1)).values
    noise = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(first, noise[0].flatten(1).T)


def test_prompts_as_long_as_a_picture_s_grid_are_prompts(bench, over):
    point, tokens = bench.read(over("flux", steps=1), "prompt_embeds")
    assert point.axes == ("timestep", "position")
    assert len(tokens) == 2 * 16, "as many tokens as a grid of four by four"


def test_a_block_that_the_pipeline_lacks_shows_the_nearest(bench, over):
    with pytest.raises(HookError) as error:
        over("stable_diffusion").resolve([bench.hook("unet.up_blocks.1.attentions.7")])
    assert "unet.up_blocks.1.attentions.7" in error.value.problem
    assert "unet.up_blocks.1.attentions." in error.value.remedy


def test_what_lies_half_in_the_denoiser_is_refused(bench, over):
    with pytest.raises(HookError, match="some are run at every step, some once"):
        over("stable_diffusion").resolve([bench.hook(["unet.mid_block", "text_encoder.encoder.layers.1"])])


# -- noising --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stable_diffusion", "flux", "dit", "pixart"])
def test_pictures_are_noised_for_any_pipeline(bench, over, name):
    random = np.random.default_rng(0)
    inputs = [Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(2)]
    one = over(name, steps=3, gather="noising", inputs=inputs)
    last = one.plan.ticks[-1]
    some = over(name, steps=3, gather="noising", inputs=inputs, at=(last,))
    _, every = bench.read(one, BLOCK[name])
    counted = bench.counted(getattr(some.process.components, some.process.denoiser))
    (point,) = some.resolve([bench.hook(BLOCK[name])])
    before = counted.calls
    tokens = some.extract([0, 1], bench.inputs_of(some), [point]).tokens[point.name]
    assert counted.calls - before <= 2, "the first, by which the form of its answers is found, and the one that is read"
    assert tokens.coords[:, 0].unique().tolist() == [2]
    torch.testing.assert_close(tokens.values, every.take(every.coords[:, 0] == 2).values)


def test_noised_latents_are_those_of_the_scheduler(bench, over, pipes):
    pipe = pipes("stable_diffusion")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    one = over("stable_diffusion", steps=2, gather="noising", inputs=[picture])
    point, tokens = bench.read(one, "latents")
    pixels = torch.from_numpy(np.asarray(picture).copy()).float().permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        clean = pipe.vae.encode(pixels).latent_dist.mode() * pipe.vae.config.scaling_factor
    noise = torch.randn(clean.shape[1:], generator=torch.Generator().manual_seed(0))[None]
    for step, time in enumerate(point.told["timestep"].ticks):
        expected = pipe.scheduler.add_noise(clean, noise, torch.tensor([int(time)]))
        found = tokens.take(tokens.coords[:, 0] == step).values
        torch.testing.assert_close(found, expected[0].flatten(1).T)


def test_a_pipeline_s_loss_is_not_told(bench, over):
    assert over("stable_diffusion", gather="noising", inputs=[Image.new("RGB", (64, 64))]).loss([0], None) is None


# -- labels, frames, noise ------------------------------------------------------------------------------------------


def test_classes_of_a_dit_pipeline_have_names(over):
    one = over("dit")
    by_name, by_label = one.pictures([Ask("thing 7", seed=1), Ask(label=7, seed=1)])
    np.testing.assert_array_equal(by_name, by_label)
    with pytest.raises(ConfigError) as error:
        one.pictures([Ask("a cat")])
    assert error.value.problem == "the prompt 'a cat' names no class of DiTPipeline"


def test_a_label_that_a_dit_pipeline_lacks_is_said(over):
    with pytest.raises(ConfigError) as error:
        over("dit").pictures([Ask(label=5000)])
    assert error.value.problem == "class label 5000 is asked for"
    assert error.value.remedy == "the model knows labels 0 to 999"


def test_frames_of_a_pipeline_end_near_its_picture(over):
    one = over("stable_diffusion")
    example = one.dataset.load(0)
    frames = one.frames(example)
    assert len(frames) == 2
    assert np.abs(frames[-1].astype(int) - one.picture(example)).max() <= 1
    assert over("dit").frames(over("dit").dataset.load(0)) is None
    assert len(over("flux").frames(example)) == 2


def test_a_pipeline_starts_from_noise_that_is_given(over):
    process = over("stable_diffusion").process
    assert process.noise_shape == (4, 16, 16)
    noise = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(9))
    found = process.generate([Ask("a cat", seed=1)], noise=noise)
    np.testing.assert_array_equal(found, process.generate([Ask("a cat", seed=9)]))
    with pytest.raises(HookError, match="DiTPipeline takes no noise of its caller's"):
        over("dit").process.generate([Ask(label=1)], noise=noise)


def test_a_misspelt_argument_of_the_call_is_said(over):
    with pytest.raises(ConfigError) as error:
        over("pixart", call={"max_sequence_lenght": 8})
    assert error.value.problem == "extractor.call names 'max_sequence_lenght', which PixArtAlphaPipeline does not take"
    assert "'max_sequence_length'" in error.value.remedy
    with pytest.raises(ConfigError) as error:
        over("stable_diffusion", call={"output_type": "pt"})
    assert error.value.problem == (
        "extractor.call names 'output_type', which follows from the dataset and the other fields"
    )


# -- what hooks do not reach ----------------------------------------------------------------------------------------


def test_compiled_pipelines_are_refused(bench, tiny):
    pipe = bench.with_ddim(tiny.stable_diffusion())
    pipe.unet.mid_block.compile(backend="eager")
    with pytest.raises(HookError) as error:
        bench.pipeline(pipe)
    assert error.value.problem == (
        "'unet.mid_block' is compiled by torch.compile: hooks on it would be bypassed, or see weights that are not "
        "there"
    )
    pipe.unet.mid_block._compiled_call_impl = None
    held, pipe.unet = pipe.unet, torch.compile(pipe.unet, backend="eager")
    with pytest.raises(HookError, match="'unet' is compiled by torch.compile"):
        bench.pipeline(pipe)
    pipe.unet = held
    held.forward = torch.compile(held.forward, backend="eager")
    with pytest.raises(HookError, match="'unet' is compiled by torch.compile"):
        bench.pipeline(pipe)


def test_offloaded_pipelines_are_refused(bench, tiny):
    pipe = bench.with_ddim(tiny.stable_diffusion())

    class AlignDevicesHook:
        pass

    pipe.unet.conv_in._hf_hook = AlignDevicesHook()
    with pytest.raises(HookError) as error:
        bench.pipeline(pipe)
    assert error.value.problem.startswith("'unet.conv_in' is offloaded by accelerate (AlignDevicesHook): ")
    assert error.value.remedy == (
        "call pipe.remove_all_hooks() and pipe.to(device), or load the pipeline without offloading"
    )


def test_pipelines_under_diffusers_own_hooks_are_refused(bench, tiny):
    pipe = bench.with_ddim(tiny.stable_diffusion())
    pipe.unet.enable_layerwise_casting(storage_dtype=torch.float16, compute_dtype=torch.float32)
    with pytest.raises(HookError, match=r"is wrapped by diffusers' own hooks \(layerwise_casting\)"):
        bench.pipeline(pipe)
