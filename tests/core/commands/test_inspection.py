"""`omnisae inspect`: a store, an artifact, a run, and what is none of them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from omnisae.cli import main
from omnisae.commands.inspection import inspect, render
from omnisae.errors import RunError, StoreError
from omnisae.hooks.point import HookPoint
from omnisae.store.manifest import Manifest, Shard, Skipped

HOOK = HookPoint(name="mid", at=("blocks.3",), pattern="example (y x) d", sizes={"y": 2, "x": 2}, width=4)

SAE = {
    "schema": 1,
    "rule": "the 4 largest positive pre-activations of each token fire",
    "autoencoder": {
        "latents": 512,
        "width": 4,
        "config": {
            "activation": {"type": "core.topk", "k": 4},
            "decoder": {"type": "core.free"},
            "nesting": {"type": "core.matryoshka_k", "ks": [1, 4], "weights": "uniform"},
        },
    },
    "info": {
        "hook": HOOK.model_dump(),
        "tokens": {"train": {"roles": ["content"], "fraction": 0.5}, "edit": {"roles": ["content", "cls"]}},
    },
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    store = tmp_path / "store" / "mid"
    store.mkdir(parents=True)
    Manifest(
        key="abc",
        hook=HOOK,
        dtype="float32",
        width=4,
        shard_rows=100,
        complete=True,
        examples=1_500,
        rows=6_000,
        shards=[Shard(name="0.bin", rows=6_000, first=0, stop=1_500, bytes=96_000, sha256="0")],
        skipped=[Skipped(row=7, id="seven", reason="cannot be read")],
    ).write(store)
    (tmp_path / "sae").mkdir()
    (tmp_path / "sae" / "sae.json").write_text(json.dumps(SAE))
    (tmp_path / "config.yaml").write_text("name: x\n")
    (tmp_path / "metrics.json").write_text(json.dumps({"l0": 12.0, "explained_variance": 0.87}))
    (tmp_path / "stages.json").write_text(json.dumps({"extract": {"key": "k", "seconds": 1.5}}))
    return tmp_path


def test_a_store(run: Path) -> None:
    facts = inspect(run / "store" / "mid")
    assert (facts["what"], facts["tokens"], facts["examples"], facts["bytes"]) == ("store", 6_000, 1_500, 96_000)
    text = render(facts)
    assert "6,000" in text
    assert "example (y x) d" in text
    assert "seven: cannot be read" in text


def test_an_artifact(run: Path) -> None:
    facts = inspect(run / "sae")
    assert (facts["what"], facts["latents"], facts["hook"]["name"]) == ("artifact", 512, "mid")
    assert facts["parts"] == {
        "activation": "core.topk (k 4)",
        "decoder": "core.free",
        "nesting": 'core.matryoshka_k (ks [1, 4], weights "uniform")',
    }
    assert facts["tokens"] == {"train": "content (50% of them)", "edit": "content, cls"}
    assert facts["weights"] == "missing"
    assert "the 4 largest" in render(facts)


def test_posting_lists(run: Path) -> None:
    (run / "codes").mkdir()
    about = {"format": "omnisae.postings", "latents": 512, "tokens": 10, "entries": 40, "hook": HOOK.model_dump()}
    (run / "codes" / "manifest.json").write_text(json.dumps(about))
    facts = inspect(run / "codes")
    assert (facts["what"], facts["latents"], facts["entries"]) == ("posting lists", 512, 40)


def test_a_run(run: Path) -> None:
    facts = inspect(run)
    assert facts["what"] == "run"
    assert facts["stages"] == {
        "extract": "done, 1.5 s",
        "train": "not done",
        "encode": "not done",
        "score": "not done",
        "report": "not done",
    }
    assert (facts["stores"], facts["artifacts"]) == (["store/mid"], ["sae"])
    assert facts["metrics"]["explained_variance"] == 0.87


def test_on_the_command_line(run: Path) -> None:
    result = CliRunner().invoke(main, ["inspect", str(run), "--json"])
    assert json.loads(result.output) == inspect(run)


def test_what_is_none_of_them_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no store"):
        inspect(tmp_path)
    with pytest.raises(RunError, match="there is nothing at"):
        inspect(tmp_path / "none")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match=r"manifest.json cannot be read"):
        inspect(tmp_path)
