import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

TOY = Path(__file__).with_name("toy.py")


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("omnisae_toy_training", TOY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """The toy training of toy.py, as a module."""
    return _load()


@pytest.fixture(autouse=True)
def one_thread():
    """The same sums in the same order as the subprocesses."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def run_toy() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run toy.py in a process of its own; `launcher` comes before the script's path."""

    def run(*args: object, launcher: tuple[str, ...] = (), **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *launcher, str(TOY), *map(str, args)],
            env={**os.environ, "OMP_NUM_THREADS": "1", **env},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def fork_toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run toy.py in a process of its own, or in several that torchrun would tell the same, without its import times:
    all are forked from one that has imported everything.
    """
    told = tmp_path_factory.mktemp("forked")
    with subprocess.Popen(
        [sys.executable, str(TOY), "--serve"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def run(*args: object, processes: int = 1, **env: str) -> subprocess.CompletedProcess[str]:
            said = told / f"{len(list(told.iterdir()))}.txt"
            order = [[*map(str, args)], env, str(said), processes]
            server.stdin.write(json.dumps(order) + "\n")
            server.stdin.flush()
            code = int(server.stdout.readline())
            return subprocess.CompletedProcess(order[0], code, stderr=said.read_text())

        yield run
        server.stdin.close()
