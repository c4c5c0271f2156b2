"""The world `sessions`: its files are RecBole's, and what is planted is there to be found."""

import csv
from collections import Counter

import numpy as np
import pytest

from omnisae_datasets.sessions.catalogue import AFTER, GENRES, WORDS, catalogue
from omnisae_datasets.sessions.viewers import FOLLOW, NEXT_PART, STAY, Watching
from omnisae_datasets.worlds import find


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    out = tmp_path_factory.mktemp("sessions")
    find("sessions").write(out, 120, 3)
    return out


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return found[0], found[1:]


def test_the_files_are_atomic_files_whose_events_join(world):
    head, events = rows(world / "sessions.inter")
    assert head == ["user_id:token", "item_id:token", "timestamp:float"]
    _, items = rows(world / "sessions.item")
    _, users = rows(world / "sessions.user")
    assert {one[1] for one in events} <= {one[0] for one in items}
    assert {one[0] for one in events} == {one[0] for one in users}
    assert len({one[0] for one in items}) == len(items) == 480
    assert len({one[1] for one in items}) == 480, "two films share a title"


def test_the_same_seed_gives_the_same_files_and_a_user_does_not_depend_on_the_others(world, tmp_path):
    find("sessions").write(tmp_path / "again", 120, 3)
    find("sessions").write(tmp_path / "few", 10, 3)
    find("sessions").write(tmp_path / "other", 10, 4)
    whole = (world / "sessions.inter").read_bytes()
    assert whole == (tmp_path / "again" / "sessions.inter").read_bytes()
    assert whole.startswith((tmp_path / "few" / "sessions.inter").read_bytes())
    assert not whole.startswith((tmp_path / "other" / "sessions.inter").read_bytes())


def test_words_of_titles_stand_for_one_genre_alone():
    words = [word for genre in GENRES for word in WORDS[genre]]
    assert len(words) == len(set(words))
    for film in catalogue(0):
        if not film.part:
            assert any(word in film.title for word in WORDS[film.genres[0]]), film


def test_times_ascend_and_no_film_is_seen_twice(world):
    _, events = rows(world / "sessions.inter")
    by_user: dict[str, list[tuple[int, str]]] = {}
    for user, item, time in events:
        by_user.setdefault(user, []).append((int(time), item))
    for seen in by_user.values():
        assert seen == sorted(seen)
        assert len({item for _, item in seen}) == len(seen)


def test_what_is_planted_is_there():
    films = catalogue(0)
    genre = {film.number: film.genres for film in films}
    part = {film.number: (film.series, film.part) for film in films}
    watching = Watching(films, 0)
    stay, follow, series, starts = [], [], [], Counter()
    for number in range(400):
        viewer = watching.viewer(number)
        for a, b in zip(viewer.films, viewer.films[1:], strict=False):
            if 0 < part[a][1] < 4:
                series.append(part[b] == (part[a][0], part[a][1] + 1))
            elif not part[b][1] and len(genre[a]) == len(genre[b]) == 1:
                stay.append(genre[a] == genre[b])
                if genre[a] != genre[b]:
                    follow.append(genre[b][0] == AFTER[genre[a][0]])
        starts.update(viewer.films)
    # One to three interests: a change to an interest may be to the same genre again.
    assert STAY < np.mean(stay) < STAY + 0.2
    assert FOLLOW < np.mean(follow) < FOLLOW + 0.25
    assert NEXT_PART - 0.15 < np.mean(series) < NEXT_PART + 0.05
    drawn = np.array([film.popularity for film in films if not film.part])
    seen = np.array([starts[film.number] for film in films if not film.part])
    ranks = [np.argsort(np.argsort(one)) for one in (drawn, seen)]
    # Eras, and that a film is seen once, blur it.
    assert np.corrcoef(*ranks)[0, 1] > 0.6
