"""What every study of core keeps to, whatever the data: scales, signs, the TEST side, groups."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omnisae.autoencoders.artifact import Artifact
from omnisae.extract.split import TEST
from omnisae.studies.configs import (
    AgreementConfig,
    AlignmentConfig,
    ConfoundersConfig,
    CorporaConfig,
    OutliersConfig,
    ProbingConfig,
)
from omnisae.studies.outliers import residual
from omnisae.testing.same import same

QUICK = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def world(room, folder, seed, *, signed=False, **rest):
    random = np.random.default_rng(seed)
    n = 120
    codes = np.where(random.random((n, 5)) < 0.5, random.gamma(2, size=(n, 5)), 0.0)
    codes = codes * random.choice([-1, 1], codes.shape) if signed else codes
    known = {
        "labels": {"site": random.choice(["a", "b"], n).tolist()},
        "concepts": {
            "mass": (random.random(n) < 0.5) * 1.0,
            **{f"q_{i}": np.where(random.random(n) < 0.8, random.random(n), np.nan) for i in range(3)},
        },
        "features": {"size": random.normal(size=n)},
        "best": {"mass": 1},
    }
    rows = np.linalg.qr(random.normal(size=(8, 8)))[0][:5]
    x = codes @ rows
    rule = "core.abstopk" if signed else "core.topk"
    made = room.artifact(folder / "sae", rows, x, rule)
    other = room.artifact(folder / "seed1", np.ascontiguousarray(rows[::-1]), x, rule)
    given = {"codes": codes, "activations": x, "artifact": made, "siblings": [other], "signed": signed}
    return given | known | rest


CONFIGS = (
    ProbingConfig(k=(1, 2)),
    AgreementConfig(examples=4),
    CorporaConfig(column="site", draws=40, permutations=19),
    OutliersConfig(column="mass", permutations=19),
    AlignmentConfig(permutations=19),
    ConfoundersConfig(columns=("site", "size"), permutations=19),
)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.type)
def test_poles_of_signed_codes_are_latents_of_their_own(room, tmp_path, config):
    given = world(room, tmp_path, 0, signed=True)
    material = room.material(tmp_path / "m", **given)
    found = config.build().study(material)
    assert found.findings
    for measure in found.measures:
        assert len(measure.values) == 10
    codes = given["codes"]
    halves = np.concatenate([np.maximum(codes, 0), np.maximum(-codes, 0)], axis=1)
    split = room.material(tmp_path / "two", **{**given, "codes": halves, "signed": False})
    if config.type in ("core.corpora", "core.alignment", "core.confounders"):
        for one, other in zip(found.measures, config.build().study(split).measures, strict=True):
            assert same(np.asarray(one.values), np.asarray(other.values)), one.name


@given(seed=st.integers(0, 1000), factor=st.floats(0.01, 100))
@settings(QUICK, max_examples=3)
def test_a_latents_scale_changes_nothing(room, tmp_path_factory, seed, factor):
    folder = tmp_path_factory.mktemp("scale")
    given = world(room, folder, seed)
    scales = np.ones(5)
    scales[2] = np.float32(factor)
    plain = room.material(folder / "a", **given)
    scaled = room.material(folder / "b", **{**given, "codes": given["codes"] * scales})
    for config in (CONFIGS[2], CONFIGS[4], CONFIGS[5]):
        one, two = (config.build().study(m).measures for m in (plain, scaled))
        for a, b in zip(one, two, strict=True):
            if a.kind == "text":
                assert list(a.values) == list(b.values)
            else:
                assert np.allclose(a.values, b.values, atol=1e-4, equal_nan=True), a.name


@given(seed=st.integers(0, 1000))
@QUICK
def test_corpora_that_trade_places_give_the_rest_to_one(room, tmp_path_factory, seed):
    folder = tmp_path_factory.mktemp("swap")
    material = room.material(folder / "m", **world(room, folder, seed))
    one, two = (
        CorporaConfig(column="site", a=a, b=b, draws=20, permutations=19).build().study(material).measures[0].values
        for a, b in (("a", "b"), ("b", "a"))
    )
    assert np.allclose(one + two, 1.0, equal_nan=True)


def test_labels_of_test_examples_choose_no_probe_and_no_best_latent(room, tmp_path):
    """Turning every TEST label turns every AUROC round, since the probes are the same."""
    given = world(room, tmp_path, 3)
    material = room.material(tmp_path / "a", **given)
    turned = dict(given["concepts"])
    test = material.mask(material.rows(TEST))
    turned["mass"] = np.where(test, 1 - turned["mass"], turned["mass"])
    other = room.material(tmp_path / "b", **{**given, "concepts": turned})
    one, two = (
        ProbingConfig(concepts=("mass",)).build().study(m).tables["AUROC on test examples, by concept"][0]
        for m in (material, other)
    )
    assert one["best latents"] == two["best latents"]
    for key in one.keys() - {"concept", "positives on test", "best latents"}:
        assert one[key] == pytest.approx(1 - two[key]), key


def test_examples_of_one_group_are_permuted_together(room, tmp_path):
    """A confounder that is constant within a few groups is no evidence, however many examples they hold."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(8), 40)
    site = np.where(groups % 4 < 2, "a", "b")
    codes = np.abs(random.normal(size=(320, 3)) * 0.1 + (groups % 4 < 2)[:, None] * [1.0, 0, 0] + 0.01)
    material = room.material(tmp_path, codes, labels={"site": site.tolist()})
    study = ConfoundersConfig(columns=("site",), permutations=199).build()
    alone = {m.name: m.values for m in study.study(material).measures}
    grouped = {m.name: m.values for m in study.study(replace(material, groups=groups)).measures}
    assert alone["follows"][0] == "site"
    assert np.array_equal(alone["goes with site"], grouped["goes with site"])
    assert grouped["follows"][0] == ""


def test_residuals_are_those_of_a_loop(room, tmp_path):
    given = world(room, tmp_path, 5)
    random = np.random.default_rng(0)
    example = np.repeat(np.arange(60), 2)
    x = given["activations"] + 0.3 * random.normal(size=given["activations"].shape)
    material = room.material(tmp_path / "m", given["codes"], activations=x, example=example, artifact=given["artifact"])
    artifact = Artifact.load(given["artifact"])
    rows = np.array([5, 2, 9])
    found = residual(material, rows)
    tokens = torch.from_numpy(x).float()
    left = (tokens - artifact.decode(artifact.encode(tokens))).norm(dim=1).numpy()
    assert np.allclose(found, [left[example == row].mean() for row in rows], atol=1e-5)
