"""The plug-in as a whole."""

import pytest

from omnisae.testing import PluginTests


class TestPlugin(PluginTests):
    name = "galaxies"

    @pytest.fixture
    def configs(self):
        return [
            {"type": "galaxies.cutouts", "root": "/data/galaxies"},
            {
                "type": "galaxies.cutouts",
                "root": "world:galaxies",
                "bands": ["z", "r", "g"],
                "catalogue": "catalogue.fits",
                "votes": {"tree": "decals", "column": "{question}-dr5_{answer}", "clean": 0.8},
                "pixel_scale": 0.262,
            },
            {"type": "galaxies.zoobot", "model": "convnext_nano"},
            {"type": "galaxies.embeddings", "table": "embeddings.parquet"},
            {"type": "galaxies.consistency"},
            {"type": "galaxies.gallery"},
            {"type": "galaxies.saliency"},
            {"type": "galaxies.sky"},
        ]
