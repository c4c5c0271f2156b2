"""Checks of a metric."""

import pytest

from omnisae.plugins.kinds import MetricConfig


class MetricTests:
    """Give the fixture `config`."""

    @pytest.fixture
    def config(self) -> MetricConfig:
        raise NotImplementedError("give the fixture `config`")

    def test_it_builds(self, config: MetricConfig) -> None:
        assert config.build() is not None
