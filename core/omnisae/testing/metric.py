"""Checks of a metric."""

import numpy as np
import pytest

from omnisae.concepts.metric import Evidence, Metric
from omnisae.plugins.kinds import MetricConfig
from omnisae.testing.same import same


class MetricTests:
    """Give the fixtures `config` and `evidence` (of a few rows; without it only the columns are checked)."""

    @pytest.fixture
    def config(self) -> MetricConfig:
        raise NotImplementedError("give the fixture `config`")

    @pytest.fixture
    def evidence(self) -> Evidence | None:
        return None

    @pytest.fixture
    def metric(self, config: MetricConfig) -> Metric:
        return config.build()

    def test_it_names_its_columns(self, metric: Metric) -> None:
        assert metric.columns, "a metric declares `columns`"
        assert all(isinstance(column, str) and column for column in metric.columns)
        assert len(set(metric.columns)) == len(metric.columns)

    def test_it_gives_one_number_a_row_for_every_column(self, metric: Metric, evidence: Evidence | None) -> None:
        if evidence is None:
            pytest.skip("no evidence was given")
        found = metric.score(evidence)
        assert set(found) == set(metric.columns)
        for column, values in found.items():
            assert np.asarray(values).shape == (len(evidence),), column
            assert not np.isinf(values).any(), f"{column} is infinite: use NaN where it does not apply"

    def test_twice_gives_the_same(self, metric: Metric, evidence: Evidence | None) -> None:
        if evidence is None:
            pytest.skip("no evidence was given")
        assert same(dict(metric.score(evidence)), dict(metric.score(evidence)))
