"""RecBole's atomic files: tab-separated, the first line naming fields with their types, as in `item_id:token`."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from omnisae.errors import DatasetError, did_you_mean
from omnisae_recommendation.assemble import assemble, folder, rated
from omnisae_recommendation.events import Events
from omnisae_recommendation.items import Catalogue
from omnisae_recommendation.sessions import Sessions
from omnisae_recommendation.tables import Table, read

if TYPE_CHECKING:
    from omnisae_recommendation.plugin_datasets import AtomicConfig

KINDS = ("token", "token_seq", "float", "float_seq")


class Atomic:
    """One atomic file: its table by field, and the type of each field."""

    def __init__(self, path: Path) -> None:
        table = read(path, separator="\t")
        self.kinds: dict[str, str] = {}
        columns = {}
        for head, values in table.columns.items():
            name, _, kind = head.rpartition(":")
            if kind not in KINDS or not name:
                raise DatasetError(
                    f"{path}, line 1: {head!r} is no field with its type",
                    f"write name:type, the type one of {', '.join(KINDS)}, as in item_id:token",
                )
            self.kinds[name], columns[name] = kind, values
        self.table = Table(path, columns, table.first)

    def values(self, field: str, separator: str) -> list[tuple[str, ...]]:
        """The values of a field in every line: none, one, or several of a `token_seq`."""
        several = self.kinds[field].endswith("_seq")
        column = self.table.text(field)
        if several:
            return [tuple(part for part in text.split(separator) if part) for text in column]
        return [(text,) if text else () for text in column]


def read_atomic(config: "AtomicConfig") -> Sessions:
    """The dataset that the files of a folder hold. Raises DatasetError naming the file and the field at fault."""
    root = folder(config.root)
    name = config.name or _only(root)
    inter = Atomic(root / f"{name}.inter")
    user = inter.table.filled(config.user)
    events = Events.of(
        inter.table.path,
        user,
        _sessions(inter, user, config),
        inter.table.filled(config.item),
        inter.table.numbers(config.time),
    )
    rating = inter.table.numbers("rating") if config.rating is not None and "rating" in inter.kinds else None
    events, notes = rated(events, rating, config.rating)
    items, more = _items(root / f"{name}.item", config)
    return assemble(
        config,
        events,
        items,
        users=_users(root / f"{name}.user", config),
        by_session=config.session is not None,
        notes=[*notes, *more],
    )


def _only(root: Path) -> str:
    found = sorted(path.stem for path in root.glob("*.inter"))
    if len(found) != 1:
        raise DatasetError(
            f"{root} holds {len(found)} files that end in .inter{': ' + ', '.join(found) if found else ''}",
            "name one in dataset.name" if found else "name a folder with RecBole's atomic files in dataset.root",
        )
    return found[0]


def _sessions(inter: Atomic, user: np.ndarray, config: "AtomicConfig") -> np.ndarray:
    """What an example's events have in common: the user, or the session, which belongs to one user alone."""
    if config.session is None:
        return user
    session = inter.table.filled(config.session)
    owner: dict[str, str] = {}
    for row, (one, who) in enumerate(zip(session, user, strict=True)):
        if owner.setdefault(one, who) != who:
            raise DatasetError(
                f"{inter.table.path}, line {inter.table.line(row)}: {config.session} {one!r} is of {config.user} "
                f"{owner[one]!r} and of {who!r}",
                "give every session a name of its own",
            )
    return session


def _items(path: Path, config: "AtomicConfig") -> tuple[Catalogue | None, list[str]]:
    if not path.exists():
        return None, [f"there is no {path.name}: nothing is known of items"]
    file = Atomic(path)
    ids = [str(one) for one in file.table.filled(config.item)]
    twice = sorted({one for one in ids if ids.count(one) > 1}) if len(set(ids)) < len(ids) else []
    if twice:
        raise DatasetError(
            f"{path}: field {config.item}: {len(twice)} items stand there more than once, {twice[0]!r} among them",
            "leave one line for every item",
        )
    notes = []
    if config.title in file.kinds:
        titles = [text or one for text, one in zip(file.table.text(config.title), ids, strict=True)]
    else:
        titles = ids
        notes.append(f"{path.name} has no field {config.title!r}: items are called by their ids")
    attributes = {
        name: tuple(file.values(name, config.separator))
        for name, kind in file.kinds.items()
        if name not in (config.item, config.title) and not kind.startswith("float")
    }
    return Catalogue(tuple(ids), tuple(str(one) for one in titles), attributes), notes


def _users(path: Path, config: "AtomicConfig") -> dict[str, dict[str, tuple[str, ...]]]:
    if not config.user_columns:
        return {}
    file = Atomic(path)
    who = [str(one) for one in file.table.filled(config.user)]
    out = {}
    for name in config.user_columns:
        if name not in file.kinds:
            raise DatasetError(f"{path} has no field {name!r}", did_you_mean(name, file.kinds))
        out[name] = dict(zip(who, file.values(name, config.separator), strict=True))
    return out
