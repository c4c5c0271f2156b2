"""Small folders of cut-outs whose truth is planted, and the world, written into a folder of the test run."""

import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).resolve()
if find_spec("omnisae_galaxies") is None or find_spec("astropy") is None:
    collect_ignore_glob = ["test_*.py"]  # the plug-in is not installed here


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "ignore:.* has random weights")
    config.addinivalue_line("filterwarnings", "ignore:.* have no cut-out")


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Worlds are written into a folder of the test run, never into the user's cache."""
    os.environ["OMNISAE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def world() -> Path:
    """Sixty galaxies of the world."""
    datasets = pytest.importorskip("omnisae_datasets", reason="omnisae-datasets is not installed")
    found = datasets.resolve("world:galaxies?n=60&seed=0")
    assert isinstance(found, Path)
    return found


@pytest.fixture(scope="session")
def real() -> Path:
    """Real cut-outs, where the checkout has them."""
    shared = Path(os.environ.get("OMNISAE_SHARED_DATA") or HERE.parents[4] / "shared" / "data") / "galaxy"
    if not shared.is_dir():
        pytest.skip(f"no real galaxies: {shared} is absent (set OMNISAE_SHARED_DATA)")
    return shared


@pytest.fixture
def fits_file() -> Callable[..., Path]:
    """Write a FITS file: fits_file(path, {"G": array, ...}, FILTER=..., scale=0.4, ra=..., dec=...).

    Without names ({None: array}) the image is the primary one.
    """

    def write(
        path: Path,
        images: Mapping[str | None, np.ndarray],
        *,
        scale: float | None = None,
        ra: float = 150.0,
        dec: float = 2.0,
        header: Mapping[str, Any] | None = None,
    ) -> Path:
        from astropy.io import fits

        path.parent.mkdir(parents=True, exist_ok=True)
        units: list[Any] = []
        for name, data in images.items():
            unit = fits.PrimaryHDU(data) if name is None else fits.ImageHDU(data, name=name)
            if scale is not None:
                unit.header["CTYPE1"], unit.header["CTYPE2"] = "RA---TAN", "DEC--TAN"
                unit.header["CRPIX1"], unit.header["CRPIX2"] = (data.shape[-1] + 1) / 2, (data.shape[-2] + 1) / 2
                unit.header["CRVAL1"], unit.header["CRVAL2"] = ra, dec
                unit.header["CDELT1"], unit.header["CDELT2"] = -scale / 3600, scale / 3600
            for key, value in (header or {}).items():
                unit.header[key] = value
            units.append(unit)
        if None not in images:
            units.insert(0, fits.PrimaryHDU())
        fits.HDUList(units).writeto(path, overwrite=True)
        return path

    return write


@pytest.fixture
def csv_file() -> Callable[..., Path]:
    """Write a CSV: csv_file(path, "id,a,b", "1,2,3", …)."""

    def write(path: Path, *lines: str) -> Path:
        path.write_text("\n".join(lines) + "\n")
        return path

    return write
