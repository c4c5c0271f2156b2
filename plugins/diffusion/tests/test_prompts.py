"""Tables of prompts: what is asked for, concepts and groups, and what is wrong with a table."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisae.errors import DatasetError
from omnisae.testing import DatasetTests
from omnisae_diffusion.asks import Ask
from omnisae_diffusion.plugin import PromptsConfig
from omnisae_diffusion.prompts import Prompts

TABLE = """id,prompt,label,digit,seed,not
007,a red cat,3,3,11,blurred
12,"a dog, asleep",0,,12,
1e3,,7,7,0,grey
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_text(TABLE)
    return path


def read(path, **config):
    return Prompts(PromptsConfig(table=str(path), **config))


class TestPrompts(DatasetTests):
    @pytest.fixture
    def config(self, path):
        return PromptsConfig(table=str(path), concepts=("digit",), repeats=2)


def test_ids_are_texts_with_their_leading_zeros(path):
    assert read(path).ids == ["007", "12", "1e3"]


def test_what_is_asked_for(path):
    assert read(path, negative="not").asks == [
        Ask("a red cat", 3, 11, "blurred"),
        Ask("a dog, asleep", 0, 12, None),
        Ask("", 7, 0, "grey"),
    ]


def test_words_are_texts_where_cells_are_empty(path):
    prompts = read(path, concepts=("digit",))
    assert prompts.words("digit") == ["3", "", "7"]
    found = prompts.annotations().labels
    assert list(found) == ["digit=3", "digit=7"]
    np.testing.assert_array_equal(found["digit=3"], [1, np.nan, 0])
    np.testing.assert_array_equal(found["digit=7"], [0, np.nan, 1])


def test_words_that_look_missing_are_words(tmp_path):
    (tmp_path / "t.csv").write_text("prompt,kind\nnone,None\nNA,NA\nnull,nan\n")
    prompts = read(tmp_path / "t.csv", concepts=("kind",))
    assert [ask.text for ask in prompts.asks] == ["none", "NA", "null"]
    assert prompts.words("kind") == ["None", "NA", "nan"]


def test_groups_are_columns_and_the_prompt(path):
    prompts = read(path)
    assert prompts.groups("prompt") == ["a red cat", "a dog, asleep", ""]
    assert prompts.groups("digit") == ["3", "", "7"]
    assert "digit" in prompts.group_columns()


def test_repeats_have_noise_and_names_of_their_own(path):
    prompts = read(path, repeats=3, first=2)
    assert prompts.ids == ["007-0", "007-1", "007-2", "12-0", "12-1", "12-2"]
    assert len({ask.seed for ask in prompts.asks}) == 6
    assert prompts.groups("prompt") == ["a red cat"] * 3 + ["a dog, asleep"] * 3


def test_words_that_are_left_out_are_known_to_be_absent(path):
    prompts = read(path, concepts=("digit",), without={"digit": ["3"]})
    assert prompts.ids == ["12", "1e3"]
    found = prompts.annotations().labels
    np.testing.assert_array_equal(found["digit=3"], [np.nan, 0])
    np.testing.assert_array_equal(found["digit=7"], [np.nan, 1])


def test_rows_that_are_left_out_change_neither_ids_nor_seeds_of_others(tmp_path):
    (tmp_path / "t.csv").write_text("prompt,kind\na,x\nb,y\nc,x\nd,z\n")
    whole = dict(zip(read(tmp_path / "t.csv").ids, read(tmp_path / "t.csv").asks, strict=True))
    part = read(tmp_path / "t.csv", without={"kind": ["x"]}, first=1)
    assert dict(zip(part.ids, part.asks, strict=True)) == {"1": whole["1"]}
    assert [ask.seed for ask in read(tmp_path / "t.csv", without={"kind": ["x"]}).asks] == [1, 3]


def test_lines_are_prompts_with_seeds_by_their_row(tmp_path):
    (tmp_path / "t.txt").write_text("a cat\n\n  a dog  \n")
    assert read(tmp_path / "t.txt").asks == [Ask("a cat", seed=0), Ask("a dog", seed=1)]


def test_rows_of_json_and_tabs_are_read(tmp_path):
    rows = [{"id": "01", "prompt": "a, cat", "label": 2}, {"id": "02", "prompt": 'a "dog"', "label": 3}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "t.tsv").write_text('id\tprompt\tlabel\n01\ta, cat\t2\n02\t"a ""dog"""\t3\n')
    for name in ("t.jsonl", "t.tsv"):
        found = read(tmp_path / name)
        assert found.ids == ["01", "02"]
        assert found.asks == [Ask("a, cat", 2, 0), Ask('a "dog"', 3, 1)]


def test_long_seeds_and_missing_values_of_json(tmp_path):
    rows = [{"prompt": "a", "seed": 2**62 + 1}, {"prompt": None, "label": 4, "seed": 3.0}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    assert read(tmp_path / "t.jsonl").asks == [Ask("a", None, 2**62 + 1), Ask("", 4, 3)]


def test_the_world_has_a_table(digits):
    prompts = Prompts(PromptsConfig(table="world:digits", concepts=("digit", "ink"), first=50))
    assert prompts.ids[0] == "000000"
    assert all(0 <= ask.label < 40 for ask in prompts.asks)
    assert len({ask.seed for ask in prompts.asks}) == 50
    assert {"digit=7", "ink=neon"} <= set(prompts.annotations().labels)


def test_the_fingerprint_follows_what_is_said(path):
    before = read(path).fingerprint()
    assert before == read(path).fingerprint()
    assert before != read(path, repeats=2).fingerprint()
    path.write_text(TABLE.replace("red", "pink"))
    assert before != read(path).fingerprint()


BAD = [
    ("prompt,label\na,1.5\n", {}, "row 1, column 'label': '1.5' is no whole number from 0 on"),
    ("prompt,label\na,1\nb,-3\n", {}, "row 2, column 'label': '-3' is no whole number from 0 on"),
    ("prompt,label\na,seven\n", {}, "row 1, column 'label': 'seven' is no whole number from 0 on"),
    ("prompt,label\na,inf\n", {}, "row 1, column 'label': 'inf' is no whole number from 0 on"),
    ("prompt,seed\na,0.5\n", {}, "row 1, column 'seed': '0.5' is no whole number from 0 on"),
    ("id,prompt\n1,a\n,b\n", {}, "row 2: the column 'id' is empty"),
    ("id,prompt\n1,a\n1,b\n", {}, "the id '1' stands in several rows"),
    ("prompt\n", {}, "has no prompt"),
    ("text\na\n", {}, "dataset.prompt: "),
    ("prompt\na\n", {"label": "class"}, "has no column 'class'"),
    ("prompt\na\n", {"negative": "not"}, "dataset.negative: "),
    ("prompt,ink\na,b\n", {"concepts": ("inc",)}, "dataset.concepts: "),
    ("prompt,ink\na,b\n", {"without": {"inc": ["b"]}}, "dataset.without: "),
    ("prompt,ink\na,red\n", {"without": {"ink": ["rad"]}}, "has 'rad' in its column 'ink'"),
    ("prompt,ink\na,b\n", {"without": {"ink": ["b"]}}, "has no prompt beside those that dataset.without leaves out"),
]


@pytest.mark.parametrize(("text", "config", "said"), BAD, ids=[said for _, _, said in BAD])
def test_what_is_wrong_with_a_table_is_said(tmp_path, text, config, said):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DatasetError) as error:
        read(path, **config)
    assert said in error.value.problem
    assert str(path) in error.value.problem


def test_a_misspelt_column_shows_the_nearest(tmp_path):
    (tmp_path / "t.csv").write_text("prompt,ink\na,b\n")
    with pytest.raises(DatasetError) as error:
        read(tmp_path / "t.csv", concepts=("inc",))
    assert error.value.problem == f"dataset.concepts: {tmp_path / 't.csv'} has no column 'inc'"
    assert "'ink'" in error.value.remedy


def test_a_table_that_is_not_there_is_said(tmp_path):
    with pytest.raises(DatasetError) as error:
        read(tmp_path / "no.csv")
    assert error.value.problem == f"dataset.table: there is no file {tmp_path / 'no.csv'}"
    assert error.value.remedy == "name a .csv, .tsv, .jsonl or .txt of prompts"


@pytest.mark.parametrize(
    ("name", "text"), [("t.jsonl", "{"), ("t.jsonl", "[1]"), ("t.csv", ""), ("t.csv", 'prompt\n"a\n')]
)
def test_a_table_that_cannot_be_read_is_said(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=r"cannot be read"):
        read(tmp_path / name)


def test_a_table_that_is_no_text_is_said(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"prompt\n\xff\xfe\x00\n")
    with pytest.raises(DatasetError, match=r"cannot be read"):
        read(tmp_path / "t.csv")


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=6), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_seeds_and_labels_come_back_whole(tmp_path_factory, seeds, repeats):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text("prompt,label,seed\n" + "".join(f"a,{seed % 7},{seed}\n" for seed in seeds))
    found = read(path, repeats=repeats).asks
    assert [ask.seed for ask in found[::repeats]] == seeds
    assert [ask.label for ask in found[::repeats]] == [seed % 7 for seed in seeds]
