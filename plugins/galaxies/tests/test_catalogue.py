"""Catalogues of three kinds, votes down the tree, and the join by id."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisae.errors import DatasetError
from omnisae_galaxies import catalogue, votes
from omnisae_galaxies.join import join
from omnisae_galaxies.plugin import Votes
from omnisae_galaxies.trees import TREES, Question, fault, path

TREE = {
    "shape": Question(answers=("smooth", "disk")),
    "edge": Question(answers=("yes", "no"), after="shape_disk"),
    "arms": Question(answers=("2", "3"), after="edge_no"),
}
NAMES = ["shape_smooth", "shape_disk", "edge_yes", "edge_no", "arms_2", "arms_3"]


def save(folder, kind, columns):
    """The same catalogue as CSV, FITS table or parquet."""
    where = folder / f"table.{kind}"
    if kind == "csv":
        text = [",".join(columns)]
        for row in zip(*columns.values(), strict=True):
            text.append(",".join("" if v is None else str(v) for v in row))
        where.write_text("\n".join(text) + "\n")
    elif kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), where)
    else:
        from astropy.table import MaskedColumn, Table

        made = Table()
        for name, values in columns.items():
            holes = [v is None for v in values]
            filler = next(v for v in values if v is not None)
            made[name] = MaskedColumn([filler if v is None else v for v in values], mask=holes)
        made.write(where)
    return where


@pytest.fixture(params=["csv", "fits", "parquet"])
def kind(request):
    return request.param


def test_all_kinds_say_the_same(tmp_path, kind):
    file = save(
        tmp_path,
        kind,
        {
            "id_str": ["587722953303916935", "b", "c-7"],
            "z": [0.25, None, 0.5],
            "votes": [3, 4, None],
            "field": ["north", None, "south"],
            "other": [1, 2, 3],
        },
    )
    found = catalogue.read(file, ["id_str", "z", "votes", "field", "absent"], "id_str")
    assert len(found) == 3
    assert found.ids("id_str") == ["587722953303916935", "b", "c-7"]
    np.testing.assert_array_equal(found.numbers("z"), [0.25, np.nan, 0.5])
    np.testing.assert_array_equal(found.numbers("votes"), [3, 4, np.nan])
    assert found.words("field") == ["north", "", "south"]
    assert found.words("votes") == ["3", "4", ""]
    assert "other" in found
    assert "other" not in found.columns
    with pytest.raises(DatasetError, match="has no column 'absent'"):
        found.numbers("absent")


def test_long_whole_numbers_keep_every_digit(tmp_path, kind):
    file = save(tmp_path, kind, {"objid": [587722953303916935, 587722953303916936], "z": [0.1, 0.2]})
    assert catalogue.read(file, ["objid"], "objid").ids("objid") == ["587722953303916935", "587722953303916936"]


def test_floating_point_ids_are_refused(tmp_path):
    file = save(tmp_path, "parquet", {"objid": [5.877e17, 5.878e17]})
    with pytest.raises(DatasetError, match="do not hold long ids exactly"):
        catalogue.read(file, ["objid"], "objid").ids("objid")


def test_a_missing_id_names_its_row(tmp_path):
    file = save(tmp_path, "csv", {"id": ["a", None], "z": [1, 2]})
    with pytest.raises(DatasetError, match="row 2: there is no id"):
        catalogue.read(file, ["id"], "id").ids("id")


def test_words_where_numbers_belong_name_their_row(tmp_path, kind):
    file = save(tmp_path, kind, {"id": ["a", "b"], "z": ["0.1", "far"]})
    with pytest.raises(DatasetError, match="row 2: z is 'far'"):
        catalogue.read(file, ["id", "z"], "id").numbers("z")


def test_truncated_and_foreign_files_are_told(tmp_path, kind):
    file = save(tmp_path, kind, {"id": [f"g{i}" for i in range(3000)], "z": [0.5] * 3000})
    if kind == "csv":
        file.write_text("")
    else:
        data = file.read_bytes()
        file.write_bytes(data[: len(data) // 2])
    with pytest.raises(DatasetError) as caught:
        catalogue.read(file, ["id", "z"], "id")
    assert str(file) in caught.value.problem
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("name", "words"), [("nothing.csv", "there is no file"), ("table.xlsx", "is no catalogue that is read")]
)
def test_files_that_are_not_read(tmp_path, name, words):
    (tmp_path / "table.xlsx").write_bytes(b"x")
    with pytest.raises(DatasetError, match=words):
        catalogue.read(tmp_path / name, ["id"], "id")


def test_a_fits_file_without_a_table_is_told(tmp_path):
    from astropy.io import fits

    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "a.fits")
    with pytest.raises(DatasetError, match="holds no table"):
        catalogue.read(tmp_path / "a.fits", ["id"], "id")


def counted(tmp_path, rows, **settings):
    """The tally of a catalogue of counts, a row a galaxy, in the order of NAMES."""
    columns = {"id": [f"g{i}" for i in range(len(rows))]}
    columns |= {name: [row[i] for row in rows] for i, name in enumerate(NAMES)}
    file = save(tmp_path, "csv", columns)
    asked = Votes(tree=TREE, **settings)
    table = catalogue.read(file, ["id", *votes.columns(asked).values(), *votes.totals(asked).values()], "id")
    return votes.tally(asked, table)


def test_counts_become_fractions_of_those_who_were_asked(tmp_path):
    found = counted(tmp_path, [(10, 30, 6, 24, 18, 6), (40, 0, 0, 0, 0, 0)]).fractions
    assert list(found) == NAMES
    np.testing.assert_allclose(found["shape_disk"], [0.75, 0.0])
    np.testing.assert_allclose(found["edge_no"], [0.8, np.nan])
    np.testing.assert_allclose(found["arms_2"], [0.75, np.nan])


def test_a_question_that_few_were_asked_is_unknown(tmp_path):
    rows = [(30, 10, 5, 5, 4, 1), (36, 4, 0, 4, 2, 2)]
    five, four = (counted(tmp_path, rows, minimum_votes=n).fractions for n in (5, 4))
    np.testing.assert_allclose(five["arms_2"], [0.8, np.nan])
    np.testing.assert_allclose(five["edge_no"], [0.5, np.nan])
    np.testing.assert_allclose(four["arms_2"], [0.8, 0.5])


def test_a_question_after_one_that_was_not_asked_is_unknown(tmp_path):
    """Though votes stand there, as catalogues of model predictions have them."""
    found = counted(tmp_path, [(38, 2, 1, 1, 20, 20)]).fractions
    assert np.isnan(found["edge_no"]).all()
    assert np.isnan(found["arms_2"]).all()


def test_reach_is_the_product_along_the_path(tmp_path):
    rows = [(10, 30, 15, 15, 10, 5)]  # 0.75 reach `edge`, 0.75 · 0.5 reach `arms`
    assert not np.isnan(counted(tmp_path, rows, reach=0.375).fractions["arms_2"]).any()
    assert np.isnan(counted(tmp_path, rows, reach=0.38).fractions["arms_2"]).all()
    assert not np.isnan(counted(tmp_path, rows, reach=0.38).fractions["edge_no"]).any()


def test_fractions_are_taken_as_they_are_and_totals_decide(tmp_path):
    columns = {
        "id": ["a", "b"],
        **{f"{n}_fraction": [0.5, 0.5] for n in NAMES},
        **{f"{q}_total-votes": [40, n] for q, n in (("shape", 40), ("edge", 3), ("arms", 40))},
    }
    file = save(tmp_path, "csv", columns)
    asked = Votes(tree=TREE, kind="fractions", column="{question}_{answer}_fraction", total="{question}_total-votes")
    table = catalogue.read(file, [*votes.columns(asked).values(), *votes.totals(asked).values()], "id")
    found = votes.tally(asked, table).fractions
    np.testing.assert_allclose(found["shape_disk"], [0.5, 0.5])
    np.testing.assert_allclose(found["edge_yes"], [0.5, np.nan])
    np.testing.assert_allclose(found["arms_3"], [0.5, np.nan])


@pytest.mark.parametrize(("kind", "value"), [("counts", -1), ("fractions", 1.5), ("fractions", -0.5)])
def test_values_that_are_not_what_they_should_be_are_refused(tmp_path, kind, value):
    rows = [(0.5,) * 6, (0.5, 0.5, value, 0.5, 0.5, 0.5)]
    with pytest.raises(DatasetError, match=f"row 2: edge_yes is {value:g}") as caught:
        counted(tmp_path, rows, kind=kind, reach=0.1)
    assert "votes.kind" in caught.value.remedy


def test_columns_that_are_missing_are_told(tmp_path):
    file = save(tmp_path, "csv", {"id": ["a"], "shape_smooth": [1], "shape_disk": [9], "arms_2": [5]})
    asked = Votes(tree=TREE)
    table = catalogue.read(file, ["id", *votes.columns(asked).values()], "id")
    with pytest.raises(DatasetError, match="has no column 'arms_3', and has others of the question 'arms'"):
        votes.tally(asked, table)
    file = save(tmp_path, "csv", {"id": ["a"], "shape_smooth": [1], "shape_disk": [9]})
    found = votes.tally(asked, catalogue.read(file, ["id", *votes.columns(asked).values()], "id"))
    assert list(found.fractions) == ["shape_smooth", "shape_disk"]
    assert found.notes == ("table.csv has no votes for edge, arms",)
    file = save(tmp_path, "csv", {"id": ["a"]})
    with pytest.raises(DatasetError, match="has no column of votes such as 'shape_smooth'"):
        votes.tally(asked, catalogue.read(file, ["id", *votes.columns(asked).values()], "id"))


def test_clean_samples(tmp_path):
    """Of forty voters each: who is in, who is out because others were seen, who is out because they were not asked."""
    rows = [
        (0, 40, 2, 38, 36, 2),  # arms: 36 of 38 see two
        (0, 40, 0, 40, 20, 20),  # divided over the number of arms
        (36, 4, 2, 2, 1, 1),  # smooth: nobody is asked of arms
        (20, 20, 10, 10, 5, 5),  # divided from the first question on
        (0, 40, 38, 2, 1, 1),  # edge-on
    ]
    asked = Votes(tree=TREE, clean=0.8)
    table = counted(tmp_path, rows)
    found = votes.clean(asked, table, 0.8)
    nan = np.nan
    np.testing.assert_array_equal(found["clean:shape_smooth"], [0, 0, 1, nan, 0])
    np.testing.assert_array_equal(found["clean:edge_no"], [1, 1, 0, nan, 0])
    np.testing.assert_array_equal(found["clean:arms_2"], [1, nan, 0, 0, 0])
    np.testing.assert_array_equal(found["clean:arms_3"], [0, nan, 0, 0, 0])
    assert set(found) == {f"clean:{name}" for name in table.fractions}


@settings(deadline=None, max_examples=50, database=None)
@given(st.lists(st.tuples(*[st.integers(0, 40)] * 6), min_size=1, max_size=5), st.integers(1, 10))
def test_laws_of_votes(tmp_path_factory, rows, least):
    """Known answers of a question sum to one, are known together, and only where the path is known."""
    found = counted(tmp_path_factory.mktemp("t"), rows, minimum_votes=least).fractions
    for name, question in TREE.items():
        values = np.stack([found[f"{name}_{answer}"] for answer in question.answers])
        known = ~np.isnan(values)
        assert (known.all(axis=0) == known.any(axis=0)).all()
        np.testing.assert_allclose(values.sum(axis=0)[known[0]], 1.0)
        if question.after is not None:
            assert not known[0][np.isnan(found[question.after])].any()


@pytest.mark.parametrize("name", TREES)
def test_known_trees_are_sound(name):
    assert fault(TREES[name]) is None
    assert path(TREES[name], "spiral-arm-count") == [
        "smooth-or-featured_featured-or-disk",
        "disk-edge-on_no",
        "has-spiral-arms_yes",
    ]


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"a": Question(answers=("x", "x"))}, "an answer twice"),
        ({"a": Question(answers=("x",), after="b_y")}, "is no answer of the tree"),
        ({"a": Question(answers=("x",), after="b_y"), "b": Question(answers=("y",), after="a_x")}, "leads to itself"),
        ({}, "no question"),
    ],
)
def test_trees_that_are_none_are_refused(tree, words):
    with pytest.raises(ValueError, match=words):
        Votes(tree=tree)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"column": "{question}"}, r"votes.column is '\{question\}'; it must hold \{question\} and \{answer\}"),
        ({"total": "total"}, "votes.total"),
        ({"kind": "fractions"}, "nothing says when 'edge' was asked"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Votes(tree=TREE, **settings)


def test_rows_join_by_id_and_what_does_not_is_told():
    found = join(["b", "x", "a"], ["a", "b", "c"], "cat.csv")
    assert found.row.tolist() == [1, -1, 0]
    assert found.notes == ("cat.csv: 1 of 3 rows have no cut-out: 'c'", "cat.csv: 1 of 3 cut-outs have no row: 'x'")
    assert join(["a", "b"], ["b", "a"], "cat.csv").notes == ()


def test_rows_join_by_the_files_name_where_it_is_the_only_one():
    assert join(["north/a", "south/b"], ["b", "a"], "c").row.tolist() == [1, 0]
    assert join(["north/a", "south/a", "b"], ["a", "b"], "c").row.tolist() == [-1, -1, 1]
    assert join(["north/a", "south/a"], ["north/a", "south/a"], "c").row.tolist() == [0, 1]


def test_minus_and_neg_are_one_where_asked():
    ours, theirs = ["102_NEG66", "103_66"], ["103_66", "102_-66"]
    assert join(ours, theirs, "c", "NEG").row.tolist() == [1, 0]
    assert join(ours, theirs, "c").row.tolist() == [-1, 0]
    with pytest.raises(DatasetError, match="none of its 1 ids") as caught:
        join(["102_NEG66"], ["102_-66"], "c")
    assert "dataset.minus: NEG" in caught.value.remedy


def test_ids_that_stand_twice_are_refused():
    with pytest.raises(DatasetError, match="1 ids stand there more than once: 'a' in row 1 and 'a' in row 3"):
        join(["a", "b"], ["a", "b", "a"], "c")
    with pytest.raises(DatasetError, match="'1_-2' in row 1 and '1_NEG2' in row 2"):
        join(["1_NEG2"], ["1_-2", "1_NEG2"], "c", "NEG")
