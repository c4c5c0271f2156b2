"""MovieLens folders, in any of the three forms that GroupLens publishes."""

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from omnisae.errors import DatasetError
from omnisae_recommendation.assemble import assemble, folder, rated
from omnisae_recommendation.events import Events
from omnisae_recommendation.items import Catalogue
from omnisae_recommendation.sessions import Sessions
from omnisae_recommendation.tables import Table, read

if TYPE_CHECKING:
    from omnisae_recommendation.plugin_datasets import MovielensConfig

NOTHING = "(no genres listed)"
YEAR = re.compile(r"\((\d{4})(?:[-–]\d{0,4})?\)\s*$")
RATINGS = ("userId", "movieId", "rating", "timestamp")
OLD_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""The order of the flags in 100K's u.item."""


def read_movielens(config: "MovielensConfig") -> Sessions:
    """The dataset that a folder holds. Raises DatasetError naming the file and the field at fault."""
    root = folder(config.root)
    if (root / "ratings.csv").exists():
        ratings, films = read(root / "ratings.csv"), read(root / "movies.csv")
    elif (root / "ratings.dat").exists():
        ratings = read(root / "ratings.dat", separator="::", header=RATINGS, encoding="latin-1")
        names = ("movieId", "title", "genres")
        films = read(root / "movies.dat", separator="::", header=names, encoding="latin-1")
    elif (root / "u.data").exists():
        ratings = read(root / "u.data", separator="\t", header=RATINGS)
        films = _old_films(root / "u.item")
    else:
        raise DatasetError(
            f"{root} holds none of ratings.csv, ratings.dat and u.data", "name an unpacked MovieLens folder"
        )
    user = ratings.filled("userId")
    events = Events.of(ratings.path, user, user, ratings.filled("movieId"), ratings.numbers("timestamp"))
    events, notes = rated(events, ratings.numbers("rating") if config.rating is not None else None, config.rating)
    tags = _tags(root / "tags.csv", config.tag_users) if (root / "tags.csv").exists() else {}
    return assemble(config, events, _films(films, tags), notes=notes)


def _films(films: Table, tags: dict[str, tuple[str, ...]]) -> Catalogue:
    ids = [str(one) for one in films.filled("movieId")]
    titles = [str(one) for one in films.text("title")]
    genres = [tuple(one for one in text.split("|") if one and one != NOTHING) for text in films.text("genres")]
    attributes = {"genre": tuple(genres), "decade": tuple(_decade(title) for title in titles)}
    if tags:
        attributes["tag"] = tuple(tags.get(one, ()) for one in ids)
    return Catalogue(tuple(ids), tuple(titles), attributes)


def _decade(title: str) -> tuple[str, ...]:
    found = YEAR.search(title)
    return (f"{found.group(1)[:3]}0s",) if found else ()


def _tags(path: Path, least: int) -> dict[str, tuple[str, ...]]:
    """The tags of every film that at least `least` users gave it, lower case."""
    table = read(path)
    givers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for film, tag, user in zip(table.filled("movieId"), table.text("tag"), table.filled("userId"), strict=True):
        givers[film, tag.strip().lower()].add(user)
    out: dict[str, tuple[str, ...]] = defaultdict(tuple)
    for (film, tag), users in sorted(givers.items()):
        if len(users) >= least and tag:
            out[film] = (*out[film], tag)
    return dict(out)


def _old_films(path: Path) -> Table:
    """100K's u.item: a flag a genre. As a table like that of the others."""
    header = ("movieId", "title", "released", "video", "link", *OLD_GENRES)
    table = read(path, separator="|", header=header, encoding="latin-1")
    genres = ["|".join(g for g in OLD_GENRES[1:] if table.columns[g][row] == "1") for row in range(len(table))]
    columns = {"movieId": table.columns["movieId"], "title": table.columns["title"]}
    return Table(path, columns | {"genres": np.asarray(genres, dtype=object)}, table.first)
