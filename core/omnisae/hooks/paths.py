"""Module paths: finding a module by its exact path or by a glob, and refusing those whose hooks would be bypassed."""

import re
from collections.abc import Iterable

import torch
from torch import nn

from omnisae.errors import HookError, did_you_mean

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


def module_at(model: nn.Module, path: str) -> nn.Module:
    """The module at this path; the empty path is the model itself.

    Raises HookError where there is none (nearest names shown), or where hooks on it would be bypassed.
    """
    known = modules(model)
    _refuse_bypassed(known, path)
    if path not in known:
        if path in dict(model.named_parameters()) or path in dict(model.named_buffers()):
            raise HookError(
                f"{path!r} is a tensor of {type(model).__name__}, not a module",
                "hook the module that uses it",
            )
        raise HookError(f"{type(model).__name__} has no module {path!r}", did_you_mean(path, filter(None, known)))
    return known[path]


def modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every module by its path; a module that stands at several paths is found at each."""
    found = dict(model.named_modules(remove_duplicate=False))
    _refuse_bypassed(found, "")
    return found


def check_within(paths: Iterable[str], within: str, what: str) -> None:
    """Raises HookError where one of these modules contains the module `within`, in whose forwards its calls are
    counted: such a forward begins and ends while the module itself runs."""
    for path in paths:
        if within and path != within and (not path or within.startswith(f"{path}.")):
            raise HookError(
                f"{what}: {named(path)} contains {within!r}, within whose forwards calls are counted",
                f"hook {within!r}, or a module inside it or beside it",
            )


def named(path: str) -> str:
    """A module's path in a message."""
    return repr(path) if path else "the model"


def is_glob(path: str) -> bool:
    """Whether a path is a glob: `*` and `?` stand for characters of one level, `**` for any number of levels."""
    return "*" in path or "?" in path


def expand(model: nn.Module, path: str) -> list[str]:
    """The paths that a path or glob matches, in the model's order. Containers, which are never called, match no glob.

    Raises HookError where nothing matches.
    """
    if not is_glob(path):
        module_at(model, path)
        return [path]
    known = modules(model)
    found = [name for name, module in known.items() if name and glob_match(path, name) and not never_called(module)]
    if not found:
        raise HookError(
            f"{type(model).__name__} has no module that matches {path!r}", did_you_mean(path, filter(None, known))
        )
    return found


def glob_match(glob: str, name: str) -> bool:
    """Whether a glob matches a name."""
    return re.fullmatch(_regex(glob), name) is not None


def never_called(module: nn.Module) -> bool:
    """Whether a module is a container, which holds others and is never called itself."""
    return isinstance(module, _CONTAINERS)


def _regex(glob: str) -> str:
    words = {"**": ".*", "*": r"[^.]*", "?": r"[^.]"}
    return "".join(words.get(part) or re.escape(part) for part in re.split(r"(\*\*|\*|\?)", glob))


def _refuse_bypassed(known: dict[str, nn.Module], path: str) -> None:
    """Compiled and scripted modules run code in which hooks that come later do not exist."""
    parts = path.split(".") if path else []
    for depth in range(len(parts) + 1):
        above = ".".join(parts[:depth])
        if above not in known:
            return
        module = known[above]
        # By name: importing torch._dynamo to compare types takes seconds.
        compiled = (
            type(module).__name__ == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None
        )
        if compiled or isinstance(module, torch.jit.ScriptModule):
            place = f"the module {above!r}" if above else "the model"
            raise HookError(
                f"{place} is {'compiled by torch.compile' if compiled else 'a TorchScript module'}: "
                "hooks on it and inside it would be bypassed",
                "give the model before compilation (a compiled module keeps it as `_orig_mod`)",
            )
