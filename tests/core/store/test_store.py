"""Opening a store: what is damaged is named, and the remedy with it; remote stores; the summary."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
import torch
from stores import HOOK, number, shard_mb, tokens

from omnisae.errors import StoreError
from omnisae.store.inspect import describe
from omnisae.store.key import content_key
from omnisae.store.store import Store
from omnisae.store.writer import StoreWriter
from omnisae.tokens.filter import TokenFilter

ALL = TokenFilter(roles=("content", "cls"))


def edit(store: Store, **fields: object) -> None:
    file = Path(store.path) / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_a_truncated_shard_is_named_on_opening(store: Store) -> None:
    path = Path(store.path) / "shard-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StoreError, match=r"shard-00001.safetensors: this shard is truncated: it has [\d,]+ bytes"):
        Store.open(store.path)
    path.unlink()
    with pytest.raises(StoreError, match=r"shard-00001.safetensors: this shard is missing"):
        Store.open(store.path)


def test_an_altered_shard_is_named_by_its_checksum(store: Store) -> None:
    store.verify()
    for name in ("shard-00001.safetensors", "shard-00004.safetensors"):
        path = Path(store.path) / name
        data = bytearray(path.read_bytes())
        data[-100] ^= 1
        path.write_bytes(data)
    again = Store.open(store.path)
    with pytest.raises(StoreError, match=r"shard-00001.safetensors, .*shard-00004.safetensors: altered") as refused:
        again.verify()
    assert "extract again" in refused.value.remedy


def test_an_altered_header_is_named(store: Store) -> None:
    path = Path(store.path) / "shard-00000.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"I32"'))
    with pytest.raises(StoreError, match="shard-00000.safetensors: this shard is altered: it holds I32"):
        next(Store.open(store.path).sequential(ALL))


def test_a_newer_schema_is_refused_with_the_remedy(store: Store) -> None:
    edit(store, schema_version=99, unheard_of=True)
    with pytest.raises(StoreError, match="schema version 99, and this omnisae reads up to 3") as refused:
        Store.open(store.path)
    assert "upgrade" in refused.value.remedy


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"format": "other"}, "is not the manifest of an activation store"),
        ({"rows": 3}, "its rows, examples, width or schema contradict what it holds"),
        ({"width": 6}, "contradict"),
        ({"dtype": "int4"}, "is damaged: dtype"),
        ({"dtype": "int8"}, "schema contradict"),
        ({"shards": []}, "contradict"),
    ],
)
def test_a_damaged_manifest_is_refused(store: Store, fields: dict[str, object], problem: str) -> None:
    edit(store, **fields)
    with pytest.raises(StoreError, match=problem):
        Store.open(store.path)


def test_what_is_no_store_is_refused(tmp_path: Path, store: Store) -> None:
    with pytest.raises(StoreError, match=r"has no manifest.json"):
        Store.open(tmp_path / "nowhere")
    (Path(store.path) / "manifest.json").write_text('{"format": "omni')
    with pytest.raises(StoreError, match=r"manifest.json: is damaged"):
        Store.open(store.path)


def test_a_half_written_store_is_refused_and_described(tmp_path: Path) -> None:
    size = shard_mb(14)
    with StoreWriter.open(tmp_path, HOOK, key="k", dtype="float32", shard_mb=size, about={}) as writer:
        writer.skip(0, "a", "unreadable")
        writer.append(tokens(1, 6), 6)
    with pytest.raises(StoreError, match=r"is half-written: 5 examples \(28 tokens\) are done") as refused:
        Store.open(tmp_path)
    assert "goes on from there" in refused.value.remedy
    found = describe(tmp_path)
    assert (found["complete"], found["tokens"], found["shards"]) == (False, 28, 2)
    assert found["skipped"] == {"count": 1, "reasons": {"unreadable": 1}}


def test_the_summary_is_json_and_needs_no_torch(store: Store) -> None:
    code = "import sys, json; from omnisae.store.inspect import describe; print(json.dumps(describe(sys.argv[1]))); "
    code += "assert 'torch' not in sys.modules"
    child = subprocess.run([sys.executable, "-c", code, store.path], capture_output=True, text=True, check=True)
    found = json.loads(child.stdout)
    assert found["hook"]["name"] == "layer.output"
    assert (found["tokens"], found["width"], found["axes"], found["roles"]) == (420, 5, ["y", "x"], ["content", "cls"])


@pytest.mark.parametrize("protocol", ["memory", "file"])
def test_a_remote_store_is_read_through_copies(
    make: Callable[..., Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.setenv("OMNISAE_CACHE", str(tmp_path / "cache"))
    local = make(30)
    url = f"file://{local.path}" if protocol == "file" else "memory://bucket/store"
    if protocol == "memory":
        fsspec.filesystem("memory").put(local.path, "/bucket/store", recursive=True)
    remote = Store.open(url)
    assert not (tmp_path / "cache").exists(), "opening fetches the manifest alone"
    assert torch.cat([number(b.values) for b in remote.sequential(ALL)]).tolist() == list(range(210))
    assert len(list((tmp_path / "cache" / "shards").iterdir())) == len(local.manifest.shards)
    one, two = (store.stream(TokenFilter(), batch=8, seed=0, pool=50) for store in (local, remote))
    assert all(torch.equal(one.next(), two.next()) for _ in range(40))
    remote.verify()
    assert describe(url)["tokens"] == 210


def test_a_remote_shard_that_is_not_what_it_should_be_is_named(
    make: Callable[..., Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNISAE_CACHE", str(tmp_path / "cache"))
    local = make(30)
    path = Path(local.path) / "shard-00001.safetensors"
    path.write_bytes(path.read_bytes()[::-1])
    remote = Store.open(f"file://{local.path}")
    with pytest.raises(StoreError, match=r"shard-00001.safetensors: altered"):
        list(remote.sequential(ALL))
    path.unlink()
    with pytest.raises(StoreError, match=r"shard-00001.safetensors: cannot be fetched"):
        list(remote.sequential(ALL))
    with pytest.raises(StoreError, match=r"has no manifest.json"):
        Store.open(f"file://{tmp_path}/nowhere")
    with pytest.raises(StoreError, match="did you mean 's3'"):
        Store.open("s33://bucket/store")


def test_content_keys_follow_content() -> None:
    one = content_key({"b": [1, 2.5, None], "a": HOOK, "path": Path("x")})
    assert one == content_key({"path": "x", "a": HOOK.model_dump(), "b": (1, 2.5, None)})
    assert one != content_key({"path": "x", "a": HOOK.model_dump(), "b": (1, 2.5, 0)})
    assert content_key({3, 1, 2}) == content_key({2, 3, 1})
    with pytest.raises(TypeError, match="object"):
        content_key(object())
