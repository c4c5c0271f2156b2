"""A taxonomy of classes: parents, depths, and where classes meet."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from omnisae.errors import DatasetError, did_you_mean
from omnisae_vision.tables import read

ROOT = ""
"""Stands above several roots, at depth 0."""


class Tree:
    """Each class's parent. The one root has depth 0; where there are several, they hang from one that has no name."""

    def __init__(self, parents: Mapping[str, str], where: str) -> None:
        self.parents = dict(parents)
        roots = sorted(set(self.parents.values()) - set(self.parents))
        if not roots:
            raise DatasetError(
                f"{where}: the taxonomy has no root: its classes go round in a circle", "mend the parents"
            )
        if len(roots) > 1:
            self.parents |= dict.fromkeys(roots, ROOT)
        self.root = roots[0] if len(roots) == 1 else ROOT
        self.where = where
        for name in self.parents:
            self.path(name)

    @property
    def names(self) -> set[str]:
        """Every class, inner ones among them."""
        return {*self.parents, *self.parents.values()} - {ROOT}

    def path(self, name: str) -> list[str]:
        """From the root to a class. Raises DatasetError where there is no such class, or no root above it."""
        if name not in self.parents and name != self.root:
            raise DatasetError(f"{self.where} has no class {name!r}", did_you_mean(name, self.names))
        found = [name]
        while found[-1] != self.root:
            parent = self.parents[found[-1]]
            if parent in found:
                raise DatasetError(
                    f"{self.where}: the parents of {name!r} go round in a circle at {parent!r}", "mend the parents"
                )
            found.append(parent)
        return found[::-1]

    def meeting(self, names: Sequence[str]) -> str:
        """The lowest class that all have in common, themselves among them."""
        paths = [self.path(name) for name in dict.fromkeys(names)]
        shared = [steps[0] for steps in zip(*paths, strict=False) if len(set(steps)) == 1]
        return shared[-1]

    def depths(self, names: Sequence[str]) -> Int[np.ndarray, "class class"]:
        """The depth at which each pair of classes meets; a class meets itself at its own depth."""
        paths = [self.path(name) for name in names]
        numbers = {name: i for i, name in enumerate(sorted({step for path in paths for step in path}))}
        longest = max(len(path) for path in paths)
        table = np.full((len(names), longest), -1)
        for row, path in zip(table, paths, strict=True):
            row[: len(path)] = [numbers[step] for step in path]
        out = np.empty((len(names), len(names)), dtype=np.int64)
        for at, row in enumerate(table):
            out[at] = ((table == row) & (row >= 0)).sum(axis=1) - 1
        return out


def load(path: Path) -> Tree:
    """A taxonomy from a table or JSON. Raises DatasetError where it cannot be read or is no tree."""
    if path.suffix.lower() == ".json":
        return Tree(_from_json(path), path.name)
    table = read(path)
    return Tree(_unique(zip(table.column("child"), table.column("parent"), strict=True), path), path.name)


def _from_json(path: Path) -> dict[str, str]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"the taxonomy {path} cannot be read: {error}", "give JSON in UTF-8") from None
    if not isinstance(raw, dict) or not raw:
        raise DatasetError(f"the taxonomy {path} is no object with entries", "see `vision.taxonomy` in the docs")
    if all(isinstance(value, str) for value in raw.values()):
        return _unique(((str(child), value) for child, value in raw.items()), path)
    pairs = list(_named(raw, path)) if "children" in raw and "name" in raw else list(_nested(raw, ROOT, path))
    return _unique(pairs, path)


def _named(node: Any, path: Path) -> Any:
    """Edges of {"name": ..., "children": [...]}."""
    if not isinstance(node, dict) or not isinstance(node.get("name"), str):
        raise DatasetError(f"{path}: a node is {str(node)[:60]!r}; it needs a `name`", "mend the node")
    for child in node.get("children") or ():
        yield from _named(child, path)
        yield child["name"], node["name"]


def _nested(node: Any, parent: str, path: Path) -> Any:
    """Edges of {"animal": {"dog": {}, "cat": null}} or {"animal": ["dog", "cat"]}."""
    if isinstance(node, list):
        node = dict.fromkeys(map(str, node))
    if node is not None and not isinstance(node, dict):
        raise DatasetError(
            f"{path}: below {parent!r} stands {str(node)[:60]!r}", "give objects, lists of names, or null"
        )
    for name, below in (node or {}).items():
        yield name, parent
        yield from _nested(below, name, path)


def _unique(pairs: Any, path: Path) -> dict[str, str]:
    """Parents by child. A root may stand as its own parent, or with an empty one."""
    out: dict[str, str] = {}
    for child, parent in pairs:
        if parent == child:
            continue
        if child in out and out[child] != parent:
            raise DatasetError(
                f"{path.name}: {child!r} has two parents, {out[child]!r} and {parent!r}; a taxonomy is a tree",
                "leave one of them",
            )
        out[child] = parent
    # an empty parent marks a root: where it is the only one, the root itself stands on top
    tops = [child for child, parent in out.items() if parent == ROOT]
    if len(tops) == 1 and set(out.values()) - set(out) == {ROOT} and len(out) > 1:
        del out[tops[0]]
    return out
