import numpy as np
import pytest

pytest.importorskip("scvi", reason="scvi-tools is not installed (pip install 'omnisae-single-cell[scvi]')")

from omnisae.config import HookConfig
from omnisae.errors import ArtifactError, DatasetError, HookError
from omnisae.extract.dataset import Example
from omnisae_single_cell.plugin import H5adConfig, ScviConfig

pytestmark = pytest.mark.slow  # scvi-tools takes seconds to import


@pytest.fixture
def cells(counts_file, tmp_path, monkeypatch):
    monkeypatch.setenv("OMNISAE_CACHE", str(tmp_path / "cache"))
    return H5adConfig(path=str(counts_file), concepts=("kind",)).build()


def extractor(cells, **settings):
    return ScviConfig(n_hidden=8, n_latent=3, epochs=2, **settings).build(cells)


def tokens(reader, rows, at="z_encoder.mean_encoder"):
    points = reader.resolve([HookConfig(at=at)])
    inputs = reader.collate([reader.prepare(Example(row, str(row), row)) for row in rows])
    return reader.extract(rows, inputs, points).tokens[points[0].name].values


def test_the_encoder_gives_one_token_a_cell_whatever_the_batch(cells):
    reader = extractor(cells)
    together = tokens(reader, [0, 1, 2])
    assert tuple(together.shape) == (3, 3)
    alone = np.concatenate([tokens(reader, [row]).numpy() for row in (0, 1, 2)])
    np.testing.assert_allclose(together.numpy(), alone, rtol=1e-5, atol=1e-6)


def test_training_here_is_done_once_and_kept(cells):
    first, second = extractor(cells, seed=3), extractor(cells, seed=3)
    assert first.fingerprint() == second.fingerprint()
    assert (tokens(first, [4, 5]) == tokens(second, [4, 5])).all()


def test_the_mean_is_what_scvi_itself_calls_the_latent_representation(cells, tmp_path):
    import anndata
    from scvi.model import SCVI

    table = anndata.read_h5ad(cells.path)
    SCVI.setup_anndata(table, batch_key="donor")
    model = SCVI(table, n_hidden=8, n_latent=3)
    model.train(max_epochs=2, accelerator="cpu", enable_progress_bar=False, logger=False)
    model.save(str(tmp_path / "model"))
    reader = ScviConfig(checkpoint=str(tmp_path / "model")).build(cells)
    np.testing.assert_allclose(
        tokens(reader, list(range(10))).numpy(), model.get_latent_representation()[:10], rtol=1e-4, atol=1e-5
    )


def test_genes_of_the_checkpoint_that_the_file_lacks_are_counted(cells, tmp_path):
    import anndata
    from scvi.model import SCVI

    table = anndata.read_h5ad(cells.path)
    table.var_names = ["other", *table.var_names[1:]]
    SCVI.setup_anndata(table)
    SCVI(table, n_hidden=8, n_latent=3).save(str(tmp_path / "model"))
    with pytest.raises(ArtifactError, match="1 of the 12 genes of .* are not in .*, e.g. other"):
        ScviConfig(checkpoint=str(tmp_path / "model")).build(cells)


def test_a_checkpoint_that_holds_code_is_refused(cells, tmp_path):
    import torch

    class Evil:
        def __reduce__(self):
            return print, ("this must never run",)

    (tmp_path / "model").mkdir()
    torch.save({"attr_dict": Evil()}, tmp_path / "model" / "model.pt")
    with pytest.raises(ArtifactError, match="cannot be read as the checkpoint"):
        ScviConfig(checkpoint=str(tmp_path / "model")).build(cells)


def test_fractional_counts_are_refused(cells):
    with pytest.raises(DatasetError, match="'layers/half' does not hold raw counts"):
        extractor(cells, counts="layers/half")


def test_what_lies_behind_the_sampling_is_refused(cells):
    with pytest.raises(HookError, match="sees random input"):
        extractor(cells).resolve([HookConfig(at="decoder.px_decoder")])


def test_the_models_own_loss_is_the_same_each_time(cells):
    reader = extractor(cells)
    inputs = reader.collate([reader.prepare(Example(row, str(row), row)) for row in range(4)])
    loss = reader.loss(range(4), inputs)
    assert loss.shape == (4,)
    assert (loss == reader.loss(range(4), inputs)).all()
