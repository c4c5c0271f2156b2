"""The label of the DiT is told to its first block alone."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers", reason="diffusers is not installed")


@pytest.fixture(scope="module")
def dit():
    from omnisae_datasets.digits.denoisers import untrained

    torch.manual_seed(0)
    model = untrained("dit")
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn(value.shape))
    return model.eval()


def answers(model, labels):
    """What every block, by its modulation, is told: scale and shift, at one time."""
    times = torch.full((len(labels),), 500)
    return [block.norm1.emb(times, labels) for block in model.transformer_blocks]


def test_other_blocks_hear_no_label(dit):
    from omnisae_datasets.digits.told_once import told_once

    labels = torch.arange(6)
    plain = answers(dit, labels)
    with told_once(dit):
        first, *others = answers(dit, labels)
    assert torch.equal(first, plain[0])
    for heard, usual in zip(others, plain[1:], strict=True):
        assert torch.equal(heard, heard[:1].expand_as(heard))
        assert not torch.equal(heard, usual)
    assert all(torch.equal(a, b) for a, b in zip(answers(dit, labels), plain, strict=True)), "hooks are gone"


def test_what_is_settled_answers_alike_without_hooks(dit):
    import copy

    from omnisae_datasets.digits import told_once
    from omnisae_datasets.digits.denoisers import noise_told

    x, times, labels = torch.randn(4, 3, 16, 16), torch.full((4,), 700), torch.tensor([0, 13, 39, 40])
    with torch.no_grad(), told_once.told_once(dit):
        wanted = noise_told(dit, x, times, labels)
    settled = told_once.settled(copy.deepcopy(dit))
    with torch.no_grad():
        assert torch.equal(noise_told(settled, x, times, labels), wanted)
        assert not torch.equal(noise_told(dit, x, times, labels), wanted)


def test_the_shipped_dit_tells_its_label_once():
    from pathlib import Path

    import omnisae_datasets.digits as world
    from omnisae_datasets.digits.denoisers import load

    model = load(Path(world.__file__).parent / "dit.safetensors")
    first, *others = (block.norm1.emb.class_embedder.embedding_table.weight for block in model.transformer_blocks)
    assert first.unique(dim=0).shape[0] == 41
    assert all(torch.equal(table, table[:1].expand_as(table)) for table in others)
