"""Configs of the studies. No torch here: `build` imports what is heavy."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from omnisae.plugins import StudyConfig
from omnisae.plugins.kinds import ExplainerByType

if TYPE_CHECKING:
    from omnisae.studies.study import Study


class MatchingConfig(StudyConfig):
    """Precision, recall and F1 of latents for items' concepts, beside events with items as popular."""

    type: Literal["recommendation.matching"] = "recommendation.matching"
    least: int = Field(20, ge=5, description="events with and without a concept that either side must have")
    most: int = Field(1000, ge=20, description="events with a concept that are looked at on either side")
    permutations: int = Field(99, ge=19, description="deals of each concept anew, behind its p")

    def build(self) -> "Study":
        from omnisae_recommendation.studies.matching import Matching

        return Matching(self.least, self.most, self.permutations)


class RankingConfig(StudyConfig):
    """HR@k and NDCG@k before and after the autoencoder is spliced in."""

    type: Literal["recommendation.ranking"] = "recommendation.ranking"
    k: tuple[int, ...] = Field((5, 10, 20), min_length=1, description="lengths of the lists")
    seen: bool = Field(False, description="whether items of the history may be recommended again")
    users: int = Field(10_000, ge=2, description="test users at most, drawn at random")

    def build(self) -> "Study":
        from omnisae_recommendation.studies.ranking import Ranking

        return Ranking(self.k, self.seen, self.users)


class SteeringConfig(StudyConfig):
    """The shift in what is recommended when a concept's latents are switched off or on, beside latents as frequent."""

    type: Literal["recommendation.steering"] = "recommendation.steering"
    concepts: tuple[str, ...] | None = Field(
        None, description="concepts of items; none: `most` of those that were scored"
    )
    most: int = Field(8, gt=0, description="concepts at most, where none is named")
    latents: int = Field(1, gt=0, description="latents that are switched together, the best of the concept")
    amount: float = Field(
        2.0, gt=0, description="what they are set to when switched on, in units of their largest value"
    )
    k: int = Field(10, gt=0, description="length of the lists")
    controls: int = Field(19, ge=3, description="sets of latents that fire as often")
    users: int = Field(256, ge=2, description="test users at most, drawn at random")
    seen: bool = Field(False, description="whether items of the history may be recommended again")
    lists: int = Field(3, ge=0, description="concepts of which lists before and after are shown")

    def build(self) -> "Study":
        from omnisae_recommendation.studies.steering import Steering

        return Steering(
            self.concepts,
            self.most,
            self.latents,
            self.amount,
            self.k,
            self.controls,
            self.users,
            self.seen,
            self.lists,
        )


class PhrasesConfig(StudyConfig):
    """A phrase for every latent out of its items' titles and attributes, with its confidence on held-out events."""

    type: Literal["recommendation.phrases"] = "recommendation.phrases"
    explainer: ExplainerByType = Field(
        {"type": "core.tfidf"}, validate_default=True, description="what turns texts into a phrase"
    )
    items: int = Field(12, gt=0, description="items of a latent whose texts are read, the strongest")
    most: int = Field(200, gt=0, description="latents that get a phrase, the most frequent")
    least: int = Field(10, ge=2, description="events of either side at which a latent must fire")
    draws: int = Field(20, gt=0, description="ways of trading phrases among latents, behind the control")

    def build(self) -> "Study":
        from omnisae_recommendation.studies.phrases import Phrases

        return Phrases(self.explainer, self.items, self.most, self.least, self.draws)


STUDIES: list[type[StudyConfig]] = [MatchingConfig, RankingConfig, SteeringConfig, PhrasesConfig]
