import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisae.autoencoders.codes import Codes
from omnisae.errors import ArtifactError, ConfigError
from omnisae.interventions import operation as ops
from omnisae.interventions.configs import AddConfig, ClampConfig, ScaleConfig, SetConfig, ZeroOthersConfig
from omnisae.interventions.operation import Known, Tokens
from omnisae.interventions.sparse import block_of, changed, silent, take, with_block

LATENTS = 7
UNITS = {
    "max": torch.arange(7) + 1.0,
    "quantile:0.9": torch.full((7,), 0.5),
    "concept_mean:red": torch.full((7,), 0.25),
}
KNOWN = Known(LATENTS, ("y", "x"), UNITS)
SIGNED = Known(LATENTS, ("y", "x"), UNITS | {f"negative:{n}": 10 * unit for n, unit in UNITS.items()}, signed=True)


def codes_of(n, density=0.4, seed=0, signed=False):
    rng = torch.Generator().manual_seed(seed)
    dense = torch.rand(n, LATENTS, generator=rng) * (torch.rand(n, LATENTS, generator=rng) < density)
    turn = torch.where(torch.rand(n, LATENTS, generator=rng) < 0.5, -1.0, 1.0) if signed else 1.0
    return Codes.from_dense(dense * turn)


def tokens_of(n):
    steps = torch.arange(n)
    coords = torch.stack([steps // 3, steps % 3], dim=1).to(torch.int32)
    return Tokens(torch.zeros(n, dtype=torch.int64), coords, torch.zeros(n, dtype=torch.uint8), ("y", "x"))


def slow(operation, dense, tokens):
    """The same operation, one number at a time: on z = sign · code, the code itself where no sign is given."""
    new, sign = dense.clone(), operation.sign or 1
    for t in range(len(dense)):
        inside = all(
            start <= int(tokens.coords[t, tokens.axes.index(axis)]) < stop
            for axis, (start, stop) in operation.mask.items()
        )
        turned = sign * dense[t]
        fires = [operation.gate is None or float(turned[latent]) > operation.gate for latent in operation.latents]
        if isinstance(operation, ops.ZeroOthers):
            if inside and any(fires):
                for latent in range(LATENTS):
                    kept = latent in operation.latents and (operation.sign is None or turned[latent] > 0)
                    new[t, latent] = dense[t, latent] if kept else 0.0
            continue
        for i, latent in enumerate(operation.latents):
            if not (inside and fires[i]):
                continue
            z, unit = turned[latent], operation.units[i]
            match operation:
                case ops.Scale():
                    other = operation.sign is not None and z <= 0
                    new[t, latent] = sign * (z if other else z * (operation.amount * unit))
                case ops.Add():
                    new[t, latent] = sign * (z + operation.amount * unit)
                case ops.Set():
                    new[t, latent] = sign * operation.amount * unit
                case ops.Clamp():
                    low = -1e9 if operation.low is None else operation.low * unit
                    high = 1e9 if operation.high is None else operation.high * unit
                    new[t, latent] = sign * min(max(z, low), high)
    return new


@st.composite
def operations(draw, signs=(None,)):
    place = {
        "sign": draw(st.sampled_from(signs)),
        "latents": tuple(draw(st.lists(st.integers(0, LATENTS - 1), min_size=1, max_size=3, unique=True))),
        "gate": draw(st.none() | st.floats(0, 1)),
        "mask": draw(st.sampled_from([{}, {"y": (0, 2)}, {"y": (1, 3), "x": (0, 1)}])),
    }
    kind = draw(st.sampled_from([ops.Scale, ops.Add, ops.Set, ops.Clamp, ops.ZeroOthers]))
    if kind is ops.ZeroOthers:
        return kind(**place)
    whole = len(signs) > 1 and place["sign"] is None  # a whole latent of two signs has no unit but raw
    unit = draw(st.just("raw") if whole else st.sampled_from(["raw", "max", "quantile", "concept_mean"]))
    place |= {"unit": unit, "quantile": 0.9, "concept": "red"}
    if kind is ops.Clamp:
        low = draw(st.floats(0, 0.5))
        return kind(low=low, high=draw(st.none() | st.floats(low, 1)), **place)
    return kind(amount=draw(st.sampled_from([0.0, 1.0, -2.0, 0.3])), **place)


@settings(max_examples=80, deadline=None)
@given(operations(), st.integers(0, 12), st.integers(0, 5))
def test_operations_agree_with_a_walk_over_the_dense_matrix(operation, n, seed):
    codes, tokens = codes_of(n, seed=seed), tokens_of(n)
    before = codes.dense().clone()
    prepared = operation.prepared(KNOWN)
    new = prepared.apply(codes, tokens)
    expected = slow(prepared, before, tokens)
    torch.testing.assert_close(new.dense(), expected)
    assert torch.equal(codes.dense(), before), "the old codes stay"
    assert (new.values != 0).all()
    for t in range(n):
        entries = new.latents[new.offsets[t] : new.offsets[t + 1]]
        assert (entries.diff() > 0).all(), "latents ascend within a token"
    assert torch.equal(changed(codes, new), (expected != before).any(dim=1))


@settings(max_examples=80, deadline=None)
@given(operations(signs=(None, 1, -1)), st.integers(0, 12), st.integers(0, 5))
def test_operations_on_signed_codes_agree_with_a_walk_over_the_dense_matrix(operation, n, seed):
    codes, tokens = codes_of(n, seed=seed, signed=True), tokens_of(n)
    before = codes.dense().clone()
    prepared = operation.prepared(SIGNED)
    new = prepared.apply(codes, tokens)
    expected = slow(prepared, before, tokens)
    torch.testing.assert_close(new.dense(), expected)
    assert (new.values != 0).all()
    assert torch.equal(changed(codes, new), (expected != before).any(dim=1))


def test_one_pole_is_switched_off_and_the_other_stays():
    codes = Codes.from_dense(torch.tensor([[-2.0, 3.0], [4.0, 0.0], [0.0, -1.0]]))
    known, tokens = Known(2, ("y", "x"), signed=True), tokens_of(3)
    off = [ops.scale(0, 0.0, sign=sign).prepared(known).apply(codes, tokens).dense() for sign in (-1, 1, None)]
    assert off[0].tolist() == [[0, 3], [4, 0], [0, -1]]
    assert off[1].tolist() == [[-2, 3], [0, 0], [0, -1]]
    assert off[2].tolist() == [[0, 3], [0, 0], [0, -1]]
    kept = ops.keep_only(0, sign=-1).prepared(known).apply(codes, tokens).dense()
    assert kept.tolist() == [[-2, 0], [0, 0], [0, 0]]
    pushed = ops.add(1, 0.5, sign=-1).prepared(known).apply(codes, tokens).dense()
    assert pushed.tolist() == [[-2, 2.5], [4, -0.5], [0, -1.5]]
    assert ops.set_to(1, 2.0, sign=-1).prepared(known).apply(codes, tokens).dense()[:, 1].tolist() == [-2, -2, -2]
    clamped = ops.clamp(1, high=0.5, sign=-1, gate=0).prepared(known).apply(codes, tokens).dense()
    assert clamped[:, 1].tolist() == [3, 0, -0.5]


@pytest.mark.parametrize(
    ("operation", "known", "says"),
    [
        (ops.scale(1, 0.0, sign=-1), KNOWN, "negative codes of latents [1]: no code of this artifact is negative"),
        (ops.scale(1, 0.0, sign=2), SIGNED, "an operation with sign 2\n  → give 1 (positive codes), −1, or none"),
        (ops.add(1, 1.0, unit="max"), SIGNED, "the unit 'max' without a sign"),
    ],
)
def test_signs_that_do_not_fit_are_refused(operation, known, says):
    with pytest.raises(ConfigError) as caught:
        operation.prepared(known)
    assert says in str(caught.value)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10), st.integers(0, 9), st.data())
def test_blocks_and_rows(n, seed, data):
    codes = codes_of(n, seed=seed)
    latents = data.draw(st.lists(st.integers(0, LATENTS - 1), unique=True, min_size=1))
    assert torch.equal(block_of(codes, latents), codes.dense()[:, latents])
    assert torch.equal(with_block(codes, latents, block_of(codes, latents)).dense(), codes.dense())
    rows = torch.tensor(sorted(data.draw(st.sets(st.integers(0, max(n - 1, 0)))) if n else []), dtype=torch.int64)
    assert torch.equal(take(codes, rows).dense(), codes.dense()[rows])
    assert not silent(codes).dense().any()
    assert len(silent(codes)) == n


@pytest.mark.parametrize(
    ("operation", "error", "says"),
    [
        (ops.scale(7, 0.0), ConfigError, "there is no latent 7\n  → the artifact has latents 0 to 6"),
        (ops.scale([1, 1], 0.0), ConfigError, "on latents [1, 1]"),
        (ops.scale([], 0.0), ConfigError, "on latents []"),
        (ops.add(1, 1.0, mask={"z": (0, 1)}), ConfigError, "the mask names axis 'z'\n  → choose from: x, y"),
        (ops.add(1, 1.0, mask={"y": (2, 2)}), ConfigError, "range on 'y' is 2 to 2"),
        (ops.add(1, 1.0, unit="quantile"), ConfigError, "with quantile: None"),
        (ops.add(1, 1.0, unit="quantile", quantile=0.99), ArtifactError, "needs the statistic 'quantile:0.99'"),
        (ops.add(1, 1.0, unit="concept_mean"), ConfigError, "without a concept"),
        (ops.add(1, 1.0, unit="concept_mean", concept="rad"), ArtifactError, "did you mean 'concept_mean:red'?"),
        (ops.clamp(1), ConfigError, "a clamp without a bound"),
        (ops.clamp(1, 2.0, 1.0), ConfigError, "a clamp between 2.0 and 1.0"),
    ],
)
def test_what_does_not_fit_the_artifact_is_refused(operation, error, says):
    with pytest.raises(error) as caught:
        operation.prepared(KNOWN)
    assert says in str(caught.value)


def test_configs_build_what_the_helpers_build():
    where = {"gate": 0.1, "mask": {"y": (0, 2)}, "sign": -1}
    pairs = [
        (ScaleConfig(latent=3, amount=0.5, **where), ops.scale(3, 0.5, **where)),
        (AddConfig(latent=(3, 4), amount=2, unit="max"), ops.add([3, 4], 2, unit="max")),
        (SetConfig(latent=3, amount=2, unit="quantile", quantile=0.9), ops.set_to(3, 2, unit="quantile", quantile=0.9)),
        (ClampConfig(latent=3, low=0, high=1), ops.clamp(3, 0, 1)),
        (ZeroOthersConfig(latent=(3, 4), **where), ops.keep_only((3, 4), **where)),
    ]
    for config, operation in pairs:
        assert config.build() == operation
