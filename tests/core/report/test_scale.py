"""The colour scale: even, rising in lightness, readable by the colour-blind."""

import numpy as np
import pytest

from omnisae.report.scale import ANCHORS, codes, colour, lightness, table

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def seen(rgb: np.ndarray, matrix: list[list[float]]) -> np.ndarray:
    part = rgb / 255.0
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4) @ np.array(matrix).T
    linear = np.clip(linear, 0, 1)
    return 255.0 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_lightness_rises_all_the_way():
    light = lightness(table().astype(float))
    assert (light[8:] > light[:-8]).all()
    assert light[0] < 35
    assert light[-1] > 90


@pytest.mark.parametrize("kind", sorted(BLIND))
def test_lightness_rises_for_the_colour_blind(kind):
    light = lightness(seen(table().astype(float), BLIND[kind]))
    assert (light[16:] > light[:-16]).all()


def test_equal_steps_are_about_equally_light():
    step = np.diff(lightness(table()[::32].astype(float)))
    assert step.max() / step.min() < 3


def test_lightness_of_known_colours():
    assert lightness(np.array([[0.0, 0, 0], [255, 255, 255], [119, 119, 119]])) == pytest.approx(
        [0, 100, 50.03], abs=0.1
    )


def test_ends_are_the_anchors_and_out_of_range_is_clipped():
    assert codes()[0] == ANCHORS[0] == colour(-1)
    assert codes()[-1] == ANCHORS[-1] == colour(2)
