"""Patch F1 and IoU against masks: what fires where the class is not counts against a latent, in whatever batch."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from omnisae.concepts.annotations import Mask, Region
from omnisae.concepts.score import score
from omnisae.config import ScoreConfig
from omnisae.extract.split import SELECT, TEST
from omnisae.hooks.point import HookPoint

WORLDS = Path(__file__).parents[3] / "tests" / "core" / "concepts" / "conftest.py"
N, GRID, CELL = 40, 3, 4
HOOK = HookPoint(name="grid", at=("g",), pattern="example (y x) d", sizes={"y": GRID, "x": GRID}, width=4)


@pytest.fixture(scope="module")
def worlds():
    if not WORLDS.exists():
        pytest.skip("the worlds of core's own tests are absent")
    if "concept_worlds" not in sys.modules:
        spec = importlib.util.spec_from_file_location("concept_worlds", WORLDS)
        sys.modules["concept_worlds"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["concept_worlds"])
    return sys.modules["concept_worlds"]


def truth(row):
    """Every fourth picture of a side shows a thing in the middle and half of the patch on its right."""
    if row % 8 > 1:
        return []
    where = np.zeros((GRID * CELL, GRID * CELL), dtype=bool)
    where[CELL : 2 * CELL, CELL : 2 * CELL + 2] = True
    return [Region("thing", 0, Mask(where))]


def world(worlds, batch):
    """One latent that fires on the thing and, in pictures without it, on a corner: half of its firings are wrong."""
    example = np.repeat(np.arange(N), GRID * GRID)
    cells = np.arange(GRID * GRID)
    coords = np.tile(np.stack(np.divmod(cells, GRID), axis=1), (N, 1))
    codes = np.zeros((N * GRID * GRID, 1), dtype=np.float32)
    for row in range(N):
        codes[row * GRID * GRID + (4 if row % 8 <= 1 else 0), 0] = 1.0
    split = np.where(np.arange(N) % 2 == 0, SELECT, TEST).astype(np.uint8)
    return worlds.World(codes, example, coords, split, HOOK, regions=truth, region_concepts=["thing"], batch=batch)


def measured(worlds, folder, batch, **settings):
    import pyarrow.parquet as pq

    made = world(worlds, batch)
    config = ScoreConfig.model_validate(
        {"controls": {"neurons": False, "pca": 0, "random": 0, "permutations": 19}, "min_positives": 2, **settings}
    )
    folder.mkdir()
    score(made.postings(folder / "codes"), made.dataset(), made.extractor(), made.source(), config, folder)
    return pq.read_table(folder / "concepts.parquet").to_pylist()[0]


@pytest.mark.parametrize("batch", [1, GRID * GRID, 50, 1000])
def test_false_positives_count_in_pictures_without_the_class(worlds, tmp_path, batch):
    """One batch may hold no picture of the class: five right, fifteen wrong all the same."""
    row = measured(worlds, tmp_path / "run", batch, coverage=0.6)
    assert row["precision"] == pytest.approx(5 / 20)
    assert row["recall"] == 1.0
    assert row["f1"] == pytest.approx(2 * 5 / (2 * 5 + 15))
    assert row["iou"] == pytest.approx(5 / 20)


def test_a_patch_belongs_to_a_mask_from_the_covered_share_on(worlds, tmp_path):
    """Of the patch on the right half is covered: by a lower threshold it is a miss, and recall halves."""
    strict, loose = (measured(worlds, tmp_path / str(c), 50, coverage=c) for c in (0.6, 0.4))
    assert strict["recall"] == 1.0
    assert loose["recall"] == pytest.approx(0.5)
    assert loose["iou"] == pytest.approx(5 / 25)
