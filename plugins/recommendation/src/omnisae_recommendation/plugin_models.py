"""Configs of the recommenders. No torch here: `build` imports what is heavy."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from omnisae.plugins import ExtractorConfig

if TYPE_CHECKING:
    from omnisae.extract.dataset import Dataset
    from omnisae.extract.extractor import Extractor


class TrainedConfig(ExtractorConfig):
    """What all recommenders that are trained in the run have in common."""

    width: int = Field(64, gt=0, description="size of items' vectors, where it is trained here")
    layers: int = Field(2, gt=0, description="number of its layers, where it is trained here")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout of its training")
    epochs: int = Field(30, gt=0, description="epochs of its training")
    lr: float = Field(1e-3, gt=0, description="learning rate of its training")
    batch: int = Field(128, gt=0, description="histories a step of its training")
    seed: int = Field(0, description="seed of its training")
    batch_size: int = Field(256, gt=0, description="histories that go through the model at once")
    device: str = Field("auto", description="auto, cpu, cuda or mps")


class SasrecConfig(TrainedConfig):
    """SASRec, of a checkpoint or trained here. Hook points: `embedded`, `blocks.0` …, `final`."""

    type: Literal["recommendation.sasrec"] = "recommendation.sasrec"
    checkpoint: Path | None = Field(
        None, description="a .pth state_dict in the common PyTorch layout; none: trained on this dataset"
    )
    random: bool = Field(False, description="random weights of this architecture, neither loaded nor trained")
    heads: int = Field(1, gt=0, description="attention heads; a checkpoint does not tell")
    order: Literal["query", "first", "last"] = Field(
        "last",
        description="where layer norms stand: at the query (first versions of the layout), before each part, after it",
    )
    negatives: int | None = Field(
        None, gt=0, description="train against so many items at random (binary, as published); none: against all items"
    )
    last: Literal["event", "role"] = Field(
        "event",
        description="the last event's token: like the others, or of the role `last`, so that stages can keep it",
    )

    def build(self, dataset: "Dataset") -> "Extractor":
        from omnisae_recommendation.models import sasrec

        return sasrec(self, dataset)


class Gru4recConfig(TrainedConfig):
    """GRU4Rec, trained here. Hook points: `embedded`, `layers.0` …, `final`."""

    type: Literal["recommendation.gru4rec"] = "recommendation.gru4rec"
    hidden: int = Field(128, gt=0, description="width of the recurrent layers")
    layers: int = Field(1, gt=0, description="number of recurrent layers")
    negatives: int | None = Field(None, gt=0, description="train against so many items at random; none: all items")
    last: Literal["event", "role"] = Field("event", description="the last event's token: like the others, or a role")

    def build(self, dataset: "Dataset") -> "Extractor":
        from omnisae_recommendation.models import gru4rec

        return gru4rec(self, dataset)


class Bert4recConfig(TrainedConfig):
    """BERT4Rec, trained here. Hook points: `embedded`, `blocks.0` …, `final`; the mask's token has the role `mask`."""

    type: Literal["recommendation.bert4rec"] = "recommendation.bert4rec"
    heads: int = Field(2, gt=0, description="attention heads")
    hidden_share: float = Field(0.2, gt=0, lt=1, description="share of the events that training hides")

    def build(self, dataset: "Dataset") -> "Extractor":
        from omnisae_recommendation.models import bert4rec

        return bert4rec(self, dataset)


class LightgcnConfig(TrainedConfig):
    """LightGCN, trained here; a token a user. Hook points: `rounds.0` …, `final`."""

    type: Literal["recommendation.lightgcn"] = "recommendation.lightgcn"
    layers: int = Field(3, gt=0, description="rounds of averaging over neighbours")
    batch: int = Field(2048, gt=0, description="events a step of its training")
    lr: float = Field(5e-3, gt=0, description="learning rate of its training")
    decay: float = Field(1e-4, ge=0, description="weight of the squared norms")

    def build(self, dataset: "Dataset") -> "Extractor":
        from omnisae_recommendation.models import lightgcn

        return lightgcn(self, dataset)


MODELS: list[type[ExtractorConfig]] = [SasrecConfig, Gru4recConfig, Bert4recConfig, LightgcnConfig]
