"""Tar shards: what is found, read at any place, and what the user is told where they are damaged."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from omnisae.errors import DatasetError, UnreadableExample
from omnisae.testing import DatasetTests
from omnisae_vision.plugin_datasets import WebDatasetConfig
from omnisae_vision.webdataset_index import read

SIZE = (24, 32)


def encoded(seed=0, form="JPEG", size=SIZE):
    out = io.BytesIO()
    values = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(values).save(out, form)
    return out.getvalue()


def png(values):
    out = io.BytesIO()
    Image.fromarray(values).save(out, "PNG")
    return out.getvalue()


def shard(path, members):
    """Write a tar of these members, in their order; returns where each member's bytes begin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    places = {}
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            places[name] = tar.offset + 512
            tar.addfile(info, io.BytesIO(data))
    return places


def sample(key, number, cls=None, **fields):
    members = [(f"{key}.jpg", encoded(number))]
    members += [(f"{key}.cls", str(cls).encode())] if cls is not None else []
    return members + ([(f"{key}.json", json.dumps(fields).encode())] if fields else [])


def build(root, **options):
    return WebDatasetConfig(root=str(root), **options).build()


@pytest.fixture
def two(tmp_path):
    shard(
        tmp_path / "s-000.tar",
        [*sample("a/0", 0, 1, wild=True, meta={"share": 0.25}), *sample("a/1", 1, 0, wild=False)],
    )
    shard(tmp_path / "s-001.tar", [*sample("b/0", 2, 1), ("b/0.txt", b"a red ring "), *sample("b/1", 3)])
    return tmp_path


class TestConformance(DatasetTests):
    @pytest.fixture
    def config(self, two):
        return WebDatasetConfig(root=str(two), class_names=("dog", "cat"), fields=("wild", "meta.share"))


def test_samples_come_in_the_order_of_the_shards(two):
    dataset = build(two)
    assert list(dataset.ids) == ["a/0", "a/1", "b/0", "b/1"]
    for row in (3, 0, 2):
        wanted = Image.open(io.BytesIO(encoded(row))).convert("RGB")
        np.testing.assert_array_equal(np.asarray(dataset.load(row).input), np.asarray(wanted))


def test_classes_fields_and_texts(two):
    dataset = build(two, class_names=["dog", "cat"], fields=["wild", "meta.share"])
    labels = dataset.annotations().labels
    np.testing.assert_array_equal(labels["class=cat"], [1, 0, 1, np.nan])
    np.testing.assert_array_equal(labels["wild"], [1, 0, np.nan, np.nan])
    np.testing.assert_array_equal(labels["meta.share"], [0.25, np.nan, np.nan, np.nan])
    assert dataset.labels()["text"] == ["", "", "a red ring", ""]
    assert build(two, label=None).annotations().labels == {}


def test_groups_are_never_shown(tmp_path):
    shard(tmp_path / "s.tar", [*sample("0", 0, owner="ann"), *sample("1", 1, owner="bob")])
    dataset = build(tmp_path, group="owner")
    assert list(dataset.groups("owner")) == ["ann", "bob"]
    assert not dataset.labels()
    assert not dataset.annotations().labels
    with pytest.raises(DatasetError, match="no column 'ower' to group by"):
        dataset.groups("ower")


def test_masks(tmp_path):
    numbers = np.zeros(SIZE, dtype=np.uint8)
    numbers[3:9, 4:20] = 2
    members = [*sample("0", 0), ("0.mask.png", png(numbers)), *sample("1", 1)]
    shard(tmp_path / "s.tar", members)
    annotations = build(tmp_path, masks="mask.png", mask_values={1: "dog", 2: "cat"}).annotations()
    (cat,) = annotations.regions(0)
    assert cat.concept == "cat"
    np.testing.assert_array_equal(cat.place.where, numbers == 2)
    assert annotations.regions(1) is None
    shard(tmp_path / "s.tar", [*sample("0", 0), ("0.mask.png", png(numbers[1:]))])
    with pytest.raises(DatasetError, match="is 32 × 23 pixels and its picture 32 × 24"):
        build(tmp_path, masks="mask.png", mask_values={2: "cat"}).annotations().regions(0)


def test_braces_and_globs_name_shards(two):
    assert len(build(two, shards="s-{000..001}.tar")) == 4
    assert next(iter(build(two, shards=["s-{001,000}.tar"]).ids)) == "b/0"
    assert len(build(two, shards="s-*1.tar")) == 2
    with pytest.raises(DatasetError, match="there is no file .*s-002.tar"):
        build(two, shards="s-{000..002}.tar")
    for remote in ("https://host/s.tar", "pipe:curl host"):
        with pytest.raises(DatasetError, match="only local shards are read"):
            build(two, shards=remote)


def test_keys_that_shards_share_get_their_shards_name(tmp_path):
    for name in ("x", "y"):
        shard(tmp_path / f"{name}.tar", [*sample("0", 0), *sample(name, 1)])
    assert list(build(tmp_path).ids) == ["x/0", "x", "y/0", "y"]


def test_the_index_is_kept_and_made_anew(two, monkeypatch):
    before = build(two).fingerprint()
    monkeypatch.setattr("omnisae_vision.webdataset_index._scan", None)
    assert list(build(two).ids) == ["a/0", "a/1", "b/0", "b/1"], "not scanned again"
    monkeypatch.undo()
    shard(two / "s-001.tar", [*sample("c", 5), *sample("d", 6), *sample("e", 7)])
    assert list(build(two).ids) == ["a/0", "a/1", "c", "d", "e"]
    assert build(two).fingerprint() != before


# -- what does not fit ------------------------------------------------------------------------------------------------


def test_pickles_are_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was read",))

    import pickle

    shard(tmp_path / "s.tar", [*sample("0", 0), ("0.pyd", pickle.dumps(Bomb())), ("0.emb.pth", pickle.dumps(Bomb()))])
    with pytest.warns(UserWarning, match="2 members hold pickles and are never read"):
        dataset = build(tmp_path)
    dataset.load(0), dataset.annotations(), dataset.labels()
    with pytest.raises(ValidationError, match="dataset.label is 'pyd', which holds a pickle"):
        WebDatasetConfig(root=".", label="pyd")


def test_a_broken_member_costs_one_example(tmp_path):
    whole = encoded(0)
    broken = {"0": whole[: len(whole) // 2], "1": b"", "2": b"no picture"}
    shard(tmp_path / "s.tar", [*((f"{key}.jpg", data) for key, data in broken.items()), *sample("3", 3)])
    dataset = build(tmp_path)
    for row, key in enumerate(broken):
        with pytest.raises(UnreadableExample, match=rf"{key}\.jpg in .*s\.tar cannot be read"):
            dataset.load(row)
    assert dataset.load(3).input.size == (32, 24)


def test_a_truncated_shard_gives_what_is_before(tmp_path):
    places = shard(tmp_path / "s.tar", [*sample("0", 0), *sample("1", 1), *sample("2", 2)])
    held = (tmp_path / "s.tar").read_bytes()
    for cut in (places["2.jpg"] + 40, places["2.jpg"] - 200):
        (tmp_path / "s.tar").write_bytes(held[:cut])
        with pytest.warns(UserWarning, match=r"s\.tar is damaged \(.*\): the 2 samples before are read"):
            dataset = build(tmp_path)
        assert list(dataset.ids) == ["0", "1"]
        assert dataset.load(1).input.size == (32, 24)


def test_a_header_that_is_damaged_is_told(tmp_path):
    places = shard(tmp_path / "s.tar", [*sample("0", 0), *sample("1", 1), *sample("2", 2)])
    held = bytearray((tmp_path / "s.tar").read_bytes())
    held[places["1.jpg"] - 512 : places["1.jpg"]] = b"\x7f" * 512
    (tmp_path / "s.tar").write_bytes(held)
    with pytest.warns(UserWarning, match=r"what follows byte \d+ is no member\): the 1 samples before are read"):
        assert list(build(tmp_path).ids) == ["0"]


def test_a_shard_that_shrinks_after_it_was_read(tmp_path):
    places = shard(tmp_path / "s.tar", [*sample("0", 0), *sample("1", 1)])
    dataset = build(tmp_path)
    held = (tmp_path / "s.tar").read_bytes()
    (tmp_path / "s.tar").write_bytes(held[: places["1.jpg"] + 9])
    with pytest.raises(UnreadableExample, match="the shard ends within it"):
        dataset.load(1)


@pytest.mark.parametrize(
    ("members", "options", "message"),
    [
        ([("0.jpg", b"1"), ("0.jpg", b"2")], {}, r"s\.tar holds 0.jpg twice"),
        ([("0.txt", b"1"), ("0.pgm2", b"2")], {}, "none of 1 samples in 1 shards has a picture.*\n.*found: pgm2, txt"),
        (sample("0", 0, 3), {"class_names": ["x"]}, "the class of 0 in .* is 3, and dataset.class_names holds 1"),
        ([*sample("0", 0), ("0.json", b"{")], {"fields": ["x"]}, "0.json in .* is no JSON"),
        ([*sample("0", 0), ("0.json", b"[]")], {"fields": ["x"]}, "0.json in .* is no object"),
        (sample("0", 0, wild=1), {"fields": ["wilt"]}, "no sample's JSON has a field 'wilt'\n  → did you mean 'wild'"),
        (sample("0", 0, box=[1, 2]), {"fields": ["box"]}, "the field 'box' of 0 in .* is list, no single value"),
        (sample("0", 0, age=7), {"fields": ["age"]}, "the samples' JSON, sample 0: age is 7; attributes are 0, 1"),
        ([*sample("0", 0), ("0.cls", b"\xff")], {}, "0.cls in .* cannot be read"),
    ],
)
def test_shards_that_do_not_fit(tmp_path, members, options, message):
    shard(tmp_path / "s.tar", members)
    with pytest.raises(DatasetError, match=message):
        build(tmp_path, **options).annotations()


def test_what_is_no_tar(tmp_path):
    (tmp_path / "s.tar").write_bytes(b"no tar at all" * 100)
    with pytest.raises(DatasetError, match=r"s\.tar is no tar file"):
        build(tmp_path)
    with tarfile.open(tmp_path / "s.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("0.jpg"))
    with pytest.raises(DatasetError, match="is compressed") as caught:
        build(tmp_path)
    assert caught.value.remedy == "gunzip the shards"


def test_members_that_are_no_files_are_passed_over(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        link = tarfile.TarInfo("1.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        folder = tarfile.TarInfo("x.jpg")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        whole = tarfile.TarInfo("0.JPG")
        whole.size = len(encoded(0))
        tar.addfile(whole, io.BytesIO(encoded(0)))
    assert [s.key for s in read(tmp_path / "s.tar").samples] == ["0"]
    assert list(build(tmp_path).ids) == ["0"]


def test_masks_and_what_they_mean_go_together():
    with pytest.raises(ValidationError, match="go together"):
        WebDatasetConfig(root=".", masks="mask.png")
    with pytest.raises(ValidationError, match="lower case"):
        WebDatasetConfig(root=".", image="JPG")
