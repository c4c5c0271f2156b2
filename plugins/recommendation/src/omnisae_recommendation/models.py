"""From configs to recommenders: loaded, trained here, or at random."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from omnisae.errors import ConfigError
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.module import pick_device
from omnisae.hooks.point import View
from omnisae_recommendation.bert4rec import Bert4Rec
from omnisae_recommendation.checkpoint import load_sasrec
from omnisae_recommendation.gru4rec import Gru4Rec
from omnisae_recommendation.lightgcn import UserVectors, train_vectors
from omnisae_recommendation.recommender import Recommender, SequenceRecommender, padded
from omnisae_recommendation.sasrec import SasRec
from omnisae_recommendation.sessions import AXIS, Sessions, sessions_of
from omnisae_recommendation.training import Loss, hidden_item, next_item, train
from omnisae_recommendation.weights_cache import trained

if TYPE_CHECKING:
    from omnisae_recommendation.plugin_models import (
        Bert4recConfig,
        Gru4recConfig,
        LightgcnConfig,
        SasrecConfig,
        TrainedConfig,
    )

NOT_TRAINING = {"batch_size", "device", "last", "checkpoint", "random"}


def sasrec(config: "SasrecConfig", dataset: Dataset) -> SequenceRecommender:
    """SASRec as the config says. Raises ArtifactError for a checkpoint that does not fit the dataset."""
    sessions = sessions_of(dataset, config.type)
    items, length = len(sessions.histories.rows), sessions.length
    if config.checkpoint is not None:
        if config.random:
            raise ConfigError(
                "extractor.random asks for random weights, and extractor.checkpoint names some", "leave out one of them"
            )
        path = config.checkpoint.expanduser()
        model = load_sasrec(path, items=items, length=length, heads=config.heads, order=config.order)
        return _extractor(model, sessions, config, last=config.last)
    _check_heads(config.width, config.heads)

    def make() -> SasRec:
        places = length if config.order == "query" else length + 1
        return SasRec(items, length, config.width, config.layers, config.heads, config.dropout, config.order, places)

    if config.random:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            return _extractor(make(), sessions, config, last=config.last)
    model = _trained(config, sessions, make, next_item(config.negatives))
    return _extractor(model, sessions, config, last=config.last)


def gru4rec(config: "Gru4recConfig", dataset: Dataset) -> SequenceRecommender:
    """GRU4Rec trained on the dataset's lessons."""
    sessions = sessions_of(dataset, config.type)
    items = len(sessions.histories.rows)

    def make() -> Gru4Rec:
        return Gru4Rec(items, config.width, config.hidden, config.layers, config.dropout)

    return _extractor(_trained(config, sessions, make, next_item(config.negatives)), sessions, config, last=config.last)


def bert4rec(config: "Bert4recConfig", dataset: Dataset) -> "Masked":
    """BERT4Rec trained on the dataset's lessons."""
    sessions = sessions_of(dataset, config.type)
    items, length = len(sessions.histories.rows), sessions.length
    _check_heads(config.width, config.heads)

    def make() -> Bert4Rec:
        return Bert4Rec(items, length, config.width, config.layers, config.heads, config.dropout)

    model = _trained(config, sessions, make, hidden_item(config.hidden_share))
    return Masked(
        model,
        sessions,
        batch_size=config.batch_size,
        device=config.device,
        about={"length": length, "kind": "bert4rec"},
    )


def lightgcn(config: "LightgcnConfig", dataset: Dataset) -> "Users":
    """LightGCN trained on the graph of the dataset's lessons."""
    sessions = sessions_of(dataset, config.type)
    users, items = len(sessions), len(sessions.histories.rows)
    model = trained(
        _key(config, sessions),
        lambda: UserVectors(users, items, config.width, config.layers),
        lambda: train_vectors(
            sessions, width=config.width, rounds=config.layers, epochs=config.epochs, lr=config.lr,
            batch=config.batch, decay=config.decay, seed=config.seed,
        ),
    )  # fmt: skip
    return Users(model, sessions, batch_size=config.batch_size, device=config.device, about={"kind": "lightgcn"})


class Masked(SequenceRecommender):
    """A recommender that is asked by a mask behind the last event."""

    model: Bert4Rec

    def prepare(self, example: Example) -> tuple[np.ndarray, int]:
        items = padded(example.input.items, self.sessions.length)
        return np.r_[items, self.model.mask], int(example.input.target)

    def probe(self) -> Any:
        items = torch.zeros(2, self.sessions.length + 1, dtype=torch.int64)
        items[:, -2:] = torch.tensor([1, self.model.mask])
        return items, torch.ones(2, dtype=torch.int64)

    def declare(self, path: str, view: View, shape: tuple[int, ...]) -> tuple[str, dict[str, int]]:
        return f"example ({AXIS} + [mask]) d", {AXIS: self.sessions.length, "mask": 1}


class Users(Recommender):
    """A recommender with a vector a user: one token an example."""

    def prepare(self, example: Example) -> tuple[int, int]:
        return example.input.row, int(example.input.target)

    def probe(self) -> Any:
        return torch.zeros(2, dtype=torch.int64), torch.ones(2, dtype=torch.int64)

    def forward(self, inputs: Any) -> torch.Tensor:
        return self.model(inputs[0])  # type: ignore[no-any-return]

    def declare(self, path: str, view: View, shape: tuple[int, ...]) -> tuple[str, dict[str, int]]:
        return "example d", {}


def _extractor(model: nn.Module, sessions: Sessions, config: Any, last: Any) -> SequenceRecommender:
    about = {"length": sessions.length, "kind": config.type}
    return SequenceRecommender(
        model, sessions, batch_size=config.batch_size, device=config.device, about=about, last=last
    )


def _trained(config: "TrainedConfig", sessions: Sessions, make: Any, loss: Loss) -> Any:
    def fresh() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            model: nn.Module = make()
            train(
                model, sessions, loss, epochs=config.epochs, lr=config.lr, batch=config.batch, seed=config.seed,
                device=pick_device(config.device),
            )  # fmt: skip
        return model.cpu()

    return trained(_key(config, sessions), make, fresh)


def _key(config: "TrainedConfig", sessions: Sessions) -> Any:
    return {"lessons": sessions.lessons, "config": config.model_dump(mode="json", exclude=NOT_TRAINING)}


def _check_heads(width: int, heads: int) -> None:
    if width % heads:
        raise ConfigError(f"extractor.width {width} is no multiple of extractor.heads {heads}", "give another width")
