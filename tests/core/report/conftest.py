"""The world of arrays, as a fixture."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def load_world() -> ModuleType:
    """The module world.py beside this file; tests have no packages, so it cannot be imported by name."""
    if "report_world" not in sys.modules:
        spec = importlib.util.spec_from_file_location("report_world", Path(__file__).with_name("world.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["report_world"] = module
        spec.loader.exec_module(module)
    return sys.modules["report_world"]


@pytest.fixture(scope="session")
def world() -> ModuleType:
    return load_world()
