"""The dot plot shows the planted gene where its type expresses it."""

import re

import anndata
import numpy as np
import pandas as pd
import pytest

from omnisae.extract.split import SELECT, TEST, TRAIN
from omnisae.hooks.point import HookPoint
from omnisae.report.visualizer import LatentView
from omnisae.testing import PluginTests, VisualizerTests
from omnisae_single_cell.plugin import DotPlotConfig, H5adConfig


class TestPlugin(PluginTests):
    name = "single_cell"

    @pytest.fixture
    def configs(self):
        return [
            {"type": "single_cell.h5ad", "path": "cells.h5ad"},
            {"type": "single_cell.table"},
            {"type": "single_cell.scvi"},
            {"type": "single_cell.gene_model", "model": "geneformer-v2-104m", "vocabulary": "dataset"},
            {"type": "single_cell.differential_expression"},
            {"type": "single_cell.enrichment", "sets": "sets.gmt"},
            {"type": "single_cell.batch"},
            {"type": "single_cell.specificity"},
            {"type": "single_cell.top_genes"},
            {"type": "single_cell.dot_plot"},
        ]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """300 cells; the latent fires in the first third, type `<i>a</i>`, which alone expresses gene0."""
    rng = np.random.default_rng(0)
    own = np.arange(300) < 100
    values = rng.poisson(0.3, size=(300, 8)).astype(np.float32)
    values[:, 0] = np.where(own, 3 + rng.poisson(1.0, 300), 0)
    obs = pd.DataFrame({"kind": np.where(own, "<i>a</i>", "b")}, index=[f"cell{i}" for i in range(300)])
    data = anndata.AnnData(values, obs=obs)
    data.var_names = [f"gene{i}" for i in range(8)]
    path = tmp_path_factory.mktemp("dots") / "cells.h5ad"
    data.write_h5ad(path)
    split = np.array([TRAIN, SELECT, TEST], dtype=np.uint8)[np.arange(300) % 3]
    hook = HookPoint(name="x", at=("X",), pattern="example d", width=8)
    strength = np.where(own, 1.0, 0.0).astype(np.float32)
    dataset = H5adConfig(path=str(path)).build()
    return LatentView(0, hook, 1.0, strength, dataset, None, scored=split != TRAIN, split=split)


class TestDotPlot(VisualizerTests):
    @pytest.fixture
    def config(self):
        return DotPlotConfig(genes=3)

    @pytest.fixture
    def view(self, planted):
        return planted

    def test_the_gene_is_in_all_cells_of_its_type_and_in_none_of_the_other(self, visualizer, view):
        (figure,) = visualizer.draw_latent(view)
        html = figure.data.decode()
        tips = dict(re.findall(r"<title>gene0 in (.*?): mean [\d.]+, in (\d+%)", html))
        assert tips == {"its own cells": "100%", "&lt;i&gt;a&lt;/i&gt;": "100%", "b": "0%"}
        assert "<i>" not in html

    def test_a_column_that_is_not_there_draws_nothing(self, view):
        assert not DotPlotConfig(column="other").build().applies(view)
