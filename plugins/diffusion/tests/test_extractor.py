"""The extractor over denoisers: steps, times, branches, layouts, noising; what it refuses."""

import numpy as np
import pytest
import torch
from PIL import Image

from omnisae.errors import ConfigError, HookError
from omnisae.testing import ExtractorTests
from omnisae_diffusion.asks import Ask
from omnisae_diffusion.plugin import PipelineConfig, PromptsConfig

STRAIGHT = ("DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "DDPMScheduler")


class Digits(ExtractorTests):
    # Guidance multiplies the rounding of every step, and the next step starts from it: measured 9e-5 of the
    # largest activation after two steps of the U-Net on a CPU, and 1.1e-3 of the DiT.
    tolerance = 4e-3
    model = ""

    @pytest.fixture
    def config(self, digits):
        return PipelineConfig(model=self.model, steps=2, guidance=2.0, device="cpu")

    @pytest.fixture
    def dataset(self, digits):
        return PromptsConfig(table="world:digits", first=2).build()


class TestUNet(Digits):
    model = "world:digits/unet"

    @pytest.fixture
    def hooks(self, bench):
        return [bench.hook("unet.mid_block"), bench.hook("unet.mid_block", view="update", columns=["timestep"])]


class TestDiT(Digits):
    model = "world:digits/dit"

    @pytest.fixture
    def hooks(self, bench):
        return [bench.hook("transformer.transformer_blocks.2"), bench.hook("latents")]


class TestNoising(Digits):
    model = "world:digits/unet"

    @pytest.fixture
    def config(self, digits):
        return PipelineConfig(model=self.model, steps=4, gather="noising", at=(749.0, 249.0), device="cpu")

    @pytest.fixture
    def dataset(self, digits):
        from omnisae_vision.plugin_datasets import ImageFolderConfig

        return ImageFolderConfig(root=str(digits / "natural")).build()

    @pytest.fixture
    def hooks(self, bench):
        return [bench.hook("unet.mid_block")]


@pytest.fixture
def unet(bench, tiny):
    """Extractor over the tiny bare U-Net: unet(steps=…, guidance=…, **config)."""

    def make(*, steps=2, guidance=1.0, scheduler=None, inputs=None, **config):
        process = bench.bare(tiny, steps=steps, guidance=guidance, scheduler=scheduler)
        return bench.extractor(process, bench.labelled() if inputs is None else inputs, **config)

    return make


# -- steps and times ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRAIGHT)
@pytest.mark.parametrize("steps", [1, 3])
def test_ticks_are_the_times_of_any_straight_scheduler(bench, unet, name, steps):
    import diffusers

    scheduler = getattr(diffusers, name)()
    point, tokens = bench.read(unet(steps=steps, scheduler=scheduler), "unet.mid_block")
    scheduler.set_timesteps(steps)
    assert point.told["timestep"].ticks == tuple(float(time) for time in scheduler.timesteps)
    assert point.axes == ("timestep", "y", "x")
    assert point.known_sizes == {"timestep": steps, "y": 8, "x": 8}
    assert tokens.coords[:, 0].unique().tolist() == list(range(steps))
    assert len(tokens) == 2 * steps * 8 * 8


@pytest.mark.parametrize("name", ["PNDMScheduler", "HeunDiscreteScheduler", "KDPM2DiscreteScheduler"])
def test_a_scheduler_that_goes_back_and_forth_is_refused(unet, name):
    import diffusers

    with pytest.raises(HookError) as error:
        unet(steps=4, scheduler=getattr(diffusers, name)())
    assert error.value.problem.startswith(f"the scheduler {name} tells the model the times ")
    assert error.value.problem.endswith("…: some twice, or not in falling order, so that a time is no step of its own")
    assert error.value.remedy == (
        "use a scheduler of first order that goes straight from noise to picture, e.g. DDIMScheduler or "
        "EulerDiscreteScheduler"
    )


def test_tokens_are_the_module_s_values_where_they_lie(bench, unet):
    one = unet(steps=2)
    seen = []
    handle = one.process.components.unet.mid_block.register_forward_hook(lambda m, a, out: seen.append(out.clone()))
    _, tokens = bench.read(one, "unet.mid_block")
    seen = seen[-2:]  # before them, shapes were found
    handle.remove()
    for step, example, y, x in ((0, 0, 0, 0), (0, 1, 3, 7), (1, 0, 7, 2), (1, 1, 5, 6)):
        place = torch.tensor([step, y, x])
        row = ((tokens.coords == place).all(dim=1) & (tokens.example == example)).nonzero()
        assert torch.equal(tokens.values[int(row)], seen[step][example, :, y, x])


def test_columns_hold_the_time_that_was_told(bench, unet):
    point, tokens = bench.read(unet(steps=2), "unet.mid_block", columns=["timestep"])
    assert point.width == point.own_width + 1
    ticks = torch.tensor(point.told["timestep"].ticks)
    assert torch.equal(tokens.values[:, -1], ticks[tokens.coords[:, 0].long()])


def test_a_column_of_no_axis_is_said(bench, unet):
    with pytest.raises(HookError) as error:
        unet().resolve([bench.hook("unet.mid_block", columns=["timesteps"])])
    assert error.value.problem == "hook point 'unet.mid_block.output' has no axis 'timesteps' for a column"
    assert "'timestep'" in error.value.remedy


def test_only_one_step_is_in_memory(bench, unet):
    one = unet(steps=3)
    (point,) = one.resolve([bench.hook("unet.mid_block")])
    counted, parts = bench.counted(one.process.components.unet), []

    def emit(part):
        # As soon as the denoiser has made its step, before it makes the next.
        parts.append((counted.calls, part.tokens[point.name].coords[:, 0].unique().tolist()))

    one.extract_parts([0, 1], bench.inputs_of(one), [point], emit)
    assert parts == [(1, [0]), (2, [1]), (3, [2])]


def test_some_times_are_read_of_a_whole_generation(bench, unet):
    whole, some = unet(steps=4), unet(steps=4, at=(500.0, 0.0))
    _, every = bench.read(whole, "unet.mid_block")
    counted = bench.counted(some.process.components.unet)
    _, tokens = bench.read(some, "unet.mid_block")
    assert counted.calls == 1 + 4, "shapes are found in one step; every later step needs those before it"
    assert some.read_times == (500.0, 0.0)
    assert tokens.coords[:, 0].unique().tolist() == [1, 3]
    kept = every.take(torch.isin(every.coords[:, 0], torch.tensor([1, 3])))
    assert torch.equal(kept.values, tokens.values)
    assert whole.fingerprint() != some.fingerprint()


def test_a_time_that_is_none_of_the_schedule_s_is_said(unet):
    with pytest.raises(ConfigError) as error:
        unet(steps=4, at=(400.0,))
    assert error.value.problem == "extractor.at names the time 400, which is none of the schedule's"
    assert error.value.remedy == "with 4 steps these are 750, 500, 250, 0"


# -- branches -------------------------------------------------------------------------------------------------------


def test_the_conditional_branch_is_read_where_nothing_is_said(bench, unet):
    one, both = unet(guidance=2.0), unet(guidance=2.0, branch="both")
    other = unet(guidance=2.0, branch="unconditional")
    point, tokens = bench.read(one, "unet.mid_block")
    assert point.axes == ("timestep", "branch", "y", "x")
    assert point.pattern == "(branch example) d y x"
    _, every = bench.read(both, "unet.mid_block")
    assert every.coords[:, 1].unique().tolist() == [0, 1]
    assert torch.equal(tokens.values, every.take(every.coords[:, 1] == 1).values)
    assert torch.equal(bench.read(other, "unet.mid_block")[1].values, every.take(every.coords[:, 1] == 0).values)
    assert len({one.fingerprint(), both.fingerprint(), other.fingerprint()}) == 3


def test_the_unconditional_branch_of_the_first_step_does_not_know_the_label(bench, unet):
    def first(labels, branch):
        asks = [Ask(label=label, seed=3) for label in labels]
        one = unet(guidance=2.0, branch=branch, inputs=asks)
        _, tokens = bench.read(one, "unet.mid_block")
        at_first = tokens.take(tokens.coords[:, 0] == 0)
        return at_first.take(at_first.example == 0).values, at_first.take(at_first.example == 1).values

    one, two = first((2, 7), "unconditional")
    torch.testing.assert_close(one, two)
    one, two = first((2, 7), "conditional")
    assert (one - two).abs().max() > 1e-3


def test_a_branch_without_guidance_is_said(unet):
    with pytest.raises(HookError) as error:
        unet(branch="unconditional")
    assert error.value.problem == ("extractor.branch is 'unconditional', and with guidance 1 there is one branch only")
    assert error.value.remedy == "raise extractor.guidance above 1, or leave out extractor.branch"


def test_both_branches_without_guidance_are_the_one(bench, unet):
    assert unet(branch="both").branch is None


# -- inputs ---------------------------------------------------------------------------------------------------------


def test_a_label_out_of_range_is_said(bench, unet):
    with pytest.raises(ConfigError) as error:
        unet().pictures([Ask(label=10)])
    assert error.value.problem == "class label 10 is asked for"
    assert error.value.remedy == "the model knows labels 0 to 9"


def test_a_prompt_that_names_no_class_is_said(unet):
    with pytest.raises(ConfigError) as error:
        unet().pictures([Ask(text="a cat")])
    assert error.value.problem == "the prompt 'a cat' names no class of the model"


def test_a_prompt_names_a_class_of_the_world(digits, bench):
    one = PipelineConfig(model="world:digits/dit", steps=1, guidance=1.0, device="cpu").build(bench.Given([]))
    by_name, by_label = one.pictures([Ask(text="7 in neon", seed=1), Ask(label=30, seed=1)])
    np.testing.assert_array_equal(by_name, by_label)
    with pytest.raises(ConfigError) as error:
        one.pictures([Ask(text="7 in crayon")])
    assert error.value.remedy.startswith("give the number of the class in the dataset's label column; the model knows ")


def test_pictures_are_no_prompts(unet):
    one = unet(inputs=[Image.new("RGB", (16, 16))])
    with pytest.raises(ConfigError) as error:
        one.prepare(one.dataset.load(0))
    assert error.value.problem == "example '0' is a Image, and pictures are made of prompts"
    assert error.value.remedy == (
        "use the dataset diffusion.prompts, or extractor.gather: noising to read the dataset's pictures"
    )


def test_prompts_are_no_pictures(bench, unet):
    with pytest.raises(ConfigError) as error:
        bench.read(unet(gather="noising"), "unet.mid_block")
    assert error.value.problem == "extractor.gather is noising, and the dataset gives prompts, not pictures"
    assert error.value.remedy == "use a dataset of pictures (vision.image_folder), or gather: generation"


def test_the_same_ask_gives_the_same_picture_in_any_company(unet):
    one = unet(steps=3, guidance=2.0)
    asks = [Ask(label=3, seed=5), Ask(label=4, seed=6), Ask(label=3, seed=7)]
    together = one.process.generate(asks)
    for i, ask in enumerate(asks):
        alone = one.process.generate([ask])[0]
        assert np.abs(alone.astype(int) - together[i].astype(int)).max() <= 1
    assert (together[0] != together[2]).any(), "another seed is another picture"


def test_pictures_are_made_once(bench, unet):
    one = unet()
    counted = bench.counted(one.process.components.unet)
    first = one.pictures([Ask(label=1, seed=1), Ask(label=1, seed=1)])
    assert counted.batches == [1, 1], "one picture, in two steps"
    again = one.pictures([Ask(label=1, seed=1)])
    assert counted.calls == 2
    np.testing.assert_array_equal(first[1], again[0])


def test_reading_keeps_the_pictures(bench, unet):
    one = unet()
    bench.read(one, "unet.mid_block")
    counted = bench.counted(one.process.components.unet)
    found = one.picture(one.dataset.load(1))
    assert counted.calls == 0
    assert found.shape == (16, 16, 3)


def test_frames_end_with_the_picture(unet):
    one = unet(steps=3)
    example = one.dataset.load(0)
    frames = one.frames(example)
    assert len(frames) == 3
    np.testing.assert_array_equal(frames[-1], one.picture(example))
    assert unet(gather="noising").frames(example) is None


# -- noising --------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures():
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(2)]


def test_noised_pictures_are_what_the_scheduler_says(bench, unet, pictures):
    one = unet(steps=4, gather="noising", inputs=pictures)
    point, tokens = bench.read(one, "latents")
    assert point.name == "latents"
    scheduler = one.process.scheduler
    for row, picture in enumerate(pictures):
        clean = torch.from_numpy(np.asarray(picture).copy()).float().permute(2, 0, 1)[None] / 127.5 - 1
        noise = torch.randn((3, 16, 16), generator=torch.Generator().manual_seed(row))[None]
        for step, time in enumerate(point.told["timestep"].ticks):
            share = scheduler.alphas_cumprod[int(time)]
            expected = share.sqrt() * clean + (1 - share).sqrt() * noise
            mine = tokens.take((tokens.example == row) & (tokens.coords[:, 0] == step)).values
            torch.testing.assert_close(mine, expected[0].flatten(1).T, atol=1e-5, rtol=1e-5)


def test_times_that_are_not_read_are_not_computed(bench, unet, pictures):
    every = unet(steps=4, gather="noising", inputs=pictures)
    some = unet(steps=4, gather="noising", inputs=pictures, at=(500.0,))
    counted = bench.counted(some.process.components.unet)
    point, tokens = bench.read(some, "unet.mid_block")
    assert counted.calls == 1 + 1, "one to find shapes"
    assert point.told["timestep"].ticks == (750.0, 500.0, 250.0, 0.0)
    _, all_tokens = bench.read(every, "unet.mid_block")
    assert torch.equal(tokens.values, all_tokens.take(all_tokens.coords[:, 0] == 1).values)


def test_the_loss_is_the_error_of_the_noise_found(bench, unet, pictures):
    one = unet(steps=2, gather="noising", inputs=pictures, at=(500.0,))
    found = one.loss([0, 1], bench.inputs_of(one))
    clean = torch.stack([one.prepare(one.dataset.load(row)).pictures[0] for row in (0, 1)])
    noise = torch.stack([torch.randn((3, 16, 16), generator=torch.Generator().manual_seed(r)) for r in (0, 1)])
    noised = one.process.scheduler.add_noise(clean, noise, torch.tensor([500]))
    with torch.no_grad():
        answer = one.process.model(noised, 500, class_labels=torch.tensor([10, 10])).sample
    torch.testing.assert_close(found, (answer - noise).square().mean(dim=(1, 2, 3)))
    assert unet().loss([0], None) is None


def test_pictures_are_brought_to_the_model_s_size(unet):
    wide = np.zeros((32, 64, 3), dtype=np.uint8)
    wide[:, 16:48] = 255  # the middle square
    one = unet(gather="noising", inputs=[wide, Image.new("L", (16, 16), 255)])
    seen = one.picture(one.dataset.load(0))
    assert seen.shape == (16, 16, 3)
    assert seen[:, 1:-1].min() > 200
    assert one.prepare(one.dataset.load(1)).pictures.shape == (1, 3, 16, 16)


# -- hook points ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["input", "output", "update"])
def test_views_of_maps(bench, unet, view):
    point, tokens = bench.read(unet(), "unet.mid_block.attentions.0", view=view)
    assert point.pattern == "example d y x"
    assert len(tokens) == 2 * 2 * 64


def test_the_update_is_output_less_input(bench, unet):
    one = unet()
    found = {view: bench.read(one, "unet.mid_block", view=view)[1].values for view in ("input", "output", "update")}
    torch.testing.assert_close(found["update"], found["output"] - found["input"])


def test_a_path_that_is_not_there_shows_the_nearest(bench, unet):
    with pytest.raises(HookError) as error:
        unet().resolve([bench.hook("unet.mid_blok")])
    assert "unet.mid_blok" in error.value.problem
    assert "unet.mid_block" in error.value.remedy


def test_a_text_encoder_that_is_not_there_is_said(bench, unet):
    with pytest.raises(HookError) as error:
        unet().resolve([bench.hook("text_encoder.encoder.layers.3")])
    assert error.value.problem == "hook point 'text_encoder.encoder.layers.3': the pipeline has no 'text_encoder'"
    assert error.value.remedy == "it has no text encoder, but unet"


def test_hooks_are_gone_after_reading_and_after_an_exception(bench, unet):
    one = unet()
    (point,) = one.resolve([bench.hook("unet.mid_block")])
    before = bench.hooks_on(one.model)

    def break_off(part):
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        one.extract_parts([0, 1], bench.inputs_of(one), [point], break_off)
    assert bench.hooks_on(one.model) == before == 0
    bench.read(one, "unet.mid_block")
    assert bench.hooks_on(one.model) == 0


def test_a_batch_of_another_size_is_said(bench, unet):
    one = unet()
    (point,) = one.resolve([bench.hook("unet.mid_block")])
    with pytest.raises(HookError, match=r"gave 2 examples for 1 that were asked for"):
        one.extract([0], bench.inputs_of(one), [point])


def test_what_has_no_place_in_the_picture_has_steps_alone(bench, unet):
    point, tokens = bench.read(unet(), "unet.time_embedding")
    assert (point.axes, len(tokens)) == (("timestep",), 2 * 2)
