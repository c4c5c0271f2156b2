"""Edits of places in pictures that this plug-in offers. No torch here: `build` imports what is heavy."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from omnisae.plugins.kinds import StudyConfig

if TYPE_CHECKING:
    from omnisae.studies.study import Study


class DenseConfig(BaseModel):
    """A dense prediction: the token of every place, sent through the model's own head."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: str = Field(description="module whose tokens along y and x are read, e.g. norm (timm), ln_post (open_clip)")
    view: Literal["output", "input"] = Field("output", description="the module's output or its input")
    through: tuple[str, ...] = Field(
        min_length=1, description="modules (or matrices) from there to the scores, e.g. [fc_norm, head], or [proj]"
    )


class RegionEffectsConfig(StudyConfig):
    """What switching a latent on or off in a region does to the model's own answer, inside the region and outside."""

    type: Literal["vision.region_effects"] = "vision.region_effects"
    switch: Literal["off", "on"] = Field("off", description="latents are switched off where they fire, or on where not")
    region: Literal["mask", "firing"] = Field(
        "mask", description="the tokens of the latent's concept (by masks or boxes), or those at which the latent fires"
    )
    amount: float = Field(1.0, description="for on: what latents are set to, in units of their largest select value")
    latents: tuple[int | str, ...] | None = Field(
        None, description="latents to edit (17; with signed codes 17+ or 17-); none: the best latent of each concept"
    )
    most: int = Field(12, gt=0, description="concepts whose best latent is edited, those with the most pictures first")
    pictures: int = Field(32, gt=1, description="test pictures for each latent, drawn at random; as many select ones")
    draws: int = Field(3, gt=0, description="random directions for each latent, as control")
    others: int = Field(3, gt=0, description="other latents that fire as often, for each latent, as control")
    dense: DenseConfig | None = Field(
        None, description="read the answer at every place of the picture; none: the model's answer on whole pictures"
    )
    decide: Literal["auto", "softmax", "sigmoid"] = Field(
        "auto", description="one output wins, or each is yes or no; auto: as extractor.loss and extractor.outputs say"
    )
    outputs: tuple[str, ...] | None = Field(
        None,
        description="names of the model's outputs in order; none: extractor.targets or classes, else numbers",
    )

    @field_validator("switch", mode="before")
    @classmethod
    def _as_yaml_has_it(cls, given: Any) -> Any:
        """YAML takes a bare off or on for false or true."""
        return ("on" if given else "off") if isinstance(given, bool) else given

    def build(self) -> "Study":
        from omnisae_vision.editing_study import build

        return build(self)


EDIT_STUDIES: tuple[type[StudyConfig], ...] = (RegionEffectsConfig,)
