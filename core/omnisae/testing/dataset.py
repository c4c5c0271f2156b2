"""Checks of a dataset."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest

from omnisae.concepts.annotations import Annotations, Interval, Mask
from omnisae.errors import DatasetError
from omnisae.extract.dataset import Dataset, Example
from omnisae.plugins.kinds import DatasetConfig
from omnisae.testing.same import same


class DatasetTests:
    """Give the fixture `config`, the config of a small dataset."""

    @pytest.fixture
    def config(self) -> DatasetConfig:
        raise NotImplementedError("give the fixture `config`")

    @pytest.fixture
    def dataset(self, config: DatasetConfig) -> Dataset:
        return config.build()

    @pytest.fixture
    def rows(self, dataset: Dataset) -> list[int]:
        """The examples that are read: the first ones and the last."""
        return sorted({*range(min(4, len(dataset))), len(dataset) - 1})

    def test_ids_are_unique_text(self, dataset: Dataset) -> None:
        ids = list(dataset.ids)
        assert ids, "the dataset is empty"
        assert all(isinstance(name, str) and name for name in ids)
        twice = {name for name in ids if ids.count(name) > 1} if len(set(ids)) < len(ids) else set()
        assert not twice, f"ids stand more than once: {sorted(twice)[:5]}"
        assert len(dataset) == len(ids)

    def test_ids_stay(self, dataset: Dataset, config: DatasetConfig) -> None:
        assert list(dataset.ids) == list(dataset.ids) == list(config.build().ids)

    def test_examples_know_their_row_and_id(self, dataset: Dataset, rows: list[int]) -> None:
        for row in rows:
            example = dataset.load(row)
            assert isinstance(example, Example)
            assert (example.row, example.id) == (row, dataset.ids[row])

    def test_reading_twice_gives_the_same(self, dataset: Dataset, rows: list[int]) -> None:
        for row in rows:
            assert same(dataset.load(row).input, dataset.load(row).input), f"example {row} differs between two readings"

    def test_it_travels_to_worker_processes(self, dataset: Dataset, rows: list[int]) -> None:
        """Where processes are spawned (macOS, Windows), a dataset arrives as bytes and must read as it does here."""
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            there = pool.submit(_read, dataset, rows[0]).result()
        assert same(there, dataset.load(rows[0]).input)

    def test_the_fingerprint_stays(self, dataset: Dataset, config: DatasetConfig) -> None:
        found = dataset.fingerprint()
        assert isinstance(found, str)
        assert found
        assert found == dataset.fingerprint() == config.build().fingerprint()

    def test_annotations_join_the_examples(self, dataset: Dataset) -> None:
        annotations = dataset.annotations()
        assert isinstance(annotations, Annotations)
        assert list(annotations.ids) == list(dataset.ids), "annotations name other examples, or in another order"

    def test_labels_are_shares(self, dataset: Dataset) -> None:
        for concept, column in dataset.annotations().labels.items():
            values = np.asarray(column)
            assert values.shape == (len(dataset),), f"labels of {concept!r} have shape {values.shape}"
            known = values[~np.isnan(values)]
            assert ((known >= 0) & (known <= 1)).all(), f"labels of {concept!r} leave [0, 1]"

    def test_regions_are_places(self, dataset: Dataset, rows: list[int]) -> None:
        annotations = dataset.annotations()
        if annotations.regions is None:
            return
        named = set(annotations.region_concepts)
        for row in rows:
            for region in annotations.regions(row) or ():
                assert region.concept in named, f"region_concepts does not name {region.concept!r}"
                if isinstance(region.place, Interval):
                    assert 0 <= region.place.start < region.place.stop, f"{region.place} is no interval"
                else:
                    assert isinstance(region.place, Mask)
                    where = np.asarray(region.place.where)
                    assert where.dtype == bool
                    assert where.ndim == 2

    def test_groups_and_columns_cover_the_examples(self, dataset: Dataset) -> None:
        for column in dataset.group_columns():
            assert len(dataset.groups(column)) == len(dataset), f"groups of {column!r}"
        for column, values in dataset.labels().items():
            assert len(values) == len(dataset), f"labels of {column!r}"
        for name, points in dataset.embeddings().items():
            assert np.asarray(points).shape == (len(dataset), 2), f"embedding {name!r}"
        features = dataset.features()
        if features is not None:
            assert features.values.shape == (len(dataset), len(features.names))

    def test_an_unknown_group_column_is_refused(self, dataset: Dataset) -> None:
        with pytest.raises(DatasetError):
            dataset.groups("no such column")


def _read(dataset: Dataset, row: int) -> Any:
    return dataset.load(row).input
