"""The config of the real scale: ESM-2's true architecture of 650 M weights, drawn at random, on a few proteins."""

from pathlib import Path

import pytest
import torch

from omnisae.config_file import load
from omnisae.extract.dataset import Example
from omnisae_protein.dataset import Protein

CONFIG = Path(__file__).resolve().parents[3] / "configs" / "protein" / "esm2_650m.yaml"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*has random weights")
def test_the_650m_config_reads_residues_with_random_weights():
    import psutil

    if psutil.virtual_memory().available < 6 << 30:
        pytest.skip("650 M weights in fp32 need 6 GiB of free memory")
    config = load(CONFIG, ("extractor.untrained=true", "extractor.device=cpu", "extractor.dtype=float32"))
    with torch.no_grad():
        extractor = config.extractor.build(None)
        (point,) = extractor.resolve(config.hooks)
        assert (point.width, point.roles, point.axes) == (1280, ("content", "bos", "eos"), ("residue",))
        assert sum(weight.numel() for weight in extractor.model.parameters()) > 650e6
        sequences = ["MKTAYIAKQR", "MKLV"]
        inputs = extractor.collate(
            [extractor.prepare(Example(i, f"p{i}", Protein(f"p{i}", one))) for i, one in enumerate(sequences)]
        )
        tokens = extractor.extract([0, 1], inputs, [point]).tokens[point.name]
        assert len(tokens) == sum(len(one) + 2 for one in sequences)
        assert torch.isfinite(extractor.loss([0, 1], inputs)).all()
