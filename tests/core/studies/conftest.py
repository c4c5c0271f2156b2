"""Materials made of arrays, as a fixture; tests have no packages, so room.py cannot be imported by name."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from omnisae.plugins.kinds import StudyConfig
from omnisae.studies.study import Finding, Findings, Material


def load_room() -> ModuleType:
    if "studies_room" not in sys.modules:
        spec = importlib.util.spec_from_file_location("studies_room", Path(__file__).with_name("room.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["studies_room"] = module
        spec.loader.exec_module(module)
    return sys.modules["studies_room"]


@pytest.fixture(scope="session")
def room() -> ModuleType:
    return load_room()


Answer = tuple[Findings, dict[str, Finding], dict[str, Any]]


@pytest.fixture(scope="session")
def answer() -> Callable[[StudyConfig, Material], Answer]:
    """What a config's study finds: all of it, its numbers by name, and what it measured of every list by name."""

    def ask(config: StudyConfig, material: Material) -> Answer:
        found = config.build().study(material)
        return found, {one.name: one for one in found.findings}, {m.name: m.values for m in found.measures}

    return ask
