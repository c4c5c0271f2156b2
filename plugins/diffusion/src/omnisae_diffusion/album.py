"""Pictures that a model has made, unedited: kept, so that reports and studies need not make them again."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from omnisae_diffusion.asks import Ask
from omnisae_diffusion.process import Pictures, Process

MOST_BYTES = 256 * 2**20


class Album:
    """Pictures by what was asked for; the oldest are forgotten when they take more than 256 MiB."""

    def __init__(self) -> None:
        self._held: OrderedDict[Ask, Pictures] = OrderedDict()
        self._bytes = 0

    def keep(self, asks: Sequence[Ask], pictures: Pictures) -> None:
        """Remember pictures that were made without an edit."""
        for ask, picture in zip(asks, pictures, strict=True):
            if ask not in self._held:
                self._held[ask] = picture.copy()
                self._bytes += picture.nbytes
        while self._bytes > MOST_BYTES and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1].nbytes

    def pictures(self, asks: Sequence[Ask], process: Process, batch: int) -> Pictures:
        """What was asked for, made where it is not at hand."""
        wanting = [ask for ask in dict.fromkeys(asks) if ask not in self._held]
        made: dict[Ask, Pictures] = {}
        for start in range(0, len(wanting), batch):
            some = wanting[start : start + batch]
            pictures = process.generate(some)
            made |= dict(zip(some, pictures, strict=True))
            self.keep(some, pictures)
        return np.stack([made[ask] if ask in made else self._held[ask] for ask in asks])
