"""A race: contestants of one setting take turns, round after round; between steps they are judged."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench.crew import ContestantError, Crew, Member, crew
from benchmarks.bench.setting import Entry, Setting

WARM_UP = 2
"""Steps before the clock starts. They train, and count as tokens, for everybody."""
FEWEST = 3
"""Rounds that a race has even where it runs out of time."""


@dataclass(frozen=True, slots=True)
class Race:
    """Who takes turns, in what setting, how often. After each of `marks` steps (warm-up included) one is judged."""

    name: str
    title: str
    entries: tuple[Entry, ...]
    setting: Setting
    rounds: int = 5
    marks: frozenset[int] = frozenset()
    seconds: float = float("inf")
    """No round begins later than this after the start of the race, except that FEWEST are always run."""


def run(race: Race, data: Path, logs: Path) -> dict[str, Any]:
    """Everything that was measured, as JSON."""
    began = time.monotonic()
    until = began + race.seconds
    with crew(race.entries, race.setting, data, logs / race.name) as members:
        built = time.monotonic()
        tracks = {name: Track(member, race.marks) for name, member in members.items()}
        _each(tracks, members, list(tracks), Track.warm_up)
        for number in range(race.rounds):
            if number >= FEWEST and time.monotonic() > until:
                break
            _each(tracks, members, _order(list(tracks), number), Track.turn)
        _each(tracks, members, list(tracks), Track.finish)
        records = {name: track.record() | {"versions": members.versions[name]} for name, track in tracks.items()}
        took = {"building": round(built - began, 1), "all": round(time.monotonic() - began, 1)}
        about = {"title": race.title, "setting": asdict(race.setting), "took": took}
        return {**about, "contestants": records, "absent": members.absent}


class Track:
    """What is known of one contestant."""

    def __init__(self, member: Member, marks: frozenset[int]) -> None:
        self.member, self.entry = member, member.entry
        self.marks = marks if self.entry.judged else frozenset()
        self.rounds: list[dict[str, float]] = []
        self.curve: list[dict[str, float]] = []
        self.memory: dict[str, int] = {}
        self.answers: dict[str, float] = {}
        self.steps, self.seconds = 0, 0.0

    def warm_up(self) -> None:
        """Steps that are not timed; memory counts from here."""
        self._steps(WARM_UP)
        self.member.ask("settle")

    def turn(self) -> None:
        """One round's steps, interrupted where they must be judged."""
        left, seconds = self.entry.steps, 0.0
        if self.entry.before:
            self.member.ask(self.entry.before)
        while left:
            some = min([left, *(mark - self.steps for mark in self.marks if mark > self.steps)])
            took = self._steps(some)
            left, seconds, self.seconds = left - some, seconds + took, self.seconds + took
            if self.steps in self.marks:
                self._judge()
        self.rounds.append({"steps": self.entry.steps, "seconds": seconds})

    def finish(self) -> None:
        """Judge it where it stands, and ask for its memory and whatever else the entry wants to know."""
        if self.marks and self.steps not in self.marks:
            self._judge()
        self.memory = self.member.ask("memory")
        self.answers = {question: self.member.ask(question) for question in self.entry.after}

    def record(self) -> dict[str, Any]:
        """As JSON."""
        measured = {"rounds": self.rounds, "curve": self.curve, "memory": self.memory, "answers": self.answers}
        return {"peer": self.entry.peer, **measured}

    def _steps(self, steps: int) -> float:
        seconds = self.member.ask("step", steps=steps)["seconds"]
        self.steps += steps
        return sum(seconds)

    def _judge(self) -> None:
        self.curve.append({"steps": self.steps, "seconds": self.seconds, **self.member.ask("evaluate")})


def _each(tracks: dict[str, Track], members: Crew, names: list[str], do: Callable[[Track], None]) -> None:
    """Let contestants do something in this order. One that fails leaves the race, which goes on."""
    for name in names:
        try:
            do(tracks[name])
        except ContestantError as error:
            members.absent[name] = error.reason
            del tracks[name]
            print(f"left the race: {error}", flush=True)


def _order(names: list[str], number: int) -> list[str]:
    """Each round begins with another contestant, so that nobody always follows the same one."""
    first = number % max(1, len(names))
    return names[first:] + names[:first]
