"""The classifier that judges generated pictures. No torch here: `build` imports what is heavy."""

from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from omnisae.plugins.kinds import ExtractorByType

if TYPE_CHECKING:
    from omnisae_diffusion.classify import Classifier


class ClassifierConfig(BaseModel):
    """A classifier whose outputs are the classes of one or several domains, such as objects and styles.

    An output called `digit=3` is the class `3` of the domain `digit`; outputs with plain names are classes of `domain`,
    or of what `domains` says. In every domain the class with the largest output is the answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    extractor: ExtractorByType = Field(
        description="the model, e.g. {type: vision.timm, model: digits_classifier, checkpoint: 'world:digits'}"
    )
    outputs: tuple[str, ...] | None = Field(
        None, description="names of the model's outputs in order; none: what the extractor or its checkpoint says"
    )
    domain: str = Field("class", min_length=1, description="the domain of outputs whose names carry none")
    domains: dict[str, tuple[str, ...]] | None = Field(
        None, description="which outputs of plain names belong to which domain: {object: [dog, cat], style: [cubism]}"
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if self.domains is None:
            return self
        named = [name for names in self.domains.values() for name in names]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise ValueError(f"`domains` names {', '.join(map(repr, twice))} more than once; an output has one domain")
        single = [domain for domain, names in self.domains.items() if len(names) < 2]
        if single:
            raise ValueError(
                f"`domains` gives {', '.join(map(repr, single))} fewer than two outputs, of which one always wins"
            )
        return self

    def build(self) -> "Classifier":
        from omnisae_diffusion.classify import Classifier

        return Classifier(self)
