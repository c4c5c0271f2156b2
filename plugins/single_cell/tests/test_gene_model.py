"""Genes in cells: sequences as the models read them, tokens that carry their gene, and what is refused."""

import json

import anndata
import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="transformers is not installed (omnisae-single-cell[transformers])")

from omnisae.config import HookConfig
from omnisae.errors import ArtifactError, DatasetError
from omnisae.extract.dataset import Example
from omnisae.testing import ExtractorTests
from omnisae_single_cell.gene_encoding import by_bins, by_rank, present
from omnisae_single_cell.plugin import GeneModelConfig, H5adConfig

SMALL = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 40,
    "max_position_embeddings": 24,
}  # fmt: skip


@pytest.fixture
def files(tmp_path):
    """The vocabulary, without gene11 and in an order of its own, and medians."""
    tokens = {"<pad>": 0, "<mask>": 1, "<cls>": 2, "<eos>": 3} | {f"gene{i}": 30 - i for i in range(11)}
    (tmp_path / "tokens.json").write_text(json.dumps(tokens))
    (tmp_path / "medians.json").write_text(json.dumps({f"gene{i}": 1.0 + i for i in range(12)}))
    return {"vocabulary": str(tmp_path / "tokens.json"), "medians": str(tmp_path / "medians.json")}


@pytest.fixture
def cells(counts_file):
    return H5adConfig(path=str(counts_file), concepts=("kind",)).build()


def small(files, **settings):
    return GeneModelConfig(model="geneformer-v1-10m", settings=SMALL, device="cpu", **(files | settings))


@pytest.mark.parametrize("encoding", ["rank", "bins"])
class TestGeneModel(ExtractorTests):
    @pytest.fixture
    def config(self, files, encoding):
        return small(files, encoding=encoding)

    @pytest.fixture
    def dataset(self, cells):
        return cells

    @pytest.fixture
    def hooks(self):
        return [HookConfig(at="bert.encoder.layer.0"), HookConfig(at="bert.encoder.layer.1")]


def test_ranks_are_geneformers():
    """Against its definition, gene by gene: counts over the cell's total times 10,000 over the gene's median."""
    rng = np.random.default_rng(0)
    row, median = rng.poisson(2.0, 40).astype(float), rng.uniform(0.5, 3, 40)
    columns, counts = present(row[None])
    order = by_rank(columns, counts, row.sum(), median, 100)
    slow = sorted(((row[g] / row.sum() * 10_000 / median[g], g) for g in range(40) if row[g] > 0), reverse=True)
    assert order.tolist() == [gene for _, gene in slow]
    assert by_rank(columns, counts, row.sum(), median, 5).tolist() == order[:5].tolist()


def test_bins_rise_with_expression_and_leave_zero_to_silence():
    counts = np.array([1.0, 5.0, 2.0, 9.0, 1.0])
    columns, level = by_bins(np.array([3, 5, 7, 8, 9]), counts, 5, 10)
    assert columns.tolist() == [3, 5, 7, 8, 9]
    assert level.min() >= 1
    assert level.max() <= 4
    assert level[0] == level[4] < level[1] <= level[3]
    assert by_bins(np.array([3, 5, 7, 8, 9]), counts, 5, 2)[0].tolist() == [5, 8]


def test_a_token_carries_the_column_of_its_gene(cells, files):
    reader = small(files).build(cells)
    (point,) = reader.resolve([HookConfig(at="bert.encoder.layer.0")])
    assert point.pattern == "example ([cls] + gene) d"
    found = reader.extract([4, 9], reader.collate([reader.prepare(cells.load(row)) for row in (4, 9)]), [point])
    tokens = found.tokens[point.name]
    for row in (4, 9):
        mine = tokens.take((tokens.example == row) & (tokens.role == 0)).coords[:, 0].tolist()
        expressed = np.flatnonzero(cells.table("X")[row] > 0)
        assert sorted(mine) == [gene for gene in expressed if gene != 11], "gene11 is none of the model's"
    # The same gene in the embedding of words: the vector there depends on the gene alone.
    words = reader.model.bert.embeddings.word_embeddings.weight
    (point,) = reader.resolve([HookConfig(at="bert.embeddings.word_embeddings")])
    tokens = reader.extract([4], reader.collate([reader.prepare(cells.load(4))]), [point]).tokens[point.name]
    content = tokens.take(tokens.role == 0)
    for gene, vector in zip(content.coords[:, 0].tolist(), content.values, strict=True):
        assert torch.equal(vector, words[30 - gene])


def test_the_share_of_known_genes_is_told_and_a_small_one_refused(cells, files):
    small(files).build(cells)
    assert "The model knows 11 of the 12 measured genes (92%)." in cells.notes()
    with pytest.raises(DatasetError, match=r"the model knows 0 of 12 genes \(0%\)") as error:
        small(files, gene_ids="symbol").build(cells)
    assert "the table has 'G0', the vocabulary 'gene0'" in str(error.value)
    assert "extractor.gene_ids" in str(error.value)


def test_files_of_another_kind_are_refused(cells, files, tmp_path):
    (tmp_path / "tokens.pkl").write_bytes(b"")
    with pytest.raises(ArtifactError, match="is a pickle, which may run code") as error:
        small(files, vocabulary=str(tmp_path / "tokens.pkl")).build(cells)
    assert "json.dump" in str(error.value)
    (tmp_path / "bad.json").write_text('["gene0"]')
    with pytest.raises(ArtifactError, match="is no table of genes and numbers"):
        small(files, vocabulary=str(tmp_path / "bad.json")).build(cells)
    with pytest.raises(ArtifactError, match="its largest number is 30, and geneformer-v1-10m knows 20 words"):
        GeneModelConfig(model="geneformer-v1-10m", settings=SMALL | {"vocab_size": 20}, **files).build(cells)
    with pytest.raises(ArtifactError, match="is no folder with a config.json"):
        GeneModelConfig(model="no-such-folder", **files).build(cells)


def test_values_that_are_no_counts_are_refused(cells, files):
    with pytest.raises(DatasetError, match="'layers/half' does not hold raw counts .* which a gene model needs"):
        small(files, counts="layers/half").build(cells)


def test_a_saved_model_is_the_same_model(cells, files, tmp_path):
    reader = small(files).build(cells)
    reader.model.save_pretrained(tmp_path / "saved")
    again = GeneModelConfig(model=str(tmp_path / "saved"), device="cpu", **files).build(cells)
    inputs = reader.collate([reader.prepare(Example(row, "", row)) for row in (0, 1)])
    torch.testing.assert_close(again.logits(inputs), reader.logits(inputs))
    assert again.parent() == reader.parent()


def test_cells_on_disk_give_the_same_sequences(counts_file, cells, files):
    there = H5adConfig(path=str(counts_file), concepts=("kind",), backed=True).build()
    one, two = small(files).build(cells), small(files).build(there)
    for row in (0, 30):
        assert torch.equal(one.prepare(cells.load(row))["gene"], two.prepare(there.load(row))["gene"])


def test_a_cell_without_known_genes_is_left_out(counts_file, files, tmp_path):
    data = anndata.read_h5ad(counts_file)
    data.X[3] = 0
    data.write_h5ad(tmp_path / "empty.h5ad")
    from omnisae.errors import UnreadableExample

    cells = H5adConfig(path=str(tmp_path / "empty.h5ad")).build()
    with pytest.raises(UnreadableExample, match="cell3: none of its 0 genes"):
        small(files).build(cells).prepare(cells.load(3))
