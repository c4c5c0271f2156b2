"""Scoring from end to end on planted truth."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow.parquet as pq
import pytest

from omnisae.concepts.annotations import Interval, Mask, Region
from omnisae.concepts.configs import AurocConfig, F1Config, IouConfig, SpearmanConfig
from omnisae.concepts.metric import Evidence, Metric
from omnisae.concepts.score import score
from omnisae.concepts.table import SCHEMA
from omnisae.config import ControlsConfig, ScoreConfig, SplitConfig
from omnisae.errors import ConfigError, DatasetError
from omnisae.extract.split import SELECT, TEST, TRAIN
from omnisae.hooks.point import HookPoint
from omnisae.plugins.kinds import MetricConfig
from omnisae.testing import MetricTests

NO_CONTROLS = ControlsConfig(neurons=False, pca=0, random=0, permutations=99)


def settings_of(**changes: Any) -> ScoreConfig:
    values = {"metrics": (AurocConfig(), IouConfig()), "controls": NO_CONTROLS, "min_positives": 2}
    return ScoreConfig(**(values | changes))


def run(world: Any, out: Path, config: ScoreConfig) -> tuple[dict[tuple[int, str], dict[str, Any]], dict[str, Any]]:
    """The rows of the table by latent and concept, and concepts.json."""
    postings = world.postings(out / "codes")
    score(postings, world.dataset(), world.extractor(), world.source(), config, out)
    rows = pq.read_table(out / "concepts.parquet").to_pylist()
    return {(row["latent"], row["concept"]): row for row in rows}, json.loads((out / "concepts.json").read_text())


def planted(world_of: Callable[..., Any], **rest: Any) -> Any:
    """Ten examples of ten positions a side; a region over positions 2–5 in the even ones.

    Latent 0 fires on three of four positions of each region, and at one position of the odd examples: on a side it has
    15 hits, 5 false alarms and 5 misses. Latent 1 fires on the first two regions alone, whole. Latent 2 is dead.
    """
    examples = 24
    split = np.array([TRAIN] * 4 + [SELECT] * 10 + [TEST] * 10)
    codes = np.zeros((examples, 10, 3))
    codes[::2, 2:5, 0] = 1.0
    codes[1::2, 8, 0] = 1.0
    codes[[4, 6, 14, 16], 2:6, 1] = 0.5
    regions = {i: [Region("here", 7, Interval("position", 2, 6))] if i % 2 == 0 else [] for i in range(examples)}
    return world_of(
        codes.reshape(-1, 3),
        [10] * examples,
        split,
        **({"regions": regions.__getitem__, "region_concepts": ["here"]} | rest),
    )


def test_known_latents_get_exactly_their_numbers(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    rows, facts = run(planted(world_of), tmp_path, settings_of())
    assert set(rows) == {(0, "here"), (1, "here")}, "a dead latent makes no row"
    first, second = rows[0, "here"], rows[1, "here"]
    assert (first["precision"], first["recall"], first["f1"]) == pytest.approx((15 / 20, 15 / 20, 15 / 20))
    assert first["iou"] == pytest.approx(15 / 25)
    assert first["recall_instance"] == 1.0
    # of 20 positives and 80 negatives, 15 and 5 fire, all alike: U counts pairs, ties half
    assert first["auroc"] == pytest.approx((15 * 75 + 0.5 * (15 * 5 + 5 * 75)) / (20 * 80))
    assert (second["precision"], second["recall"], second["recall_instance"]) == pytest.approx((1.0, 8 / 20, 2 / 5))
    assert (first["n_select"], first["n_test"], first["level"]) == (100, 100, "token")
    assert first["p_value"] < 0.05
    concept = facts["concepts"][0]
    assert (concept["positives_test"], concept["examples_test"], concept["instances_test"]) == (20, 5, 5)


def test_places_of_which_nobody_knows_count_neither_way(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    """The odd examples' position 8, where latent 0 fires wrongly, is unknown, as is 4–5 where no region is."""
    places = (Region("here", 0, Interval("position", 8, 9)), Region("here", 0, Interval("position", 4, 6)))
    rows, facts = run(planted(world_of, unknown=lambda row: places), tmp_path, settings_of())
    first = rows[0, "here"]
    assert (first["precision"], first["recall"]) == pytest.approx((1.0, 15 / 20))
    # of 100 positions: ten at 8, and 4 and 5 of the five odd examples
    assert (first["n_select"], first["n_test"]) == (80, 80)
    assert facts["concepts"][0]["positives_test"] == 20


def test_columns_are_the_promised_ones_in_their_order(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    run(planted(world_of), tmp_path, settings_of())
    assert pq.read_schema(tmp_path / "concepts.parquet").names == list(SCHEMA)
    assert list(SCHEMA) == [
        "latent",
        "concept",
        "level",
        "threshold",
        "precision",
        "recall",
        "recall_instance",
        "f1",
        "auroc",
        "iou",
        "spearman",
        "n_select",
        "n_test",
        "control_neuron_f1",
        "control_pca_f1",
        "control_random_f1",
        "p_value",
        "q_value",
    ]


def test_unannotated_examples_count_for_nothing(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    plain = planted(world_of)

    def some(row: int) -> Any:
        return None if row in (14, 15) else plain.regions(row)

    rows, _ = run(planted(world_of, regions=some), tmp_path, settings_of())
    row = rows[0, "here"]
    assert row["n_test"] == 80
    assert row["precision"] == pytest.approx(12 / 16)
    assert row["recall"] == pytest.approx(12 / 16)


def test_the_test_side_chooses_nothing(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    codes = rng.random((60, 20)) * (rng.random((60, 20)) < 0.5)
    split = np.arange(60) % 2 + 1
    label = (rng.random(60) < 0.5).astype(float)
    other = np.where(split == TEST, 1 - label, label)
    chosen = [
        {key: row["threshold"] for key, row in run(world, tmp_path / name, settings_of(top=3))[0].items()}
        for name, world in (
            (name, world_of(codes, [1] * 60, split, labels={"c": column}))
            for name, column in (("as is", label), ("turned", other))
        )
    ]
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_any_batch_size_gives_the_same_table(tmp_path: Path, world_of: Callable[..., Any], batch: int) -> None:
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 5, 60)
    tokens = int(sizes.sum())
    labels = {"c": (rng.random(60) < 0.5).astype(float), "f": np.round(rng.random(60), 1)}

    def table(size: int) -> Any:
        again = np.random.default_rng(4)
        world = world_of(
            again.random((tokens, 6)) * (again.random((tokens, 6)) < 0.4),
            sizes,
            np.arange(60) % 3,
            labels=labels,
            regions=lambda row: [Region("r", 0, Interval("position", 0, 1))] if row % 4 else [],
            region_concepts=["r"],
            activations=again.normal(size=(tokens, 4)),
            batch=size,
        )
        config = settings_of(controls=ControlsConfig(pca=2, random=8, permutations=99))
        rows, facts = run(world, tmp_path / str(size), config)
        return rows, {entry["name"]: entry["controls"] for entry in facts["concepts"]}

    rows, controls = table(batch)
    expected, expected_controls = table(64)
    assert rows.keys() == expected.keys()
    for key, row in rows.items():
        assert row == pytest.approx(expected[key], nan_ok=True)
    for name, families in controls.items():
        for family, found in families.items():
            assert found == pytest.approx(expected_controls[name][family])


def test_controls_are_those_of_plain_loops(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    rng = np.random.default_rng(8)
    sizes = np.full(60, 3)
    split = np.arange(60) % 3
    example = np.repeat(np.arange(60), 3)
    label = (rng.random(60) < 0.5).astype(float)
    activations = (rng.normal(size=(180, 4)) + 5).astype(np.float32)
    activations[:, 2] -= (2 * label)[example]
    world = world_of(rng.random((180, 3)), sizes, split, labels={"c": label}, activations=activations)
    config = settings_of(controls=ControlsConfig(pca=0, random=0, permutations=19))
    _, facts = run(world, tmp_path, config)
    found = facts["concepts"][0]["controls"]["neuron"]

    mean = activations[split[example] == TRAIN].mean(axis=0)
    units = np.concatenate([activations - mean, mean - activations], axis=1)
    pooled = np.stack([units[example == i].max(axis=0) for i in range(60)])
    scaled = pooled / units[split[example] == SELECT].max(axis=0)
    best = (-1.0, 0, 0.0, 0.0)
    for unit in range(8):
        for threshold in config.thresholds:
            f1 = [
                2 * ((scaled[split == side, unit] > threshold) & (label[split == side] == 1)).sum()
                / ((scaled[split == side, unit] > threshold).sum() + (label[split == side] == 1).sum())
                for side in (SELECT, TEST)
            ]  # fmt: skip
            if f1[0] > best[0]:
                best = (f1[0], unit, threshold, f1[1])
    assert (found["unit"], found["sign"]) == (best[1] % 4, 1 if best[1] < 4 else -1)
    assert (found["f1_select"], found["threshold"], found["f1"]) == pytest.approx((best[0], best[2], best[3]))
    assert (found["unit"], found["sign"]) == (2, -1), "the neuron that was planted, upside down"


def test_masks_are_laid_over_the_grid_and_told_apart(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    hook = HookPoint(name="grid", at=("g",), pattern="example (y x) d", sizes={"y": 2, "x": 2}, width=4)
    examples = 12
    example = np.repeat(np.arange(examples), 4)
    coords = np.tile([[0, 0], [0, 1], [1, 0], [1, 1]], (examples, 1))
    left, right, dot = np.zeros((3, 5, 5), dtype=bool)
    left[:, :2] = True  # four fifths of the cells on the left
    right[:3, 3:] = True  # the cell above on the right, and a bit of the one below
    dot[0, 0] = True  # too small for any cell
    regions = [Region("thing", 0, Mask(left)), Region("thing", 1, Mask(right)), Region("thing", 2, Mask(dot))]
    codes = np.zeros((examples * 4, 1))
    codes[1::4] = 1.0  # above on the right
    world = world_of(codes, [4] * examples, np.arange(examples) % 3, regions=lambda row: regions,
                     region_concepts=["thing"])  # fmt: skip
    world.hook, world.example, world.coords = hook, example, coords
    rows, facts = run(world, tmp_path, settings_of())
    row = rows[0, "thing"]
    assert (row["precision"], row["recall"], row["recall_instance"]) == pytest.approx((1.0, 1 / 3, 1 / 2))
    assert "8 regions cover no token's cell by 0.5 or more" in facts["notes"][0]


def test_fractions_are_chosen_and_scored_by_spearman(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(2)
    fraction = rng.random(90)
    codes = np.stack([1.1 - fraction, rng.random(90)], axis=1) * (rng.random((90, 2)) < 0.9)
    fraction[::9] = np.nan
    split = np.arange(90) % 3
    rows, _ = run(world_of(codes, [1] * 90, split, labels={"f": fraction}), tmp_path, settings_of(top=1))
    known = (split == TEST) & ~np.isnan(fraction)
    row = rows[0, "f"]
    assert row["spearman"] == pytest.approx(spearmanr(codes[known, 0].astype(np.float32), fraction[known]).statistic)
    assert row["spearman"] < -0.5
    assert row["p_value"] < 0.02
    assert row["n_test"] == known.sum()
    assert np.isnan([row[name] for name in ("threshold", "f1", "auroc", "iou")]).all()


def test_what_is_too_rare_is_not_scored_and_said_so(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    labels = {"none": np.zeros(30), "all": np.ones(30), "rare": np.r_[np.zeros(27), 1, 1, 1]}
    world = world_of(np.ones((30, 2)), [1] * 30, np.arange(30) % 3, labels=labels)
    rows, facts = run(world, tmp_path, settings_of())
    assert rows == {}
    reasons = {entry["name"]: entry["reason"] for entry in facts["unscored"]}
    assert reasons == {
        "none": "0 select examples have it; 2 are needed (score.min_positives)",
        "all": "everything on the select side has it, so there is nothing to tell it from",
        "rare": "1 select examples have it; 2 are needed (score.min_positives)",
    }
    assert pq.read_schema(tmp_path / "concepts.parquet").names == list(SCHEMA)


def test_a_dataset_that_knows_nothing_gives_an_empty_table(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    rows, facts = run(world_of(np.ones((9, 2)), [1] * 9, np.arange(9) % 3), tmp_path, settings_of())
    assert (rows, facts["concepts"]) == ({}, [])


def test_groups_are_permuted_whole(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    """One group has the concept and the latent in all of its examples: as examples this is striking, as groups not."""
    groups = [f"g{i // 10}" for i in range(60)]
    split = np.array([SELECT] * 30 + [TEST] * 30)
    label = np.isin(np.arange(60) // 10, (0, 3)).astype(float)
    p = {}
    for by in ("example", "group"):
        world = world_of(label[:, None], [1] * 60, split, labels={"c": label}, groups=groups)
        p[by] = run(world, tmp_path / by, settings_of(split=SplitConfig(by=by)))[0][0, "c"]["p_value"]
    assert p["example"] < 0.011
    assert p["group"] > 0.05


def test_labels_that_join_nothing(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    world = planted(world_of, labels={"c": np.zeros(24)})
    dataset = world.dataset()
    dataset._ids = [f"other{i}" for i in range(24)]
    with pytest.raises(DatasetError, match="24 labels and 24 examples are unmatched"):
        score(world.postings(tmp_path / "codes"), dataset, world.extractor(), world.source(), settings_of(), tmp_path)


def test_a_region_of_an_unknown_concept(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    with pytest.raises(DatasetError, match="'here', which is not among") as error:
        run(planted(world_of, region_concepts=["hare"]), tmp_path, settings_of())
    assert error.value.remedy == "did you mean 'hare'?"


def test_thresholds_out_of_range(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=r"score.thresholds: \[-0.1, 0.5\]"):
        run(planted(world_of), tmp_path, settings_of(thresholds=(-0.1, 0.5)))


class Overlap(Metric):
    """A third party's metric, from dense rows."""

    columns: ClassVar[tuple[str, ...]] = ("mean_inside",)

    def score(self, evidence: Evidence) -> Mapping[str, np.ndarray]:
        inside = [evidence.activation(r)[evidence.truth(r) == 1].mean() for r in range(len(evidence))]
        return {"mean_inside": np.array(inside)}


class OverlapConfig(MetricConfig):
    type: Literal["mine.overlap"] = "mine.overlap"

    def build(self) -> Metric:
        return Overlap()


class RivalConfig(MetricConfig):
    type: Literal["mine.rival"] = "mine.rival"

    def build(self) -> Metric:
        rival = Overlap()
        rival.columns = ("auroc",)  # type: ignore[misc]
        rival.score = lambda evidence: {"auroc": np.zeros(len(evidence))}  # type: ignore[method-assign]
        return rival


def test_a_plug_ins_metric_adds_a_column_after_the_fixed_ones(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    rows, facts = run(planted(world_of), tmp_path, settings_of(metrics=(OverlapConfig(),)))
    assert facts["columns"] == ["mine.overlap.mean_inside"]
    assert pq.read_schema(tmp_path / "concepts.parquet").names == [*SCHEMA, "mine.overlap.mean_inside"]
    assert rows[0, "here"]["mine.overlap.mean_inside"] == pytest.approx(0.75)
    assert np.isnan(rows[0, "here"]["auroc"]), "it was not asked for"


def test_two_metrics_for_one_column(tmp_path: Path, world_of: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=r"mine.rival and core.auroc both fill the column 'auroc'"):
        run(planted(world_of), tmp_path, settings_of(metrics=(AurocConfig(), RivalConfig())))


class Witness(Metric):
    """Keeps the evidence it is shown."""

    columns: ClassVar[tuple[str, ...]] = ("seen",)
    shown: ClassVar[list[Evidence]] = []

    def score(self, evidence: Evidence) -> Mapping[str, np.ndarray]:
        self.shown.append(evidence)
        return {"seen": np.ones(len(evidence))}


class WitnessConfig(MetricConfig):
    type: Literal["mine.witness"] = "mine.witness"

    def build(self) -> Metric:
        return Witness()


class TestCoresMetrics(MetricTests):
    @pytest.fixture(params=[F1Config, AurocConfig, IouConfig, SpearmanConfig])
    def config(self, request: pytest.FixtureRequest) -> MetricConfig:
        return request.param()  # type: ignore[no-any-return]

    @pytest.fixture
    def evidence(self, tmp_path: Path, world_of: Callable[..., Any]) -> Evidence:
        run(planted(world_of), tmp_path, settings_of(metrics=(WitnessConfig(),)))
        assert len(Witness.shown[-1]) > 0
        return Witness.shown[-1]
