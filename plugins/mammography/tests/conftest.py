"""Made-up mammograms, and the world, written into a folder of the test run."""

import csv
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).resolve()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "ignore:.* has random weights")


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Worlds are written into a folder of the test run, never into the user's cache."""
    os.environ["OMNISAE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def world() -> Path:
    """Forty pictures of the world `phantoms`."""
    datasets = pytest.importorskip("omnisae_datasets", reason="omnisae-datasets is not installed")
    found = datasets.resolve("world:phantoms?n=40&seed=0")
    assert isinstance(found, Path)
    return found


@pytest.fixture(scope="session")
def real() -> Path:
    """Real mammograms, where the checkout has them."""
    shared = Path(os.environ.get("OMNISAE_SHARED_DATA") or HERE.parents[4] / "shared" / "data") / "mammography"
    if not shared.is_dir():
        pytest.skip(f"no real mammograms: {shared} is absent (set OMNISAE_SHARED_DATA)")
    return shared


@pytest.fixture
def dicom() -> Callable[..., Path]:
    """Write a DICOM file: dicom(path, stored values (uint16, y × x), Keyword=value, …)."""

    def write(path: Path, stored: np.ndarray, syntax: str | None = None, **elements: Any) -> Path:
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, generate_uid

        path.parent.mkdir(parents=True, exist_ok=True)
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.2"
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds = Dataset()
        ds.file_meta = meta
        ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        ds.Rows, ds.Columns = stored.shape[:2]
        ds.SamplesPerPixel, ds.PixelRepresentation = 1, 0
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
        ds.PhotometricInterpretation = "MONOCHROME2"
        ds.PatientID = path.stem
        for name, value in elements.items():
            setattr(ds, name, value)
        ds.PixelData = stored.astype("<u2").tobytes()
        ds["PixelData"].VR = "OW"
        if syntax is not None:
            ds.compress(syntax)
        ds.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture
def table() -> Callable[..., Path]:
    """Write a table: table(path, header, rows, delimiter)."""

    def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], delimiter: str = ",") -> Path:
        with path.open("w", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(header)
            writer.writerows(rows)
        return path

    return write


@pytest.fixture
def ramp() -> np.ndarray:
    """Stored values that grow from left to right and from top to bottom: 32 × 24, 12 bit."""
    return (np.arange(32)[:, None] * 60 + np.arange(24)[None] * 90).astype(np.uint16)
