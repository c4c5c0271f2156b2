"""The tiny pipelines are what the tests of this plug-in take them for: true classes, real paths, repeatable."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch


def _tiny():
    name = "diffusion_tiny"
    if name not in sys.modules:
        pytest.importorskip("diffusers", reason="diffusers is not installed")
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("tiny.py"))
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


tiny = _tiny()
PATHS = {
    "stable_diffusion": [
        "unet.up_blocks.1.attentions.1",
        "unet.mid_block.attentions.0",
        "unet.up_blocks.3.attentions.2",
    ],
    "sdxl_turbo": [
        "unet.down_blocks.2.attentions.1",
        "unet.mid_block.attentions.0",
        "unet.up_blocks.0.attentions.0",
        "unet.up_blocks.0.attentions.1.transformer_blocks.9",
        "text_encoder_2.text_model.encoder.layers.28",
    ],
    "pixart": ["transformer.transformer_blocks.27", "text_encoder.encoder.block.23"],
    "flux": ["transformer.transformer_blocks.18", "transformer.single_transformer_blocks.37"],
    "sd3": ["transformer.transformer_blocks.23", "text_encoder.text_model.encoder.layers.11"],
    "dit": ["transformer.transformer_blocks.27"],
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Tensors this small are slower on several threads, much slower where the cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=tiny.PIPELINES)
def made(request, tmp_path_factory):
    """A pipeline as it is made, what it draws, and the same pipeline from its folder."""
    make = tiny.PIPELINES[request.param]
    pipeline = make()
    return request.param, pipeline, tiny.draw(pipeline), make(tmp_path_factory.mktemp(request.param))


def test_two_steps_are_the_same_again_for_the_same_generator_and_other_for_another(made):
    _, pipeline, pictures, _ = made
    assert pictures.shape == (1, 3, tiny.PIXELS, tiny.PIXELS)
    assert pictures.isfinite().all()
    assert pictures.std() > 0.05
    assert torch.equal(pictures, tiny.draw(pipeline))
    assert not torch.allclose(pictures, tiny.draw(pipeline, seed=1), atol=0.1)


def test_the_prompt_is_heard(made):
    _, pipeline, pictures, _ = made
    one, other = tiny.draw(pipeline, ["a photo of a cat", "seven in ink"])
    assert (one - pictures[0]).abs().max() < 1e-4
    assert (one - other).abs().max() > 1e-3


def test_a_folder_gives_back_the_same_pipeline(made):
    name, pipeline, pictures, loaded = made
    assert type(loaded) is type(pipeline)
    ours = {key: part.state_dict() for key, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    for key, state in ours.items():
        theirs = getattr(loaded, key).state_dict()
        assert all(torch.equal(value, theirs[entry]) for entry, value in state.items()), f"{name}.{key}"
    assert (tiny.draw(loaded) - pictures).abs().max() < 1e-5  # kernels may differ by how weights lie in memory


def test_the_paths_of_the_real_models_exist(made):
    name, _, _, loaded = made
    for path in PATHS[name]:
        root, rest = path.split(".", 1)
        assert getattr(loaded, root).get_submodule(rest) is not None


def test_weights_follow_the_seed_and_leave_random_numbers_alone():
    torch.manual_seed(3)
    first, again, other = (tiny.stable_diffusion(seed=seed).unet.conv_in.weight for seed in (0, 0, 1))
    drawn = torch.rand(4)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_words_are_one_token_and_anything_else_is_spelt():
    clip, t5 = tiny.clip_tokenizer(), tiny.t5_tokenizer()
    assert len(clip("a red house").input_ids) == 5
    assert len(t5("a red house").input_ids) == 4
    assert clip.tokenize("cats") == ["ca", "t", "s</w>"]
    assert clip.unk_token_id not in clip("zebra 42!").input_ids[1:-1]
    assert t5.unk_token_id not in t5("zebra 42!").input_ids
    assert clip("cat", padding="max_length").input_ids[2:] == [clip.eos_token_id] * 75


@pytest.mark.parametrize("classes", [None, 10])
def test_the_bare_unet_and_its_scheduler_come_back_from_their_folders(tmp_path, classes):
    made, _ = tiny.unet2d(classes=classes)
    loaded, scheduler = tiny.unet2d(tmp_path, classes=classes)
    labels = None if classes is None else torch.tensor([3, classes])
    noise = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert not list(tmp_path.glob("model_index.json"))
    scheduler.set_timesteps(2)
    with torch.no_grad():
        for time in scheduler.timesteps:
            ours, theirs = (model(noise, time, class_labels=labels).sample for model in (made, loaded))
            assert (ours - theirs).abs().max() < 1e-5
            noise = scheduler.step(theirs, time, noise).prev_sample
    assert noise.isfinite().all()
