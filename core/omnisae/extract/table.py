"""The extractor over vectors that exist already: every example is one token, a row of a matrix."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from omnisae.errors import DatasetError, HookError, did_you_mean
from omnisae.extract.dataset import Example
from omnisae.extract.extractor import Extraction, Extractor
from omnisae.hooks.paths import glob_match, is_glob
from omnisae.hooks.point import HookPoint
from omnisae.tokens.batch import TokenBatch

if TYPE_CHECKING:
    from omnisae.config import HookConfig

PATTERN = "example d"


class TableExtractor(Extractor):
    """Tables by name, each of shape (example, width): numpy arrays, memory maps, scipy-sparse matrices, or whatever
    takes a sorted list of rows (an h5py dataset). Row i of a table belongs to row i of the dataset."""

    def __init__(self, tables: Mapping[str, Any], fingerprint: str, *, batch_size: int = 4096) -> None:
        for name, table in tables.items():
            if len(table.shape) != 2:
                raise DatasetError(
                    f"table {name!r} has shape {list(table.shape)}; it must have two dimensions, examples and width",
                    "give a matrix",
                )
        self.tables = dict(tables)
        self._fingerprint = fingerprint
        self._batch_size = batch_size

    def batch_size(self) -> int:
        return self._batch_size

    def fingerprint(self) -> str:
        return self._fingerprint

    def prepare(self, example: Example) -> Any:
        return example.row

    def collate(self, prepared: Sequence[Any]) -> Any:
        return tuple(prepared)

    def resolve(self, hooks: "Sequence[HookConfig]") -> list[HookPoint]:
        points: dict[str, HookPoint] = {}
        for config in hooks:
            for at in self._targets(config):
                point = self._point(config, at)
                if points.setdefault(point.name, point) != point:
                    raise HookError(f"two hook points are called {point.name!r}", "give each a `name` of its own")
        return list(points.values())

    def extract(self, rows: Sequence[int], inputs: Any, hooks: Sequence[HookPoint]) -> Extraction:
        example = torch.as_tensor(list(rows), dtype=torch.int64)
        coords = torch.zeros(len(rows), 0, dtype=torch.int32)
        role = torch.zeros(len(rows), dtype=torch.uint8)
        found = {}
        for hook in hooks:
            parts = [_take(self.tables[name], rows) for name in hook.at]
            values = torch.from_numpy(np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0])
            found[hook.name] = TokenBatch(values, example, coords, role)
        return Extraction(tuple(rows), found)

    def _targets(self, config: "HookConfig") -> list[tuple[str, ...]]:
        if isinstance(config.at, str) and is_glob(config.at):
            found: list[tuple[str, ...]] = [(name,) for name in self.tables if glob_match(config.at, name)]
            if not found:
                raise HookError(f"no table matches {config.at!r}", did_you_mean(config.at, self.tables))
            return found
        at = (config.at,) if isinstance(config.at, str) else tuple(config.at)
        for name in at:
            if name not in self.tables:
                raise HookError(f"there is no table {name!r}", did_you_mean(name, self.tables))
        return [at]

    def _point(self, config: "HookConfig", at: tuple[str, ...]) -> HookPoint:
        name = config.name or "+".join(at)
        if config.view != "output" or config.select or config.call is not None:
            raise HookError(
                f"hook point {name!r} is a table: it has no view, selector or call",
                "leave out `view`, `select` and `call`",
            )
        if config.columns:
            raise HookError(f"hook point {name!r} is a table, and told nothing", "leave out `columns`")
        if config.layout not in (None, PATTERN):
            raise HookError(f"hook point {name!r} is a table, with the layout {PATTERN!r}", "leave out `layout`")
        width = sum(int(self.tables[table].shape[1]) for table in at)
        return HookPoint(name=name, at=at, pattern=PATTERN, sizes={}, width=width)


def _take(table: Any, rows: Sequence[int]) -> "np.ndarray[Any, Any]":
    """Rows of a table as a dense fp32 matrix."""
    wanted = np.asarray(rows, dtype=np.int64)
    if isinstance(table, np.ndarray) or hasattr(table, "toarray"):
        picked = table[wanted]
    else:
        # Tables on disk (h5py) take ascending rows without repeats.
        ascending, back = np.unique(wanted, return_inverse=True)
        picked = table[ascending][back]
    return np.ascontiguousarray(picked.toarray() if hasattr(picked, "toarray") else picked, dtype=np.float32)
