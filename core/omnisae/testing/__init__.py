# ruff: noqa: E402 - the checks are registered before they are imported, so that their asserts tell what they compared
"""Conformance classes for plug-ins: subclass one in your tests, give its fixtures, and inherit the checks.

class TestMine(ExtractorTests):
    @pytest.fixture
    def config(self):
        return MineConfig()
"""

import pytest

pytest.register_assert_rewrite(
    *(
        f"omnisae.testing.{name}"
        for name in (
            "activation",
            "dataset",
            "decoder",
            "divided",
            "extractor",
            "metric",
            "plugin",
            "study",
            "visualizer",
        )
    )
)

from omnisae.testing.activation import ActivationTests
from omnisae.testing.dataset import DatasetTests
from omnisae.testing.decoder import DecoderTests
from omnisae.testing.extractor import ExtractorTests
from omnisae.testing.metric import MetricTests
from omnisae.testing.plugin import PluginTests, plugged_in
from omnisae.testing.study import StudyTests
from omnisae.testing.visualizer import VisualizerTests

__all__ = [
    "ActivationTests",
    "DatasetTests",
    "DecoderTests",
    "ExtractorTests",
    "MetricTests",
    "PluginTests",
    "StudyTests",
    "VisualizerTests",
    "plugged_in",
]
