"""Grey values: what a file holds is shown as DICOM says, whatever the encoding."""

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import apply_rescale, apply_voi_lut
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless, RLELossless

from omnisae.errors import DatasetError, UnreadableExample
from omnisae_mammography import header, pixels

STEP = 1 / 65_535


def shown(path, window="file"):
    return pixels.read(path, "picture 'x'", window) / 65_535


def reference(path, most):
    """pydicom's own rescale and VOI, scaled by the largest value that it can give."""
    ds = dcmread(path)
    return apply_voi_lut(apply_rescale(ds.pixel_array, ds), ds).astype(float) / most


def test_a_linear_window_is_pydicoms(tmp_path, dicom, ramp):
    path = dicom(tmp_path / "a.dcm", ramp, WindowCenter=1500, WindowWidth=1000)
    np.testing.assert_allclose(shown(path), reference(path, 4095), atol=2 * STEP)


def test_the_first_of_several_windows_counts(tmp_path, dicom, ramp):
    one = shown(dicom(tmp_path / "a.dcm", ramp, WindowCenter=[1500, 300], WindowWidth=[1000, 20]))
    two = shown(dicom(tmp_path / "b.dcm", ramp, WindowCenter=1500, WindowWidth=1000))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
def test_other_functions_are_pydicoms(tmp_path, dicom, ramp, function):
    path = dicom(tmp_path / "a.dcm", ramp, WindowCenter=1500, WindowWidth=1000, VOILUTFunction=function)
    np.testing.assert_allclose(shown(path), reference(path, 4095), atol=2 * STEP)


def test_the_rescale_comes_before_the_window(tmp_path, dicom, ramp):
    path = dicom(tmp_path / "a.dcm", ramp, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=2900, WindowWidth=2001)
    want = np.clip((ramp * 2.0 - 100 - 2899.5) / 2000 + 0.5, 0, 1)
    np.testing.assert_allclose(shown(path), want, atol=STEP)


def test_monochrome1_is_turned_so_that_air_is_dark(tmp_path, dicom, ramp):
    plain = {"WindowCenter": 1500, "WindowWidth": 3000}
    one = shown(dicom(tmp_path / "a.dcm", ramp, **plain))
    two = shown(dicom(tmp_path / "b.dcm", ramp, PhotometricInterpretation="MONOCHROME1", **plain))
    np.testing.assert_allclose(one, 1 - two, atol=2 * STEP)


def test_a_voi_table_goes_before_a_window(tmp_path, dicom, ramp):
    item = Dataset()
    item.add_new(0x00283002, "US", [1000, 500, 16])
    levels = np.linspace(0, 65_535, 1000).round().astype("<u2")
    item.add_new(0x00283006, "OW", levels.tobytes())
    path = dicom(tmp_path / "a.dcm", ramp, VOILUTSequence=Sequence([item]), WindowCenter=1, WindowWidth=2)
    want = levels[np.clip(ramp.astype(int) - 500, 0, 999)] / 65_535
    np.testing.assert_allclose(shown(path), want, atol=STEP)


def test_padding_is_air(tmp_path, dicom, ramp):
    stored = ramp.copy()
    stored[:, :4] = 4095
    path = dicom(tmp_path / "a.dcm", stored, PixelPaddingValue=4095, PhotometricInterpretation="MONOCHROME1")
    assert (shown(path)[:, :4] == 0).all()
    assert shown(path)[:, 4:].max() == 1


@pytest.mark.parametrize("bits", [12, 14, 16])
def test_full_uses_all_values(tmp_path, dicom, bits):
    stored = np.linspace(0, 2**bits - 1, 32 * 24).round().reshape(32, 24).astype(np.uint16)
    path = dicom(tmp_path / "a.dcm", stored, BitsStored=bits, HighBit=bits - 1)
    np.testing.assert_allclose(shown(path, "full"), stored / (2**bits - 1), atol=STEP)
    np.testing.assert_array_equal(shown(path, "full"), shown(path))  # no window in the file


def test_a_window_of_the_config_is_used(tmp_path, dicom, ramp):
    path = dicom(tmp_path / "a.dcm", ramp, WindowCenter=1, WindowWidth=2)
    np.testing.assert_allclose(shown(path, (1000.0, 501.0)), np.clip((ramp - 999.5) / 500 + 0.5, 0, 1), atol=STEP)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_files_are_read_as_plain_ones(tmp_path, dicom, ramp, syntax):
    ramp = np.kron(ramp, np.ones((4, 4), dtype=np.uint16))  # JPEG 2000 wants some pixels to work on
    plain = shown(dicom(tmp_path / "a.dcm", ramp))
    packed = dicom(tmp_path / "b.dcm", ramp, syntax=syntax)
    assert dcmread(packed).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(plain, shown(packed))


def test_a_missing_decoder_names_its_package(tmp_path, dicom, ramp, monkeypatch):
    path = dicom(tmp_path / "a.dcm", np.kron(ramp, np.ones((4, 4), dtype=np.uint16)), syntax=JPEG2000Lossless)
    from pydicom.pixels import get_decoder

    decoder = type(get_decoder(JPEG2000Lossless))
    monkeypatch.setattr(decoder, "is_available", property(lambda self: False))
    monkeypatch.setattr(decoder, "missing_dependencies", property(lambda self: ["pylibjpeg - requires openjpeg"]))
    with pytest.raises(DatasetError, match="no decoder for it is installed") as caught:
        header.read(path, "picture 'x'")
    assert "pip install pylibjpeg" in caught.value.remedy


@pytest.mark.parametrize("kept", [0, 100, 400, 700])
def test_a_truncated_file_is_unreadable(tmp_path, dicom, ramp, kept):
    path = dicom(tmp_path / "a.dcm", ramp)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UnreadableExample, match="picture 'x'"):
        _both(path)


def test_several_frames_are_refused(tmp_path, dicom, ramp):
    path = dicom(tmp_path / "a.dcm", ramp, NumberOfFrames=3)
    with pytest.raises(UnreadableExample, match="3 frames"):
        header.read(path, "picture 'x'")


def test_sixteen_bit_png_keeps_its_values(tmp_path):
    from PIL import Image

    values = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    Image.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels.read(tmp_path / "a.png", "x", "file"), values)


def test_a_coloured_picture_is_refused(tmp_path):
    from PIL import Image

    Image.new("CMYK", (8, 8)).save(tmp_path / "a.tif")
    with pytest.raises(UnreadableExample, match="mode CMYK"):
        pixels.read(tmp_path / "a.tif", "x", "file")


@pytest.mark.parametrize(
    ("orientation", "laterality", "chest"),
    [(["A", "R"], "R", "left"), (["P", "L"], "L", "right"), (None, "L", ""), (None, "R", "")],
)
def test_the_chest_wall_is_told_by_the_orientation_alone(tmp_path, dicom, ramp, orientation, laterality, chest):
    more = {"PatientOrientation": orientation} if orientation else {}
    path = dicom(tmp_path / "a.dcm", ramp, ImageLaterality=laterality, **more)
    assert header.read(path, "x").chest == chest


def _both(path):
    header.read(path, "picture 'x'")
    pixels.read(path, "picture 'x'", "file")
