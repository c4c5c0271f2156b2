"""The count of concepts whose latent beats neuron and component, on a table made by hand."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.planted import beaten


def test_the_first_latent_of_a_concept_is_compared_with_its_best_rival(tmp_path):
    def row(concept, f1, neuron, pca, spearman=0.0):
        level = {"level": "token", "concept": concept, "f1": f1, "spearman": spearman}
        return level | {"control_neuron_f1": neuron, "control_pca_f1": pca}

    rows = [row("red", 0.5, 0.4, 0.45), row("red", 0.9, 0.4, 0.45), row("blue", 0.4, 0.3, 0.6)]
    rows.append(row("share", float("nan"), float("nan"), float("nan"), spearman=-0.8))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "concepts.parquet")
    concepts = [{"name": name, "kind": "binary", "controls": {}} for name in ("red", "blue")]
    controls = {"neuron": {"spearman": -0.7}, "pca": {"spearman": 0.1}}
    concepts.append({"name": "share", "kind": "fraction", "controls": controls})
    (tmp_path / "concepts.json").write_text(json.dumps({"concepts": concepts}))
    assert beaten(tmp_path) == [
        ("token", "red", "F1", 0.5, 0.45),
        ("token", "blue", "F1", 0.4, 0.6),
        ("token", "share", "|Spearman|", 0.8, 0.7),
    ]
