"""Configs of the datasets. No torch here: `build` imports what is heavy."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from omnisae.plugins import DatasetConfig

if TYPE_CHECKING:
    from omnisae.extract.dataset import Dataset


class HistoriesConfig(DatasetConfig):
    """What all datasets of events have in common."""

    root: str = Field(description="the folder of the files, or world:sessions")
    history: int = Field(50, ge=2, description="events of a user that a recommender sees, the last ones")
    holdout: Literal["leave_one_out", "temporal", "none"] = Field(
        "leave_one_out",
        description="what recommendations are judged by: each user's last event; the first event after the time `cut`; "
        "nothing, so that all events are seen",
    )
    cut: float = Field(0.9, gt=0, lt=1, description="temporal: quantile of all times after which events are held out")
    rating: float | None = Field(None, description="events rated lower are left out; none: all are kept")
    user_events: int = Field(1, ge=1, description="users with fewer events are left out (repeated until none is left)")
    item_events: int = Field(1, ge=1, description="items with fewer events are left out (repeated until none is left)")
    short: Literal["drop", "refuse"] = Field(
        "drop", description="users whose events leave no history: left out or refused"
    )
    unknown: Literal["refuse", "drop"] = Field("refuse", description="events with items that the item file lacks")
    numbering: Literal["appearance", "number"] = Field(
        "appearance",
        description="items' rows in the model: in the order in which they first appear; their ids are the rows",
    )
    concepts: tuple[str, ...] | None = Field(
        None, description="attributes of items that are concepts of each event; none: all with few different values"
    )
    concept_items: int = Field(5, ge=1, description="items that must have a value for it to be a concept")
    concept_values: int = Field(100, ge=1, description="values above which an attribute makes no concepts unless named")
    title_words: int = Field(0, ge=0, description="words that stand in at least so many titles are concepts; 0: none")
    whole: Literal["none", "share", "last"] = Field(
        "none",
        description="concepts of whole histories: none; the share of events with each concept; those of the last event",
    )


class AtomicConfig(HistoriesConfig):
    """RecBole's atomic files: `<name>.inter`, and `<name>.item` and `<name>.user` where there are any."""

    type: Literal["recommendation.atomic"] = "recommendation.atomic"
    name: str | None = Field(None, description="the files' name before the dot; none: the only one in the folder")
    user: str = Field("user_id", description="field of the user")
    item: str = Field("item_id", description="field of the item")
    time: str = Field("timestamp", description="field of the time")
    session: str | None = Field(None, description="field that divides a user's events into sessions, an example each")
    title: str = Field("title", description="field of the items' titles, where the item file has it")
    user_columns: tuple[str, ...] = Field((), description="fields of the user file that are concepts of histories")
    separator: str = Field(" ", description="what stands between the values of a `token_seq`")

    def build(self) -> "Dataset":
        from omnisae_recommendation.atomic import read_atomic

        return read_atomic(self)


class RechorusConfig(HistoriesConfig):
    """ReChorus's `train.csv`, `dev.csv` and `test.csv`, joined and put in order of time; `item_meta.csv` if present."""

    type: Literal["recommendation.rechorus"] = "recommendation.rechorus"
    user: str = Field("user_id", description="column of the user")
    item: str = Field("item_id", description="column of the item")
    time: str = Field("time", description="column of the time")
    title: str | None = Field(None, description="column of item_meta.csv with titles; none: items' ids")
    separator: str = Field("\t", min_length=1, max_length=1, description="what stands between values")

    def build(self) -> "Dataset":
        from omnisae_recommendation.rechorus import read_rechorus

        return read_rechorus(self)


class MovielensConfig(HistoriesConfig):
    """A MovieLens folder: `ratings.csv` and its kin, the `.dat` files of 1M and 10M, or the `u.` files of 100K."""

    type: Literal["recommendation.movielens"] = "recommendation.movielens"
    tag_users: int = Field(3, ge=1, description="users who must have given a film a tag for it to count (tags.csv)")

    def build(self) -> "Dataset":
        from omnisae_recommendation.movielens import read_movielens

        return read_movielens(self)


DATASETS: list[type[DatasetConfig]] = [AtomicConfig, RechorusConfig, MovielensConfig]
