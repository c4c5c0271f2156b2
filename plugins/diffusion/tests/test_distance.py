"""Distances between sets of pictures: the closed form, a slow reference, and what they must not depend on."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.linalg import sqrtm

from omnisae.config import HookConfig
from omnisae.errors import ConfigError, DatasetError, PluginError
from omnisae_diffusion.distance import inception
from omnisae_diffusion.distance.compare import compare
from omnisae_diffusion.distance.frechet import frechet
from omnisae_diffusion.distance.kernel import kernel
from omnisae_diffusion.plugin_distance import DistanceConfig
from omnisae_vision.plugin import TimmConfig
from omnisae_vision.plugin_studies import EmbeddingConfig

pytestmark = pytest.mark.filterwarnings("ignore:.* has random weights")


def exactly(mean, covariance, n, seed):
    """Rows whose sample mean and covariance are the given ones, to rounding."""
    raw = np.random.default_rng(seed).normal(size=(n, len(mean)))
    raw -= raw.mean(axis=0)
    white = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw.T))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def closed_form(mean, covariance, other_mean, other_covariance):
    """Dowson & Landau's formula, by scipy's root of a matrix."""
    root = np.real(sqrtm(covariance @ other_covariance))
    return ((mean - other_mean) ** 2).sum() + np.trace(covariance + other_covariance - 2 * root)


def kernel_slowly(first, second):
    """The unbiased squared MMD, pair by pair."""

    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    n, m = len(first), len(second)
    same = sum(k(first[i], first[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    other = sum(k(second[i], second[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return same + other - 2 * sum(k(a, b) for a in first for b in second) / (n * m)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.floats(-1000, 1000))
def test_fid_of_planted_gaussians_is_the_closed_form(seed, shift):
    random = np.random.default_rng(seed)
    means = random.normal(size=(2, 4)) + shift
    covariances = [a @ a.T + 0.1 * np.eye(4) for a in random.normal(size=(2, 4, 4))]
    one, other = (exactly(m, c, 60, seed + at) for at, (m, c) in enumerate(zip(means, covariances, strict=True)))
    wanted = closed_form(means[0], covariances[0], means[1], covariances[1])
    assert frechet(one, other) == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_fid_by_hand():
    one = exactly(np.zeros(2), np.diag([1.0, 4.0]), 30, 0)
    other = exactly(np.array([3.0, 0.0]), np.diag([4.0, 4.0]), 40, 1)
    # 3² for the means, (2 − 1)² for the first axis, 0 for the second
    assert frechet(one, other) == pytest.approx(10.0)


def test_a_set_is_at_distance_nought_from_itself_even_where_it_is_too_small_for_its_features():
    few = np.random.default_rng(0).normal(size=(10, 30))
    assert frechet(few, few) == pytest.approx(0, abs=1e-5)
    assert frechet(few, few) >= 0


def test_fewer_pictures_than_features_have_the_closed_form_too():
    one, other = np.random.default_rng(0).normal(size=(2, 8, 40))
    covariances = np.cov(one.T), np.cov(other.T)
    # the root of a matrix without full rank, by its eigenvalues
    root = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).astype(complex)).real.sum()
    wanted = ((one.mean(0) - other.mean(0)) ** 2).sum() + sum(map(np.trace, covariances)) - 2 * root
    assert frechet(one, other) == pytest.approx(wanted, rel=1e-5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_neither_order_nor_which_set_is_first_matters(seed):
    random = np.random.default_rng(seed)
    one, other = random.normal(size=(14, 3)), random.normal(size=(11, 3)) + 0.5
    mixed = random.permutation(one)
    assert frechet(one, other) == frechet(other, one) == frechet(mixed, other)
    assert kernel(one, other, 7, 5) == kernel(other, one, 7, 5) == kernel(mixed, other, 7, 5)


def test_kid_is_the_slow_formula_on_subsets_of_pairs():
    random = np.random.default_rng(3)
    one, other = random.normal(size=(12, 4)), random.normal(size=(12, 4)) + 1
    # Over all pairs of subsets the mean is the formula over all; many draws come near it.
    found = kernel(one, other, subsets=2000, size=6)
    assert found.size == 6
    assert found.value == pytest.approx(kernel_slowly(one, other), abs=4 * found.spread / np.sqrt(2000))
    assert found.spread > 0


def test_kid_of_one_distribution_is_about_nought_and_grows_with_the_shift():
    random = np.random.default_rng(0)
    natural = random.normal(size=(400, 6))
    same, near, far = (kernel(natural, random.normal(size=(400, 6)) + shift, 10).value for shift in (0, 0.5, 1.5))
    assert abs(same) < 0.05 < near < far


def test_global_random_numbers_and_threads_are_left_alone():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    kernel(np.eye(6), np.eye(6) + 1, 5, 3)
    frechet(np.eye(6), np.eye(6) + 1)
    assert torch.equal(torch.rand(3), wanted)
    assert torch.get_num_threads() == threads


def test_the_control_is_two_halves_of_the_natural_set_at_equal_counts():
    random = np.random.default_rng(1)
    natural, generated = random.normal(size=(300, 5)), random.normal(size=(90, 5)) + 1
    few = DistanceConfig(subsets=20)
    found = compare(generated, natural, config=few, seed=4)
    assert (found.generated, found.natural, found.matched) == (90, 300, 90)
    assert found.fid_control < 0.5 < found.fid_matched
    assert abs(found.kid_control.value) < 0.3 < found.kid_matched.value
    assert found.warnings == ()
    assert compare(generated[::-1], random.permutation(natural), config=few, seed=4) == found
    n = {finding.name: (finding.n, finding.control) for finding in found.findings()}
    assert n["FID"][0] == 90
    assert n["FID, equal counts"] == (90, found.fid_control)
    assert "over 20 subsets of 45" in found.findings()[3].remark


def test_too_few_pictures_for_the_features_are_warned_of():
    random = np.random.default_rng(1)
    (said,) = compare(random.normal(size=(20, 8)), random.normal(size=(8, 8))).warnings
    assert "8 natural" in said
    assert "20 generated" not in said
    assert "8 features" in said


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        (np.ones((1, 3)), np.ones((5, 3)), "has 1 picture"),
        (np.ones((4, 3)), np.ones((4, 2)), r"\[4, 3\] and \[4, 2\]"),
        (np.full((4, 3), np.nan), np.ones((4, 3)), "4 pictures have features that are NaN"),
    ],
)
def test_features_that_have_no_distance(one, other, says):
    for distance in (frechet, kernel):
        with pytest.raises(DatasetError, match=says):
            distance(one, other)


def test_three_natural_pictures_have_no_halves():
    with pytest.raises(DatasetError, match="3 natural pictures"):
        compare(np.ones((5, 2)), np.ones((3, 2)))


@pytest.fixture
def timm_model():
    return TimmConfig(model="test_vit", image_size=32, device="cpu", batch_size=8, arguments={"num_classes": 40})


@pytest.mark.parametrize("hook", [None, HookConfig(at="blocks.1")])
def test_pictures_are_told_apart_by_the_model_that_the_config_names(timm_model, hook):
    random = np.random.default_rng(0)
    natural = random.integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
    alike = random.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    comparison = DistanceConfig(features=EmbeddingConfig(model=timm_model, hook=hook), subsets=10).build()
    near, far = comparison(alike, natural), comparison(alike // 4, natural)
    assert near.fid < far.fid
    assert near.kid.value < far.kid.value
    assert near.features == (64 if hook else 40)
    assert "test_vit" in near.model
    assert ("blocks.1" in near.model) == (hook is not None)
    assert near.warnings


def test_pictures_of_another_form(timm_model):
    comparison = DistanceConfig(features=EmbeddingConfig(model=timm_model)).build()
    good = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    with pytest.raises(DatasetError, match="generated pictures are of float64"):
        comparison(good / 255, good)
    with pytest.raises(DatasetError, match=r"natural pictures have the shape \[4, 3, 8, 8\]"):
        comparison(good, good.transpose(0, 3, 1, 2))


def test_configs_are_read_without_torch():
    code = "import sys; from omnisae_diffusion import plugin_classifier, plugin_distance; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_configs_that_cannot_hold(tmp_path, timm_model):
    with pytest.raises(ValidationError, match="stand in no table"):
        DistanceConfig(features=EmbeddingConfig(path=tmp_path / "v.npy"))
    with pytest.raises(ValidationError, match="another model than Inception"):
        DistanceConfig(features=EmbeddingConfig(model=timm_model), fetch=True)
    with pytest.raises(ValidationError, match="give one of them"):
        DistanceConfig(inception=tmp_path / "w.pth", fetch=True)


def test_without_inception_the_remedy_is_another_model(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    pictures = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    with pytest.raises(ConfigError, match="Inception") as error:
        DistanceConfig().build()(pictures, pictures)
    assert "vision.timm" in error.value.remedy


def test_weights_that_hold_more_than_tensors_are_refused(tmp_path):
    torch.save({"a": tmp_path}, tmp_path / "w.pth")  # a path is an object that only pickle can make
    with pytest.raises(ConfigError, match="cannot be read as weights alone"):
        inception.weights(DistanceConfig(inception=tmp_path / "w.pth"))


def test_a_damaged_download_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / inception.FILE).write_bytes(b"half a file")
    with pytest.raises(ConfigError, match="is damaged"):
        inception.weights(DistanceConfig())


def test_weights_are_fetched_only_where_the_config_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert inception.weights(DistanceConfig(fetch=True)) is None
    with pytest.raises(ConfigError, match="not on this machine"):
        inception.weights(DistanceConfig())


def test_a_missing_library_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    for distance in (frechet, kernel):
        with pytest.raises(PluginError, match="torchmetrics") as error:
            distance(np.eye(3), np.eye(3))
        assert "omnisae-diffusion[distance]" in error.value.remedy


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch_fidelity") is None, reason="torch-fidelity is not installed")
def test_inceptions_features_come_from_a_local_file(tmp_path, monkeypatch):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Inception

    monkeypatch.setattr(Inception, "load_state_dict", lambda self, state: None)
    torch.save({}, tmp_path / "none.pth")
    torch.manual_seed(0)
    untrained = Inception("inception-v3-compat", ["2048"], str(tmp_path / "none.pth"))
    torch.save(untrained.state_dict(), tmp_path / "w.pth")
    monkeypatch.undo()
    pictures = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    name, features = inception.network(DistanceConfig(inception=tmp_path / "w.pth", batch=2, device="cpu"))
    found = features(pictures)
    assert name == "Inception-v3"
    assert found.shape == (5, inception.FEATURES)
    np.testing.assert_allclose(features(pictures[3:4])[0], found[3], rtol=1e-4, atol=1e-5)
