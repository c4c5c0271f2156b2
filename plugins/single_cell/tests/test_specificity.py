"""Logit specificity: planted changes are told, the null is uniform, and a run with a tiny model reaches its page."""

import json

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("transformers", reason="transformers is not installed (omnisae-single-cell[transformers])")

from omnisae.config_file import parse
from omnisae.pipeline import run
from omnisae_single_cell.enrichment import expression_bins
from omnisae_single_cell.specificity import specific


def test_a_latent_that_moves_its_own_genes_twice_as_much_has_specificity_two():
    change = np.ones(200)
    change[:10] = 2.0
    ratio, p, chance = specific(change, np.arange(10), np.zeros(200, dtype=int), 199, np.random.default_rng(0))
    assert ratio == pytest.approx(2.0)
    assert p == pytest.approx(1 / 200)
    assert 0.95 < chance < 1.05


def test_p_is_uniform_for_own_genes_drawn_at_random():
    rng = np.random.default_rng(1)
    change, bins = rng.gamma(2.0, size=300), expression_bins(rng.random(300))
    p = [specific(change, rng.permutation(300)[:10], bins, 199, rng)[1] for _ in range(300)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


@pytest.mark.slow
def test_a_run_over_genes_in_cells_reaches_its_page(counts_file, tmp_path):
    config = f"""
name: genes
dataset: {{type: single_cell.h5ad, path: {counts_file}, concepts: [kind], genes: log/X}}
extractor:
  type: single_cell.gene_model
  model: geneformer-v1-10m
  vocabulary: dataset
  device: cpu
  settings: {{hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 32, vocab_size: 20}}
hooks: [{{at: bert.encoder.layer.0, name: first}}]
autoencoder: {{latents: 32, activation: {{type: core.topk, k: 4}}}}
train: {{tokens: 4000, batch: 128}}
score:
  controls: {{permutations: 19}}
  effects: 2
  studies: [{{type: single_cell.specificity, genes: 2, latents: 4, cells: 4, draws: 19}}]
report: {{examples: 2, latents: 4}}
"""
    folder = run(parse(config, "test"), tmp_path / "run")
    (study,) = json.loads((folder / "studies.json").read_text())["studies"]
    assert not study["failed"], study["failed"]
    (finding,) = study["findings"]
    assert finding["n"] == 4
    assert finding["value"] > 0
    effects = json.loads((folder / "effects.json").read_text())
    assert np.isfinite(effects["loss"]["original"])
    assert (
        "The model knows 12 of the 12 measured genes (100%)."
        in (folder / "report/data/run.js").read_text() + (folder / "report/index.html").read_text()
    )
