"""The conformance classes: a sound plug-in passes them all, and each finds the fault it is there for."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from omnisae.autoencoders.archetypal import Archetypal
from omnisae.autoencoders.configs import (
    AbsTopKConfig,
    ArchetypalConfig,
    BatchTopKConfig,
    JumpReLUConfig,
    ReLUConfig,
    TopKConfig,
)
from omnisae.concepts.annotations import Annotations, Interval, Region
from omnisae.config import HookConfig
from omnisae.extract.dataset import Example
from omnisae.extract.extractor import Extraction
from omnisae.hooks.point import HookPoint
from omnisae.report.configs import TrackConfig
from omnisae.report.visualizer import Figure, Firing, LatentView
from omnisae.scaffold import create
from omnisae.testing import (
    ActivationTests,
    DatasetTests,
    DecoderTests,
    ExtractorTests,
    MetricTests,
    PluginTests,
    VisualizerTests,
)
from omnisae.testing.same import same

Made = SimpleNamespace


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The scaffold's own modules, imported from where they were written."""
    folder = tmp_path_factory.mktemp("signals")
    create("signals", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder / "src"))
        from omnisae_signals import parts, plugin  # type: ignore[import-not-found]

        yield Made(parts=parts, plugin=plugin)


class TestSeries(DatasetTests):
    @pytest.fixture
    def config(self, made: Made) -> Any:
        return made.plugin.SeriesConfig(examples=6)


class TestConv(ExtractorTests):
    @pytest.fixture
    def config(self, made: Made) -> Any:
        return made.plugin.ConvConfig(width=4)

    @pytest.fixture
    def dataset(self, made: Made) -> Any:
        return made.parts.Series(6)

    @pytest.fixture
    def hooks(self) -> list[HookConfig]:
        return [HookConfig.model_validate({"at": "*"}), HookConfig.model_validate({"at": "gate", "view": "update"})]


RULES = (ReLUConfig(), JumpReLUConfig(l0=3), TopKConfig(k=3), AbsTopKConfig(k=3), BatchTopKConfig(k=3))


class TestRules(ActivationTests):
    @pytest.fixture(params=RULES, ids=lambda rule: str(rule.type))
    def config(self, request: pytest.FixtureRequest) -> Any:
        return request.param


class TestArchetypal(DecoderTests):
    @pytest.fixture(
        params=[{}, {"delta": 0.0}, {"choose": "rows"}], ids=["near mixtures", "mixtures alone", "mixtures of rows"]
    )
    def config(self, request: pytest.FixtureRequest) -> ArchetypalConfig:
        return ArchetypalConfig(points=10, **request.param)


def latent(dataset: Any = None) -> LatentView:
    hook = HookPoint(name="h", at=("h",), pattern="example d time", sizes={"time": 8}, width=4)
    return LatentView(3, hook, 2.0, np.array([2.0, 0.0], np.float32), dataset, None)  # type: ignore[arg-type]


class TestTrack(VisualizerTests):
    @pytest.fixture
    def config(self) -> TrackConfig:
        return TrackConfig()

    @pytest.fixture
    def view(self) -> LatentView:
        return latent()

    @pytest.fixture
    def firing(self) -> Firing:
        return Firing(0, np.array([[1], [4]], np.int32), np.array([0.5, 2.0], np.float32), {"time": 8})


def fails(check: Callable[..., None], *arguments: Any, match: str | None) -> None:
    with pytest.raises(AssertionError, match=match):
        check(*arguments)


def test_a_dataset_with_ids_twice_is_found(made: Made) -> None:
    dataset = made.parts.Series(3)
    type(dataset).ids, kept = property(lambda self: ["a", "a", "b"]), type(dataset).ids
    try:
        fails(DatasetTests().test_ids_are_unique_text, dataset, match="more than once")
    finally:
        type(dataset).ids = kept


def test_a_dataset_that_reads_at_random_is_found(made: Made) -> None:
    dataset = made.parts.Series(3)
    dataset.load = lambda row: Example(row, "x", np.random.default_rng().normal(size=3))
    fails(DatasetTests().test_reading_twice_gives_the_same, dataset, [0], match="differs between two readings")


@pytest.mark.parametrize(
    ("annotations", "check", "match"),
    [
        (Annotations(["b", "a"]), "test_annotations_join_the_examples", "other examples, or in another order"),
        (Annotations(["a", "b"], {"c": np.array([0.0, 2.0])}), "test_labels_are_shares", "leave"),
        (Annotations(["a", "b"], {"c": np.array([0.0])}), "test_labels_are_shares", "have shape"),
    ],
)
def test_wrong_annotations_are_found(annotations: Annotations, check: str, match: str) -> None:
    dataset = type("Two", (), {"ids": ["a", "b"], "__len__": lambda s: 2, "annotations": lambda s: annotations})()
    fails(getattr(DatasetTests(), check), dataset, match=match)


def test_wrong_regions_are_found() -> None:
    for region, match in (
        (Region("other", 0, Interval("time", 0, 2)), "does not name 'other'"),
        (Region("known", 0, Interval("time", 3, 3)), "is no interval"),
    ):
        annotations = Annotations(["a"], regions=lambda row, region=region: [region], region_concepts=["known"])
        dataset = Made(annotations=lambda annotations=annotations: annotations)
        fails(DatasetTests().test_regions_are_places, dataset, [0], match=match)


class Wrong:
    """An extractor whose tokens are changed on their way out."""

    def __init__(self, inner: Any, change: Callable[[Any], Any]) -> None:
        self.inner, self.change, self.model = inner, change, inner.model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def extract(self, rows: Any, inputs: Any, points: Any) -> Extraction:
        found = self.inner.extract(rows, inputs, points)
        return Extraction(found.rows, {name: self.change(batch) for name, batch in found.tokens.items()})


@pytest.mark.parametrize(
    ("check", "change", "match"),
    [
        ("test_widths_match", lambda b: replace(b, values=b.values[:, 1:]), None),
        ("test_widths_match", lambda b: replace(b, values=b.values * float("nan")), None),
        (
            "test_tokens_lie_inside_the_axes_each_once",
            lambda b: replace(b, coords=b.coords + 60),
            "a token beyond time",
        ),
        ("test_tokens_lie_inside_the_axes_each_once", lambda b: replace(b, coords=b.coords // 2), "share a place"),
        ("test_tokens_lie_inside_the_axes_each_once", lambda b: replace(b, example=b.example.flip(0)), "order of the"),
        ("test_twice_gives_the_same", lambda b: replace(b, values=b.values + torch.rand(1)), "not deterministic"),
        ("test_batched_equals_unbatched", lambda b: replace(b, values=b.values - b.values.mean()), "in a batch differ"),
    ],
)
def test_wrong_tokens_are_found(made: Made, check: str, change: Callable[[Any], Any], match: str | None) -> None:
    dataset = made.parts.Series(3)
    extractor = made.parts.Conv(4)
    points = extractor.resolve([HookConfig.model_validate({"at": "near"})])
    fails(getattr(ExtractorTests(), check), Wrong(extractor, change), dataset, [0, 1, 2], points, match=match)


def test_a_drawing_that_fetches_from_the_network_is_found() -> None:
    figure = Figure("text/html", b"<img src='https://example.org/x.png'>", "a figure")
    fails(VisualizerTests().check, figure, match="without a network")


def test_a_rule_that_looks_at_the_batch_is_found() -> None:
    rule = Made(infer=lambda pre: pre - pre.mean())
    pre = torch.randn(4, 3)
    fails(ActivationTests().test_inference_treats_rows_one_by_one, rule, pre, match="depends on its batch")


def test_a_rule_with_negative_codes_that_it_does_not_declare_is_found() -> None:
    rule = AbsTopKConfig(k=2).build(5)
    rule.signed = False  # type: ignore[misc]
    pre = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    fails(ActivationTests().test_codes_are_negative_only_where_it_says_so, rule, pre, match="declare `signed = True`")


def test_a_rule_that_keeps_k_and_does_not_pick_is_found() -> None:
    rule = Made(keeps=3)
    fails(ActivationTests().test_a_rule_with_a_k_picks, rule, None, match="picks entries")


class Restless(Archetypal):
    """Goes on moving."""

    @torch.no_grad()
    def after_step(self) -> None:
        self.weights.add_(torch.eye(*self.weights.shape))


def test_rows_that_go_on_moving_are_found() -> None:
    made = Restless(4, 3, 4, "rows", 0.0, True)
    made.start(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), 0, None)
    fails(DecoderTests().test_what_they_must_satisfy_they_satisfy_at_once, made, match="changes rows")


def test_a_plugin_that_imports_torch_is_found(put_on_path: Callable[[str], None]) -> None:
    put_on_path("heavy")
    checks = type("Heavy", (PluginTests,), {"name": "heavy"})()
    fails(checks.test_it_imports_no_torch, match="loading the plug-in imports torch")


@pytest.fixture
def put_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes one of the faulty plug-ins known to the processes that a test starts."""

    def put(name: str) -> None:
        source = Path(__file__).parents[2] / "plugins_data" / name
        info = tmp_path / f"omnisae_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: omnisae-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[omnisae]\n{name} = omnisae_{name}\n")
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{source}")

    return put


def test_same_knows_arrays_tensors_and_nan() -> None:
    one = {"a": [np.array([1.0, np.nan]), torch.ones(2)], "b": "x"}
    two = {"a": [np.array([1.0, np.nan]), torch.ones(2)], "b": "x"}
    assert same(one, two)
    assert not same(one, {**two, "a": [np.array([1.0, 2.0]), torch.ones(2)]})
    assert not same(np.zeros(2, np.float32), np.zeros(2))


def test_a_metric_that_leaves_out_a_column_is_found() -> None:
    metric = Made(columns=("mine",), score=lambda evidence: {"other": np.zeros(1)})
    fails(MetricTests().test_it_gives_one_number_a_row_for_every_column, metric, [0], match="mine")
