"""Working ahead: a thread makes the next batches of a store ready while the step computes."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from jaxtyping import Float
from torch import Tensor

from omnisae.store.packed import Packed
from omnisae.store.source import TokenStream
from omnisae.store.stream import StoreStream

Ready = TypeVar("Ready")
"""What a batch is made into."""


class Ahead(TokenStream, Generic[Ready]):
    """A store's stream, of which the next `depth` batches are made ready by a thread of its own.

    `prepare` is called in that thread, batch by batch: it widens, or sends to a device. The position is that of what
    has been taken, so saving, restoring and taking give what the stream itself would. Nothing else may use the stream
    meanwhile. The thread starts with the first `take` and ends with `close`, after which everything may go on.
    """

    def __init__(self, stream: StoreStream, prepare: Callable[[Packed], Ready], depth: int = 2) -> None:
        self._stream, self._prepare, self._depth = stream, prepare, depth
        self._state = stream.state()
        self._ready: deque[Future[tuple[Packed, Ready, dict[str, Any]]]] = deque()
        self._thread: ThreadPoolExecutor | None = None

    def take(self) -> Ready:
        """The next batch, prepared. Raises what reading it (StoreError) or `prepare` raised, until `restore`."""
        return self._next()[1]

    def next(self) -> Float[Tensor, "token width"]:
        """The next batch, fp32, whatever `prepare` makes of it. Raises like `take`."""
        return self._next()[0].widen()

    def state(self) -> dict[str, Any]:
        return dict(self._state)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved position. Raises StoreError where it was saved from a stream made otherwise."""
        self._forget()
        self._stream.restore(state)
        self._state = self._stream.state()

    def where(self) -> str:
        """The shards of the last batch that was taken. What was made ready is made again, so ask seldom."""
        self._forget()
        return self._stream.where()

    def close(self) -> None:
        """End this thread and the stream's own. The position stays: the next `take` starts them again."""
        self._forget()
        self._stream.close()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def _next(self) -> tuple[Packed, Ready]:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "omnisae-ahead")
        while len(self._ready) < self._depth:
            self._ready.append(self._thread.submit(self._make))
        packed, ready, state = self._ready[0].result()
        self._ready.popleft()
        self._ready.append(self._thread.submit(self._make))
        self._state = state
        return packed, ready

    def _make(self) -> tuple[Packed, Ready, dict[str, Any]]:
        packed = self._stream.next_packed()
        return packed, self._prepare(packed), self._stream.state()

    def _forget(self) -> None:
        """Drop what was made ready, and bring the stream back to what was taken."""
        running = [future for future in self._ready if not future.cancel()]
        self._ready.clear()
        if self._thread is None:
            return
        self._stream.halt()
        for future in running:
            future.exception()  # wait; how it ended no longer matters
        self._stream.restore(self._state)
