"""Posting lists: the codes turned round, and back on disk as they were."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisae.errors import StoreError
from omnisae.extract.split import SELECT, TEST, TRAIN
from omnisae.hooks.point import HookPoint
from omnisae.postings import transpose
from omnisae.postings.health import Reconstruction, health
from omnisae.postings.postings import Postings
from omnisae.postings.writer import PostingsWriter
from omnisae.tokens.filter import TokenFilter

HOOK = HookPoint(name="h", at=("h",), pattern="example position d", width=3)


def write(out: Path, codes: np.ndarray, example: np.ndarray, split: np.ndarray, batch: int = 5) -> Postings:
    starts = np.r_[0, np.flatnonzero(np.diff(example)) + 1] if len(example) else np.zeros(0, int)
    position = np.arange(len(example)) - np.repeat(starts, np.diff(np.r_[starts, len(example)]))
    with PostingsWriter(out, HOOK, TokenFilter(), codes.shape[1], split) as writer:
        for start in range(0, len(example), batch):
            part = slice(start, start + batch)
            rows, latents = codes[part].nonzero()
            writer.append(
                example[part],
                position[part, None],
                np.zeros(len(example[part]), np.uint8),
                np.r_[0, np.cumsum((codes[part] != 0).sum(axis=1))],
                latents,
                codes[part][rows, latents],
            )
        return writer.finish(health(Reconstruction(), writer.counts, len(example)))


def random_codes(seed: int, tokens: int, latents: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    codes: np.ndarray = (rng.normal(size=(tokens, latents)) * (rng.random((tokens, latents)) < 0.3)).astype(np.float32)
    return codes


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 25), st.integers(1, 6), st.integers(1, 9), st.integers(1, 40))
def test_posting_lists_are_the_columns_of_the_codes(
    tmp_path_factory: pytest.TempPathFactory, seed: int, tokens: int, latents: int, batch: int, block: int
) -> None:
    codes = random_codes(seed, tokens, latents)
    example = np.sort(np.random.default_rng(seed).integers(0, 6, tokens))
    split = np.array([TRAIN, SELECT, TEST, SELECT, TEST, SELECT], dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transpose.transpose, "__kwdefaults__", {"block": block})
        postings = write(tmp_path_factory.mktemp("run") / "codes", codes, example, split, batch)
    postings.verify()
    assert (postings.n_tokens, postings.latents) == (tokens, latents)
    select = split[example] == SELECT
    for latent in range(latents):
        found, values = postings.entries(latent)
        assert found.tolist() == codes[:, latent].nonzero()[0].tolist()
        assert values.tolist() == codes[found, latent].tolist()
        assert postings.counts[latent] == len(found)
        assert postings.counts_select[latent] == select[found].sum()
        assert postings.maxima[latent] == max([0.0, *values])
        assert postings.maxima_select[latent] == max([0.0, *values[select[found]]])
        strength = postings.strength(latent)
        for row in range(6):
            inside = found[example[found] == row]
            assert strength[row] == (codes[inside, latent].max() if len(inside) else 0)
            coords, fired = postings.firing(latent, row)
            assert fired.tolist() == codes[inside, latent].tolist()
            assert coords[:, 0].tolist() == (inside - np.searchsorted(example, row)).tolist()
    assert all(postings.sizes(row) == {"position": int((example == row).sum())} for row in range(6))
    assert postings.shown.tolist() == [bool((example == row).any()) for row in range(6)]


@pytest.fixture
def some(tmp_path: Path) -> Postings:
    return write(tmp_path / "codes", random_codes(0, 20, 4), np.repeat([0, 1], 10), np.array([1, 2], np.uint8))


def test_writing_again_replaces_the_folder_and_leaves_nothing_behind(some: Postings) -> None:
    write(some.path, random_codes(1, 4, 4), np.array([0, 0, 1, 1]), np.array([1, 2], np.uint8))
    assert Postings.open(some.path).n_tokens == 4
    assert [path.name for path in some.path.parent.iterdir()] == ["codes"]


def test_a_run_that_breaks_off_leaves_what_was_there(some: Postings) -> None:
    def break_off() -> None:
        with PostingsWriter(some.path, HOOK, TokenFilter(), 4, np.array([1, 2], np.uint8)) as writer:
            nothing, one = np.zeros(0, int), np.zeros(1, int)
            writer.append(one, one[:, None], one.astype(np.uint8), np.array([0, 0]), nothing, nothing.astype(float))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert Postings.open(some.path).n_tokens == 20
    assert [path.name for path in some.path.parent.iterdir()] == ["codes"]


def test_a_truncated_file(some: Postings) -> None:
    path = some.path / "value.npy"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(StoreError, match=r"value.npy: holds \d+ bytes where the manifest says"):
        Postings.open(some.path)


def test_an_altered_file(some: Postings) -> None:
    path = some.path / "value.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match="value.npy: its checksum is not the manifest's"):
        Postings.open(some.path).verify()


def altered(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_newer_schema(some: Postings) -> None:
    altered(some.path, schema_version=99)
    with pytest.raises(StoreError, match="schema version 99, and this omnisae reads up to 3") as error:
        Postings.open(some.path)
    assert "upgrade" in error.value.remedy


def test_a_manifest_that_contradicts_its_arrays(some: Postings) -> None:
    altered(some.path, latents=5)
    with pytest.raises(StoreError, match=r"offsets.npy: has shape \[5\] and the manifest says \[6\]"):
        Postings.open(some.path)


def test_a_folder_without_posting_lists(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no posting lists"):
        Postings.open(tmp_path)


def test_examples_out_of_order_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="out of the examples' order"):
        write(tmp_path / "codes", random_codes(0, 4, 2), np.array([1, 1, 0, 0]), np.array([1, 2], np.uint8))
