"""From the raw picture to the model's input and back: a point goes in, the same point comes out."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from omnisae.errors import DatasetError
from omnisae.extract.dataset import Example
from omnisae_vision.geometry import Geometry
from omnisae_vision.placement import placement

TIMM = {"input_size": (3, 64, 64), "mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bicubic"}
GEOMETRIES = {
    "resize and crop": Geometry({**TIMM, "crop_pct": 0.875, "crop_mode": "center"}),
    "squash": Geometry({**TIMM, "crop_pct": 1.0, "crop_mode": "squash"}),
    "border": Geometry({**TIMM, "crop_pct": 1.0, "crop_mode": "border"}),
    "another shape": Geometry({**TIMM, "input_size": (3, 48, 80), "crop_pct": 0.9, "crop_mode": "center"}),
}


class Seeing:
    """An extractor, as far as geometry goes."""

    def __init__(self, geometry):
        self.geometry = geometry

    def place(self, mask, example):
        return self.geometry.place(mask)


def open_clip_padding():
    pytest.importorskip("open_clip", reason="open_clip is not installed")
    from open_clip.transform import PreprocessCfg, image_transform_v2

    def steps(data):
        return list(image_transform_v2(PreprocessCfg(**data), is_train=False).transforms)

    return Geometry({"size": (64, 64), "mode": "RGB", "resize_mode": "longest", "interpolation": "bicubic"}, steps)


GEOMETRIES["pad"] = open_clip_padding()


def example(height, width):
    return Example(0, "e0", Image.new("RGB", (width, height)))


@pytest.mark.parametrize("name", GEOMETRIES)
@given(height=st.integers(24, 150), width=st.integers(24, 150), y=st.floats(0, 1), x=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_a_point_goes_in_and_the_same_point_comes_out(name, height, width, y, x):
    geometry = GEOMETRIES[name]
    found = placement(Seeing(geometry), example(height, width))
    y, x = y * height, x * width
    assert found.to_raw(*found.to_seen(y, x)) == pytest.approx((y, x), abs=1e-9)
    # A spot drawn there shows up where the placement says.
    reach = max(3.0, 2.0 / min(found.y.scale, found.x.scale))
    top, left = max(round(y - reach), 0), max(round(x - reach), 0)
    bottom, right = min(round(y + reach), height), min(round(x + reach), width)
    spot = np.zeros((height, width), dtype=bool)
    spot[top:bottom, left:right] = True
    there = np.argwhere(geometry.place(spot))
    sizes = (found.y.seen, found.x.seen)
    ends = zip(found.to_seen(top, left), found.to_seen(bottom, right), sizes, strict=True)
    shown = [np.clip([low, high], 0, size) for low, high, size in ends]
    assume(all(high - low > 2 for low, high in shown))  # not cropped away
    assert len(there), "it was to be seen"
    for axis, (low, high) in enumerate(shown):
        assert abs(there[:, axis].min() - low) < 1
        assert abs(there[:, axis].max() + 1 - high) < 1


@pytest.mark.parametrize("name", GEOMETRIES)
@given(height=st.integers(24, 150), width=st.integers(24, 150), row=st.integers(0, 3), column=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_a_patch_is_the_pixels_it_saw(name, height, width, row, column):
    """What lies in a patch's raw box is placed within its cell, and covers it but for what was padded."""
    geometry, grid = GEOMETRIES[name], (4, 4)
    found = placement(Seeing(geometry), example(height, width))
    top, left, bottom, right = found.patch(row, column, grid)
    assert 0 <= top <= bottom <= height
    assert 0 <= left <= right <= width
    spot = np.zeros((height, width), dtype=bool)
    spot[round(top) : round(bottom), round(left) : round(right)] = True
    placed = geometry.place(spot)
    slack = 1 + max(found.y.scale, found.x.scale)
    for axis, (at, seen) in enumerate(((row, found.y.seen), (column, found.x.seen))):
        places = np.argwhere(placed)[:, axis]
        if len(places):
            assert places.min() >= at * seen / 4 - slack
            assert places.max() + 1 <= (at + 1) * seen / 4 + slack


def test_patches_together_are_what_was_not_cropped():
    for name in ("squash", "pad"):
        found = placement(Seeing(GEOMETRIES[name]), example(90, 60))
        assert found.patch(0, 0, (1, 1)) == pytest.approx((0, 0, 90, 60), abs=0.7)
    found = placement(Seeing(GEOMETRIES["resize and crop"]), example(100, 200))
    top, left, bottom, right = found.patch(0, 0, (1, 1))
    assert (bottom - top, right - left) == pytest.approx((87.5, 87.5), abs=1.5)
    assert (top + bottom, left + right) == pytest.approx((100, 200), abs=3)


def test_pictures_of_few_pixels():
    found = placement(Seeing(GEOMETRIES["squash"]), example(2, 2))
    assert found.to_seen(1, 1) == pytest.approx((32, 32), abs=1)


@pytest.mark.parametrize(("height", "width"), [(40, 4000), (4000, 40)])
def test_a_long_picture_of_which_a_hundredth_is_seen(height, width):
    found = placement(Seeing(GEOMETRIES["resize and crop"]), example(height, width))
    top, left, bottom, right = found.patch(0, 0, (1, 1))
    assert (bottom - top, right - left) == pytest.approx((35, 35), abs=1)
    assert (top + bottom, left + right) == pytest.approx((height, width), abs=3)


@pytest.mark.parametrize("change", [lambda seen: seen[:, ::-1], lambda seen: seen[::-1], np.transpose, np.rot90])
def test_turned_and_mirrored_pictures_are_refused(change):
    class Turned(Seeing):
        def place(self, mask, example):
            return change(super().place(mask, example))

    with pytest.raises(DatasetError, match="turned or mirrored"):
        placement(Turned(GEOMETRIES["squash"]), example(60, 60))


def test_a_picture_of_which_nothing_is_seen():
    class Blind(Seeing):
        def place(self, mask, example):
            return np.zeros((8, 8), dtype=bool)

    with pytest.raises(DatasetError, match="shows nothing of 'e0'"):
        placement(Blind(None), example(60, 60))
