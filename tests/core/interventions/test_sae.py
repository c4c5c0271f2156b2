import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from omnisae.autoencoders.artifact import save
from omnisae.errors import ArtifactError, ConfigError, HookError
from omnisae.hooks.taps import tap
from omnisae.interventions.configs import ScaleConfig
from omnisae.interventions.operation import add, clamp, keep_only, scale, set_to
from omnisae.interventions.sae import SAE, load
from omnisae.tokens.arrange import flatten
from omnisae.tokens.filter import TokenFilter, TokenFilters


def hooks_of(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


def read(model, sae, x):
    with tap(model, [sae.info.hook], stop=False) as seen:
        model(x)
    return seen["h"]


NO_OPS = {
    "nothing": [],
    "times one": [scale(3, 1.0)],
    "add nothing": [add([0, 5, 9], 0.0)],
    "a gate nothing passes": [set_to(4, 9.0, gate=1e9)],
    "bounds nothing reaches": [clamp(range(24), -1e9, 1e9)],
    "everything kept": [keep_only(range(24))],
    "there and back": [scale(2, 2.0), scale(2, 0.5)],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("view", ["input", "output", "update"])
@pytest.mark.parametrize("error", [True, False])
def test_a_no_op_is_the_identity_bit_for_bit(model, build, view, dtype, error):
    model = model.to(dtype)
    sae, x = build(model, view=view), model.probe().to(dtype)
    plain = model(x)
    for name, operations in NO_OPS.items():
        with torch.inference_mode(), sae.edit(model, *operations, error=error):
            assert torch.equal(bits(model(x)), bits(plain)), name
    assert hooks_of(model) == 0


@pytest.mark.parametrize("view", ["output", "update", "input"])
def test_the_delta_form(model, build, view, everywhere):
    sae, x = build(model, view=view, filters=everywhere), model.probe()
    layout = sae.info.hook.layout
    plain = read(model, sae, x)
    tokens = flatten(plain, layout)
    codes = sae.encode(tokens.values)
    latent = int(codes.latents.mode().values)
    without = codes.dense()
    without[:, latent] = 0
    shift = sae.decode(type(codes).from_dense(without, codes.context)) - sae.decode(codes)
    with sae.edit(model, scale(latent, by=0.0)):
        edited = flatten(read(model, sae, x), layout)
    torch.testing.assert_close(edited.values, tokens.values + shift, rtol=1e-5, atol=1e-6)
    silent = codes.dense()[:, latent] == 0
    assert torch.equal(edited.values[silent], tokens.values[silent]) or view == "update"
    assert not torch.equal(edited.values[~silent], tokens.values[~silent])


def test_replace_gives_the_reconstruction(model, build, everywhere):
    sae, x = build(model, filters=everywhere), model.probe()
    layout = sae.info.hook.layout
    tokens = flatten(read(model, sae, x), layout)
    with sae.edit(model, replace=True):
        edited = flatten(read(model, sae, x), layout)
    assert torch.equal(edited.values, sae.decode(sae.encode(tokens.values)))


def test_without_the_error_changed_tokens_become_their_reconstruction(model, build, everywhere):
    sae, x = build(model, filters=everywhere), model.probe()
    layout = sae.info.hook.layout
    tokens = flatten(read(model, sae, x), layout)
    codes = sae.encode(tokens.values)
    latent = int(codes.latents.mode().values)
    fires = codes.dense()[:, latent] != 0
    with sae.edit(model, scale(latent, by=0.0), error=False):
        edited = flatten(read(model, sae, x), layout)
    without = codes.dense()
    without[:, latent] = 0
    expected = sae.decode(type(codes).from_dense(without, codes.context))
    torch.testing.assert_close(edited.values[fires], expected[fires])
    assert torch.equal(edited.values[~fires], tokens.values[~fires])


def test_only_tokens_that_the_filter_keeps_are_edited(rows, build):
    x = rows.probe()
    for roles, touched in {("content",): slice(1, None), ("cls",): slice(0, 1)}.items():
        sae = build(rows, filters=TokenFilters(edit=TokenFilter(roles=roles)))
        plain = read(rows, sae, x)
        with sae.edit(rows, replace=True):
            edited = read(rows, sae, x)
        differs = (plain != edited).any(dim=2).any(dim=0)
        expected = torch.zeros(7, dtype=torch.bool)
        expected[touched] = True
        assert torch.equal(differs, expected)


def test_a_mask_over_axes_limits_an_edit(maps, build):
    sae, x = build(maps), maps.probe()
    plain = read(maps, sae, x)
    with sae.edit(maps, set_to(3, 5.0, mask={"y": (1, 3), "x": (0, 2)})):
        edited = read(maps, sae, x)
    differs = (plain != edited).any(dim=1).all(dim=0)
    expected = torch.zeros(4, 5, dtype=torch.bool)
    expected[1:3, 0:2] = True
    assert torch.equal(differs, expected)
    assert torch.equal(plain[:, :, ~expected], edited[:, :, ~expected])


def test_editing_a_batch_equals_editing_its_rows(maps, build):
    @settings(max_examples=10, deadline=None)
    @given(st.integers(1, 4), st.integers(0, 23))
    def check(n, latent):
        sae, x = build(maps), maps.probe(n)
        with sae.edit(maps, add(latent, 2.0)):
            whole = maps(x)
            parts = torch.cat([maps(one[None]) for one in x])
        torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-5)

    check()


def test_layer_normalised_codes_carry_their_context(maps, build):
    sae, x = build(maps, normaliser="core.layernorm"), maps.probe()
    plain = maps(x)
    with sae.edit(maps, scale(3, 1.0)):
        assert torch.equal(bits(maps(x)), bits(plain))
    with sae.edit(maps, keep_only(3)):
        assert not torch.equal(maps(x), plain)


def test_configs_are_operations_too(maps, build):
    sae, x = build(maps), maps.probe()
    with sae.edit(maps, keep_only(3)):
        one = maps(x)
    with sae.edit(maps, ScaleConfig(latent=tuple(i for i in range(24) if i != 3))):
        other = maps(x)
    torch.testing.assert_close(one, other)


def test_hooks_are_gone_after_an_exception(maps, build):
    sae = build(maps)
    with pytest.raises(KeyboardInterrupt), sae.edit(maps, scale(0, 0.0)):
        raise KeyboardInterrupt
    assert hooks_of(maps) == 0
    with pytest.raises(RuntimeError), sae.edit(maps, scale(0, 0.0)):
        maps(torch.randn(1, 9, 4, 5))
    assert hooks_of(maps) == 0
    with pytest.raises(ConfigError, match="there is no latent 99"), sae.edit(maps, scale(99, 0.0)):
        pass
    assert hooks_of(maps) == 0


def test_the_wrong_model_is_refused(maps, build):
    sae, other = build(maps), copy.deepcopy(maps)
    with torch.no_grad():
        other.stem.bias[0] += 1e-3
    with pytest.raises(ArtifactError, match="belongs to another model: it was trained on [0-9a-f]{16}…, and this"):
        sae.attach(other)
    assert sae.attach(other, allow_other_model=True) is sae
    with sae.edit(other, scale(0, 0.0)):
        other(other.probe())
    assert sae.attach(maps) is sae


def test_a_model_that_changes_after_attaching_is_refused(maps, build):
    sae = build(maps).attach(maps)
    with torch.no_grad():
        maps.stem.bias[0] += 1e-3
    with pytest.raises(ArtifactError, match="belongs to another model"):
        sae.attach(maps)


def test_a_missing_layer_another_width_and_tables_are_refused(maps, build):
    sae = build(maps, at="blocks.7")
    with pytest.raises(ArtifactError, match="cannot be attached at 'blocks.7': Maps has no module"):
        sae.attach(maps)
    sae = build(maps, at="head")
    with pytest.raises(ArtifactError, match="width 8, and 'h' of this model gives"), sae.edit(maps, scale(0, 0.0)):
        maps(maps.probe())
    with pytest.raises(ArtifactError, match="trained on a table"):
        build(maps, parent=False).attach(maps)
    with pytest.raises(ArtifactError, match="bypassed"):
        build(maps).attach(torch.compile(maps), allow_other_model=True)
    with pytest.raises(HookError, match="no forward reached"), build(maps).edit(maps, scale(0, 0.0)):
        pass


def test_units_come_from_the_artifact(maps, build):
    sae, x = build(maps), maps.probe()
    with sae.edit(maps, set_to(3, 0.5, unit="max")):
        one = maps(x)
    with sae.edit(maps, set_to(3, 2.0)):
        assert torch.equal(maps(x), one)
    half = set_to(3, 1.0, unit="quantile", quantile=0.5)
    with pytest.raises(ArtifactError, match="needs the statistic 'quantile:0.5'"), sae.edit(maps, half):
        maps(x)


def test_a_saved_artifact_loads_and_edits(maps, build, tmp_path):
    sae, x = build(maps), maps.probe()
    save(tmp_path / "sae", sae.autoencoder, sae.info, sample=torch.randn(64, 8), statistics=sae.statistics)
    again = load(tmp_path / "sae")
    assert isinstance(again, SAE)
    with sae.edit(maps, add(3, 1.0, unit="max")):
        one = maps(x)
    with again.edit(maps, add(3, 1.0, unit="max")):
        assert torch.equal(maps(x), one)


def test_the_top_level_names():
    import omnisae

    assert omnisae.load is load
    assert omnisae.scale is scale
    assert omnisae.keep_only is keep_only
    with pytest.raises(ArtifactError):
        omnisae.load(Path("nowhere"))


def test_a_model_of_many_parts_is_hashed_once(maps, build, monkeypatch):
    sae, counted = build(maps), []
    from omnisae.interventions import sae as room

    real = room.fingerprint
    monkeypatch.setattr(room, "fingerprint", lambda model: counted.append(1) or real(model))
    for _ in range(3):
        with sae.edit(maps, scale(0, 0.0)):
            maps(maps.probe())
    assert len(counted) == 1
    assert isinstance(maps, nn.Module)
