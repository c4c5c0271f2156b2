"""From events and items to the dataset, as the config says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from omnisae.errors import DatasetError, PluginError
from omnisae_recommendation.events import Events, check_items, core, histories
from omnisae_recommendation.items import Catalogue, concepts_of
from omnisae_recommendation.sessions import Known, Sessions

if TYPE_CHECKING:
    from omnisae_recommendation.plugin_datasets import HistoriesConfig

SCHEME = "world:"
NOBODY: Mapping[str, Mapping[str, tuple[str, ...]]] = {}


def folder(address: str) -> Path:
    """The folder that an address names: a path, or a world, which is written on first use.

    Raises DatasetError where there is none, PluginError where worlds are not installed.
    """
    if address.startswith(SCHEME):
        try:
            import omnisae_datasets
        except ImportError as error:
            raise PluginError(
                f"{address!r} needs the distribution omnisae-datasets, which is not installed ({error})",
                "pip install -e datasets (in a clone of the repository), or name a folder of your own",
            ) from error
        return Path(omnisae_datasets.resolve(address))
    path = Path(address).expanduser()
    if not path.is_dir():
        raise DatasetError(f"there is no folder {path}", "name the folder of the files in dataset.root")
    return path


def rated(events: Events, rating: np.ndarray | None, least: float | None) -> tuple[Events, list[str]]:
    """The events that are rated well enough. Raises DatasetError where that is asked for and nothing is rated."""
    if least is None:
        return events, []
    if rating is None:
        raise DatasetError(
            f"{events.path} has no ratings, and dataset.rating asks for at least {least:g}", "leave out dataset.rating"
        )
    keep = rating >= least
    return events.take(keep), [f"{int((~keep).sum())} of {len(keep)} events are rated below {least:g} and left out"]


def assemble(
    config: "HistoriesConfig",
    events: Events,
    items: Catalogue | None,
    *,
    users: Mapping[str, Mapping[str, tuple[str, ...]]] = NOBODY,
    by_session: bool = False,
    notes: Sequence[str] = (),
) -> Sessions:
    """The dataset. `items` None: nothing is known of items, and none is unknown. Raises DatasetError."""
    said = list(notes)
    if not len(events.item):
        raise DatasetError(f"{events.path} holds no event", "give events, or lower dataset.rating")
    events, more = check_items(events, None if items is None else items.ids, config.unknown)
    said += more
    events, more = core(events, config.user_events, config.item_events)
    said += more
    by_number = config.numbering == "number"
    known = histories(events, holdout=config.holdout, cut=config.cut, by_number=by_number, short=config.short)
    catalogue = (items or Catalogue((), ())).take(known.rows)
    concepts, more = concepts_of(
        catalogue,
        config.concepts,
        least=config.concept_items,
        most=config.concept_values,
        title_words=config.title_words,
    )
    said += more
    return Sessions(
        known,
        catalogue,
        concepts,
        length=config.history,
        whole=config.whole,
        users=Known(users),
        by_session=by_session,
        notes=said,
    )
