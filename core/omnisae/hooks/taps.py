"""Taps: reading the raw tensors of several hook points in one forward, which stops when nothing later is needed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from omnisae.errors import HookError
from omnisae.hooks.paths import check_within, module_at, never_called
from omnisae.hooks.point import HookPoint, View
from omnisae.hooks.structure import Path, argument, pick

_ONCE: "WeakKeyDictionary[nn.Module, set[str]]" = WeakKeyDictionary()
"""Modules seen to fire exactly once in a whole forward of the model: later forwards may stop after their first call."""


@contextmanager
def tap(model: nn.Module, points: Sequence[HookPoint], *, stop: bool = True) -> Iterator[dict[str, Tensor]]:
    """Read raw tensors from the one forward that runs within the block.

    The dict is filled when the block ends: name of the hook point → tensor, as the module gave it at that moment (a
    copy, for later modules may overwrite it in place). With `stop`, the forward is broken off after the last hook point
    has fired, and with it the rest of the block. A hook point without `call` must fire exactly once: this is checked on
    the first forward, which then runs to its end. Hooks are removed on every way out.

    Raises HookError where a module path matches nothing, a hook point never fires, fires several times and names no
    call, or yields something that is not a tensor.
    """
    reading = _Reading(model, points, stop)
    try:
        with reading.hooked():
            yield reading.tensors
    except _Stopped as stopped:
        if stopped.reading is not reading:
            raise
    reading.finish()


@contextmanager
def watch(
    model: nn.Module,
    points: Sequence[HookPoint],
    tell: Callable[[dict[str, Tensor]], None],
    *,
    within: str = "",
) -> Iterator[None]:
    """Read hook points in every forward of the module at path `within` that runs in the block: at its end `tell` is
    given the raw tensors by the hook points' names, which it alone keeps.

    Each forward is read as by `tap` without `stop`. Hooks are removed on every way out. Raises HookError as `tap` does.
    """
    reading = _Reading(model, points, stop=False)

    def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        reading.begin()

    def end(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        reading.finish()
        tensors = reading.tensors
        reading.begin()
        tell(tensors)

    whole = module_at(model, within)
    for point in points:
        check_within(point.at, within, f"hook point {point.name!r}")
    with ExitStack() as stack:
        # Begins before and ends after the hooks of the hook points, which may be on this very module.
        stack.callback(whole.register_forward_pre_hook(begin, with_kwargs=True).remove)
        stack.enter_context(reading.hooked())
        stack.callback(whole.register_forward_hook(end, with_kwargs=True).remove)
        yield


class _Stopped(BaseException):
    """Breaks a forward off. Not an Exception: no model's own `except Exception` may swallow it."""

    def __init__(self, reading: "_Reading") -> None:
        self.reading = reading


@dataclass(frozen=True, slots=True)
class _Site:
    """One module's share of a hook point."""

    point: str
    path: str
    view: View
    select: Path
    call: int | None

    def __str__(self) -> str:
        return f"hook point {self.point!r}: the {self.view} of {self.path!r}"


class _Reading:
    """The state of one forward; a new one for every block, or begun anew, so that no counter outlives it."""

    def __init__(self, model: nn.Module, points: Sequence[HookPoint], stop: bool) -> None:
        self.model, self.points, self.stop = model, points, stop
        self.sites: dict[str, list[_Site]] = {}
        for point in points:
            for path in point.at:
                site = _Site(point.name, path, point.view, point.select, point.call)
                self.sites.setdefault(path, []).append(site)
        self.begin()

    def begin(self) -> None:
        """Forget what was read."""
        self.calls = dict.fromkeys(self.sites, 0)
        self.running: dict[str, list[int]] = {path: [] for path in self.sites}
        self.shapes: dict[_Site, list[list[int]]] = {}
        self.inputs: dict[_Site, Tensor] = {}
        self.found: dict[_Site, Tensor] = {}
        self.tensors: dict[str, Tensor] = {}

    @contextmanager
    def hooked(self) -> Iterator[None]:
        found = {path: module_at(self.model, path) for path in self.sites}
        with ExitStack() as stack:
            for path, module in found.items():
                before = module.register_forward_pre_hook(self._before(path), with_kwargs=True)
                stack.callback(before.remove)
                after = module.register_forward_hook(self._after(path), with_kwargs=True)
                stack.callback(after.remove)
            yield

    def _before(self, path: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            call = self.calls[path]
            self.calls[path] += 1
            self.running[path].append(call)
            for site in self._due(path, call):
                if site.view == "input":
                    where = argument(module, args, kwargs, site.select)
                    self._keep(site, pick((args, kwargs), where, str(site)))
                elif site.view == "update":
                    where = argument(module, args, kwargs, ())
                    self.inputs[site] = pick((args, kwargs), where, f"{site}: its input").clone()
            self._stop_if_done()

        return hook

    def _after(self, path: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
            call = self.running[path].pop()
            for site in self._due(path, call):
                if site.view == "output":
                    self._keep(site, pick(output, site.select, str(site)))
                elif site.view == "update":
                    given = self.inputs.pop(site)
                    self._keep(site, difference(pick(output, site.select, str(site)), given, str(site)), fresh=True)
            self._stop_if_done()

        return hook

    def _due(self, path: str, call: int) -> list[_Site]:
        return [site for site in self.sites[path] if site.call is None or site.call == call]

    def _keep(self, site: _Site, tensor: Tensor, fresh: bool = False) -> None:
        self.shapes.setdefault(site, []).append(list(tensor.shape))
        if site not in self.found:
            self.found[site] = tensor
            if not fresh and not self._done():
                self.found[site] = tensor.clone()

    def _done(self) -> bool:
        if not self.stop or len(self.found) < sum(len(sites) for sites in self.sites.values()):
            return False
        once = _ONCE.get(self.model, set())
        return all(site.call is not None or path in once for path, sites in self.sites.items() for site in sites)

    def _stop_if_done(self) -> None:
        if self._done():
            raise _Stopped(self)

    def finish(self) -> None:
        """Check that every hook point fired as it says, and put the parts of concatenated ones together."""
        stopped = self._done()
        for path, sites in self.sites.items():
            for site in sites:
                self._check(site)
            if not stopped and self.calls[path] == 1:
                _ONCE.setdefault(self.model, set()).add(path)
        for point in self.points:
            parts = [self.found[_Site(point.name, path, point.view, point.select, point.call)] for path in point.at]
            self.tensors[point.name] = parts[0] if len(parts) == 1 else _concatenate(point, parts)

    def _check(self, site: _Site) -> None:
        calls = self.calls[site.path]
        if calls == 0:
            container = never_called(module_at(self.model, site.path))
            raise HookError(
                f"{site} never fired: the module was not called in this forward",
                "it is a container: hook a module inside it" if container else "hook a module that the forward uses",
            )
        if site.call is None and calls > 1:
            shapes = ", ".join(f"{n}: {shape}" for n, shape in enumerate(self.shapes[site]))
            raise HookError(
                f"{site} fired {calls} times in one forward (shapes by call: {shapes})",
                f"choose a call: `call: 0` … `call: {calls - 1}`",
            )
        if site not in self.found:
            raise HookError(
                f"{site} has no call {site.call}: the module fired {calls} time(s) in this forward",
                f"choose `call: 0` … `call: {calls - 1}`" if calls > 1 else "leave `call` out",
            )


def difference(output: Tensor, given: Tensor, what: str) -> Tensor:
    """Output − input. Raises HookError where their shapes differ."""
    if output.shape != given.shape:
        raise HookError(
            f"{what} is undefined: its output has shape {list(output.shape)} and its input {list(given.shape)}",
            "use view: output, or hook a module that adds to its input",
        )
    return output - given


def _concatenate(point: HookPoint, parts: list[Tensor]) -> Tensor:
    dims = point.layout.dims
    width = next(i for i, dim in enumerate(dims) if any("d" in segment.names for segment in dim))
    shapes = [list(part.shape) for part in parts]
    alike = {tuple(size for i, size in enumerate(shape) if i != width) for shape in shapes}
    if len(alike) > 1 or any(len(shape) != len(dims) for shape in shapes) or dims[width][0].names != ("d",):
        raise HookError(
            f"hook point {point.name!r} concatenates {list(point.at)} along the width of {point.pattern!r}, "
            f"and their shapes are {shapes}",
            "concatenate modules whose tensors differ in the width 'd' alone, in a dimension of its own",
        )
    return torch.cat(parts, dim=width)
