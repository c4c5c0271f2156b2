"""Small folders of events in every form, the world, and recommenders of a few steps' training."""

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve()
if find_spec("omnisae_recommendation") is None:
    collect_ignore_glob = ["test_*.py"]  # the plug-in is not installed here


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Worlds and trained weights are written into a folder of the test run, never into the user's cache."""
    os.environ["OMNISAE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def world() -> Path:
    """Eighty users of the world."""
    datasets = pytest.importorskip("omnisae_datasets", reason="omnisae-datasets is not installed")
    found = datasets.resolve("world:sessions?n=80&seed=0")
    assert isinstance(found, Path)
    return found


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data, where the checkout has it."""
    folder = Path(os.environ.get("OMNISAE_SHARED_DATA") or HERE.parents[4] / "shared" / "data") / "recommendation"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is absent (set OMNISAE_SHARED_DATA)")
    return folder


CONFIG = """
name: tiny
dataset: {{type: recommendation.atomic, root: "{root}", history: 12, concepts: [genre], concept_items: 1}}
extractor: {{type: recommendation.sasrec, width: 24, epochs: 12, lr: 3.0e-3, batch: 32}}
hooks: [{{at: blocks.0}}]
autoencoder: {{latents: 48, activation: {{type: core.topk, k: 4}}}}
train: {{tokens: 30_000, batch: 256, lr: 3.0e-3}}
score:
  min_positives: 2
  effects: 1
  controls: {{permutations: 19, pca: 4, random: 16}}
  metrics: [core.f1]
report: {{latents: 4, examples: 2, random_examples: 0}}
"""


@pytest.fixture(scope="session")
def folder(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the world, small and short."""
    from omnisae.config_file import parse
    from omnisae.pipeline import run

    return run(parse(CONFIG.format(root=world), "tiny"), tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def material_of(folder: Path) -> Callable[..., Any]:
    """What a study is given of that run; fields may be changed."""
    import numpy as np
    import pyarrow.parquet as pq

    from omnisae.postings.postings import Postings
    from omnisae.run import open_run
    from omnisae.studies.study import Material

    done = open_run(folder)
    table = pq.read_table(folder / "concepts.parquet")
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    fields: dict[str, Any] = {
        "postings": Postings.open(folder / "codes"),
        "source": done.source(done.points[0].name),
        "dataset": done.dataset,
        "extractor": done.extractor,
        "artifact": done.folder.artifact(done.jobs[0].name, True),
        "levels": [],
        "table": columns | {"list": np.asarray(columns["latent"], dtype=np.int64)},
        "siblings": [],
        "seed": 0,
        "folder": folder,
    }
    return lambda **changed: Material(**(fields | changed))


@pytest.fixture(scope="session")
def tiny(material_of: Callable[..., Any]) -> Any:
    """That run's material as it is."""
    return material_of()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write text files into one folder: write(name="line\\nline\\n", ...); dots in names are written `__`."""

    def files(**texts: str) -> Path:
        for name, text in texts.items():
            (tmp_path / name.replace("__", ".")).write_text(text, encoding="utf-8")
        return tmp_path

    return files
