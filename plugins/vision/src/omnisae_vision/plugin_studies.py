"""Studies that this plug-in offers. No torch here: `build` imports what is heavy."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from omnisae.config import HookConfig
from omnisae.plugins.kinds import ExtractorByType, StudyConfig

if TYPE_CHECKING:
    from omnisae.studies.study import Study


class EmbeddingConfig(BaseModel):
    """One vector a picture, by another model than the one under study: from a table, or made by running a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path | None = Field(None, description="table of vectors: .npy (a row a picture), or .parquet")
    ids: Path | None = Field(
        None,
        description="for .npy, a text file with the picture's id in every line; none: rows are in the dataset's order",
    )
    id: str = Field("id", description="for .parquet, the column that names the picture")
    model: ExtractorByType | None = Field(
        None, description="instead of a table, an extractor such as {type: vision.timm, ...}; its vectors are kept"
    )
    hook: HookConfig | None = Field(
        None,
        description="where that model is read, averaged over content tokens; none: its own answer, e.g. its embedding",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.model is None):
            raise ValueError("give either `path`, a table of vectors, or `model`, an extractor that makes them")
        if self.hook is not None and self.model is None:
            raise ValueError("`hook` says where `model` is read, and no model is given")
        return self

    @property
    def files(self) -> tuple[Path, ...]:
        """The table, and its list of ids."""
        return tuple(path for path in (self.path, self.ids) if path is not None)


class MonosemanticityConfig(StudyConfig):
    """MonoSemanticity: how alike the pictures are in which a latent is strong, as another model sees them."""

    type: Literal["vision.monosemanticity"] = "vision.monosemanticity"
    embedding: EmbeddingConfig = Field(description="the other model's vector of every picture")
    pool: Literal["mean", "max"] = Field("max", description="how values of a picture's tokens become one")
    shuffles: int = Field(49, ge=19, description="shuffles of the pictures' vectors behind the control and its p")

    def build(self) -> "Study":
        from omnisae_vision.studies.monosemanticity import Monosemanticity

        return Monosemanticity(self.embedding, self.pool, self.shuffles)

    def reads(self) -> Sequence[Path]:
        return self.embedding.files


class TaxonomyConfig(StudyConfig):
    """How deep in a taxonomy the classes of a latent's strongest pictures meet."""

    type: Literal["vision.taxonomy"] = "vision.taxonomy"
    taxonomy: Path = Field(
        description="table with columns child and parent (.csv, .tsv), or JSON: {child: parent}, nested objects, or "
        "nodes of name and children"
    )
    column: str = Field("class", description="the dataset's column whose values are the taxonomy's classes")
    examples: int = Field(16, gt=1, description="strongest pictures of a latent that are looked at")
    permutations: int = Field(199, ge=19, description="permutations of the pictures' classes behind the control")

    def build(self) -> "Study":
        from omnisae_vision.studies.taxonomy import Taxonomy

        return Taxonomy(self.taxonomy, self.column, self.examples, self.permutations)

    def reads(self) -> Sequence[Path]:
        return (self.taxonomy,)


class NamingConfig(StudyConfig):
    """Names of latents by the words whose text vector lies nearest, each with its own control."""

    type: Literal["vision.naming"] = "vision.naming"
    vectors: Path | None = Field(
        None,
        description="table of text vectors: .npz with arrays `words` and `vectors`, or .parquet with columns `word` "
        "and `vector`",
    )
    text: ExtractorByType | None = Field(
        None, description="instead of a table, a model whose text tower makes them: {type: vision.open_clip, ...}"
    )
    words: tuple[str, ...] = Field((), description="the vocabulary, for `text`")
    vocabulary: Path | None = Field(
        None, description="the vocabulary, for `text`: a text file with a word in every line"
    )
    prompts: tuple[str, ...] = Field(("a photo of a {}.",), description="what is said of a word, for `text`; averaged")
    compare: Literal["pictures", "decoder"] = Field(
        "pictures",
        description="words are compared with the mean vector of a latent's strongest pictures, or (where the "
        "autoencoder was trained on vectors of the joint space itself) with its decoder row",
    )
    embedding: EmbeddingConfig | None = Field(
        None, description="for pictures: their vectors in the same space as the words; none: by `text`'s image tower"
    )
    examples: int = Field(16, gt=0, description="for pictures: a latent's strongest on either side of the split")
    draws: int = Field(199, ge=19, description="random directions, or random pictures, behind each p")
    q: float = Field(0.05, gt=0, lt=1, description="share of false discoveries among the names that count as sure")

    @model_validator(mode="after")
    def _words_come_from_somewhere(self) -> Self:
        if (self.vectors is None) == (self.text is None):
            raise ValueError("give either `vectors`, a table of text vectors, or `text`, a model with a text tower")
        if self.text is not None and bool(self.words) == (self.vocabulary is not None):
            raise ValueError("`text` needs its vocabulary: give either `words` or `vocabulary`")
        if self.text is not None and self.text.type != "vision.open_clip":
            raise ValueError(f"`text` is {self.text.type!r}, which has no text tower; give a vision.open_clip model")
        if any(prompt.count("{}") != 1 for prompt in self.prompts) or not self.prompts:
            raise ValueError("`prompts` must hold {} once each, for the word")
        if self.compare == "pictures" and self.embedding is None and self.text is None:
            raise ValueError("to compare words with pictures, `embedding` must give the pictures' vectors")
        return self

    def build(self) -> "Study":
        from omnisae_vision.studies.naming import Naming

        return Naming(self)

    def reads(self) -> Sequence[Path]:
        own = tuple(path for path in (self.vectors, self.vocabulary) if path is not None)
        return own + (self.embedding.files if self.embedding is not None else ())


STUDIES: tuple[type[StudyConfig], ...] = (MonosemanticityConfig, TaxonomyConfig, NamingConfig)
