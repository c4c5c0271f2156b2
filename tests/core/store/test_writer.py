"""Writing a store: shards, resume, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import HOOK, PER_EXAMPLE, number, shard_mb, tokens, write

from omnisae.errors import StoreError
from omnisae.store.manifest import ITEMSIZE
from omnisae.store.store import Store
from omnisae.store.writer import StoreWriter
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter

ALL = TokenFilter(roles=("content", "cls"))


def opened(path: Path, *, dtype: str = "float32", key: str = "k", rows: int = 50, **about: str) -> StoreWriter:
    about = about or {"model": "m", "dataset": "d"}
    return StoreWriter.open(path, HOOK, key=key, dtype=dtype, shard_mb=shard_mb(rows), about=about)


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_a_shard_is_an_ordinary_safetensors_file(tmp_path: Path, dtype: str) -> None:
    store = write(tmp_path / "s", 31, rows=37, dtype=dtype)
    assert len(store.manifest.shards) > 1
    loaded = [safetensors.torch.load_file(tmp_path / "s" / shard.name) for shard in store.manifest.shards]
    expected = tokens(0, 31)
    assert all(part["values"].dtype == getattr(torch, dtype) for part in loaded)
    assert torch.equal(torch.cat([part["values"] for part in loaded]).float(), expected.values)
    assert torch.equal(torch.cat([part["example"] for part in loaded]).long(), expected.example)
    assert torch.equal(torch.cat([part["coords"] for part in loaded]).int(), expected.coords)
    assert torch.equal(torch.cat([part["role"] for part in loaded]), expected.role)
    assert {part["coords"].dtype for part in loaded} == {torch.int16}
    assert all(("scale" in part) == (dtype == "int8") for part in loaded)
    assert all(torch.equal(part["scale"], torch.ones(len(part["role"]))) for part in loaded if "scale" in part)


def test_only_what_older_versions_cannot_read_says_so(tmp_path: Path) -> None:
    schemas = {dtype: write(tmp_path / dtype, 2, dtype=dtype).manifest.schema_version for dtype in ITEMSIZE}
    assert schemas == {"float32": 1, "float16": 1, "bfloat16": 1, "int8": 2}


def test_wide_numbers_take_wide_columns(tmp_path: Path) -> None:
    writer = opened(tmp_path / "s")
    row, coords = 2**33, torch.tensor([[70_000, -1]], dtype=torch.int32)
    batch = TokenBatch(torch.ones(1, 5), torch.tensor([row]), coords, torch.zeros(1, dtype=torch.uint8))
    writer.append(batch, row + 1)
    store = writer.finish()
    (read,) = store.sequential(ALL)
    assert read.example.tolist() == [row]
    assert read.coords.tolist() == [[70_000, -1]]


@given(data=st.data(), examples=st.integers(0, 40), rows=st.integers(1, 90))
@settings(max_examples=25, deadline=None)
def test_the_files_do_not_depend_on_batches_or_interruptions(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, examples: int, rows: int
) -> None:
    folder = tmp_path_factory.mktemp("s")
    skips = data.draw(st.sets(st.integers(0, max(examples - 1, 0)), max_size=3)) if examples else set()

    def feed(writer: StoreWriter, start: int, stop: int) -> None:
        """Examples one by one, or several, or an example in two parts."""
        row = start
        while row < stop:
            if row in skips:
                writer.skip(row, f"id{row}", "unreadable")
                row += 1
                continue
            last = row + 1
            while last < stop and last not in skips and data.draw(st.booleans()):
                last += 1
            batch, split = tokens(row, last), data.draw(st.integers(0, (last - row) * PER_EXAMPLE))
            writer.append(batch.take(torch.arange(split)), row)
            writer.append(batch.take(torch.arange(split, len(batch))), last)
            row = last

    whole = opened(folder / "whole", rows=rows)
    for row in range(examples):
        if row in skips:
            whole.skip(row, f"id{row}", "unreadable")
        else:
            whole.append(tokens(row, row + 1), row + 1)
    whole.finish()
    for _ in range(data.draw(st.integers(0, 3))):
        writer = opened(folder / "parts", rows=rows)
        start = writer.next_row
        feed(writer, data.draw(st.integers(0, start)), data.draw(st.integers(start, examples)))
        writer.close()  # what a kill does, but for the leftover that the next test looks at
    writer = opened(folder / "parts", rows=rows)
    feed(writer, writer.next_row, examples)
    store = writer.finish()
    assert files(folder / "parts") == files(folder / "whole")
    assert [skip.row for skip in store.manifest.skipped] == sorted(skips)
    assert store.tokens == (examples - len(skips)) * PER_EXAMPLE


KILLS = """
import os, random, signal, sys, time
os.fsync = lambda descriptor: None
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_writer import opened
from stores import tokens

def extract(folder):
    writer = opened(folder, rows=40)
    for row in range(writer.next_row, 120):
        if row % 17 == 5:
            writer.skip(row, f"id{{row}}", "unreadable")
        else:
            writer.append(tokens(row, row + 1), row + 1)
    writer.finish()

whole = Path(sys.argv[1]) / "whole"
start = time.perf_counter()
extract(whole)
taken = time.perf_counter() - start
random.seed(0)
for trial in range(6):
    killed = Path(sys.argv[1]) / f"killed{{trial}}"
    for _ in range(8):
        child = os.fork()
        if child == 0:
            extract(killed)
            os._exit(0)
        time.sleep(random.uniform(0, taken / 2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        print("shards", len(list(killed.glob("shard-*"))))
    extract(killed)
"""


@pytest.mark.slow
def test_killed_at_random_points_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    script = KILLS.format(tests=str(Path(__file__).parent))
    child = subprocess.run([sys.executable, "-c", script, tmp_path], check=True, capture_output=True, text=True)
    stages = {int(line.split()[1]) for line in child.stdout.splitlines()}
    assert len(stages) >= 3, f"the kills fell on too few stages to prove anything: {stages}"
    for trial in range(6):
        assert files(tmp_path / f"killed{trial}") == files(tmp_path / "whole")


def test_it_goes_on_after_its_last_shard_and_drops_what_is_there(tmp_path: Path) -> None:
    with opened(tmp_path / "s", rows=14) as writer:
        writer.append(tokens(0, 5), 5)
    again = opened(tmp_path / "s", rows=14)
    assert again.next_row == 4
    again.append(tokens(0, 8), 8)
    again.skip(2, "id2", "dropped: it is done")
    store = again.finish()
    assert torch.cat([number(b.values) for b in store.sequential(ALL)]).tolist() == list(range(56))
    assert store.manifest.skipped == []
    finished = opened(tmp_path / "s", rows=14)
    assert finished.next_row == 8
    assert finished.finish().tokens == 56


def test_leftovers_of_a_killed_writer_are_swept(tmp_path: Path) -> None:
    with opened(tmp_path / "s", rows=14) as writer:
        writer.append(tokens(0, 3), 3)
    (tmp_path / "s" / "shard-00007.safetensors").write_bytes(b"unlisted")
    (tmp_path / "s" / ".shard-00001.safetensors.999999999.part").write_bytes(b"half")
    opened(tmp_path / "s", rows=14)
    assert sorted(files(tmp_path / "s")) == ["manifest.json", "shard-00000.safetensors"]


def test_another_key_is_refused_with_what_differs(tmp_path: Path) -> None:
    opened(tmp_path / "s", model="resnet", dataset="d").close()
    with pytest.raises(StoreError, match=r"about\.model: 'resnet' there, 'vit' now") as refused:
        opened(tmp_path / "s", key="other", model="vit", dataset="d")
    assert "choose another folder" in refused.value.remedy
    with pytest.raises(StoreError, match="dtype: 'float32' there, 'float16' now"):
        opened(tmp_path / "s", dtype="float16")
    with pytest.raises(StoreError, match="did you mean 'float16'"):
        opened(tmp_path / "t", dtype="floaty16")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
def test_what_is_not_finite_is_refused_by_its_example(tmp_path: Path, value: float, dtype: str) -> None:
    writer = opened(tmp_path / "s", dtype=dtype)
    writer.append(tokens(0, 2), 2)
    batch = tokens(2, 4)
    batch.values[PER_EXAMPLE + 3, 4] = value
    with pytest.raises(StoreError, match=r"hook 'layer.output': the activation is .* at example row 3, y 0, x 2, dim"):
        writer.append(batch, 4)
    assert writer.finish().tokens == 2 * PER_EXAMPLE


def test_what_does_not_fit_float16_is_refused_with_the_way_out(tmp_path: Path) -> None:
    batch = tokens(0, 1)
    batch.values[2, 1] = 65_519.0  # the last that rounds to the largest
    opened(tmp_path / "fits", dtype="float16").append(batch, 1)
    batch.values[2, 1] = -65_520.0
    with pytest.raises(
        StoreError, match=r"-65520 at example row 0, y 0, x 1, dimension 1; the largest float16 is 65504"
    ):
        opened(tmp_path / "s", dtype="float16").append(batch, 1)
    with pytest.raises(StoreError, match="bfloat16"):
        opened(tmp_path / "t", dtype="float16").append(batch, 1)
    opened(tmp_path / "u", dtype="bfloat16").append(batch, 1)


def test_tokens_out_of_order_are_refused(tmp_path: Path) -> None:
    writer = opened(tmp_path / "s")
    writer.append(tokens(3, 4), 4)
    with pytest.raises(StoreError, match="out of order"):
        writer.append(tokens(2, 3), 4)
    with pytest.raises(StoreError, match="out of order"):
        writer.append(tokens(4, 6).take(torch.arange(13, -1, -1)), 6)
    writer.append(tokens(4, 5), 4)
    with pytest.raises(StoreError, match="example row 4 is unfinished"):
        writer.finish()


def test_a_wrong_width_is_refused(tmp_path: Path) -> None:
    batch = tokens(0, 1)
    with pytest.raises(StoreError, match=r"values of shape \[7, 4\].*the store holds width 5 with 2 axes \(y, x\)"):
        opened(tmp_path / "s").append(TokenBatch(batch.values[:, :4], batch.example, batch.coords, batch.role), 1)


FULL = """
import os, resource, sys
os.fsync = lambda descriptor: None
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_writer import opened
from stores import tokens
writer = opened(Path(sys.argv[1]), rows=2000)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
for row in range(writer.next_row, 500):
    writer.append(tokens(row, row + 1), row + 1)
    if writer._manifest.shards:  # from now on the disk is full
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
writer.finish()
"""


def test_a_disk_that_fills_up_leaves_finished_shards_usable(tmp_path: Path) -> None:
    script = FULL.format(tests=str(Path(__file__).parent))
    child = subprocess.run([sys.executable, "-c", script, tmp_path / "s", "200000"], capture_output=True, text=True)
    assert "StoreError" in child.stderr
    assert "what is already done stays usable" in child.stderr
    assert sorted(files(tmp_path / "s")) == ["manifest.json", "shard-00000.safetensors"]
    writer = opened(tmp_path / "s", rows=2000)
    assert writer.next_row > 200
    for row in range(writer.next_row, 500):
        writer.append(tokens(row, row + 1), row + 1)
    store = writer.finish()
    store.verify()
    assert torch.cat([number(b.values) for b in store.sequential(ALL)]).tolist() == list(range(3500))


def test_after_a_failure_the_writer_says_to_open_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import omnisae.store.shard as shard

    writer = opened(tmp_path / "s")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shard, "_write", full)
    with pytest.raises(StoreError, match="the disk is full: cannot write .*No space left on device"):
        writer.append(tokens(0, 1), 1)
    monkeypatch.undo()
    with pytest.raises(StoreError, match="open the store again"):
        writer.append(tokens(1, 2), 2)
    assert sorted(files(tmp_path / "s")) == ["manifest.json"]


def test_an_empty_store_is_a_store(tmp_path: Path) -> None:
    writer = opened(tmp_path / "s")
    writer.skip(0, "a", "unreadable")
    store = writer.finish()
    assert (store.tokens, store.manifest.examples) == (0, 1)
    assert list(store.sequential(ALL)) == []
    with pytest.raises(StoreError, match="no token is kept"):
        store.stream(ALL, batch=2, seed=0)


def test_the_manifest_says_what_the_store_is(tmp_path: Path) -> None:
    write(tmp_path / "s", 20)
    raw = json.loads((tmp_path / "s" / "manifest.json").read_text())
    assert raw["format"] == "omnisae.store"
    assert raw["hook"]["pattern"] == HOOK.pattern
    assert raw["about"] == {"model": "m", "dataset": "d"}
    assert sum(shard["rows"] for shard in raw["shards"]) == raw["rows"] == 140
    for shard in raw["shards"]:
        assert os.path.getsize(tmp_path / "s" / shard["name"]) == shard["bytes"]
    assert Store.open(tmp_path / "s").fingerprint() == "k"
