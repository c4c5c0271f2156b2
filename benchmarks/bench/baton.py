"""The baton, as a contestant's process sees it: an endless iterator of batches that waits for its turn.

A contestant trains by its library's own loop over these batches. Asking for the next batch ends a step; when the steps
of a turn are used up, asking waits for the parent's next word, and answers questions meanwhile. A step's seconds run
from handing out a batch to being asked for the next one, so they hold all that the library does around a step.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from torch import Tensor


class Finished(Exception):
    """The parent is done with this contestant."""


class Batches(Iterator[Tensor]):
    """Batches of consecutive rows, around and around, as views of the data."""

    def __init__(self, rows: Tensor, batch: int) -> None:
        self._rows, self._batch, self._number = rows, batch, 0

    def __next__(self) -> Tensor:
        start = self._number * self._batch % (len(self._rows) // self._batch * self._batch)
        self._number += 1
        return self._rows[start : start + self._batch]


class Rehearsal(Iterator[Tensor]):
    """A few batches, then the end."""

    def __init__(self, batches: Batches, steps: int) -> None:
        self._batches, self._left = batches, steps

    def __next__(self) -> Tensor:
        self.turn()
        return self._batches.__next__()

    def turn(self) -> None:
        """One step is over."""
        if self._left == 0:
            raise Finished
        self._left -= 1


class Baton(Iterator[Tensor]):
    """Batches, handed out as the parent allows. `answer` replies to whatever is not about steps."""

    def __init__(
        self,
        batches: Iterator[Tensor],
        answer: Callable[[dict[str, Any]], Any],
        wait: Callable[[], None],
        words: TextIO,
        replies: TextIO,
    ) -> None:
        self._batches, self._answer, self._wait = batches, answer, wait
        self._words, self._replies = words, replies
        self._left = 0
        self._seconds: list[float] = []
        self._started: float | None = None

    def __next__(self) -> Tensor:
        self.turn()
        return next(self._batches)

    def turn(self) -> None:
        """One step is over; returns when the next may begin. Raises Finished when there is none."""
        self._wait()
        now = time.perf_counter()
        if self._started is not None:
            self._seconds.append(now - self._started)
        if self._left == 0:
            self._stand_by()
        self._left -= 1
        self._started = time.perf_counter()

    def _stand_by(self) -> None:
        """Tell of the turn that is over and answer until the next one."""
        if self._started is not None:
            self.reply({"seconds": self._seconds})
        for line in self._words:
            word = json.loads(line)
            if word["do"] == "step":
                self._left, self._seconds = word["steps"], []
                return
            self.reply(self._answer(word))
        raise Finished

    def reply(self, what: Any) -> None:
        """One line of JSON to the parent."""
        self._replies.write(json.dumps(what) + "\n")
        self._replies.flush()
