"""Reading and replacing one tensor within what a module takes and gives: tuples, dicts, dataclasses."""

import copy
import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from omnisae.errors import HookError

Path = tuple[int | str, ...]


def pick(value: Any, path: Path, what: str) -> Tensor:
    """The tensor at a path into tuples, mappings and objects with attributes. Raises HookError where there is none."""
    found = value
    for depth, key in enumerate(path):
        try:
            found = _get(found, key)
        except (KeyError, IndexError, TypeError, AttributeError):
            raise HookError(
                f"{what}: select {list(path)} does not fit; at {list(path[:depth])} there is {describe(found)}",
                "choose a key or an index that is there",
            ) from None
    if not isinstance(found, Tensor):
        raise HookError(
            f"{what} is {describe(found)}, not a tensor" + (f", at select {list(path)}" if path else ""),
            "choose the tensor by `select`, e.g. select: [0]",
        )
    return found


def put(value: Any, path: Path, new: Tensor) -> Any:
    """A copy of `value` in which the tensor at this path is `new`; what was there stays untouched."""
    if not path:
        return new
    key, rest = path[0], path[1:]
    child = put(_get(value, key), rest, new)
    if isinstance(value, tuple):
        items = list(value)
        items[_index(value, key)] = child
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    changed = copy.copy(value)
    if isinstance(changed, Mapping) and isinstance(key, int) and key not in changed:
        key = list(changed)[key]
    if isinstance(changed, (list, Mapping)):
        changed[key] = child  # type: ignore[index]
        return changed
    if dataclasses.is_dataclass(changed):
        # A frozen dataclass refuses setattr; the copy is ours alone.
        object.__setattr__(changed, str(key), child)
        return changed
    setattr(changed, str(key), child)
    return changed


def argument(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], path: Path) -> Path:
    """The full path of the hooked argument within `(args, kwargs)`.

    An empty path means the first argument; otherwise its first step is the argument's position or its name.
    """
    if not path:
        return (0, 0) if args or not kwargs else (1, next(iter(kwargs)))
    first, rest = path[0], path[1:]
    if isinstance(first, str) and first not in kwargs:
        names = [name for name in inspect.signature(module.forward).parameters if name != "self"]
        if first in names and names.index(first) < len(args):
            return (0, names.index(first), *rest)
    return (1, first, *rest) if isinstance(first, str) else (0, first, *rest)


def describe(value: Any, depth: int = 2) -> str:
    """What a value is, in words short enough for an error message."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    name = type(value).__name__
    if isinstance(value, Mapping):
        items = [f"{key}: {describe(item, depth - 1)}" for key, item in list(value.items())[:6]] if depth else []
        return f"a {name} with {{{', '.join(items)}}}" if depth else f"a {name}"
    if isinstance(value, (tuple, list)):
        return f"a {name} of ({', '.join(describe(item, depth - 1) for item in value[:6])})" if depth else f"a {name}"
    return name if value is None else f"a {name}"


def _get(value: Any, key: int | str) -> Any:
    if isinstance(value, Mapping):
        if key in value:
            return value[key]
        return list(value.values())[key] if isinstance(key, int) else getattr(value, key)
    if isinstance(key, int):
        return value[key]
    return getattr(value, key)


def _index(value: tuple[Any, ...], key: int | str) -> int:
    return key if isinstance(key, int) else list(value._fields).index(key)  # type: ignore[attr-defined]
