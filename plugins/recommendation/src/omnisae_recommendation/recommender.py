"""The extractor over a recommender: tokens at every event of a history, the loss on the item that came next, scores."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from omnisae.errors import ConfigError, HookError
from omnisae.extract.dataset import Example
from omnisae.extract.module import ModuleExtractor, to_device
from omnisae.hooks.point import HookPoint, View
from omnisae.tokens.arrange import Arranged
from omnisae_recommendation.sessions import AXIS, History, Sessions

Last = Literal["event", "role"]


class Scoring(Protocol):
    """What a hooked model can do: `states` are those of one forward."""

    def scores(self, states: Float[Tensor, "example ..."]) -> Float[Tensor, "example item"]:
        """How likely each item, from number 1 on, is to come next."""


class Recommender(ModuleExtractor):
    """A recommender that gives scores of all items for every example under whatever edits are in force."""

    def __init__(self, model: nn.Module, sessions: Sessions, *, batch_size: int, device: str, about: Mapping[str, Any]):
        super().__init__(model, batch_size=batch_size, device=device)
        self.sessions, self._about = sessions, dict(about)

    def describe(self) -> Mapping[str, Any]:
        return self._about

    def scores(self, inputs: Any) -> Float[Tensor, "example item"]:
        """Scores of the items, from number 1 on, by which recommendations are ranked. `inputs` as `collate` gives."""
        with torch.no_grad():
            return cast(Scoring, self.model).scores(self.forward(to_device(inputs, self.device)))

    def loss(self, rows: Sequence[int], inputs: Any) -> Float[Tensor, " example"]:
        """Cross-entropy, over all items, of the one that came next; NaN where none did."""
        target = inputs[-1]
        scores = self.scores(inputs)
        target = torch.as_tensor(target, device=scores.device)
        found = nn.functional.cross_entropy(scores, (target - 1).clamp(min=0), reduction="none")
        return torch.where(target > 0, found, torch.nan)


class SequenceRecommender(Recommender):
    """A recommender that reads events along `position`, the last one at the last step; what lies before the first event
    gives no token. With `last="role"` the last event's token has the role `last`, so that stages can keep it alone.
    """

    def __init__(
        self,
        model: nn.Module,
        sessions: Sessions,
        *,
        batch_size: int,
        device: str,
        about: Mapping[str, Any],
        last: Last = "event",
    ) -> None:
        super().__init__(model, sessions, batch_size=batch_size, device=device, about=about)
        self.last = last

    def prepare(self, example: Example) -> tuple[Int[np.ndarray, " position"], int]:
        history: History = example.input
        return padded(history.items, self.sessions.length), int(history.target)

    def probe(self) -> Any:
        items = torch.zeros(2, self.sessions.length, dtype=torch.int64)
        items[:, -1] = 1
        return items, torch.ones(2, dtype=torch.int64)

    def forward(self, inputs: Any) -> Float[Tensor, "example position d"]:
        return self.model(inputs[0])  # type: ignore[no-any-return]

    def declare(self, path: str, view: View, shape: tuple[int, ...]) -> tuple[str, dict[str, int]]:
        length = self.sessions.length
        if len(shape) != 3 or shape[1] != length:
            raise HookError(
                f"hook point {path!r}: its {view} has shape {list(shape)}, and {length} positions of a history in the "
                "second dimension are expected",
                "hook a block or the final representation, or declare the layout under `hooks:`",
            )
        if self.last == "event":
            return f"example {AXIS} d", {AXIS: length}
        return f"example ({AXIS} + [last]) d", {AXIS: length - 1, "last": 1}

    def present(self, inputs: Any, point: HookPoint, tokens: Arranged) -> Bool[Tensor, " token"]:
        """Where there is an event; special tokens are always there."""
        items = torch.as_tensor(inputs[0], device=tokens.values.device)
        axes = [axis.name for axis in point.layout.axes]
        if AXIS not in axes:
            return torch.ones(len(tokens.role), dtype=torch.bool, device=tokens.values.device)
        at = tokens.coords[:, axes.index(AXIS)].long()
        return (at < 0) | (items[tokens.example, at.clamp(min=0)] > 0)


def padded(items: Int[np.ndarray, " event"], length: int) -> Int[np.ndarray, " position"]:
    """Events at the end of `length` steps, zeros before them."""
    out = np.zeros(length, dtype=np.int64)
    if len(items):
        out[-len(items) :] = items[-length:]
    return out


def recommender_of(extractor: Any, asks: str) -> Recommender:
    """The extractor, which must score items. Raises ConfigError otherwise; `asks` says for what."""
    if not isinstance(extractor, Recommender):
        raise ConfigError(
            f"{asks} needs a recommender that scores items, and the extractor is a {type(extractor).__name__}",
            "set extractor.type to one of recommendation.sasrec, gru4rec, bert4rec or lightgcn",
        )
    return extractor
