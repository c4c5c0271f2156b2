"""Signed codes: every latent has two posting lists, and unsigned ones are written as ever."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisae.extract.split import SELECT, TEST
from omnisae.hooks.point import HookPoint
from omnisae.postings.health import Reconstruction, health
from omnisae.postings.manifest import ARRAYS, HEALTH
from omnisae.postings.poles import Poles
from omnisae.postings.postings import Postings
from omnisae.postings.writer import PostingsWriter
from omnisae.tokens.filter import TokenFilter

HOOK = HookPoint(name="h", at=("h",), pattern="example position d", width=3)
SPLIT = np.array([SELECT, TEST, SELECT], dtype=np.uint8)


def write(out: Path, codes: np.ndarray, *, signed: bool) -> Postings:
    """Posting lists of a dense matrix of codes over three examples."""
    tokens, latents = codes.shape
    example = np.sort(np.arange(tokens) % 3)
    rows, columns = codes.nonzero()
    with PostingsWriter(out, HOOK, TokenFilter(), latents, SPLIT, signed=signed) as writer:
        writer.append(
            example,
            np.arange(tokens)[:, None],
            np.zeros(tokens, np.uint8),
            np.r_[0, np.cumsum((codes != 0).sum(axis=1))],
            columns,
            codes[rows, columns],
        )
        return writer.finish(health(Reconstruction(), writer.counts, tokens, writer.poles))


def random_codes(seed: int, tokens: int, latents: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    codes: np.ndarray = (rng.normal(size=(tokens, latents)) * (rng.random((tokens, latents)) < 0.4)).astype(np.float32)
    return codes


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 25), st.integers(1, 6))
def test_signed_lists_are_those_of_the_positive_and_the_negative_parts(
    tmp_path_factory: pytest.TempPathFactory, seed: int, tokens: int, latents: int
) -> None:
    codes, folder = random_codes(seed, tokens, latents), tmp_path_factory.mktemp("run")
    signed = write(folder / "signed", codes, signed=True)
    parts = write(folder / "parts", np.hstack([np.maximum(codes, 0), np.maximum(-codes, 0)]), signed=False)
    for name in ARRAYS:
        assert (folder / "signed" / f"{name}.npy").read_bytes() == (folder / "parts" / f"{name}.npy").read_bytes(), name
    signed.verify()
    assert (signed.latents, len(signed.poles), parts.latents) == (latents, 2 * latents, 2 * latents)
    for pole in range(2 * latents):
        assert signed.strength(pole).tolist() == parts.strength(pole).tolist()
    dense = np.zeros_like(codes)
    for pole in range(len(signed.poles)):
        found, values = signed.entries(pole)
        sign = signed.poles.sign(pole)
        assert sign is not None
        dense[found, signed.poles.latent(pole)] += sign * values
    assert np.array_equal(dense, codes)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(1, 25), st.integers(1, 6))
def test_codes_that_are_never_negative_leave_the_negative_lists_empty(
    tmp_path_factory: pytest.TempPathFactory, seed: int, tokens: int, latents: int
) -> None:
    codes, folder = np.abs(random_codes(seed, tokens, latents)), tmp_path_factory.mktemp("run")
    signed, plain = (write(folder / name, codes, signed=name == "signed") for name in ("signed", "plain"))
    assert signed.token.tolist() == plain.token.tolist()
    assert signed.value.tolist() == plain.value.tolist()
    assert signed.counts.tolist() == [*plain.counts.tolist(), *[0] * latents]
    told, before = signed.health(), plain.health()
    assert {name: told[name] for name in before} == before
    assert told["bipolar_fraction"] == 0


def test_unsigned_lists_say_nothing_of_signs(tmp_path: Path) -> None:
    postings = write(tmp_path / "codes", np.abs(random_codes(0, 20, 4)), signed=False)
    manifest = json.loads((postings.path / "manifest.json").read_text())
    assert "signed" not in manifest
    assert manifest["schema_version"] == 1
    assert list(manifest) == [
        "format", "schema_version", "hook", "keep", "keep_select", "latents", "examples", "tokens", "entries", "about",
        "files",
    ]  # fmt: skip
    assert set(json.loads((postings.path / HEALTH).read_text())) == {
        "explained_variance", "mse", "l0", "dead_fraction", "tokens", "tokens_encoded", "density"
    }  # fmt: skip
    assert Postings.open(postings.path).poles == Poles(4)


def test_signed_lists_are_of_a_version_that_older_readers_refuse(tmp_path: Path) -> None:
    postings = write(tmp_path / "codes", random_codes(0, 20, 4), signed=True)
    manifest = json.loads((postings.path / "manifest.json").read_text())
    assert (manifest["schema_version"], manifest["signed"], manifest["latents"]) == (2, True, 4)
    assert Postings.open(postings.path).poles == Poles(4, signed=True)


def test_a_latent_is_dead_only_where_neither_sign_fires() -> None:
    poles = Poles(4, signed=True)
    counts = np.array([0, 5, 0, 9, 0, 0, 2, 1])
    found = health(Reconstruction(), counts, 10, poles)
    assert found["dead_fraction"] == 1 / 4
    assert found["bipolar_fraction"] == pytest.approx(1 / 3)
    assert found["rarer_sign"] == 0
    assert found["density"]["dead"] == 1
    assert sum(found["density"]["latents"]) == 3
    assert found["density"]["latents"][-1] == 1, "ten of ten tokens, with either sign"
    assert poles.balance(counts).tolist() == [0.0, 0.0, 0.1]
    assert health(Reconstruction(), 0 * counts, 10, poles)["bipolar_fraction"] == 0


def test_names_and_numbers_of_poles() -> None:
    plain, signed = Poles(20), Poles(20, signed=True)
    assert [plain.name(7), signed.name(7), signed.name(27)] == [7, "7+", "7-"]
    assert [plain.facts(7), signed.facts(27)] == [{"latent": 7}, {"latent": 7, "sign": -1}]
    assert [plain.other(7), signed.other(7), signed.other(27)] == [None, 27, 7]
    assert [plain.at(7), signed.at(7, 1), signed.at(7, -1), signed.at(7)] == [7, 7, 27, 7]
    for pole in range(40):
        assert signed.at(int(signed.latent(pole)), signed.sign(pole)) == pole
    assert {sign: part.indices(40)[:2] for sign, part in signed.split().items()} == {1: (0, 20), -1: (20, 40)}
