"""Writing the world as RecBole atomic files: what was watched, the films, the users."""

import csv
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from omnisae_datasets.sessions.catalogue import AFTER, FILMS, GENRES, catalogue
from omnisae_datasets.sessions.viewers import FOLLOW, NEXT_PART, STAY, Watching

EPOCH = 1_700_000_000
"""Every file's time of change, so that the same world has the same fingerprint on every machine."""

README = """# The world `sessions`

{n} users (seed {seed}) who watched films that do not exist, in RecBole's atomic files.

- `sessions.inter`: user, film, time: an event a line.
- `sessions.item`: {films} films: title, one or two genres, era, year, series (or nothing), popularity as it was drawn.
- `sessions.user`: the planted interests and the era that a user prefers.

Planted: a user has one to three genres of interest and an era. From film to film the genre stays with probability
{stay}; else it changes, in {follow:.0%} of the cases to the genre that tends to follow ({after}, ...), else to one of
the user's interests. The next part of a series follows a part with probability {part}. Within a genre films are
drawn by popularity, which falls as a power of the rank.
"""


def write(out: Path, n: int, seed: int) -> None:
    """Write what `n` users watched below `out`, which must not hold it already."""
    films = catalogue(seed)
    watching = Watching(films, seed)
    viewers = [watching.viewer(number) for number in range(n)]
    out.mkdir(parents=True, exist_ok=True)
    _table(
        out / "sessions.inter",
        ("user_id:token", "item_id:token", "timestamp:float"),
        (
            (f"u{one.number}", f"f{film}", f"{time}")
            for one in viewers
            for film, time in zip(one.films, one.times, strict=True)
        ),
    )
    _table(
        out / "sessions.item",
        (
            "item_id:token", "title:token_seq", "genre:token_seq", "era:token", "year:float", "series:token",
            "drawn:float",
        ),
        (
            (f"f{f.number}", f.title, " ".join(f.genres), f.era, f"{f.year}", f.series.replace(" ", "-"),
             f"{f.popularity:.6f}")
            for f in films
        ),
    )  # fmt: skip
    _table(
        out / "sessions.user",
        ("user_id:token", "interests:token_seq", "era:token"),
        ((f"u{one.number}", " ".join(one.interests), one.era) for one in viewers),
    )
    after = ", ".join(f"{genre} → {AFTER[genre]}" for genre in GENRES[:2])
    rates = {"stay": STAY, "follow": FOLLOW, "part": NEXT_PART, "after": after, "films": len(GENRES) * FILMS}
    (out / "README.md").write_text(README.format(n=n, seed=seed, **rates))
    (out / "world.json").write_text(json.dumps({"world": "sessions", "n": n, "seed": seed}) + "\n")
    for path in out.rglob("*"):
        if path.is_file():
            os.utime(path, (EPOCH, EPOCH))


def _table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
        writer.writerow(header)
        writer.writerows(rows)
