"""Text encoders of pipelines: read once a generation, at paths of any version of transformers."""

import pytest
import torch

from omnisae.errors import HookError


def test_a_text_encoder_is_read_once_and_the_denoiser_is_not_run(bench, over):
    one = over("stable_diffusion", steps=2)
    point, tokens = bench.read(one, "text_encoder.encoder.layers.8")
    assert point.axes == ("position",)
    assert point.told == {}
    assert point.roles == ("content", "bos")
    assert len(tokens) == 2 * 77
    counted = bench.counted(one.process.components.unet)
    one.extract([0, 1], bench.inputs_of(one), [point])
    one.extract([0, 1], bench.inputs_of(one), [point])
    assert counted.calls == 0


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_the_prompt_is_read_and_not_the_empty_one(bench, over, pipes, guidance):
    one = over("stable_diffusion", guidance=guidance)
    _, tokens = bench.read(one, "text_encoder.encoder.layers.8", call=0 if guidance > 1 else None)
    pipe = pipes("stable_diffusion")
    ids = pipe.tokenizer([ask.text for ask in one.dataset.inputs], padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        expected = pipe.text_encoder(ids, output_hidden_states=True).hidden_states[9]
    torch.testing.assert_close(tokens.values, expected.reshape(-1, 16))


@pytest.mark.parametrize(
    ("name", "written", "found"),
    [
        ("stable_diffusion", "text_encoder.text_model.encoder.layers.8", "text_encoder.encoder.layers.8"),
        ("stable_diffusion", "text_encoder.encoder.layers.8", "text_encoder.encoder.layers.8"),
        ("sdxl_turbo", "text_encoder_2.encoder.layers.28", "text_encoder_2.text_model.encoder.layers.28"),
        ("sdxl_turbo", "text_encoder_2.text_model.encoder.layers.28", "text_encoder_2.text_model.encoder.layers.28"),
    ],
)
def test_paths_of_clip_are_found_with_and_without_a_level(bench, over, name, written, found):
    (point,) = over(name).resolve([bench.hook(written)])
    assert point.at == (found,)


def test_two_text_encoders_are_concatenated(bench, over):
    one = over("sdxl_turbo")
    paths = ["text_encoder.text_model.encoder.layers.10", "text_encoder_2.text_model.encoder.layers.28"]
    point, tokens = bench.read(one, paths)
    assert point.axes == ("position",)
    assert point.width == 8 + 16
    apart = [bench.read(one, path)[1].values for path in paths]
    assert torch.equal(tokens.values, torch.cat(apart, dim=1))


def test_t5_has_no_token_of_the_beginning(bench, over):
    point, tokens = bench.read(over("pixart"), "text_encoder.encoder.block.23")
    assert point.roles == ("content",)
    assert (point.axes, point.known_sizes["position"]) == (("position",), 16)
    assert (tokens.role == 0).all()
    point, _ = bench.read(over("flux"), "text_encoder_2.encoder.block.23")
    assert point.width == 24


def test_text_and_steps_are_read_in_one_generation(bench, over):
    one = over("stable_diffusion")
    points = one.resolve([bench.hook("text_encoder.encoder.layers.8"), bench.hook("unet.mid_block")])
    found = one.extract([0, 1], bench.inputs_of(one), points)
    apart = [one.extract([0, 1], bench.inputs_of(one), [point]) for point in points]
    for point, alone in zip(points, apart, strict=True):
        assert torch.equal(found.tokens[point.name].values, alone.tokens[point.name].values)


def test_a_text_encoder_that_the_pipeline_lacks_is_said(bench, over):
    with pytest.raises(HookError) as error:
        over("stable_diffusion").resolve([bench.hook("text_encoder_2.encoder.layers.3")])
    assert error.value.problem == ("hook point 'text_encoder_2.encoder.layers.3': the pipeline has no 'text_encoder_2'")
    assert error.value.remedy == "its text encoders are: text_encoder"
    with pytest.raises(HookError) as error:
        over("dit").resolve([bench.hook("text_encoder.encoder.layers.3")])
    assert error.value.remedy == "it has no text encoder, but transformer, vae"
