"""The dataset: pictures, tables of several styles, sides, columns, patients, and what is wrong with them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnisae.config import RunConfig
from omnisae.errors import ConfigError, DatasetError, UnreadableExample
from omnisae.extract.split import assign
from omnisae.testing import DatasetTests, PluginTests
from omnisae_mammography.files import main, pseudonym
from omnisae_mammography.plugin import Columns, ExamsConfig

VINDR = ("study_id", "image_id", "laterality", "view_position", "finding_categories", "xmin", "ymin", "xmax", "ymax",
         "breast_birads", "breast_density")  # fmt: skip


class TestPlugin(PluginTests):
    name = "mammography"

    @pytest.fixture
    def configs(self):
        return [
            {"type": "mammography.exams", "root": "/data"},
            {"type": "mammography.timm", "model": "tf_efficientnet_b5"},
            {"type": "mammography.ranking"},
            {"type": "mammography.localisation"},
            {"type": "mammography.curves"},
            {"type": "mammography.lesions"},
        ]


class TestWorld(DatasetTests):
    @pytest.fixture
    def config(self, world):
        return ExamsConfig(root=str(world), table="finding_annotations.csv")


class TestPictures(DatasetTests):
    @pytest.fixture
    def config(self, tmp_path):
        for number in range(5):
            values = np.random.default_rng(number).integers(0, 65_536, (20, 16)).astype(np.uint16)
            Image.fromarray(values).save(tmp_path / f"{number}_{'LR'[number % 2]}-{['CC', 'MLO'][number // 3]}.png")
        return ExamsConfig(root=str(tmp_path), pattern=r"(?P<patient>\d+)_(?P<laterality>[LR])-(?P<view>CC|MLO)")


def lesion(box=(2, 3, 7, 9)):
    """A left-facing chest with one bright square, as stored values."""
    stored = np.full((32, 24), 100, dtype=np.uint16)
    stored[:, :12] = 1500
    stored[box[1] : box[3], box[0] : box[2]] = 4000
    return stored


@pytest.fixture
def vindr(tmp_path, dicom, table):
    """Two patients with both sides, the right ones stored with the chest wall on the right."""
    rows = []
    for who in ("p1", "p2"):
        for side in "LR":
            stored = lesion()
            box = (2, 3, 7, 9)
            if side == "R":
                stored, box = stored[:, ::-1].copy(), (24 - 7, 3, 24 - 2, 9)
            dicom(tmp_path / "images" / who / f"{who}{side}.dicom", stored, ImageLaterality=side, ViewPosition="CC",
                  PatientID=who, Manufacturer=f"Maker of {who}",
                  PatientOrientation=[{"L": "A", "R": "P"}[side], "L"])  # fmt: skip
            rows.append(
                (who, f"{who}{side}", side, "CC", "['Mass', 'Skin Thickening']", *box, "BI-RADS 4", "DENSITY A")
            )
    rows.append(("p2", "p2L", "L", "CC", "['No Finding']", "", "", "", "", "BI-RADS 4", "DENSITY A"))
    table(tmp_path / "boxes.csv", VINDR, rows)
    return ExamsConfig(root=str(tmp_path), table="boxes.csv")


def test_boxes_follow_the_picture_when_it_is_turned(vindr):
    data = vindr.build()
    for row in range(len(data)):
        grey = data.load(row).input
        regions = data.annotations().regions(row)
        assert {r.concept for r in regions} == {"Mass", "Skin Thickening"}
        for region in regions:
            assert (grey[region.place.where] == grey.max()).all()
            assert region.place.where.sum() == 30
        assert grey[:, :8].mean() > grey[:, -8:].mean()
    assert "2 of 4 pictures were turned" in " ".join(data.notes())


def test_brightness_decides_where_no_header_tells(vindr, tmp_path):
    """Right breasts that a collection has turned already are not turned again."""
    import pydicom

    for path in tmp_path.rglob("*.dicom"):
        ds = pydicom.dcmread(path)
        del ds.PatientOrientation
        ds.ImageLaterality = "R"
        ds.save_as(path)
    data = vindr.build()
    for row in range(len(data)):
        (region, *_) = data.annotations().regions(row)
        grey = data.load(row).input
        assert (grey[region.place.where] == grey.max()).all()
        assert grey[:, :8].mean() > grey[:, -8:].mean()
    assert "Of 4 more no header tells" in " ".join(data.notes())


def test_pictures_may_stay_as_stored(vindr):
    data = vindr.model_copy(update={"face": "stored"}).build()
    sides = data.labels()["laterality"]
    for row in range(len(data)):
        grey = data.load(row).input
        assert (grey[:, :8].mean() > grey[:, -8:].mean()) == (sides[row] == "L")
        assert (grey[data.annotations().regions(row)[0].place.where] == grey.max()).all()


def test_two_names_of_one_box_are_one_instance(vindr):
    regions = vindr.build().annotations().regions(0)
    assert {r.instance for r in regions} == {1}


def test_columns_are_coded_and_known(vindr):
    data = vindr.build()
    assert set(data.labels()) == {"view", "laterality", "scanner", "breast_birads", "breast_density"}
    assert set(data.labels()["scanner"]) == {"A", "B"}
    labels = data.annotations().labels
    assert (labels["has_Mass"] == 1).all()
    assert (labels["breast_birads=BI-RADS 4"] == 1).all()
    assert sorted(data.partners(0)) == []


def test_partners_are_the_other_views_of_the_breast(world):
    data = ExamsConfig(root=str(world), table="finding_annotations.csv").build()
    labels = data.labels()
    for row in range(len(data)):
        (other,) = data.partners(row)
        assert labels["laterality"][other] == labels["laterality"][row]
        assert labels["view"][other] != labels["view"][row]
        assert data.groups("patient")[other] == data.groups("patient")[row]


def test_a_split_never_divides_a_patient(world):
    data = ExamsConfig(root=str(world), table="finding_annotations.csv").build()
    sides = assign(data, by="patient")
    by_patient = {}
    for patient, side in zip(data.groups("patient"), sides, strict=True):
        assert by_patient.setdefault(patient, side) == side


@pytest.mark.parametrize("by", ["example", "laterality", "view"])
def test_a_split_that_leaks_a_patient_is_refused(world, by):
    data = ExamsConfig(root=str(world), table="finding_annotations.csv").build()
    with pytest.raises(ConfigError, match="examples of one patient on two sides") as caught:
        assign(data, by=by)
    assert "split by 'patient'" in caught.value.remedy


def test_a_coarser_split_is_no_leak(world):
    """Every patient was seen by one scanner, so that scanners may be kept apart."""
    data = ExamsConfig(root=str(world), table="finding_annotations.csv").build()
    scanners = data.labels()["scanner"]
    if len(set(scanners)) < 3:
        with pytest.raises(DatasetError, match="three are needed"):
            assign(data, by="scanner")
    else:
        assert len(assign(data, by="scanner")) == len(data)


def test_a_leaking_config_is_refused_before_anything_is_read(world, tmp_path):
    from omnisae.pipeline import run

    config = RunConfig.model_validate({
        "name": "leak",
        "dataset": {"type": "mammography.exams", "root": str(world), "table": "finding_annotations.csv"},
        "extractor": {"type": "mammography.timm", "model": "test_efficientnet", "image_size": 64, "device": "cpu"},
        "hooks": [{"at": "bn2"}], "autoencoder": {"latents": 8, "activation": {"type": "core.topk", "k": 2}},
        "train": {"tokens": 100},
    })  # fmt: skip
    with pytest.raises(ConfigError, match="score.split.by"):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run" / "store").exists()


def test_without_patients_nothing_is_read(tmp_path):
    Image.fromarray(np.zeros((8, 8), dtype=np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match="the patient is not known"):
        ExamsConfig(root=str(tmp_path)).build()
    assert len(ExamsConfig(root=str(tmp_path), patient="picture").build()) == 1


def test_cbis_masks_come_from_files(tmp_path, table):
    for number, side in ((1, "LEFT"), (2, "RIGHT")):
        grey = np.full((20, 16), 1000, dtype=np.uint16)
        mask = np.zeros((20, 16), dtype=np.uint8)
        grey[4:8, 9:13] = 60_000
        mask[4:8, 9:13] = 255
        for folder, values in (("full", grey), ("roi", mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(values).save(tmp_path / folder / f"P_{number}_{side}_CC.png")
    header = ("patient_id", "left or right breast", "image view", "abnormality type", "pathology", "assessment",
              "image file path", "ROI mask file path")  # fmt: skip
    table(tmp_path / "mass.csv", header, [
        (f"P_{n}", side, "CC", "mass", "MALIGNANT", 4, f"full/P_{n}_{side}_CC.png", f"roi/P_{n}_{side}_CC.png")
        for n, side in ((1, "LEFT"), (2, "RIGHT"))
    ])  # fmt: skip
    data = ExamsConfig(root=str(tmp_path), images=".", table="mass.csv", columns="cbis").build()
    assert len(data) == 2
    assert data.labels()["laterality"] == ["L", "R"]
    for row in range(2):
        (region,) = data.annotations().regions(row)
        assert region.concept == "mass"
        assert (data.load(row).input[region.place.where] == 60_000).all()
        assert region.place.where.sum() == 16
    assert (data.annotations().labels["pathology=MALIGNANT"] == 1).all()


OSIRIX = """<?xml version="1.0" encoding="UTF-8"?><plist version="1.0"><dict><key>Images</key><array><dict>
<key>ROIs</key><array><dict><key>Name</key><string>Mass</string><key>Point_px</key><array>
<string>(4.0, 3.0)</string><string>(9.0, 3.0)</string><string>(9.0, 8.0)</string><string>(4.0, 8.0)</string>
</array></dict></array></dict></array></dict></plist>"""


def test_inbreasts_table_and_contours(tmp_path, dicom, table):
    for name in ("20586908", "20586934"):
        dicom(tmp_path / "AllDICOMs" / f"{name}_6c613a14b80a8591_MG_L_CC_ANON.dcm", lesion(), PatientID=name)
    table(tmp_path / "INbreast.csv", ("Patient ID", "Laterality", "View", "File Name", "ACR", "Bi-Rads"),
          [("removed", "L", "CC", "20586908", 2, 5), ("removed", "L", "CC", "20586934", 1, 1)], ";")  # fmt: skip
    (tmp_path / "AllXML").mkdir()
    (tmp_path / "AllXML" / "20586908.xml").write_text(OSIRIX)
    data = ExamsConfig(
        root=str(tmp_path), images="AllDICOMs", table="INbreast.csv", columns="inbreast", contours="AllXML"
    ).build()
    (region,) = data.annotations().regions(0)
    assert region.concept == "Mass"
    assert region.place.where[4:8, 5:9].all()
    assert not region.place.where[:3].any()
    assert data.annotations().regions(1) == []
    assert data.annotations().labels["has_Mass"].tolist() == [1.0, 0.0]
    assert data.annotations().labels["Bi-Rads=5"].tolist() == [1.0, 0.0]


def test_a_mapping_of_ones_own(tmp_path, dicom, table):
    dicom(tmp_path / "x.dcm", lesion())
    table(tmp_path / "t.csv", ("file", "who", "what", "l", "t", "r", "b"), [("x", "q", "mass", 2, 3, 7, 9)])
    columns = Columns(image="file", patient="who", concept="what", box=("l", "t", "r", "b"))
    data = ExamsConfig(root=str(tmp_path), table="t.csv", columns=columns).build()
    assert [r.concept for r in data.annotations().regions(0)] == ["mass"]


def broken(vindr, table, box):
    table(Path(vindr.root) / "boxes.csv", VINDR, [("p1", "p1L", "L", "CC", "['Mass']", *box, "", "")])
    return vindr


@pytest.mark.parametrize("box", [(7, 3, 2, 9), ("x", 3, 7, 9), (2, 3, 7, ""), ("nan", 3, "inf", 9)])
def test_a_box_that_is_none_names_its_line(vindr, table, box):
    with pytest.raises(DatasetError, match=r"boxes.csv, line 2: .* are no box"):
        broken(vindr, table, box).build()


def test_a_box_outside_the_picture_is_refused_before_the_run(vindr, table):
    with pytest.raises(DatasetError, match="line 2: the box lies outside picture .* 24 × 32 pixels"):
        broken(vindr, table, (400, 300, 500, 380)).build()


def test_a_box_that_reaches_beyond_is_cut_and_counted(vindr, table):
    data = broken(vindr, table, (-3, 3, 7, 9)).build()
    assert "1 boxes reach beyond their picture" in " ".join(data.notes())
    row = next(r for r in range(4) if data.annotations().regions(r))
    assert data.annotations().regions(row)[0].place.where.sum() == 7 * 6


def test_a_mask_of_another_size_is_refused(tmp_path, dicom, table):
    dicom(tmp_path / "images" / "x.dcm", lesion())
    Image.fromarray(np.ones((5, 5), dtype=np.uint8)).save(tmp_path / "m.png")
    table(tmp_path / "t.csv", ("file", "mask"), [("x", "m.png")])
    data = ExamsConfig(root=str(tmp_path), table="t.csv", columns=Columns(image="file", mask="mask")).build()
    with pytest.raises(DatasetError, match="is 5 × 5 pixels, and the picture 24 × 32"):
        data.annotations().regions(0)


def test_a_table_that_joins_nothing_is_refused(vindr, table, tmp_path):
    table(tmp_path / "boxes.csv", VINDR, [("p1", "other", "L", "CC", "", "", "", "", "", "", "")])
    with pytest.raises(DatasetError, match="none of the 1 lines"):
        vindr.build()


def test_lines_that_join_nothing_are_counted(vindr, tmp_path):
    with (tmp_path / "boxes.csv").open("a") as file:
        file.write("p9,other,L,CC,['Mass'],1,1,2,2,,\n")
    assert "1 of 6 lines of the table name no picture" in " ".join(vindr.build().notes())


def test_a_missing_column_is_named(vindr, table, tmp_path):
    table(tmp_path / "boxes.csv", VINDR[1:], [("p1L", "L", "CC", "", "", "", "", "", "", "")])
    with pytest.raises(DatasetError, match="has no column 'study_id'"):
        vindr.build()


def test_an_attribute_of_many_words_is_refused(tmp_path, dicom, table):
    for number in range(45):
        dicom(tmp_path / f"{number}.dcm", lesion())
    table(tmp_path / "t.csv", ("file", "note"), [(number, f"Mrs {number}") for number in range(45)])
    config = ExamsConfig(
        root=str(tmp_path), table="t.csv", columns=Columns(image="file", attributes=("note",)), patient="picture"
    )
    with pytest.raises(DatasetError, match="45 different words") as caught:
        config.build().labels()
    assert "Mrs" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([f"day {n}" for n in range(10)], "10 belong to one patient each"),
        (["7"] * 10, "holds what patients are called"),
    ],
)
def test_an_attribute_that_tells_patients_apart_is_refused(tmp_path, dicom, table, words, says):
    for number in range(10):
        dicom(tmp_path / f"{number}.dcm", lesion())
    table(tmp_path / "t.csv", ("file", "note"), enumerate(words))
    config = ExamsConfig(root=str(tmp_path), table="t.csv", columns=Columns(image="file", attributes=("note",)))
    with pytest.raises(DatasetError, match=says) as caught:
        config.build().labels()
    assert "day" not in str(caught.value)


def test_a_broken_file_is_a_counted_skip(vindr, tmp_path):
    path = tmp_path / "images" / "p1" / "p1L.dicom"
    path.write_bytes(path.read_bytes()[:600])
    data = vindr.build()
    row = data.ids.index(pseudonym("picture", "p1/p1L.dicom"))
    with pytest.raises(UnreadableExample, match="cannot be read"):
        data.load(row)
    assert data.load((row + 1) % 4).input.max() > 0


def test_a_picture_is_found_again_by_its_name(vindr, tmp_path, capsys):
    name = pseudonym("picture", "p1/p1L.dicom")
    assert main([str(tmp_path), name]) == 0
    assert capsys.readouterr().out.strip() == "p1/p1L.dicom"


def test_a_salt_changes_every_name(monkeypatch):
    before = pseudonym("picture", "a")
    monkeypatch.setenv("OMNISAE_SALT", "pepper")
    assert pseudonym("picture", "a") != before


def test_only_the_breast_is_kept(world):
    plain = ExamsConfig(root=str(world), table="finding_annotations.csv").build()
    bare = ExamsConfig(root=str(world), table="finding_annotations.csv", keep="breast").build()
    marked = [row for row in range(len(plain)) if plain.labels()["burned_in"][row] == "yes"]
    assert marked
    for row in marked:
        one, two = plain.load(row).input, bare.load(row).input
        assert (one[:60, -60:] > 60_000).any()
        assert not (two[:60, -60:] > 60_000).any()
        assert two[128:160, :40].tolist() == one[128:160, :40].tolist()


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [("pattern", "(", "no regular expression"), ("pattern", "x", "named groups"), ("window", (100, 0), "above 0")],
)
def test_what_cannot_be_meant_is_refused(field, value, says):
    with pytest.raises(ValueError, match=says):
        ExamsConfig(root="/data", **{field: value})
