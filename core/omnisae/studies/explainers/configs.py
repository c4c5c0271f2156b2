"""The explainers that core offers. No torch here: `build` imports what is heavy."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from omnisae.plugins.component import Component
from omnisae.plugins.kinds import ExplainerConfig

if TYPE_CHECKING:
    from omnisae.studies.explainer import Explainer


class TfidfConfig(ExplainerConfig):
    """The words that stand in a latent's texts and seldom in others, by TF-IDF; no model, no network."""

    type: Literal["core.tfidf"] = "core.tfidf"
    words: int = Field(3, gt=0, description="words of a phrase, at most")
    share: float = Field(0.25, gt=0, le=1, description="share of the latent's texts in which a word must stand")

    def build(self) -> "Explainer":
        from omnisae.studies.explainers.tfidf import Tfidf

        return Tfidf(self.words, self.share)


class ChatConfig(ExplainerConfig):
    """A language model behind an OpenAI-compatible endpoint; texts are sent to it, answers are kept on disk."""

    type: Literal["core.chat"] = "core.chat"
    url: str = Field(description="the endpoint's base, e.g. http://localhost:8000/v1")
    model: str = Field(description="the model's name at the endpoint")
    key_env: str | None = Field(None, description="environment variable that holds the key; none: no key is sent")
    texts: int = Field(12, gt=0, description="texts of a latent that are shown, the strongest")
    requests: int = Field(
        200, gt=0, description="requests at most in one run, retries among them; kept answers are free"
    )
    retries: int = Field(
        3, ge=0, description="how often a failed request is tried again, waiting twice as long each time"
    )
    timeout: float = Field(60.0, gt=0, description="seconds that an answer may take")
    cache: Path | None = Field(None, description="folder of kept answers; none: the cache folder of omnisae")

    def build(self) -> "Explainer":
        from omnisae.studies.explainers.chat import Chat

        return Chat(self)


class LocalConfig(ExplainerConfig):
    """A causal language model of transformers in a local folder; nothing is sent anywhere, answers are kept on disk."""

    type: Literal["core.local"] = "core.local"
    model: Path = Field(description="folder with the model and its tokenizer, as save_pretrained writes it")
    texts: int = Field(12, gt=0, description="texts of a latent that are shown, the strongest")
    tokens: int = Field(24, gt=0, description="tokens of an answer, at most")
    cache: Path | None = Field(None, description="folder of kept answers; none: the cache folder of omnisae")

    def build(self) -> "Explainer":
        from omnisae.studies.explainers.local import Local

        return Local(self)


COMPONENTS: tuple[type[Component], ...] = (TfidfConfig, ChatConfig, LocalConfig)
