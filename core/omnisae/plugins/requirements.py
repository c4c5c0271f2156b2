"""Requirements: what a plug-in's distribution declares and this environment lacks, found without importing anything."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata


@dataclass(frozen=True, slots=True)
class Lack:
    """One requirement that is not met. `found` is the version that is installed, or None where nothing is."""

    requirement: str
    found: str | None

    def __str__(self) -> str:
        if self.found is None:
            return f"needs {self.requirement}, which is not installed"
        return f"needs {self.requirement}, and {self.found} is installed"


def lacking(requires: Iterable[str]) -> list[Lack]:
    """The requirements (in pip's notation) not met here; those of extras and of other platforms do not count."""
    from packaging.requirements import InvalidRequirement, Requirement

    lacks = []
    for text in requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        wanted = (
            f"{requirement.name} @ {requirement.url}"
            if requirement.url
            else f"{requirement.name}{requirement.specifier}"
        )
        found = installed(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            lacks.append(Lack(wanted, found))
    return lacks


@cache
def installed(name: str) -> str | None:
    """The version of a distribution that is installed, or None.

    Read off the head of its metadata: importlib.metadata parses the whole of it, long description and all.
    """
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    head = (distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or "").partition("\n\n")[0]
    version = re.search(r"^Version: *(.+?) *$", head, re.M)
    return version.group(1) if version else distribution.version


def pip_command(lacks: Iterable[Lack]) -> str:
    """The command that installs what is lacking."""
    return "pip install " + " ".join(shlex.quote(lack.requirement) for lack in lacks)
