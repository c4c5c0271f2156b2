"""Tiny pipelines, extractors over them, and artifacts of their hook points."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _module(file, name):
    """A module beside the tests, under a name that `import_module` knows afterwards."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / file)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory):
    """Worlds are written into a folder of the test run, never into the user's cache."""
    os.environ["OMNISAE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny():
    """Tiny pipelines of the true classes."""
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    return _module("tiny.py", "diffusion_tiny")


@pytest.fixture(scope="session")
def bench():
    """Processes, extractors and artifacts for tests."""
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    return _module("bench.py", "diffusion_bench")


@pytest.fixture(scope="session")
def ddpm():
    """The network class of a small checkpoint that others trained; importable as diffusion_ddpm:UNet."""
    return _module("ddpm.py", "diffusion_ddpm")


@pytest.fixture(scope="session")
def digits():
    """The world's folder: prompts.csv, natural.csv, natural/."""
    datasets = pytest.importorskip("omnisae_datasets", reason="omnisae-datasets is not installed")
    return Path(datasets.resolve("world:digits"))


@pytest.fixture(scope="session")
def pipes(tiny, bench):
    """Every pipeline, made when it is first asked for."""
    held = {}

    def get(name):
        if name not in held:
            made = tiny.PIPELINES[name]()
            held[name] = bench.with_ddim(made) if name == "stable_diffusion" else made
        return held[name]

    return get


@pytest.fixture
def over(bench, pipes):
    """The extractor over a pipeline: over(name, steps=…, guidance=…, inputs=…, call={…}, **config)."""

    def make(name, *, steps=2, guidance=1.0, size=None, inputs=None, call=None, **config):
        process = bench.pipeline(pipes(name), steps=steps, guidance=guidance, size=size, **(call or {}))
        given = bench.labelled() if name == "dit" else bench.asks()
        return bench.extractor(process, given if inputs is None else inputs, **config)

    return make


@pytest.fixture(scope="module")
def room(bench, tiny):
    """A denoiser of two steps, an artifact of its middle, and tokens with their codes."""
    return bench.Room(tiny)


@pytest.fixture(scope="module")
def guided(bench, tiny):
    """The same with guidance."""
    return bench.Room(tiny, guidance=2.0)


@pytest.fixture(scope="module")
def written(bench, tiny):
    """A pipeline, its extractor, and an artifact of its text encoder."""
    pipe = bench.with_ddim(tiny.stable_diffusion())
    one = bench.extractor(bench.pipeline(pipe), bench.asks())
    return pipe, one, bench.sae(one, "text_encoder.encoder.layers.8")
