"""The benchmark of decoding reads the same pictures from every format."""

from pathlib import Path

import numpy as np
import pytest
from benchmarks import decoding as bench


def test_every_format_holds_the_same_pictures(tmp_path: Path) -> None:
    pytest.importorskip("omnisae_vision", reason="the benchmark reads pictures")
    pytest.importorskip("datasets", reason="one of the formats is that of Hugging Face datasets")
    found = bench.formats(tmp_path, 3)
    plain = found["vision.image_folder"]
    for dataset in found.values():
        assert len(dataset.ids) == 3
        for row in range(3):
            np.testing.assert_array_equal(np.asarray(dataset.load(row).input), np.asarray(plain.load(row).input))


def test_spinning_is_measured() -> None:
    assert 0 < bench.spinning(1, seconds=0.1) < 1.5
