"""Models: every residue once, windows that agree with the whole, batches that change nothing, a loss that is theirs."""

import argparse
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnisae.config import HookConfig
from omnisae.errors import ConfigError, HookError
from omnisae.extract.dataset import Example
from omnisae.testing import ExtractorTests
from omnisae_protein.dataset import Protein
from omnisae_protein.plugin import EsmConfig, ProteinsConfig
from omnisae_protein.windows import PADDING, groups, windows

WORLD = EsmConfig(checkpoint="world:motifs", device="cpu")
RESIDUAL = HookConfig(at="layers.1", select=(0,))


@pytest.fixture(scope="module")
def proteins(world):
    return ProteinsConfig(root=str(world), sequences="proteins.fasta", least=2).build()


@pytest.fixture(scope="module")
def extractor(proteins):
    return WORLD.build(proteins)


def example(sequence, row=0):
    return Example(row, f"p{row}", Protein(f"p{row}", sequence))


def tokens(extractor, sequences, hook=RESIDUAL):
    (point,) = extractor.resolve([hook])
    inputs = extractor.collate([extractor.prepare(example(one, i)) for i, one in enumerate(sequences)])
    return extractor.extract(range(len(sequences)), inputs, [point]).tokens[point.name], point


class TestEsm(ExtractorTests):
    @pytest.fixture
    def dataset(self, proteins):
        return proteins

    @pytest.fixture
    def config(self):
        return WORLD

    @pytest.fixture
    def extractor(self, extractor):
        return extractor

    @pytest.fixture
    def hooks(self):
        return [
            RESIDUAL,
            HookConfig(at="layers.0.self_attn", select=(0,)),
            HookConfig(at="layers.*.fc2"),
            HookConfig(at="emb_layer_norm_after"),
        ]


class TestWindows(TestEsm):
    """Windows of 40 residues: most proteins have several."""

    @pytest.fixture
    def config(self):
        return EsmConfig(checkpoint="world:motifs", device="cpu", window=40, overlap=20)

    @pytest.fixture
    def extractor(self, config, proteins):
        return config.build(proteins)


def test_tokens_are_those_of_fair_esm(extractor, proteins):
    import esm

    model = extractor.model
    names = [("a", proteins.sequence(0)), ("b", proteins.sequence(1))]
    _, _, batch = esm.data.BatchConverter(model.alphabet)(names)
    with torch.no_grad():
        theirs = model(batch, repr_layers=[2])["representations"][2]
    mine, point = tokens(extractor, [sequence for _, sequence in names])
    assert point.roles == ("content", "bos", "eos")
    for i, (_, sequence) in enumerate(names):
        own = mine.take(mine.example == i)
        assert own.role.tolist() == [1] + [0] * len(sequence) + [2]
        assert own.coords[:, 0].tolist() == [-1, *range(len(sequence)), -1]
        torch.testing.assert_close(own.values, theirs[i, : len(sequence) + 2], atol=2e-5, rtol=1e-4)


def test_the_order_of_a_batch_does_not_matter(extractor, proteins):
    sequences = [proteins.sequence(row) for row in range(6)]
    forward, _ = tokens(extractor, sequences)
    backward, _ = tokens(extractor, sequences[::-1])
    for i in range(6):
        one, other = forward.take(forward.example == i), backward.take(backward.example == 5 - i)
        torch.testing.assert_close(one.values, other.values, atol=2e-5, rtol=1e-4)


def test_the_masked_loss_is_the_models_own(extractor, proteins):
    inputs = extractor.collate([extractor.prepare(proteins.load(row)) for row in range(8)])
    with torch.no_grad():
        loss = extractor.loss(range(8), inputs)
        again = extractor.loss([5], extractor.prepare(proteins.load(5)))
    assert 1.5 < float(loss.mean()) < 2.8  # ln 11.2 = 2.4
    torch.testing.assert_close(loss[5:6], again, atol=1e-4, rtol=1e-4)


def test_an_edit_changes_no_padding_into_residues(extractor, proteins):
    """Sequences of another length beside it do not change an edited protein's loss."""
    from omnisae.hooks.edit import edit

    (point,) = extractor.resolve([RESIDUAL])
    inputs = extractor.collate([extractor.prepare(proteins.load(row)) for row in range(3)])
    seen = []

    def half(tensor):
        seen.append(tensor.shape[0])
        return tensor * 0.5

    with torch.no_grad(), edit(extractor.model, point, half):
        together = extractor.loss(range(3), inputs)
        alone = torch.cat([extractor.loss([row], extractor.prepare(proteins.load(row))) for row in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert len(set(seen)) > 1


def test_letters_beyond_the_twenty_have_the_models_tokens(extractor):
    numbers = extractor.prepare(example("MUXZJ"))["tokens"][0].tolist()
    known = extractor.built.numbers
    assert numbers[1:-1] == [known["M"], known["U"], known["X"], known["Z"], extractor.built.unknown]


def test_a_module_without_residues_is_refused(extractor):
    with pytest.raises(HookError, match="has no token a residue"):
        extractor.resolve([HookConfig(at="layers.0.self_attn.rot_emb", select=(0,))])
    with pytest.raises(HookError, match="its width depends on the length of the sequences"):
        tokens(extractor, ["MKLVACDE"], HookConfig(at="layers.0.self_attn", select=(1,)))


@given(st.integers(1, 400), st.integers(2, 60), st.data())
def test_windows_read_every_residue_once(length, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    found = windows(length, size, overlap)
    assert [i for one in found for i in range(one.first, one.last)] == list(range(length))
    assert all(one.start <= one.first < one.last <= one.stop <= length for one in found)
    assert all(one.stop - one.start == min(size, length) for one in found)
    for left, right in pairwise(found):
        assert left.stop - right.start >= overlap


@given(st.lists(st.integers(1, 900), min_size=1, max_size=80), st.integers(1000, 8000))
def test_groups_waste_little(lengths, most):
    found = list(groups(lengths, most))
    assert sorted(i for group in found for i in group) == list(range(len(lengths)))
    for group in found:
        longest = max(lengths[i] for i in group)
        assert longest * len(group) <= most
        assert 1 - sum(lengths[i] for i in group) / (longest * len(group)) <= PADDING + 1e-9
    for group in groups(lengths, most, equal=True):
        assert len({lengths[i] for i in group}) == 1


def test_fair_esms_checkpoints_are_read_without_pickles(tmp_path, extractor, proteins):
    """As fair-esm saves ESM-2: settings in an argparse.Namespace, weights below their prefix."""
    model = extractor.model
    about = argparse.Namespace(
        encoder_layers=model.num_layers, encoder_embed_dim=model.embed_dim,
        encoder_attention_heads=model.attention_heads, token_dropout=True,
    )  # fmt: skip
    weights = {f"encoder.sentence_encoder.{key}": value for key, value in model.state_dict().items()}
    weights = {key.replace("sentence_encoder.lm_head", "lm_head"): value for key, value in weights.items()}
    torch.save({"cfg": {"model": about}, "model": weights}, tmp_path / "mine.pt")
    again = EsmConfig(checkpoint=str(tmp_path / "mine.pt"), device="cpu").build(proteins)
    assert again.parent() == extractor.parent()
    torch.save({"cfg": {"model": np.random.default_rng(0)}, "model": {}}, tmp_path / "bad.pt")
    with pytest.raises(ConfigError, match=r"bad.pt is no checkpoint of fair-esm that can be read safely"):
        EsmConfig(checkpoint=str(tmp_path / "bad.pt")).build(proteins)
    with pytest.raises(ConfigError, match=r"there is no file .*none.pt"):
        EsmConfig(checkpoint=str(tmp_path / "none.pt")).build(proteins)
    with pytest.raises(ConfigError, match="overlap: 40 residues of windows of 40"):
        EsmConfig(checkpoint="world:motifs", window=40, overlap=40).build(proteins)


def _esm_folder(path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    letters = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO", ".", "-", "<null_1>", "<mask>"]
    (path / "vocab.txt").write_text("\n".join(letters))
    transformers.EsmTokenizer(str(path / "vocab.txt")).save_pretrained(path)
    config = transformers.EsmConfig(
        vocab_size=33, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, pad_token_id=1,
        mask_token_id=32, position_embedding_type="rotary", token_dropout=True, max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.EsmForMaskedLM(config).save_pretrained(path)
    return path


def test_esm_of_transformers(tmp_path, proteins):
    folder = _esm_folder(tmp_path)
    extractor = EsmConfig(checkpoint=str(folder), device="cpu", window=50, overlap=10).build(proteins)
    batch, point = tokens(extractor, ["MKLVACD", "MK", "M" * 70], HookConfig(at="esm.encoder.layer.1.output.dense"))
    assert (point.width, point.roles) == (24, ("content", "bos", "eos"))
    assert [int((batch.example == i).sum()) for i in range(3)] == [9, 4, 72]
    alone, _ = tokens(extractor, ["MK"], HookConfig(at="esm.encoder.layer.1.output.dense"))
    torch.testing.assert_close(batch.take(batch.example == 1).values, alone.values, atol=1e-5, rtol=1e-4)
    inputs = extractor.prepare(example("MKLVACD"))
    with torch.no_grad():
        assert torch.isfinite(extractor.loss([0], inputs)).all()
    with pytest.raises(ConfigError, match="transformers cannot read"):
        EsmConfig(checkpoint=str(tmp_path / "nothing"), library="transformers").build(proteins)


def _tokenizer(path, letters, **special):
    """A tokenizer of single letters, saved as transformers has it."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    words = tokenizers.models.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token="<unk>")
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(words), unk_token="<unk>", pad_token="<pad>", **special
    )
    made.save_pretrained(path)
    return transformers


def test_t5_encoders_have_no_bos_and_no_loss(tmp_path, proteins):
    """As ProtT5: pieces begin with ▁, a sequence ends with </s>, and there is no head."""
    letters = ["<pad>", "</s>", "<unk>", *(f"▁{letter}" for letter in "ALGVSREDTIPKQFNYMHWCX")]
    transformers = _tokenizer(tmp_path, letters, eos_token="</s>")
    small = transformers.T5Config(vocab_size=32, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    transformers.T5EncoderModel(small).save_pretrained(tmp_path)
    extractor = EsmConfig(checkpoint=str(tmp_path), device="cpu").build(proteins)
    batch, point = tokens(extractor, ["MKLVACD", "MK"], HookConfig(at="encoder.block.1", select=(0,)))
    assert (point.pattern, point.roles) == ("example (residue + [eos]) d", ("content", "eos"))
    assert batch.role.tolist() == [0] * 7 + [1, 0, 0, 1]
    assert extractor.loss([0], extractor.prepare(example("MKLVACD"))) is None


def test_esm_c_of_transformers(tmp_path, proteins):
    letters = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO", ".", "-", "|", "<mask>"]
    transformers = _tokenizer(tmp_path, letters, cls_token="<cls>", eos_token="<eos>", mask_token="<mask>")
    if not hasattr(transformers, "EsmcForMaskedLM"):
        pytest.skip("this transformers has no ESM-C")
    small = transformers.EsmcConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    transformers.EsmcForMaskedLM(small).save_pretrained(tmp_path)
    extractor = EsmConfig(checkpoint=str(tmp_path), device="cpu").build(proteins)
    batch, point = tokens(extractor, ["MKLVACD", "MK"], HookConfig(at="esmc.layers.1"))
    assert (point.width, batch.role.tolist()) == (32, [1, *[0] * 7, 2, 1, 0, 0, 2])
    with torch.no_grad():
        assert torch.isfinite(extractor.loss([0], extractor.prepare(example("MKLVACD")))).all()
