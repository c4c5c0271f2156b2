"""The loader: one entry point at a time, checked, and taken out again where anything is wrong with it."""

import re
import traceback
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from types import FunctionType
from typing import cast

import pluggy

from omnisae.errors import did_you_mean
from omnisae.plugins import hookspecs
from omnisae.plugins.discovery import Entry
from omnisae.plugins.offers import BASES, collisions, offers
from omnisae.plugins.records import Offer, Provider, Status
from omnisae.plugins.requirements import Lack, lacking, pip_command

SPECS = tuple(name for name in vars(hookspecs) if name.startswith("omnisae_"))


def manager() -> pluggy.PluginManager:
    """A pluggy manager that knows omnisae's hooks and no plug-in yet."""
    fresh = pluggy.PluginManager(hookspecs.PROJECT)
    fresh.add_hookspecs(hookspecs)
    return fresh


def load(entry: Entry, plugins: pluggy.PluginManager) -> Provider:
    """Load one entry point into `plugins`. Whatever goes wrong is told in the record; nothing is raised."""
    lacks = lacking(entry.requires())
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", entry.name):
        fault = f"the entry point's name {entry.name!r} may have letters, digits, '_' and '-' only"
        return _broken(entry, [fault], lacks)
    try:
        plugin = entry.load()
    except (Exception, SystemExit) as error:
        return _unimportable(entry, error, lacks)
    try:
        plugins.register(plugin, name=entry.name)
        offered, faults = _examine(entry, plugin, plugins)
    except pluggy.PluginValidationError as error:
        offered, faults = [], [_signature(error)]
    except ValueError as error:
        offered, faults = [], [str(error)]
    if faults:
        if plugins.has_plugin(entry.name):
            plugins.unregister(name=entry.name)
        return _broken(entry, faults, lacks)
    if lacks:
        usable = all(lack.found is not None for lack in lacks)
        return _record(entry, "missing", "; ".join(map(str, lacks)), pip_command(lacks), offered, usable)
    return _record(entry, "ok", "", "", offered, True)


def _examine(entry: Entry, plugin: object, plugins: pluggy.PluginManager) -> tuple[list[Offer], list[str]]:
    """What a registered plug-in offers, and every fault that is found in it."""
    offered: list[Offer] = []
    faults = _unmarked(plugin)
    implemented = [
        (caller, implementation)
        for caller in plugins.get_hookcallers(plugin) or []
        for implementation in caller.get_hookimpls()
        if implementation.plugin is plugin
    ]
    if not implemented and not faults:
        faults.append(f"{entry.value!r} implements no hook; mark its functions with @hookimpl")
    for caller, implementation in implemented:
        if not caller.has_spec():
            if not implementation.optionalhook:
                faults.append(f"omnisae has no hook {caller.name!r}; {did_you_mean(caller.name, SPECS, n=1)}")
        elif implementation.wrapper or implementation.hookwrapper:
            faults.append(f"{caller.name} is a hook wrapper; omnisae's hooks take plain functions only")
        elif caller.name in BASES:
            try:
                returned = list(cast("Iterable[object]", implementation.function()))
            except (Exception, SystemExit) as error:
                faults.append(f"{caller.name} raised {_told(error)}")
                continue
            good, bad = offers(entry.name, caller.name, returned)
            offered += good
            faults += bad
    return offered, faults + collisions(offered)


def _unmarked(plugin: object) -> list[str]:
    """Functions that bear a hook's name and would be passed over in silence, for want of the marker."""
    marked = f"{hookspecs.PROJECT}_impl"
    return [
        f"{name} is not marked with @hookimpl (from omnisae.plugins import hookimpl)"
        for name in SPECS
        if isinstance(function := getattr(plugin, name, None), FunctionType) and not hasattr(function, marked)
    ]


def _signature(error: pluggy.PluginValidationError) -> str:
    """pluggy's sentence on one line; it names the hook and the argument that do not belong together."""
    return " ".join(str(error).split())


def _unimportable(entry: Entry, error: BaseException, lacks: Sequence[Lack]) -> Provider:
    reason = f"importing {entry.value!r} raised {_told(error)}"
    absent = [lack for lack in lacks if lack.found is None]
    if absent:
        return _record(entry, "missing", f"{'; '.join(map(str, absent))}; {reason}", pip_command(absent))
    if isinstance(error, ImportError) and (error.name or "").split(".")[0] == "omnisae":
        remedy = f"it was written for another version of omnisae: pip install --upgrade {entry.distribution}"
        return _record(entry, "broken", reason, remedy)
    top = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if top and top != entry.value.split(".")[0] and find_spec(top) is None:
        remedy = (
            f"install what provides the module {top!r} (perhaps: pip install {top}); "
            f"{entry.distribution} does not declare it, tell its authors"
        )
        return _record(entry, "broken", reason, remedy)
    return _broken(entry, [reason], lacks)


def _broken(entry: Entry, faults: Sequence[str], lacks: Sequence[Lack]) -> Provider:
    remedy = (
        "this is a fault in omnisae itself: reinstall it, or report it"
        if entry.distribution == "omnisae"
        else f"this is a fault in the plug-in: pip install --upgrade {entry.distribution}, or tell its authors; "
        f"to be rid of it: pip uninstall {entry.distribution}"
    )
    if lacks:
        remedy = f"{pip_command(lacks)}; if that does not mend it, {remedy}"
    return _record(entry, "broken", "\n".join([*faults, *map(str, lacks)]), remedy)


def _record(
    entry: Entry, status: Status, error: str, remedy: str, offered: Sequence[Offer] = (), usable: bool = False
) -> Provider:
    return Provider(entry.name, entry.distribution, entry.version, status, error, remedy, tuple(offered), usable)


def _told(error: BaseException) -> str:
    """The exception in one line, with the place in the plug-in where it arose."""
    text = " ".join(str(error).split())
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SyntaxError):
        return said
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename and not frame.filename.endswith("omnisae/plugins/loader.py")
    ]
    return f"{said} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else said
