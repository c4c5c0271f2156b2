"""Edits of generation: what changes, when, where and in which branch; and that nothing else does."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import omnisae
import omnisae_diffusion
from omnisae.errors import ArtifactError, HookError
from omnisae.interventions.sparse import only_entries
from omnisae.interventions.weights import Along, Painted
from omnisae_diffusion.asks import Ask
from omnisae_diffusion.evaluation.studio import Studio

EVERY = list(range(24))
BLOCK = {"stable_diffusion": "unet.mid_block.attentions.0", "flux": "transformer.transformer_blocks.9"}


@pytest.fixture
def unet(bench, tiny):
    """A process of the tiny bare U-Net and an artifact of its middle: unet(steps=…, guidance=…)."""

    def make(*, steps=2, guidance=1.0, branch="both", **more):
        process = bench.bare(tiny, steps=steps, guidance=guidance)
        one = bench.extractor(process, bench.labelled(), branch=branch)
        return process, bench.sae(one, "unet.mid_block", **more)

    return make


# -- bit for bit ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_an_edit_that_changes_no_code_leaves_the_bits_of_a_bare_unet(bench, unet, guidance):
    process, sae = unet(guidance=guidance)
    asks = bench.labelled()
    before = process.generate(asks)
    with bench.seen(process.model, 0) as plain:
        process.generate(asks)
    with omnisae_diffusion.edit(process, sae, omnisae.scale(EVERY, by=1.0)), bench.seen(process.model, 0) as edited:
        after = process.generate(asks)
    np.testing.assert_array_equal(before, after)
    assert all(torch.equal(a, b) for a, b in zip(plain, edited, strict=True))


def test_an_edit_that_changes_no_code_leaves_the_bits_of_a_bare_dit(bench, digits):
    from omnisae_diffusion.plugin import PipelineConfig

    config = PipelineConfig(model="world:digits/dit", steps=2, guidance=2.0, branch="both", device="cpu")
    one = config.build(bench.Given(bench.labelled()))
    sae = bench.sae(one, "transformer.transformer_blocks.2")
    before = one.process.generate(bench.labelled())
    with omnisae_diffusion.edit(one.process, sae, omnisae.scale(EVERY, by=1.0)):
        np.testing.assert_array_equal(one.process.generate(bench.labelled()), before)
    with omnisae_diffusion.edit(one.process, sae, omnisae.scale(EVERY, by=0.0)):
        assert (one.process.generate(bench.labelled()) != before).any()


@pytest.mark.parametrize("name", sorted(BLOCK))
@pytest.mark.parametrize("view", ["output", "update"])
def test_an_edit_that_changes_no_code_leaves_the_bits_of_a_pipeline(bench, tiny, name, view):
    pipe = tiny.PIPELINES[name]()
    pipe = bench.with_ddim(pipe) if name == "stable_diffusion" else pipe
    one = bench.extractor(bench.pipeline(pipe), bench.asks())
    sae = bench.sae(one, BLOCK[name], view=view)
    before = tiny.draw(pipe, "a red cat", guidance_scale=1.0)
    with omnisae_diffusion.edit(pipe, sae, omnisae.scale(EVERY, by=1.0)):
        assert torch.equal(tiny.draw(pipe, "a red cat", guidance_scale=1.0), before)
    with omnisae_diffusion.edit(pipe, sae, omnisae.scale(EVERY, by=-20.0)):
        assert not torch.equal(tiny.draw(pipe, "a red cat", guidance_scale=1.0), before)
    assert torch.equal(tiny.draw(pipe, "a red cat", guidance_scale=1.0), before), "nothing stays behind"


# -- when, where, in which branch -----------------------------------------------------------------------------------


def test_weights_along_the_times_hold_for_another_number_of_steps(bench, unet):
    process, sae = unet(steps=2)  # ticks 500 and 0
    process.steps = 4  # 750, 500, 250, 0
    block = process.model.mid_block
    with bench.seen(block) as plain:
        process.generate(bench.labelled())
    late = omnisae.scale(EVERY, by=0.0, weights=[Along("timestep", {500: 0.0, 0: 1.0})])
    with omnisae_diffusion.edit(process, sae, late), bench.seen(block) as edited:
        process.generate(bench.labelled())
    assert len(plain) == len(edited) == 4
    assert torch.equal(plain[0], edited[0])
    assert torch.equal(plain[1], edited[1])
    assert not torch.equal(plain[2], edited[2])


def test_weights_between_times_are_linear(bench, unet):
    process, sae = unet(steps=2)
    process.steps = 4
    block = process.model.mid_block
    whole, part = [], []
    for table, kept in (({750: 1.0}, whole), ({1000: 1.0, 500: 0.0}, part)):
        operation = omnisae.scale(EVERY, by=0.0, weights=[Along("timestep", table)])
        with omnisae_diffusion.edit(process, sae, operation), bench.seen(block) as found:
            process.generate(bench.labelled())
        kept.append(found[0])
    with bench.seen(block) as plain:
        process.generate(bench.labelled())
    torch.testing.assert_close(part[0] - plain[0], 0.5 * (whole[0] - plain[0]), atol=1e-5, rtol=1e-4)


def test_only_the_branch_that_is_weighed_changes(bench, unet):
    process, sae = unet(guidance=2.0)
    block = process.model.mid_block
    with bench.seen(block) as plain:
        process.generate(bench.labelled())
    for branch, same, other in ((1, slice(0, 2), slice(2, 4)), (0, slice(2, 4), slice(0, 2))):
        operation = omnisae.scale(EVERY, by=0.0, weights=[Along("branch", {branch: 1.0})])
        with omnisae_diffusion.edit(process, sae, operation), bench.seen(block) as edited:
            process.generate(bench.labelled())
        assert torch.equal(plain[0][same], edited[0][same])
        assert all((plain[0][other][i] != edited[0][other][i]).any() for i in range(2))


def test_a_painted_picture_edits_only_there(bench, unet):
    process, sae = unet()
    block = process.model.mid_block
    picture = np.zeros((16, 16), dtype=np.float32)
    picture[:8, 8:] = 1
    with bench.seen(block) as plain:
        process.generate(bench.labelled())
    with (
        omnisae_diffusion.edit(process, sae, omnisae.scale(EVERY, by=0.0, weights=[Painted(picture)])),
        bench.seen(block) as edited,
    ):
        process.generate(bench.labelled())
    differs = (plain[0] != edited[0]).any(dim=1)
    assert differs[:, :4, 4:].all()
    assert not differs[:, 4:].any()
    assert not differs[:, :, :4].any()


def test_an_edit_does_what_the_artifact_says(bench, unet):
    process, sae = unet()
    block = process.model.mid_block
    with bench.seen(block) as plain:
        process.generate(bench.labelled())
    with omnisae_diffusion.edit(process, sae, omnisae.scale(EVERY, by=0.0)), bench.seen(block) as edited:
        process.generate(bench.labelled())
    x = plain[0].permute(0, 2, 3, 1).reshape(-1, plain[0].shape[1])
    codes = sae.encode(x)
    change = edited[0].permute(0, 2, 3, 1).reshape(x.shape) - x
    none = only_entries(codes, torch.zeros(len(codes.values), dtype=torch.bool))
    torch.testing.assert_close(change, sae.decode(none) - sae.decode(codes), atol=1e-4, rtol=1e-4)


# -- text encoders --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("stable_diffusion", "text_encoder.encoder.layers.8"),
        ("sdxl_turbo", "text_encoder.encoder.layers.10"),
        ("sdxl_turbo", "text_encoder_2.text_model.encoder.layers.30"),
        ("pixart", "text_encoder.encoder.block.23"),
    ],
)
def test_edits_of_a_text_encoder_reach_the_picture(bench, tiny, name, path):
    pipe = tiny.PIPELINES[name]()
    pipe = bench.with_ddim(pipe) if name == "stable_diffusion" else pipe
    one = bench.extractor(bench.pipeline(pipe), bench.asks())
    sae = bench.sae(one, path)

    def told():
        """What the denoiser is told of the prompt; the extractor has run the pipeline before, recorders are there."""
        found = []
        module = getattr(one.process.components, one.process.denoiser)
        handle = module.register_forward_pre_hook(
            lambda m, args, kwargs: found.append(kwargs["encoder_hidden_states"].clone()), with_kwargs=True
        )
        picture = tiny.draw(pipe, "a red cat", guidance_scale=1.0)
        handle.remove()
        return found[0], picture

    before, drawn = told()
    with omnisae_diffusion.edit(pipe, sae, omnisae.scale(EVERY, by=1.0)):
        same, again = told()
    assert torch.equal(before, same)
    assert torch.equal(drawn, again)
    with omnisae_diffusion.edit(pipe, sae, omnisae.scale(EVERY, by=-50.0)):
        after, other = told()
    assert (after - before).abs().max() > 1e-3
    assert not torch.equal(drawn, other)


# -- what is refused, and what is left behind -----------------------------------------------------------------------


def test_hooks_are_gone_after_an_exception(bench, unet):
    process, sae = unet(guidance=2.0)
    step = process.scheduler.step

    def no_more(pictures):
        raise RuntimeError("no more")

    with (
        pytest.raises(RuntimeError, match="no more"),
        omnisae_diffusion.edit(process, sae, omnisae.scale(EVERY, by=0.0)),
    ):
        process.generate(bench.labelled(), frames=no_more)
    assert bench.hooks_on(process.components) == 0
    assert process.scheduler.step == step
    assert "step" not in vars(process.scheduler)


def test_an_edit_of_branches_without_guidance_is_said_in_the_first_step(bench, tiny, unet):
    _, sae = unet(guidance=2.0)
    off = bench.bare(tiny, guidance=1.0)
    counted = bench.counted(off.model)
    with pytest.raises(HookError) as error, omnisae_diffusion.edit(off, sae, omnisae.scale(EVERY, by=0.0)):
        off.generate(bench.labelled())
    assert error.value.problem == (
        "the artifact reads 2 branches of guidance at 'unet.mid_block.output', and the denoiser was run on 1 for each "
        "picture: guidance is off"
    )
    assert error.value.remedy == (
        "switch guidance on (guidance_scale above 1), or use an artifact that was trained without it"
    )
    assert counted.calls == 1
    assert bench.hooks_on(off.components) == 1, "the counter"


@pytest.mark.parametrize("name", ["stable_diffusion", "dit"])
@pytest.mark.parametrize("by", ["pipeline", "process"])
def test_guidance_of_a_pipeline_is_looked_at(bench, tiny, name, by):
    pipe = tiny.PIPELINES[name]()
    pipe = bench.with_ddim(pipe) if name == "stable_diffusion" else pipe
    on, off = bench.pipeline(pipe, guidance=3.0), bench.pipeline(pipe, guidance=1.0)
    asks = bench.labelled() if name == "dit" else bench.asks()
    path = BLOCK.get(name, "transformer.transformer_blocks.13")
    sae = bench.sae(bench.extractor(on, asks, branch="both"), path)
    before = on.generate(asks)
    with omnisae_diffusion.edit(pipe if by == "pipeline" else on, sae, omnisae.scale(EVERY, by=1.0)):
        np.testing.assert_array_equal(on.generate(asks), before)
    target = pipe if by == "pipeline" else off
    with (
        pytest.raises(HookError, match="guidance is off"),
        omnisae_diffusion.edit(target, sae, omnisae.scale(EVERY, by=1.0)),
    ):
        off.generate(asks)


@pytest.fixture
def by_call(bench, tiny):
    """A pipeline whose branches of guidance are calls, conditional first, and an artifact of the named branch."""
    pipe = tiny.PIPELINES["flux"]()
    on = bench.pipeline(pipe, true_cfg_scale=3.0, negative_prompt="blue")
    asks = [Ask("a red cat", seed=1, negative="blue")]

    def make(branch="conditional"):
        one = bench.extractor(on, asks, branch=branch)
        return pipe, on, asks, one, bench.sae(one, BLOCK["flux"])

    return make


@pytest.mark.parametrize("branch", [0, 1])
def test_weights_along_branches_that_are_calls_leave_the_other_call_as_it_is(bench, by_call, branch):
    pipe, on, asks, _, sae = by_call()
    block = pipe.transformer.transformer_blocks[9]
    off = omnisae.scale(EVERY, by=0.0, weights=[Along("branch", {branch: 1})])
    with bench.seen(block, 1) as plain:
        before = on.generate(asks)
    with omnisae_diffusion.edit(pipe, sae, off), bench.seen(block, 1) as edited:
        after = on.generate(asks)
    same = [torch.equal(a, b) for a, b in zip(plain[:2], edited[:2], strict=True)]
    assert same == [branch != 0, branch != 1], "in the first step, where both start from the same"
    assert (before != after).any()
    with omnisae_diffusion.edit(pipe, sae, omnisae.scale(EVERY, by=1.0)):
        np.testing.assert_array_equal(on.generate(asks), before)


@pytest.mark.parametrize(("branch", "number"), [("conditional", 0), ("unconditional", 1)])
def test_the_branch_that_is_read_is_the_one_that_a_studio_edits(bench, by_call, branch, number):
    _, _, _, one, sae = by_call(branch)
    (where,) = Studio.where.func(SimpleNamespace(sae=sae, extractor=one))
    assert where == Along("branch", {float(number): 1.0})
    where.check(sae.info.hook.known_sizes, sae.info.hook.ticks)


def test_branches_that_are_calls_are_looked_for(bench, by_call):
    pipe, _, _, _, sae = by_call()
    off = bench.pipeline(pipe)
    with (
        pytest.raises(HookError) as error,
        omnisae_diffusion.edit(pipe, sae, omnisae.scale(EVERY, by=0.0)),
    ):
        off.generate([Ask("a red cat", seed=1)])
    assert "reads 2 branches of guidance" in error.value.problem
    assert error.value.problem.endswith("was run on 1 for each picture: guidance is off")


def test_a_single_picture_without_guidance_is_said_too(bench, tiny, unet):
    _, sae = unet(guidance=2.0)
    off = bench.bare(tiny, guidance=1.0)
    with (
        pytest.raises(HookError, match="guidance is off"),
        omnisae_diffusion.edit(off, sae, omnisae.scale(EVERY, by=0.0)),
    ):
        off.generate([Ask(label=1)])


def test_another_model_is_refused(bench, tiny, unet):
    _, sae = unet()
    other = bench.bare(tiny)
    with torch.no_grad():
        other.model.conv_in.weight.add_(0.01)
    with (
        pytest.raises(ArtifactError, match="belongs to another model"),
        omnisae_diffusion.edit(other, sae, omnisae.scale(1, by=0.0)),
    ):
        pass
    before = other.generate(bench.labelled())
    with omnisae_diffusion.edit(other, sae, omnisae.scale(EVERY, by=1.0), allow_other_model=True):
        np.testing.assert_array_equal(other.generate(bench.labelled()), before)


def test_the_same_weights_in_another_pipeline_are_the_same_model(bench, tiny, unet):
    _, sae = unet()
    again = bench.bare(tiny)
    with omnisae_diffusion.edit(again, sae, omnisae.scale(EVERY, by=1.0)):
        again.generate(bench.labelled())


def test_an_edit_that_never_took_place_is_said(bench, unet):
    process, sae = unet()
    with (
        pytest.raises(HookError, match=r"so nothing was edited"),
        omnisae_diffusion.edit(process, sae, omnisae.scale(1, by=0.0)),
    ):
        pass


def test_compiled_and_offloaded_networks_are_refused(bench, unet):
    process, sae = unet()

    def refused(match):
        with pytest.raises(HookError, match=match), omnisae_diffusion.edit(process, sae, omnisae.scale(1, by=0.0)):
            pass

    process.model.mid_block.compile(backend="eager")
    refused(r"'unet.mid_block' is compiled by torch.compile: hooks on it would be bypassed")
    process.model.mid_block._compiled_call_impl = None
    process.model.mid_block._hf_hook = object()
    refused(r"'unet.mid_block' is offloaded by accelerate \(object\)")
    del process.model.mid_block._hf_hook


def test_concatenated_text_encoders_are_read_and_not_edited(bench, tiny):
    pipe = tiny.sdxl_turbo()
    one = bench.extractor(bench.pipeline(pipe), bench.asks())
    sae = bench.sae(one, ["text_encoder.encoder.layers.10", "text_encoder_2.text_model.encoder.layers.28"])
    with (
        pytest.raises(HookError, match=r"it can be read, not edited"),
        omnisae_diffusion.edit(pipe, sae, omnisae.scale(1, by=0.0)),
    ):
        pass
