import anndata
import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def counts_file(tmp_path):
    """60 cells of three types, 12 genes; each type expresses four of them. Raw counts in X."""
    rng = np.random.default_rng(0)
    kinds = np.repeat(["a", "b", "c"], 20)
    rate = np.full((60, 12), 0.3)
    for i, kind in enumerate("abc"):
        rate[kinds == kind, 4 * i : 4 * i + 4] = 6.0
    obs = pd.DataFrame(
        {"kind": pd.Categorical(kinds), "donor": ["d1", "d2", "d3"] * 20, "depth": rng.uniform(1, 9, 60)}
    )
    obs.index = [f"cell{i}" for i in range(60)]
    obs["depth"] = obs["depth"].where(obs.index != "cell3")
    data = anndata.AnnData(rng.poisson(rate).astype(np.float32), obs=obs)
    data.var_names = [f"gene{i}" for i in range(12)]
    data.var["symbol"] = [f"G{i}" for i in range(12)]
    data.layers["half"] = data.X / 2
    data.obsm["X_umap"] = rng.normal(size=(60, 2))
    data.obsm["X_pca"] = rng.normal(size=(60, 5)).astype(np.float32)
    path = tmp_path / "cells.h5ad"
    data.write_h5ad(path)
    return path
