"""How picture sets are compared. No torch here: `build` imports what is heavy."""

from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from omnisae_vision.plugin_studies import EmbeddingConfig

if TYPE_CHECKING:
    from omnisae_diffusion.distance.compare import Comparison


class DistanceConfig(BaseModel):
    """FID and KID between two sets of pictures: which features they are taken on, and how KID is drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    features: EmbeddingConfig | None = Field(
        None,
        description="the model whose features are compared: {model: {type: vision.timm, ...}, hook: {at: ...}}; "
        "none: Inception, where its weights are on this machine",
    )
    inception: Path | None = Field(
        None, description="file of Inception's weights as torch-fidelity publishes them; none: torch.hub's own folder"
    )
    fetch: bool = Field(False, description="let torch-fidelity fetch Inception's weights (needs the network once)")
    subsets: int = Field(100, gt=1, description="KID: subsets drawn, over which its mean and spread are taken")
    subset_size: int = Field(
        1000, gt=1, description="KID: pictures of either set in a subset; at most half of the smaller set"
    )
    batch: int = Field(32, gt=0, description="pictures that go through Inception at once; other models say their own")
    device: str = Field("auto", description="where Inception runs: auto, cpu, cuda, cuda:1, mps")

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if self.features is not None and self.features.model is None:
            raise ValueError(
                "`features` names a table, and pictures made just now stand in no table; name a `model` instead"
            )
        if self.features is not None and (self.inception is not None or self.fetch):
            raise ValueError("`features` names another model than Inception; leave out `inception` and `fetch`")
        if self.inception is not None and self.fetch:
            raise ValueError("`inception` is a file, and `fetch` asks for the network; give one of them")
        return self

    def build(self) -> "Comparison":
        from omnisae_diffusion.distance.compare import Comparison

        return Comparison(self)
