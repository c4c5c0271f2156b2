"""Feeding the step: a hook point's batches, brought to the device while the step before them computes."""

import torch
from jaxtyping import Float
from torch import Tensor

from omnisae.errors import TrainingError
from omnisae.store.ahead import Ahead
from omnisae.store.buffers import Lender
from omnisae.store.packed import Packed
from omnisae.store.source import TokenStream
from omnisae.store.stream import StoreStream
from omnisae.training.mesh import Mesh


class Feed:
    """This process's share of each batch of one hook point, on its device.

    Batches of a store are made ready ahead, by a thread. Those of a live stream are not: its model runs on the cores or
    the device of the step, so little would overlap, and a thread would draw from the random numbers that the step has
    just seeded. `stream` is what positions are asked of and restored to.
    """

    def __init__(self, stream: TokenStream, hook: str, batch: int, mesh: Mesh) -> None:
        over_tokens = mesh.shard.over_tokens
        share = batch // over_tokens.size
        self._first, self._stop = over_tokens.rank * share, (over_tokens.rank + 1) * share
        self._hook, self._batch = hook, batch
        self._device = mesh.device
        self._ahead = Ahead(stream, self._prepare) if isinstance(stream, StoreStream) else None
        self.stream: TokenStream = self._ahead or stream
        self._side: torch.cuda.Stream | None = None
        if self._ahead is not None and self._device.type == "cuda":
            self._side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        self._lender: Lender | None = None

    def next(self) -> Float[Tensor, "token width"]:
        """The share of the next batch, fp32. Raises TrainingError where the stream's batches are of another size."""
        if self._ahead is None:
            mine = self._part(Packed(self.stream.next()))
            return mine.sent(self._device).values if self._device.type == "cuda" else mine.values.to(self._device)
        rows, sent = self._ahead.take()
        if sent is None:
            return rows.to(self._device)
        current = torch.cuda.current_stream(self._device)
        current.wait_event(sent)
        rows.record_stream(current)  # its memory is the side stream's: not to be used again before the step is through
        return rows

    def close(self) -> None:
        """End the thread. The next batch starts it again."""
        if self._ahead is not None:
            self._ahead.close()

    def _prepare(self, packed: Packed) -> tuple[Float[Tensor, "token width"], torch.cuda.Event | None]:
        """In the thread: the share in fp32, and what to wait for before it may be read on the device."""
        mine = self._part(packed)
        if self._side is None:
            if mine.values.dtype == torch.float32:
                return mine.values, None
            if self._lender is None:
                self._lender = Lender(*mine.values.shape)
            return self._lender.lend(mine.widen(self._lender.take(), quiet=True)), None
        with torch.cuda.stream(self._side):
            rows = mine.sent(self._device).widen()  # what is stored travels: half the bytes, and no core widens them
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(self._side)
        return rows, event

    def _part(self, packed: Packed) -> Packed:
        if len(packed) != self._batch:
            raise TrainingError(
                f"the stream of hook point {self._hook!r} gives batches of {len(packed)} tokens; train.batch is "
                f"{self._batch}",
                "make the stream with batch=train.batch",
            )
        return packed.part(self._first, self._stop)
