"""Materials made of arrays, as a fixture; tests have no packages, so room.py cannot be imported by name."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


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
