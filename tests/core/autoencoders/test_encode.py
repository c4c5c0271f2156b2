"""Encoding and decoding: sparse, row by row, in chunks."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisae.autoencoders import preactivations
from omnisae.autoencoders.autoencoder import Autoencoder
from omnisae.autoencoders.codes import Codes
from omnisae.autoencoders.configs import (
    BatchTopKConfig,
    JumpReLUConfig,
    LayerNormConfig,
    ModulatedConfig,
    ReLUConfig,
    StandardConfig,
    TopKConfig,
)
from omnisae.config import AutoencoderConfig
from omnisae.errors import ArtifactError
from omnisae.testing.planted import planted

RULES = [TopKConfig(k=3), BatchTopKConfig(k=3), JumpReLUConfig(l0=3), ReLUConfig()]
NORMALISERS = [StandardConfig(), LayerNormConfig(), ModulatedConfig()]
SAMPLE = planted(8, 16, 3, 256, 3)[0]


def built(rule: Any, normaliser: Any) -> Autoencoder:
    autoencoder = Autoencoder(AutoencoderConfig(latents=24, activation=rule, normaliser=normaliser), 8, 0)
    autoencoder.initialise(SAMPLE)
    return autoencoder


BUILT = {(rule.type, normaliser.type): built(rule, normaliser) for rule in RULES for normaliser in NORMALISERS}


@pytest.mark.parametrize("pair", list(BUILT), ids=" ".join)
@given(rows=st.integers(1, 20), cut=st.integers(1, 7), seed=st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_a_batch_is_encoded_as_its_rows_one_by_one(pair: Any, rows: int, cut: int, seed: int) -> None:
    """The same latents fire wherever the margin exceeds rounding, with the same values within it."""
    autoencoder = BUILT[pair]
    x = torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed)) * 2
    whole = autoencoder.encode(x).dense()
    for size in (1, cut):
        parts = torch.cat([autoencoder.encode(part).dense() for part in x.split(size)])
        same = (whole != 0) == (parts != 0)
        # Where a pre-activation lies within rounding of the rule's edge, either side is right; such entries are rare.
        assert (~same).sum() <= 1
        torch.testing.assert_close(parts[same], whole[same], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pair", list(BUILT), ids=" ".join)
def test_chunks_and_order_do_not_matter(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    autoencoder = BUILT[pair]
    whole = autoencoder.encode(SAMPLE)
    order = torch.randperm(len(SAMPLE), generator=torch.Generator().manual_seed(0))
    monkeypatch.setitem(preactivations.CHUNK_ELEMENTS, "cpu", 1)
    shuffled = autoencoder.encode(SAMPLE[order])
    torch.testing.assert_close(shuffled.dense(), whole.dense()[order], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(autoencoder.decode(shuffled), autoencoder.decode(whole)[order], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pair", list(BUILT), ids=" ".join)
def test_codes_keep_their_form(pair: Any) -> None:
    autoencoder = BUILT[pair]
    codes = autoencoder.encode(SAMPLE)
    assert len(codes) == len(SAMPLE)
    assert codes.width == 24
    assert codes.offsets[0] == 0
    assert codes.offsets[-1] == len(codes.values)
    assert (codes.values != 0).all()
    same_token = codes.tokens[1:] == codes.tokens[:-1]
    assert (codes.latents[1:] > codes.latents[:-1])[same_token].all()
    back = Codes.from_dense(codes.dense(), codes.context)
    assert torch.equal(back.latents, codes.latents)
    assert torch.equal(back.values, codes.values)


@pytest.mark.parametrize("pair", list(BUILT), ids=" ".join)
def test_decoding_is_the_dense_product(pair: Any) -> None:
    autoencoder = BUILT[pair]
    codes = autoencoder.encode(SAMPLE)
    normal = codes.dense() @ autoencoder.decoder + autoencoder.decoder_bias
    torch.testing.assert_close(autoencoder.decode(codes), autoencoder.normaliser.undo(normal, codes.context))


def test_no_tokens_no_codes() -> None:
    for autoencoder in BUILT.values():
        codes = autoencoder.encode(torch.zeros(0, 8))
        assert len(codes) == 0
        assert autoencoder.decode(codes).shape == (0, 8)


def test_a_token_in_which_nothing_fires_decodes_to_the_bias() -> None:
    autoencoder = BUILT["core.batchtopk", "core.standard"]
    none = Codes(torch.zeros(2, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0), 24)
    expected = autoencoder.normaliser.undo(autoencoder.decoder_bias[None], None)
    torch.testing.assert_close(autoencoder.decode(none), expected)


def test_another_width_is_refused() -> None:
    autoencoder = BUILT["core.topk", "core.standard"]
    with pytest.raises(ArtifactError, match=r"shape \(2, 9\) given; this autoencoder takes rows of width 8"):
        autoencoder.encode(torch.zeros(2, 9))
    with pytest.raises(ArtifactError, match="codes are of 5 latents, and this autoencoder has 24"):
        autoencoder.decode(Codes.from_dense(torch.ones(2, 5)))
