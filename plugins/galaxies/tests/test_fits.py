"""FITS cut-outs: bands wherever they lie, the stretch against astropy's, orientation, scale and place, broken files."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisae.errors import UnreadableExample
from omnisae_galaxies import fits_image, stretch
from omnisae_galaxies.plugin import CutoutsConfig, Stretch


def ramp(value, side=16):
    return np.full((side, side), value, dtype=np.float32) + np.arange(side, dtype=np.float32)


@pytest.mark.parametrize("bands", [("G", "R", "Z"), ("g", "r", "z"), ("1", "2", "3"), ("G:0", "R:0", "Z:0")])
def test_bands_are_found_in_extensions(tmp_path, fits_file, bands):
    path = fits_file(tmp_path / "a.fits", {"G": ramp(1), "R": ramp(2), "Z": ramp(3)})
    found = fits_image.read(path, bands)
    np.testing.assert_array_equal(found, np.stack([ramp(1), ramp(2), ramp(3)]))


def test_bands_are_found_by_their_filter(tmp_path, fits_file):
    path = fits_file(tmp_path / "a.fits", {"SCI": ramp(4)}, header={"FILTER": "VIS"})
    np.testing.assert_array_equal(fits_image.read(path, ("vis",))[0], ramp(4))


def test_bands_of_a_cube_are_found_by_its_letters_and_by_number(tmp_path, fits_file):
    cube = np.stack([ramp(1), ramp(2), ramp(3)])
    path = fits_file(tmp_path / "a.fits", {None: cube}, header={"BANDS": "grz"})
    np.testing.assert_array_equal(fits_image.read(path, ("z", "r", "g")), cube[::-1])
    np.testing.assert_array_equal(fits_image.read(path, ("0:2",))[0], cube[2])
    np.testing.assert_array_equal(fits_image.read(path, ()), cube)


@pytest.mark.parametrize("name", ["a.fits.gz", "a.FITS"])
def test_endings(tmp_path, fits_file, name):
    plain = fits_file(tmp_path / "plain" / "b.fits", {None: ramp(7)})
    data = plain.read_bytes()
    path = tmp_path / "cutouts" / name
    path.parent.mkdir()
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    dataset = CutoutsConfig(root=str(tmp_path / "cutouts")).build()
    assert list(dataset.ids) == ["a"]
    assert dataset.load(0).input.size == (16, 16)


def test_tile_compressed_images_are_read(tmp_path):
    from astropy.io import fits

    path = tmp_path / "a.fits.fz"
    data = np.arange(64 * 64, dtype=np.int16).reshape(64, 64)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, name="VIS")]).writeto(path)
    np.testing.assert_array_equal(fits_image.read(path, ("VIS",))[0], data)


@pytest.mark.parametrize(
    ("bands", "words"),
    [
        (("Q",), r"has no band 'Q' \(dataset.bands\)"),
        (("G:4",), "asks for plane 4 of 1"),
        (("CUBE",), "is a cube of 3 planes"),
    ],
)
def test_a_band_that_is_not_there_is_told(tmp_path, fits_file, bands, words):
    path = fits_file(tmp_path / "a.fits", {"G": ramp(1), "CUBE": np.zeros((3, 4, 4), np.float32)})
    with pytest.raises(UnreadableExample, match=words) as caught:
        fits_image.read(path, bands)
    assert str(path) in caught.value.problem


def test_bands_of_different_sizes_are_refused(tmp_path, fits_file):
    path = fits_file(tmp_path / "a.fits", {"G": ramp(1), "R": ramp(1), "Z": ramp(1, 8)})
    with pytest.raises(UnreadableExample, match="differ in size: 8 × 8, 16 × 16 pixels"):
        fits_image.read(path, ("G", "R", "Z"))


@pytest.mark.parametrize("kept", [0.5, 0.8, 0.97, 0.001])
def test_a_truncated_file_is_unreadable_and_named(tmp_path, fits_file, kept):
    path = fits_file(tmp_path / "a.fits", {"G": ramp(1, 128), "R": ramp(2, 128), "Z": ramp(3, 128)}, scale=0.5)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(UnreadableExample) as caught:
        fits_image.read(path, ("G", "R", "Z"))
    assert str(path) in caught.value.problem
    assert caught.value.remedy
    dataset = CutoutsConfig(root=str(tmp_path), bands=("Z", "R", "G")).build()
    with pytest.raises(UnreadableExample):
        dataset.load(0)
    assert dataset.arcsec(0) is None or dataset.arcsec(0) == pytest.approx(0.5)


def test_what_is_no_fits_is_told(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(b"no FITS at all" * 500)
    with pytest.raises(UnreadableExample, match="cannot be read"):
        fits_image.read(path, ())


def test_a_file_without_an_image_is_told(tmp_path):
    from astropy.table import Table

    path = tmp_path / "a.fits"
    Table({"x": [1, 2]}).write(path)
    with pytest.raises(UnreadableExample, match="holds no image"):
        fits_image.read(path, ())


def test_two_bands_are_refused(tmp_path, fits_file):
    with pytest.raises(ValueError, match="names 2 bands"):
        CutoutsConfig(root=str(tmp_path), bands=("a", "b"))
    fits_file(tmp_path / "a.fits", {None: np.zeros((2, 8, 8), np.float32)})
    with pytest.raises(UnreadableExample, match="2 bands were found") as caught:
        CutoutsConfig(root=str(tmp_path)).build().load(0)
    assert str(tmp_path / "a.fits") in caught.value.problem


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000),
    st.floats(0.05, 20),
    st.floats(0.5, 20),
    st.floats(-0.2, 0.3),
    st.floats(0.01, 30),
)
def test_the_stretch_is_luptons(seed, width, q, minimum, brightness):
    """Against astropy's own, which tells the same by another path; one grey value may differ by rounding."""
    from astropy.visualization import make_lupton_rgb

    bands = np.random.default_rng(seed).normal(0.1, 1, (3, 12, 10)).astype(np.float32) * brightness
    want = make_lupton_rgb(*bands.astype(np.float64), minimum=minimum, stretch=width, Q=q)[::-1]
    found = stretch.picture(bands, Stretch(minimum=minimum, stretch=width, q=q))
    assert found.shape == (12, 10, 3)
    assert np.abs(found.astype(int) - want.astype(int)).max() <= 1


def test_one_band_is_grey_and_its_formula_is_asinh():
    flux = np.linspace(-1, 8, 100, dtype=np.float32).reshape(10, 10)
    found = stretch.picture(flux[None], Stretch(minimum=0.5, stretch=2.0, q=6.0))
    assert (found[..., 0] == found[..., 1]).all()
    assert (found[..., 1] == found[..., 2]).all()
    above = np.clip(flux.astype(np.float64) - 0.5, 0, None)
    want = np.minimum(np.arcsinh(6 * above / 2) * 0.1 / np.arcsinh(0.6), 1) * 255
    assert np.abs(found[::-1, :, 0] - want).max() <= 1


def test_bright_stars_keep_their_colour():
    """Where all three bands overflow, the ratio of bands stays."""
    bands = np.stack([np.full((4, 4), v, np.float32) for v in (400.0, 200.0, 100.0)])
    red, green, blue = stretch.picture(bands, Stretch(minimum=0, stretch=0.5))[0, 0].astype(float)
    assert red == 255
    assert green / red == pytest.approx(0.5, abs=0.01)
    assert blue / red == pytest.approx(0.25, abs=0.01)


def test_weights_scale_the_bands():
    bands = np.stack([np.full((4, 4), v, np.float32) for v in (0.1, 0.2, 0.4)])
    pixel = stretch.picture(bands, Stretch(minimum=0, stretch=5, weights=(4, 2, 1)))[0, 0]
    assert np.ptp(pixel) == 0


def test_without_numbers_sky_and_noise_are_the_pictures_own():
    """The same galaxy over another sky, in another unit, looks the same."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[-32:32, -32:32]
    galaxy = 5 * np.exp(-np.hypot(x, y) / 5) + random.normal(0, 0.02, (64, 64))
    one = stretch.picture(galaxy[None], Stretch())
    two = stretch.picture((galaxy * 300 + 1000)[None].astype(np.float32), Stretch())
    assert np.abs(one.astype(int) - two.astype(int)).max() <= 2
    assert one[32, 32, 0] > 150
    assert one[:6, :6].mean() < 25


def test_the_sky_is_measured_beside_the_galaxy():
    random = np.random.default_rng(1)
    y, x = np.mgrid[-64:64, -64:64]
    picture = 3.0 + random.normal(0, 0.05, (128, 128)) + 20 * np.exp(-np.hypot(x, y) / 4)
    level, noise = stretch.sky(picture)
    assert level == pytest.approx(3.0, abs=0.02)
    assert noise == pytest.approx(0.05, rel=0.3)


def test_unknown_pixels_are_black_and_an_unknown_picture_is_refused():
    bands = np.ones((3, 8, 8), np.float32)
    bands[:, :4] = np.nan
    shown = stretch.picture(bands, Stretch(minimum=0, stretch=1))
    assert (shown[4:] == 0).all()
    assert (shown[:4] > 0).all()
    with pytest.raises(UnreadableExample, match="no pixel of the cut-out is known"):
        stretch.picture(np.full((1, 4, 4), np.nan, np.float32), Stretch())


def test_the_first_row_is_the_lowest(tmp_path, fits_file):
    data = np.zeros((8, 8), np.float32)
    data[0, 7] = 100  # the lower right corner
    fits_file(tmp_path / "a.fits", {None: data})
    shown = np.asarray(CutoutsConfig(root=str(tmp_path), stretch=Stretch(minimum=0, stretch=1)).build().load(0).input)
    assert shown[7, 7, 0] == 255
    assert shown.sum() == 3 * 255


def test_scale_and_place_come_from_the_wcs(tmp_path, fits_file):
    fits_file(tmp_path / "a.fits", {"VIS": ramp(1, 32)}, scale=0.1, ra=269.7, dec=-66.0)
    fits_file(tmp_path / "b.fits", {"VIS": ramp(1, 32)})
    dataset = CutoutsConfig(root=str(tmp_path)).build()
    assert dataset.arcsec(0) == pytest.approx(0.1)
    np.testing.assert_allclose(dataset.positions[0], (269.7, -66.0), atol=1e-9)
    assert dataset.wcs(0).has_celestial
    assert dataset.arcsec(1) is None
    assert dataset.wcs(1) is None
    assert np.isnan(dataset.positions[1]).all()
    assert CutoutsConfig(root=str(tmp_path), pixel_scale=0.25).build().arcsec(1) == 0.25
