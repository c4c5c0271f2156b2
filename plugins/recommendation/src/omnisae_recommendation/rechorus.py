"""ReChorus's CSV files: events in three files by what they are for, items' attributes in a fourth."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from omnisae.errors import DatasetError
from omnisae_recommendation.assemble import assemble, folder, rated
from omnisae_recommendation.events import Events
from omnisae_recommendation.items import Catalogue
from omnisae_recommendation.sessions import Sessions
from omnisae_recommendation.tables import Table, read

if TYPE_CHECKING:
    from omnisae_recommendation.plugin_datasets import RechorusConfig

FILES = ("train.csv", "dev.csv", "test.csv")
META = "item_meta.csv"
PREFIX = "i_"
"""What the names of items' attributes begin with."""


def read_rechorus(config: "RechorusConfig") -> Sessions:
    """The dataset that the files of a folder hold, all three joined. Raises DatasetError naming file and field."""
    root = folder(config.root)
    tables = [read(root / name, separator=config.separator) for name in FILES if (root / name).exists()]
    if not tables:
        raise DatasetError(f"{root} holds none of {', '.join(FILES)}", "name ReChorus's folder in dataset.root")
    user = np.concatenate([table.filled(config.user) for table in tables])
    item = np.concatenate([table.filled(config.item) for table in tables])
    time = np.concatenate([table.numbers(config.time) for table in tables])
    events, notes = rated(Events.of(root / FILES[0], user, user, item, time), None, config.rating)
    items, more = _items(root / META, config)
    return assemble(config, events, items, notes=[*notes, *more])


def _items(path: Path, config: "RechorusConfig") -> tuple[Catalogue | None, list[str]]:
    if not path.exists():
        return None, [f"there is no {path.name}: nothing is known of items"]
    table: Table = read(path, separator=config.separator)
    ids = [str(one) for one in table.filled(config.item)]
    titles = ids if config.title is None else [str(one) for one in table.text(config.title)]
    attributes = {
        name.removeprefix(PREFIX): tuple((str(text),) if text else () for text in column)
        for name, column in table.columns.items()
        if name.startswith(PREFIX) and name != config.title
    }
    return Catalogue(tuple(ids), tuple(titles), attributes), []
