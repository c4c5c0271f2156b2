"""Encoding a source through an artifact: held-out examples alone, whatever the batches."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from omnisae.autoencoders.codes import Codes
from omnisae.errors import DatasetError
from omnisae.hooks.point import HookPoint, Told
from omnisae.postings.encode import encode
from omnisae.store.source import TokenSource
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter, TokenFilters

HOOK = HookPoint(name="h", at=("h",), pattern="example position d", width=3)


class Source(TokenSource):
    def __init__(self, values: torch.Tensor, example: torch.Tensor) -> None:
        self.hook, self.values, self.example = HOOK, values, example
        self.positions = torch.zeros(len(example))

    def fingerprint(self) -> str:
        return "source"

    def sequential(self, keep: TokenFilter, examples: Any = None, batch: int = 4096) -> Iterator[TokenBatch]:
        mine = torch.from_numpy(np.flatnonzero(examples[self.example.numpy()]))
        coords, role = self.positions[:, None].int(), torch.zeros(len(self.example), dtype=torch.uint8)
        for part in mine.split(batch):
            yield TokenBatch(self.values[part], self.example[part], coords[part], role[part])

    def stream(self, keep: TokenFilter, examples: Any = None, **rest: Any) -> Any:
        raise NotImplementedError


class Halves:
    """The positive parts are the codes, and half of them come back."""

    signed = False

    def __init__(self) -> None:
        self.info = SimpleNamespace(tokens=TokenFilters(), parent="p", dataset="d")
        self.autoencoder = torch.nn.Linear(3, 3)
        self.autoencoder.latents = 3  # type: ignore[assignment]

    def encode(self, x: torch.Tensor) -> Codes:
        return Codes.from_dense(x.clamp(min=0))

    def decode(self, codes: Codes) -> torch.Tensor:
        return codes.dense() / 2


class Signs(Halves):
    """The activations are the codes, whatever their sign, and half of them come back."""

    signed = True

    def encode(self, x: torch.Tensor) -> Codes:
        return Codes.from_dense(x)


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_held_out_tokens_are_encoded_and_health_is_of_the_test_side(tmp_path: Path, batch: int) -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32))
    example = torch.arange(12) // 2
    split = np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8)
    postings = encode(Halves(), Source(values, example), split, tmp_path / "codes", batch=batch)  # type: ignore[arg-type]
    assert postings.example.tolist() == [1, 1, 2, 2, 4, 4, 5, 5]
    held_out = values[split[example] != 0].numpy()
    for latent in range(3):
        tokens, found = postings.entries(latent)
        assert tokens.tolist() == np.flatnonzero(held_out[:, latent] > 0).tolist()
        assert found.tolist() == held_out[tokens, latent].tolist()
    test = values[split[example] == 2].double().numpy()
    error = ((test - np.clip(test, 0, None) / 2) ** 2).sum()
    told = postings.health()
    assert told["explained_variance"] == pytest.approx(1 - error / ((test - test.mean(axis=0)) ** 2).sum())
    assert told["l0"] == pytest.approx((test > 0).sum() / 4)
    assert (told["tokens"], told["tokens_encoded"]) == (4, 8)


def test_columns_are_not_explained_variance(tmp_path: Path) -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32))
    told = torch.arange(12)[:, None] * 80.0
    example, split = torch.arange(12) // 2, np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8)
    health = []
    for name, given in (("plain", values), ("wide", torch.cat([values, told], dim=1))):
        source = Source(given, example)
        if name == "wide":
            ticks = {"t": Told(argument="t", ticks=(0.0,))}
            source.hook = HookPoint(name="h", at=("h",), pattern="example d", width=4, told=ticks, columns=("t",))
        artifact = Halves()
        artifact.autoencoder.latents = given.shape[1]
        health.append(encode(artifact, source, split, tmp_path / name).health())  # type: ignore[arg-type]
    assert health[0]["explained_variance"] == pytest.approx(health[1]["explained_variance"])
    assert health[0]["mse"] == pytest.approx(health[1]["mse"])


def test_signed_codes_are_decoded_with_their_signs_and_counted_by_latent(tmp_path: Path) -> None:
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32))
    values[:, 1] = 0
    example, split = torch.arange(12) // 2, np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8)
    postings = encode(Signs(), Source(values, example), split, tmp_path / "codes")  # type: ignore[arg-type]
    held_out = values[split[example] != 0].numpy()
    for pole, part in enumerate(np.hstack([held_out, -held_out]).T):
        tokens, found = postings.entries(pole)
        assert tokens.tolist() == np.flatnonzero(part > 0).tolist()
        assert found.tolist() == part[tokens].tolist()
    test = values[split[example] == 2].double().numpy()
    told = postings.health()
    spread = ((test - test.mean(axis=0)) ** 2).sum()
    assert told["explained_variance"] == pytest.approx(1 - ((test / 2) ** 2).sum() / spread)
    assert told["l0"] == 2
    assert told["dead_fraction"] == pytest.approx(1 / 3)
    assert told["density"]["latents"][-1] == 2, "two latents fire on every token, with one sign or the other"
    assert told["bipolar_fraction"] == 1


def test_a_side_without_tokens(tmp_path: Path) -> None:
    source = Source(torch.ones(4, 3), torch.arange(4) // 2)
    with pytest.raises(DatasetError, match="the test examples gave no token"):
        encode(Halves(), source, np.array([1, 1], np.uint8), tmp_path / "codes")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_each_side_keeps_the_tokens_of_its_own_filter(tmp_path: Path) -> None:
    values = torch.rand(400, 3) + 0.1
    example = torch.arange(400) // 100
    artifact = Halves()
    artifact.info.tokens = TokenFilters(select=TokenFilter(fraction=0.5))
    split = np.array([0, 1, 2, 2], dtype=np.uint8)
    source = Source(values, example)
    source.positions = torch.arange(400) % 100
    postings = encode(artifact, source, split, tmp_path / "codes", batch=64)  # type: ignore[arg-type]
    per_example = np.bincount(postings.example, minlength=4)
    assert 20 < per_example[1] < 80
    assert list(per_example[2:]) == [100, 100]
    assert postings.manifest.keep_on(1) == TokenFilter(fraction=0.5)
    assert postings.manifest.keep_on(2) == TokenFilter()
