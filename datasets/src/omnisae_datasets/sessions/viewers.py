"""The viewers: what a user likes, and what a user with these likings watches, film after film."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omnisae_datasets.sessions.catalogue import AFTER, ERAS, GENRES, PARTS, Film

SHORTEST, LONGEST = 12, 44
"""Events of a user, both included."""
NEXT_PART = 0.8
"""Chance that the next part of a series follows a part."""
STAY = 0.72
"""Chance to stay with the genre of the film before."""
FOLLOW = 0.5
"""Chance that a change of genre is to the one that tends to follow, rather than to one of the user's interests."""
ERA_WEIGHT = 12.0
"""How many times as likely a film of the user's era is."""
START = 1_600_000_000
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Viewer:
    """One user: genres with how much each is liked, the era that is preferred, and the films in order of time."""

    number: int
    interests: tuple[str, ...]
    era: str
    films: tuple[int, ...]
    times: tuple[int, ...]


class Watching:
    """Draws viewers of a catalogue. Each depends on the seed and its own number alone."""

    def __init__(self, films: Sequence[Film], seed: int) -> None:
        self.films, self.seed = films, seed
        self.popularity = np.array([film.popularity for film in films])
        self.in_genre = {genre: np.array([genre in film.genres for film in films]) for genre in GENRES}
        self.in_era = {era: np.array([film.era == era for film in films]) for era in ERAS}
        # Later parts of a series are watched after the part before them, and hardly ever by themselves.
        self.popularity = self.popularity * np.array([0.02 if film.part > 1 else 1.0 for film in films])
        self.place = {(film.series, film.part): place for place, film in enumerate(films) if film.part}

    def viewer(self, number: int) -> Viewer:
        """The viewer of this number."""
        random = np.random.default_rng([self.seed, 2, number])
        count = int(random.integers(1, 4))
        interests = tuple(str(one) for one in random.choice(GENRES, count, replace=False))
        liking = random.dirichlet(np.full(count, 2.0))
        era = str(random.choice(ERAS))
        length = int(random.integers(SHORTEST, LONGEST + 1))
        genre = str(random.choice(interests, p=liking))
        seen = np.zeros(len(self.films), dtype=bool)
        films: list[int] = []
        for _ in range(length):
            following = self._next_part(films[-1]) if films else None
            if following is not None and not seen[following] and random.random() < NEXT_PART:
                place = following
            else:
                if films and random.random() >= STAY:
                    genre = AFTER[genre] if random.random() < FOLLOW else str(random.choice(interests, p=liking))
                place = self._pick(genre, era, seen, random)
            seen[place] = True
            films.append(place)
        gaps = random.exponential(3 * DAY, length).astype(np.int64) + 60
        begin = START + int(random.integers(0, 365 * DAY))
        return Viewer(
            number,
            interests,
            era,
            tuple(self.films[place].number for place in films),
            tuple(int(time) for time in begin + np.cumsum(gaps)),
        )

    def _next_part(self, place: int) -> int | None:
        film = self.films[place]
        return self.place.get((film.series, film.part + 1)) if 0 < film.part < PARTS else None

    def _pick(self, genre: str, era: str, seen: np.ndarray, random: np.random.Generator) -> int:
        """A film of a genre that was not seen, by popularity and era."""
        weight = self.popularity * np.where(self.in_era[era], ERA_WEIGHT, 1.0) * (self.in_genre[genre] & ~seen)
        return int(random.choice(len(self.films), p=weight / weight.sum()))
