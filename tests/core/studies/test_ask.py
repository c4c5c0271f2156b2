"""Asking studies: what is written down, and what a wrong one costs."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from omnisae.errors import ConfigError, DatasetError
from omnisae.figure import Figure
from omnisae.studies.ask import ask
from omnisae.studies.study import Finding, Findings, Measure, Study

MEDIA = {"image/png": "png", "image/jpeg": "jpg", "image/svg+xml": "svg", "text/html": "html"}


class Given(Study):
    """Answers what it was given; an error is raised."""

    title, about = "What was given?", "It says what it was told to say."

    def __init__(self, answer):
        self.answer = answer

    def study(self, material):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Config:
    def __init__(self, answer, type="test.given", name=None):
        self.type, self.name, self.build = type, name, lambda: Given(answer)


@pytest.fixture
def material(room, tmp_path):
    codes = np.abs(np.random.default_rng(0).normal(size=(12, 3)))
    return room.material(tmp_path / "room", codes)


@pytest.fixture
def asked(material, tmp_path):
    def run(*configs):
        ask(configs, material, tmp_path)
        return json.loads((tmp_path / "studies.json").read_text()), pq.read_table(tmp_path / "latents.parquet")

    return run


def test_a_study_that_fails_is_written_down_and_the_next_goes_on(asked):
    good = Findings([Finding("n of latents", 3.0, 3, kind="count")])
    found, _ = asked(
        Config(DatasetError("there is no column 'site'", "did you mean 'side'?"), "test.bad"),
        Config(ZeroDivisionError("division by zero"), "test.worse"),
        Config(good, "test.good"),
    )
    first, second, third = found["studies"]
    assert first["failed"] == "there is no column 'site'; did you mean 'side'?"
    assert second["failed"] == "ZeroDivisionError: division by zero"
    assert (first["findings"], second["measures"]) == ([], [])
    assert third["failed"] == ""
    assert third["findings"][0]["value"] == 3.0


def test_two_measures_of_one_name_are_refused(material, tmp_path):
    one = Findings(measures=[Measure("size", np.ones(3), "how large")])
    with pytest.raises(
        ConfigError, match=r"two of them measure 'size' of every latent, the second test\.two"
    ) as caught:
        ask([Config(one, "test.one"), Config(one, "test.two")], material, tmp_path)
    assert caught.value.remedy == "tell the second from the first: give it a `name:` of its own"


def test_the_same_study_stands_twice_under_names(asked):
    one = Findings(measures=[Measure("size", np.ones(3), "how large")])
    found, table = asked(Config(one, "test.one"), Config(one, "test.one", name="without smooth"))
    assert [study["title"] for study in found["studies"]] == ["What was given?", "What was given? (without smooth)"]
    assert table.column_names == ["latent", "size", "size (without smooth)"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Findings(measures=[Measure("size", np.ones(2), "x")]), "gave 2 values of 'size' for 3 posting lists"),
        (Findings([Finding("share", 0.5, 2.5)]), "gave n = 2.5 for 'share': n is a count"),
        (Findings([Finding("share", 0.5, -1)]), "gave n = -1 for 'share': n is a count"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(asked, answer, words):
    found, table = asked(Config(answer))
    assert words in found["studies"][0]["failed"]
    assert table.column_names == ["latent"]


def test_numbers_and_words_of_every_latent_become_columns(asked):
    measures = [
        Measure("size", np.array([1.0, np.nan, 2.0]), "how large"),
        Measure("name", ["a", "", "<b>"], "w", "text"),
    ]
    found, table = asked(Config(Findings(measures=measures)))
    assert table["latent"].to_pylist() == [0, 1, 2]
    assert table["name"].to_pylist() == ["a", "", "<b>"]
    assert np.array_equal(table["size"].to_numpy(), [1.0, np.nan, 2.0], equal_nan=True)
    assert found["measures"] == [
        {"name": "size", "note": "how large", "kind": "raw"},
        {"name": "name", "note": "w", "kind": "text"},
    ]
    assert found["studies"][0]["measures"] == ["size", "name"]


def test_numbers_that_do_not_apply_are_null(asked):
    finding = Finding("share", float("nan"), np.int64(4), low=float("-inf"), high=float("inf"))
    found, _ = asked(Config(Findings([finding], tables={"t": [{"a": np.float32(np.nan), "b": np.int32(2)}]})))
    line = found["studies"][0]["findings"][0]
    assert (line["value"], line["low"], line["high"], line["control"], line["n"]) == (None, None, None, None, 4)
    assert found["studies"][0]["tables"] == {"t": [{"a": None, "b": 2}]}


def test_figures_of_every_medium_are_files_named_by_their_content(asked, tmp_path):
    figures = [Figure(media, f"<{media}>".encode(), "what", "in words", "Title") for media in MEDIA]
    found, _ = asked(Config(Findings(figures=[*figures, figures[0]])))
    told = found["studies"][0]["figures"]
    for figure, one in zip(figures, told, strict=False):
        assert one["file"].startswith("studies/")
        assert one["file"].endswith("." + MEDIA[figure.media])
        assert (tmp_path / one["file"]).read_bytes() == figure.data
        assert (one["caption"], one["alt"], one["title"]) == ("what", "in words", "Title")
    assert told[0] == told[4]
    assert len(list((tmp_path / "studies").iterdir())) == 4


def test_figures_of_an_earlier_asking_are_gone(asked, tmp_path):
    asked(Config(Findings(figures=[Figure("image/png", b"old")])))
    asked(Config(Findings()))
    assert not (tmp_path / "studies").exists()


def test_signed_codes_have_a_row_a_pole(room, tmp_path):
    codes = np.random.default_rng(0).normal(size=(12, 3))
    material = room.material(tmp_path / "room", codes, signed=True)
    ask([Config(Findings(measures=[Measure("size", np.arange(6.0), "x")]))], material, tmp_path)
    table = pq.read_table(tmp_path / "latents.parquet")
    assert table["latent"].to_pylist() == [0, 1, 2, 0, 1, 2]
    assert table["sign"].to_pylist() == [1, 1, 1, -1, -1, -1]
    assert table["size"].to_pylist() == [0, 1, 2, 3, 4, 5]


def test_progress_is_told(material, tmp_path):
    events = []
    ask([Config(Findings()), Config(DatasetError("no"))], material, tmp_path, observe=events.append)
    assert events == [{"event": "score", "step": "studies", "done": i, "of": 2} for i in (1, 2)]
