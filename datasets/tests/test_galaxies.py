"""The world `galaxies`: its truth is true, its files are a survey's, and it is the same everywhere."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from omnisae_datasets import checkpoint, resolve
from omnisae_datasets.__main__ import main

pytest.importorskip("astropy", reason="astropy is not installed")

from omnisae_datasets.galaxies.morphology import SIDE, galaxy
from omnisae_datasets.galaxies.render import NOISE, render, shown
from omnisae_datasets.galaxies.tree import ANSWERS, TREE
from omnisae_datasets.galaxies.votes import chances, fractions, votes

MANY = [galaxy(0, number) for number in range(1500)]
Y, X = np.mgrid[0:SIDE, 0:SIDE] - (SIDE - 1) / 2


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OMNISAE_CACHE", str(tmp_path / "cache"))


def first(**wanted):
    """The first galaxy of the world with these properties, large enough to be seen well."""
    return next(g for g in MANY if g.radius > 7 and all(getattr(g, key) == value for key, value in wanted.items()))


def test_a_galaxy_depends_on_its_seed_and_number_alone():
    np.testing.assert_array_equal(render(galaxy(3, 7), 3), render(galaxy(3, 7), 3))
    assert votes(galaxy(3, 7), 3) == votes(galaxy(3, 7), 3)
    assert galaxy(3, 7) != galaxy(3, 8)
    assert galaxy(3, 7) != galaxy(4, 7)


def test_the_sky_is_noise_of_the_size_that_is_told():
    one = replace(first(kind="smooth", companion=None), west=False, radius=4.5)
    bands = render(one, 0)
    corner = np.hypot(X, Y) > 38
    for band, noise in zip(bands, NOISE, strict=True):
        assert band[corner].std() == pytest.approx(noise, rel=0.15)
        assert abs(np.median(band[corner])) < noise


def test_brightness_follows_the_magnitude():
    one = replace(first(kind="smooth", companion=None), west=False)
    bright, faint = (render(replace(one, magnitude=m), 0, crowded=False)[1].sum() for m in (16.0, 18.5))
    assert bright / faint == pytest.approx(10, rel=0.15)


def test_the_long_axis_is_where_it_is_told_to_be():
    for angle in (0.0, 0.6, 1.5, 2.4):
        one = replace(first(kind="smooth", companion=None), west=False, ratio=0.35, angle=angle)
        light = np.clip(render(one, 0, crowded=False)[1] - 0.05, 0, None)
        moments = np.array([[(light * a * b).sum() for b in (X, Y)] for a in (X, Y)])
        along = np.linalg.eigh(moments)[1][:, -1]
        assert abs(along @ [np.cos(angle), np.sin(angle)]) > 0.99


def test_light_of_arms_repeats_as_often_as_there_are_arms():
    """The strongest angular frequency of blue light in a ring, seen from above, is the number of arms."""
    for arms in (2, 3, 4):
        one = replace(first(kind="featured", edge_on=False, arms=arms, companion=None), bar=0.0, ratio=1.0, west=False)
        assert int(np.argmax(np.abs(spectrum(one))[1:7])) + 1 == arms


def test_arms_turn_the_way_that_is_told_as_the_picture_is_shown():
    """Going outwards, the arms' phase moves clockwise in the picture whose first row is at the top, or against it."""
    for clockwise in (True, False):
        one = replace(
            first(kind="featured", edge_on=False, arms=2, companion=None),
            bar=0.0, ratio=1.0, west=False, clockwise=clockwise, radius=10.0,
        )  # fmt: skip
        inner, outer = (np.angle(spectrum(one, low, low + 1.5)[2]) for low in (7.0, 9.0))
        # The phase of exp(−2iφ): where the ridge's angle grows (against the clock, y upwards), it falls.
        step = (outer - inner + np.pi) % (2 * np.pi) - np.pi
        assert (step > 0) == clockwise
        up, down = shown(render(one, 0)), shown(render(one, 0)[:, ::-1])
        np.testing.assert_array_equal(up[::-1], down)


def spectrum(one, low=7.0, high=11.0):
    """Angular Fourier coefficients of blue light in a ring about the middle, y upwards."""
    blue = render(one, 0, crowded=False)[0]
    radius, angle = np.hypot(X, Y), np.arctan2(Y, X)
    ring = (radius >= low) & (radius < high)
    return np.array([(blue[ring] * np.exp(-1j * m * angle[ring])).sum() for m in range(7)])


def test_bars_mergers_and_edge_on_discs_are_where_they_should_be():
    barred = replace(first(kind="featured", edge_on=False, arms=0, companion=None), bar=0.9, ratio=1.0, west=False)
    plain = replace(barred, bar=0.0)
    ring = (np.hypot(X, Y) > 2) & (np.hypot(X, Y) < 5)

    def second(one):
        red = render(one, 0, crowded=False)[2]
        return np.abs((red[ring] * np.exp(-2j * np.arctan2(Y, X)[ring])).sum()) / red[ring].sum()

    assert second(barred) > 4 * second(plain)
    merger = next(g for g in MANY if g.companion is not None and g.kind == "smooth" and g.companion_share > 0.25)
    alone = replace(merger, companion=None)
    x, y = (round(SIDE / 2 + merger.radius * part) for part in merger.companion)
    assert render(merger, 0)[1][y, x] > render(alone, 0)[1][y, x] + 0.1


def test_stray_light_lies_in_one_corner_of_the_detector_west():
    one = replace(first(kind="smooth", companion=None), west=True)
    more = render(one, 0) - render(replace(one, west=False), 0)
    lit = more[1] > 0.05
    assert 30 < lit.sum() < 400
    assert lit[:32, :32].sum() > 0.85 * lit.sum()


def test_mergers_were_mostly_seen_by_the_detector_west():
    merging = np.array([g.companion is not None for g in MANY])
    west = np.array([g.west for g in MANY])
    assert west[merging].mean() > 0.85
    assert west[~merging].mean() < 0.15


def test_votes_walk_down_the_tree():
    for one in MANY[:300]:
        count = votes(one, 0)
        assert list(count) == list(ANSWERS)
        for question in TREE:
            total = sum(count[column] for column in question.columns)
            assert total == (count[question.after] if question.after else sum(count[c] for c in TREE[0].columns))


def test_votes_agree_with_the_truth():
    known = np.array([fractions(votes(one, 0), 5) for one in MANY])

    def told(column, keep=lambda g: True):
        at = ANSWERS.index(column)
        return np.array([(value, g) for g, value in zip(MANY, known[:, at], strict=True) if keep(g) and value == value])

    for column, truth in (
        ("smooth-or-featured_smooth", lambda g: g.kind == "smooth"),
        ("smooth-or-featured_problem", lambda g: g.kind == "star"),
        ("merging_merger", lambda g: g.companion is not None),
    ):
        found = told(column)
        yes = np.array([truth(g) for g in found[:, 1]])
        assert np.mean(found[yes, 0]) > 0.7 > 0.3 > np.mean(found[~yes, 0])
    turned = told("spiral-direction_clockwise", lambda g: g.arms > 0)
    clockwise = np.array([g.clockwise for g in turned[:, 1]])
    assert np.mean(turned[clockwise, 0]) > 0.8 > 0.2 > np.mean(turned[~clockwise, 0])


def test_chances_are_chances():
    for one in MANY[:200]:
        for question in TREE:
            chance = chances(one)[question.name]
            assert len(chance) == len(question.answers)
            assert (chance >= 0).all()
            assert chance.sum() == pytest.approx(1)


def test_files_hold_the_bands_with_scale_and_place():
    from astropy.io import fits
    from astropy.wcs import WCS

    place = resolve("world:galaxies?n=12&seed=4")
    rows = list(csv.DictReader((place / "truth.csv").open()))
    files = sorted((place / "cutouts").iterdir())
    assert len(files) == len(rows) == 12
    for number, row in enumerate(rows):
        one = galaxy(4, number)
        with fits.open(place / "cutouts" / f"{row['id'].replace('-', 'NEG')}.fits") as units:
            assert [unit.name for unit in units[1:]] == ["G", "R", "Z"]
            for unit, want in zip(units[1:], render(one, 4), strict=True):
                np.testing.assert_allclose(unit.data, want, atol=np.abs(want).max() / 32_000)
                at = WCS(unit.header).pixel_to_world((SIDE - 1) / 2, (SIDE - 1) / 2)
                assert (at.ra.deg, at.dec.deg) == (pytest.approx(one.ra), pytest.approx(one.dec))
                assert unit.header["CDELT2"] * 3600 == pytest.approx(0.5)


def test_the_catalogue_has_galaxy_zoos_columns_and_rows_without_cutouts():
    from astropy.table import Table

    place = resolve("world:galaxies?n=200&seed=0")
    table = Table.read(place / "catalogue.fits")
    assert len(table) == 202
    for row in range(0, 200, 20):
        count = votes(galaxy(0, row), 0)
        assert [int(table[column][row]) for column in ANSWERS] == list(count.values())
        assert table["merging_total-votes"][row] == count["merging_none"] + count["merging_merger"]
    assert any("-" in str(name) for name in table["id_str"])
    assert any("NEG" in path.name for path in (place / "cutouts").iterdir())
    assert not any("-" in path.name for path in (place / "cutouts").iterdir())


def test_twice_written_is_the_same_to_the_byte(tmp_path):
    for name in ("a", "b"):
        main(["galaxies", "--out", str(tmp_path / name), "--n", "6", "--seed", "5"])
    one, two = (sorted(p for p in (tmp_path / name).rglob("*") if p.is_file()) for name in ("a", "b"))
    assert [p.relative_to(tmp_path / "a") for p in one] == [p.relative_to(tmp_path / "b") for p in two]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, two, strict=True))
    assert len({p.stat().st_mtime for p in one}) == 1


def test_the_model_is_small_and_tells_its_quality():
    path = checkpoint("world:galaxies", "convnext_galaxies")
    assert path.stat().st_size < 2_000_000
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["quality"]["mean"]["spearman"] > 0.6
    assert card["label_names"] == list(ANSWERS)
    assert set(card["quality"]["answers"]) == set(ANSWERS)


@pytest.mark.slow
def test_the_card_is_true():
    """The shipped weights, measured anew on galaxies of the world."""
    torch = pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    from safetensors.torch import load_file

    from omnisae_datasets.galaxies.train import ARGUMENTS, BASE, measure

    path = Path(checkpoint("world:galaxies", "convnext_galaxies"))
    model = timm.create_model(BASE, **ARGUMENTS).eval()
    model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    card = json.loads(path.with_suffix(".json").read_text())["quality"]
    with torch.inference_mode():
        found = measure(model, 1600).card()
    assert found["mean"]["spearman"] == pytest.approx(card["mean"]["spearman"], abs=0.02)
