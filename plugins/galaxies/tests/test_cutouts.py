"""The dataset as a whole: the world, folders of pictures, settings, and what is wrong with them."""

import numpy as np
import pytest
from PIL import Image

from omnisae.errors import DatasetError, UnreadableExample
from omnisae.testing import DatasetTests
from omnisae_galaxies.plugin import CutoutsConfig, Stretch, Votes
from omnisae_galaxies.trees import Question

pytestmark = pytest.mark.filterwarnings("ignore:.*have no row")


def worlds(world, **changed):
    from omnisae_datasets.galaxies.tree import TREE

    tree = {q.name: Question(answers=q.answers, after=q.after) for q in TREE}
    settings = {
        "root": str(world),
        "bands": ("z", "r", "g"),
        "stretch": Stretch(minimum=0.0, stretch=0.6),
        "catalogue": "catalogue.fits",
        "minus": "NEG",
        "votes": Votes(tree=tree, clean=0.8),
        "classes": ("detector",),
        "numbers": ("redshift", "mag_r", "radius_arcsec"),
        "position": ("right_ascension", "declination"),
    }
    return CutoutsConfig(**(settings | changed))


class TestWorld(DatasetTests):
    @pytest.fixture
    def config(self, world):
        return worlds(world)


def picture(path, value=128, size=(20, 12)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


class TestPictures(DatasetTests):
    @pytest.fixture
    def config(self, tmp_path, csv_file):
        for name in ("a.jpg", "b.png", "deep/c.jpeg"):
            picture(tmp_path / "images" / name)
        csv_file(tmp_path / "t.csv", "id_str,p_el,class,z,tile", "a,0.5,spiral,0.1,T1", "b,,,0.2,T1", "c,1.0,smooth,,")
        return CutoutsConfig(
            root=str(tmp_path),
            catalogue="t.csv",
            fractions=("p_el",),
            classes=("class",),
            numbers=("z",),
            group="tile",
            pixel_scale=0.4,
        )

    def test_what_the_catalogue_says(self, dataset):
        assert list(dataset.ids) == ["a", "b", "deep/c"]
        labels = dataset.annotations().labels
        np.testing.assert_array_equal(labels["p_el"], [0.5, np.nan, 1.0])
        np.testing.assert_array_equal(labels["class=spiral"], [1, np.nan, 0])
        assert dataset.labels() == {"class": ["spiral", "", "smooth"]}
        assert list(dataset.groups("tile")) == ["T1", "T1", "?2"]
        assert list(dataset.groups("class")) == ["spiral", "?1", "smooth"]
        assert dataset.group_columns() == ["class", "tile"]
        np.testing.assert_array_equal(dataset.features().values[:, 0], [0.1, 0.2, np.nan])
        assert dataset.arcsec(1) == 0.4
        assert dataset.wcs(0) is None
        assert np.isnan(dataset.positions).all()
        assert dataset.tally(0) == {}

    def test_the_fingerprint_knows_catalogue_and_settings(self, dataset, config, tmp_path):
        before = dataset.fingerprint()
        assert config.model_copy(update={"pixel_scale": 0.5}).build().fingerprint() != before
        (tmp_path / "t.csv").write_text((tmp_path / "t.csv").read_text() + "d,0.5,spiral,0.3,T2\n")
        assert config.build().fingerprint() != before


def test_pictures_and_votes_are_those_of_the_world(world):
    """Loading gives the very pixels that the world's encoder was trained on, but for the rounding of stored fluxes."""
    from omnisae_datasets.galaxies.morphology import galaxy
    from omnisae_datasets.galaxies.render import render, shown
    from omnisae_datasets.galaxies.tree import ANSWERS
    from omnisae_datasets.galaxies.votes import fractions, votes

    dataset = worlds(world).build()
    labels = dataset.annotations().labels
    for row in range(0, 60, 6):
        one = galaxy(0, row)
        off = np.abs(np.asarray(dataset.load(row).input).astype(int) - shown(render(one, 0)))
        assert (off > 2).mean() < 0.01
        np.testing.assert_allclose([labels[a][row] for a in ANSWERS], fractions(votes(one, 0), 5), atol=1e-12)
        np.testing.assert_allclose(dataset.features().values[row], (one.redshift, one.magnitude, one.radius * 0.5))
        np.testing.assert_allclose(dataset.positions[row], (one.ra, one.dec))
    assert dataset.arcsec(3) == pytest.approx(0.5)
    assert any("1 of 61 rows have no cut-out" in note for note in dataset.notes())
    assert set(dataset.labels()["detector"]) == {"east", "west"}


def test_the_sky_position_of_wcs_and_catalogue_agree(world):
    named = worlds(world).build().positions
    np.testing.assert_allclose(worlds(world, position=None).build().positions, named, atol=1e-6)


def test_a_tally_leaves_out_what_was_not_asked(world):
    dataset = worlds(world).build()
    labels = dataset.annotations().labels
    for row in range(len(dataset)):
        votes = dataset.tally(row)
        assert ("bar" in votes) == (not np.isnan(labels["bar_yes"][row]))
        assert sum(votes["smooth-or-featured"].values()) == pytest.approx(1)


def test_the_scale_may_stand_in_the_catalogue(tmp_path, csv_file):
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    csv_file(tmp_path / "t.csv", "id_str,scale", "a,0.3", "b,")
    dataset = CutoutsConfig(root=str(tmp_path), catalogue="t.csv", pixel_scale="scale").build()
    assert [dataset.arcsec(0), dataset.arcsec(1)] == [0.3, None]


def test_a_broken_picture_is_unreadable_and_named(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff broken")
    dataset = CutoutsConfig(root=str(tmp_path)).build()
    with pytest.raises(UnreadableExample, match=r"b\.jpg"):
        dataset.load(1)
    assert dataset.load(0).input.size == (20, 12)


def test_cmyk_palette_and_16_bit_pictures_are_read(tmp_path):
    base = Image.new("RGB", (8, 8), (200, 40, 90))
    base.convert("CMYK").save(tmp_path / "a.jpg")
    base.convert("P").save(tmp_path / "b.png")
    Image.fromarray(np.full((8, 8), 51_400, dtype=np.uint16)).save(tmp_path / "c.png")
    dataset = CutoutsConfig(root=str(tmp_path)).build()
    assert [dataset.load(row).input.mode for row in range(3)] == ["RGB"] * 3
    assert np.asarray(dataset.load(2).input)[0, 0].tolist() == [200, 200, 200]


def test_an_id_of_two_files_is_refused(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "a.jpg")
    with pytest.raises(DatasetError, match="are both called 'a'"):
        CutoutsConfig(root=str(tmp_path)).build()


@pytest.mark.parametrize("below", [None, "cutouts"])
def test_folders_that_hold_nothing_are_told(tmp_path, below):
    (tmp_path / "cutouts").mkdir()
    with pytest.raises(DatasetError, match="holds no cut-out"):
        CutoutsConfig(root=str(tmp_path), images=below).build()
    with pytest.raises(DatasetError, match="there is no folder"):
        CutoutsConfig(root=str(tmp_path / "absent")).build()
    with pytest.raises(DatasetError, match="there is no folder"):
        CutoutsConfig(root=str(tmp_path), images="absent").build()


@pytest.mark.parametrize(
    ("lines", "settings", "words"),
    [
        (("id_str,p", "a,1.5"), {"fractions": ("p",)}, "row 1: p is 1.5; fractions lie between 0 and 1"),
        (("id_str,p", "a,0.5", "a,0.6"), {"fractions": ("p",)}, "'a' in row 1 and 'a' in row 2"),
        (("id_str,p", "z,0.5"), {"fractions": ("p",)}, "none of its 1 ids names one of the 1 cut-outs"),
        (("id_str,p", "a,0.5"), {"fractions": ("q",)}, "has no column 'q'"),
        (("name,p", "a,0.5"), {"fractions": ("p",)}, "has no column 'id_str'"),
        (("id_str,p", "a,0.5"), {"votes": Votes(tree="decals")}, "has no column of votes such as"),
    ],
)
def test_catalogues_that_do_not_fit_are_told(tmp_path, csv_file, lines, settings, words):
    picture(tmp_path / "a.png")
    csv_file(tmp_path / "t.csv", *lines)
    with pytest.raises(DatasetError, match=words) as caught:
        CutoutsConfig(root=str(tmp_path), catalogue="t.csv", **settings).build()
    assert "t.csv" in caught.value.problem
    assert caught.value.remedy


def test_too_many_words_make_no_class(tmp_path, csv_file):
    names = [f"g{i}" for i in range(120)]
    for name in names:
        picture(tmp_path / f"{name}.png", size=(4, 4))
    csv_file(tmp_path / "t.csv", "id_str,tile", *(f"{name},tile{name}" for name in names))
    with pytest.raises(DatasetError, match="'tile' has 120 different words"):
        CutoutsConfig(root=str(tmp_path), catalogue="t.csv", classes=("tile",)).build()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fractions": ("p",)}, "dataset.fractions names columns of a catalogue, and none is given"),
        ({"pixel_scale": "scale"}, "dataset.pixel_scale names columns"),
        ({"pixel_scale": -1.0}, "must be above 0"),
        ({"bands": ("z", "r", "g"), "stretch": Stretch(weights=(1.0, 2.0))}, "2 values for 3 bands"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        CutoutsConfig(root=".", **settings)


def test_real_cutouts_are_read(real):
    """1,385 JPEG cut-outs of SDSS with the classes of Galaxy Zoo 1, the long ids in a column of numbers."""
    dataset = CutoutsConfig(
        root=str(real), images="images", catalogue="labels.csv", id="OBJID", classes=("label",), pixel_scale=0.396
    ).build()
    assert len(dataset) == 1385
    assert dataset.notes() == []
    labels = dataset.annotations().labels
    counts = {name.removeprefix("label="): int(np.nansum(values)) for name, values in labels.items()}
    assert counts["elliptical"] == 500
    assert counts["merger"] == 57
    assert sum(counts.values()) == 1385
    for row in (0, 700, 1384):
        assert dataset.load(row).input.size == (423, 423)
