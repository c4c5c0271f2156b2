"""The catalogue: films with a genre or two, an era, a title of the genre's words, a place in a series, a popularity."""

from dataclasses import dataclass

import numpy as np

WORDS = {
    "western": ("Saddle", "Canyon", "Marshal", "Rawhide", "Stagecoach", "Outlaw", "Prairie", "Spurs", "Corral"),
    "noir": ("Shadow", "Alibi", "Detective", "Dahlia", "Cigarette", "Blackmail", "Rain", "Suspect", "Alley"),
    "space": ("Orbit", "Nebula", "Starship", "Comet", "Airlock", "Moonbase", "Gravity", "Pulsar", "Android"),
    "romance": ("Kiss", "Letter", "Wedding", "Sweetheart", "Valentine", "Bouquet", "Promise", "Paris", "Waltz"),
    "horror": ("Crypt", "Scream", "Haunting", "Zombie", "Coffin", "Vampire", "Curse", "Werewolf", "Midnight"),
    "comedy": ("Prank", "Roommate", "Goofball", "Banana", "Holiday", "Neighbour", "Mishap", "Uncle", "Pyjama"),
    "war": ("Trench", "Battalion", "Convoy", "Sergeant", "Bunker", "Armistice", "Sniper", "Regiment", "Foxhole"),
    "fantasy": ("Dragon", "Wizard", "Amulet", "Kingdom", "Elf", "Prophecy", "Sword", "Griffin", "Spell"),
    "sport": ("Champion", "Marathon", "Goalkeeper", "Boxer", "Stadium", "Coach", "Derby", "Sprint", "Trophy"),
    "musical": ("Tango", "Chorus", "Spotlight", "Orchestra", "Cabaret", "Melody", "Broadway", "Jukebox", "Encore"),
    "heist": ("Vault", "Getaway", "Diamond", "Safecracker", "Jackpot", "Casino", "Ransom", "Decoy", "Bullion"),
    "jungle": ("Tiger", "Temple", "Explorer", "Monsoon", "Machete", "Idol", "Expedition", "Python", "Rapids"),
}
"""Words of titles by genre; no word stands for two."""
GENRES = tuple(WORDS)
ERAS = ("silent", "golden", "colour", "modern")
YEARS = {"silent": 1910, "golden": 1935, "colour": 1960, "modern": 1995}
"""The first year of each era; eras last 25 years."""
AFTER = dict(zip(GENRES, (*GENRES[1:], GENRES[0]), strict=True))
"""The genre that tends to follow each: a planted sequence."""
FILMS = 40
"""Films whose first genre is a given one."""
SECOND = 0.25
"""Share of the films with a second genre."""
SERIES, PARTS = 12, 4
"""How many series there are, one a genre, and of how many parts."""
STEEP = 0.8
"""Exponent of the popularity by rank: popularity falls as rank to this power."""
PATTERNS = ("The {0} and the {1}", "{0} of the {1}", "A {0} for the {1}", "Last {0}, First {1}", "The {0} {1}")


@dataclass(frozen=True, slots=True)
class Film:
    """A film that does not exist. `popularity` is relative; `part` counts from 1 within its series, 0 outside one."""

    number: int
    title: str
    genres: tuple[str, ...]
    era: str
    year: int
    popularity: float
    series: str = ""
    part: int = 0


def catalogue(seed: int) -> list[Film]:
    """All films of a seed; their numbers are shuffled, so that nothing can be told from a number."""
    random = np.random.default_rng([seed, 1])
    films = len(GENRES) * FILMS
    ranks = random.permutation(films) + 1
    numbers = random.permutation(films) + 1
    taken: set[str] = set()
    out = []
    for place in range(films):
        genre, within = GENRES[place // FILMS], place % FILMS
        part = within + 1 if within < PARTS else 0
        name = f"{WORDS[genre][0]} Saga" if part else ""
        second = str(random.choice([g for g in GENRES if g != genre]))
        genres = (genre, second) if not part and random.random() < SECOND else (genre,)
        era = ERAS[GENRES.index(genre) % len(ERAS)] if part else str(random.choice(ERAS))
        year = YEARS[era] + int(random.integers(25))
        title = f"{name}, Part {part}" if part else _title(genres, random, taken)
        popularity = float(ranks[place]) ** -STEEP
        out.append(Film(int(numbers[place]), title, genres, era, year, popularity, name, part))
    return sorted(out, key=lambda film: film.number)


def _title(genres: tuple[str, ...], random: np.random.Generator, taken: set[str]) -> str:
    """A title of two words of the genres, used by no other film."""
    while True:
        words = [str(random.choice(WORDS[genres[min(i, len(genres) - 1)]])) for i in range(2)]
        title = str(random.choice(PATTERNS)).format(*words)
        if words[0] != words[1] and title not in taken:
            taken.add(title)
            return title
