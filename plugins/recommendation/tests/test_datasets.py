"""Events of RecBole, ReChorus and MovieLens, their items' concepts, what is held out, and what is refused."""

import numpy as np
import pytest

from omnisae.errors import ConfigError, DatasetError
from omnisae.extract.split import assign
from omnisae.testing import DatasetTests, PluginTests
from omnisae_recommendation.plugin_datasets import AtomicConfig, MovielensConfig, RechorusConfig

INTER = "user_id:token\titem_id:token\ttimestamp:float\n"
EVENTS = INTER + "a\tx\t1\na\tz\t3\nb\ty\t1\na\ty\t2\nb\tz\t2\nc\tx\t9\n"
ITEMS = (
    "item_id:token\ttitle:token_seq\tgenre:token_seq\tyear:float\tmaker:token\n"
    "x\tThe Big Canyon\twestern war\t1950\tm\n"
    "y\tCanyon Kiss\tromance\t1951\tm\nz\tOrbit\t\t1952\t\nw\tUnseen\twar\t1\tm\n"
)


class TestPlugin(PluginTests):
    name = "recommendation"


class TestAtomic(DatasetTests):
    @pytest.fixture
    def config(self, world):
        return AtomicConfig(root=str(world), history=16, user_columns=("interests",), whole="share")


def small(write, **settings):
    root = write(small__inter=EVENTS, small__item=ITEMS)
    return AtomicConfig(**({"root": str(root), "concept_items": 1, "history": 4} | settings))


def test_histories_are_in_order_of_time_and_the_last_event_is_held_out(write):
    data = small(write).build()
    assert list(data.ids) == ["a", "b"]
    assert data.histories.rows == ("x", "z", "y")  # numbered as they first appear
    assert data.items.titles == ("The Big Canyon", "Orbit", "Canyon Kiss")
    assert data.load(0).input.items.tolist() == [1, 3]
    assert data.load(0).input.target == 2
    assert data.histories.lesson(0).tolist() == [1]
    assert "1 of 3 users have one event alone" in " ".join(data.notes())


def test_every_event_has_the_concepts_of_its_item_at_its_step(write):
    notes = small(write).build().annotations()
    assert notes.region_concepts == ("genre=romance", "genre=war", "genre=western", "maker=m")
    found = [(region.concept, region.place.start, region.place.stop) for region in notes.regions(0)]
    assert ("genre=western", 2, 3) in found
    assert ("genre=romance", 3, 4) in found
    assert len(found) == 5


def test_words_of_titles_are_concepts_where_asked(write):
    data = small(write, title_words=2, concepts=()).build()
    assert data.concepts.names == ("title:canyon",)
    assert data.concepts.has[:, 0].tolist() == [True, False, True]


def test_whole_histories_have_shares_or_the_last_events_concepts(write):
    share = small(write, whole="share", concepts=("genre",)).build().annotations()
    assert share.labels["share:genre=romance"].tolist() == [0.5, 1.0]
    last = small(write, whole="last", concepts=("genre",)).build().annotations()
    assert last.labels["last:genre=western"].tolist() == [0.0, 0.0]
    assert last.labels["last:genre=romance"].tolist() == [1.0, 1.0]


def test_a_temporal_cut_holds_out_what_came_later(write):
    data = small(
        write, holdout="temporal", cut=0.4
    ).build()  # the quantile is 2: a's third event and all of c's are later
    assert list(data.ids) == ["a", "b"]
    assert data.load(0).input.items.tolist() == [1, 3]
    assert data.load(0).input.target == 2
    assert data.load(1).input.target == 0
    assert data.histories.lesson(0).tolist() == [1, 3]
    assert "have no event before the cut" in " ".join(data.notes())


def test_rare_users_and_items_are_left_out_until_none_is_left(write):
    data = small(write, user_events=2, item_events=2).build()
    assert list(data.ids) == ["a", "b"]
    assert data.histories.rows == ("z", "y")
    with pytest.raises(DatasetError, match="no event remains of 6"):
        small(write, item_events=4).build()


def test_one_event_may_be_refused(write):
    with pytest.raises(DatasetError, match=r"small\.inter: field user: 1 of 3 users have one event alone.*'c'"):
        small(write, short="refuse").build()


def test_unknown_items_are_refused_or_left_out(write):
    root = write(small__inter=EVENTS + "b\tq\t5\n", small__item=ITEMS)
    config = AtomicConfig(root=str(root), concept_items=1)
    with pytest.raises(DatasetError, match=r"small\.inter: field item: 1 items .* known ones, e\.g\. 'q' \(1 events\)"):
        config.build()
    data = config.model_copy(update={"unknown": "drop"}).build()
    assert "q" not in data.histories.rows
    assert "their 1 events are left out" in " ".join(data.notes())


@pytest.mark.parametrize(
    ("inter", "said"),
    [
        ("", "small.inter is empty"),
        (INTER, "holds no event"),
        (INTER + "a\tx\tsoon\n", "line 2: timestamp is 'soon', which is no finite number"),
        (INTER + "a\tx\tnan\n", "line 2: timestamp is 'nan'"),
        (INTER + "a\tx\t1\n\tx\t2\n", "line 3: user_id is empty"),
        (INTER + "a\tx\n", "cannot be read as a table"),
        ("user_id\titem_id:token\ttimestamp:float\na\tx\t1\n", "'user_id' is no field with its type"),
        ("user_id:token\titem:token\ttimestamp:float\na\tx\t1\n", "has no column 'item_id'"),
    ],
)
def test_bad_events_are_refused_by_file_line_and_field(write, inter, said):
    root = write(small__inter=inter)
    with pytest.raises(DatasetError) as error:
        AtomicConfig(root=str(root)).build()
    assert said in str(error.value)


def test_an_item_twice_an_unknown_attribute_and_a_missing_folder_are_refused(write, tmp_path):
    with pytest.raises(DatasetError, match="dataset.concepts names 'genres'.*"):
        small(write, concepts=("genres",)).build()
    root = write(small__item=ITEMS + "x\tAgain\t\t1\t\n")
    with pytest.raises(DatasetError, match="field item_id: 1 items stand there more than once, 'x' among them"):
        AtomicConfig(root=str(root)).build()
    with pytest.raises(DatasetError, match="there is no folder"):
        AtomicConfig(root=str(tmp_path / "nowhere")).build()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"holds 0 files that end in \.inter"):
        AtomicConfig(root=str(tmp_path / "empty")).build()


def test_ids_may_be_rows_and_must_then_be_numbers(write):
    root = write(n__inter=INTER + "a\t3\t1\na\t5\t2\na\t3\t3\n")
    data = AtomicConfig(root=str(root), numbering="number").build()
    assert data.histories.rows == ("1", "2", "3", "4", "5")
    assert data.load(0).input.items.tolist() == [3, 5]
    with pytest.raises(DatasetError, match="field item: 'x' is no whole number above 0"):
        small(write, name="small", numbering="number").build()


def test_sessions_of_one_user_stay_together(write):
    lines = "".join(f"u{s % 3}\tx{s}\t{i}\ts{s}\n" for s in range(9) for i in range(3))
    root = write(s__inter="user_id:token\titem_id:token\ttimestamp:float\tsession_id:token\n" + lines)
    data = AtomicConfig(root=str(root), session="session_id").build()
    assert len(data) == 9
    assert data.must_split_by() == "user"
    with pytest.raises(ConfigError, match="would put examples of one user on two sides"):
        assign(data, by="example")
    side = assign(data, by="user")
    for user in set(data.groups("user")):
        assert len({int(one) for one, who in zip(side, data.groups("user"), strict=True) if who == user}) == 1
    root = write(s__inter="user_id:token\titem_id:token\ttimestamp:float\tsession_id:token\na\tx\t1\ts\nb\tx\t1\ts\n")
    with pytest.raises(DatasetError, match="line 3: session_id 's' is of user_id 'a' and of 'b'"):
        AtomicConfig(root=str(root), session="session_id").build()


def test_user_columns_are_concepts_of_whole_histories(write):
    root = write(small__inter=EVENTS, small__user="user_id:token\tlikes:token_seq\na\twar sport\n")
    found = AtomicConfig(root=str(root), user_columns=("likes",)).build().annotations().labels
    assert found["user:likes=war"][0] == 1
    assert np.isnan(found["user:likes=war"][1])
    with pytest.raises(DatasetError, match="has no field 'age'"):
        AtomicConfig(root=str(root), user_columns=("age",)).build()


def test_rechorus_files_are_joined(write):
    head = "user_id\titem_id\ttime\n"
    root = write(
        train__csv=head + "1\t1\t10\n1\t2\t20\n2\t1\t5\n",
        dev__csv=head + "1\t3\t30\n",
        test__csv="user_id\titem_id\ttime\tneg_items\n1\t4\t40\t[1, 2]\n2\t2\t50\t[3]\n",
        item_meta__csv="item_id\ti_category\tr_buy\n1\ttools\t[2]\n2\ttoys\t[]\n3\ttoys\t[]\n4\t\t[]\n",
    )
    data = RechorusConfig(root=str(root), concept_items=1).build()
    assert data.load(0).input.items.tolist() == [1, 2, 3]
    assert data.items.ids[data.load(0).input.target - 1] == "4"
    assert data.concepts.names == ("category=tools", "category=toys")
    with pytest.raises(DatasetError, match="has no ratings"):
        RechorusConfig(root=str(root), rating=3).build()


def test_movielens_reads_alike_in_its_three_forms(write, tmp_path):
    flags = {"Toy (1995)": ("Animation", "Comedy"), "Heat (1995)": ("Action",), "Café (1960)": ()}
    ratings = [
        ("1", "7", "4", "3"),
        ("1", "8", "3", "1"),
        ("1", "9", "5", "2"),
        ("2", "9", "5", "2"),
        ("2", "7", "1", "4"),
    ]
    films = list(zip("789", flags, strict=True))
    from omnisae_recommendation.movielens import OLD_GENRES

    csv, dat, old = (tmp_path / name for name in ("csv", "dat", "old"))
    for folder in (csv, dat, old):
        folder.mkdir()
    (csv / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "".join(",".join(r) + "\n" for r in ratings))
    (csv / "movies.csv").write_text(
        "movieId,title,genres\n"
        + "".join(f'{i},"{t}",{"|".join(flags[t]) or "(no genres listed)"}\n' for i, t in films), encoding="utf-8"
    )  # fmt: skip
    (csv / "tags.csv").write_text("userId,movieId,tag,timestamp\n1,7,Fun,1\n2,7,fun,1\n3,7,fun,1\n1,8,slow,1\n")
    (dat / "ratings.dat").write_text("".join("::".join(r) + "\n" for r in ratings))
    lines = "".join(f"{i}::{t}::{'|'.join(flags[t])}\n" for i, t in films)
    (dat / "movies.dat").write_text(lines, encoding="latin-1")
    (old / "u.data").write_text("".join("\t".join(r) + "\n" for r in ratings))
    rows = "".join(
        f"{i}|{t}|01-Jan-1995||http|{'|'.join(str(int(g in flags[t])) for g in OLD_GENRES)}\n" for i, t in films
    )
    (old / "u.item").write_text(rows, encoding="latin-1")
    found = [MovielensConfig(root=str(folder), concept_items=1).build() for folder in (csv, dat, old)]
    for data in found:
        assert data.load(0).input.items.tolist() == found[0].load(0).input.items.tolist()
        assert data.items.titles == ("Toy (1995)", "Heat (1995)", "Café (1960)")
        assert set(data.concepts.names) - {"tag=fun"} == {
            "decade=1960s", "decade=1990s", "genre=Action", "genre=Animation", "genre=Comedy"
        }  # fmt: skip
    assert "tag=fun" in found[0].concepts.names
    rated = MovielensConfig(root=str(csv), rating=4).build()
    assert rated.load(0).input.items.tolist() == [rated.histories.rows.index("9") + 1]
    (dat / "ratings.dat").write_text("1::2\n")
    with pytest.raises(DatasetError, match=r"ratings\.dat, line 1: 2 values for 4 columns"):
        MovielensConfig(root=str(dat)).build()
