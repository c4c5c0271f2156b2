import numpy as np
import pytest
import torch

from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.module import ModuleExtractor
from omnisae.extract.split import TEST
from omnisae.interventions.effects import loss_recovered, matched_controls, measure, switching_off
from omnisae.postings.writer import PostingsWriter
from omnisae.tokens.filter import TokenFilter


class Inputs(Dataset):
    def __init__(self, model, n=12):
        self.x = model.probe(n)

    @property
    def ids(self):
        return [str(row) for row in range(len(self.x))]

    def load(self, row):
        return Example(row, str(row), self.x[row])

    def fingerprint(self):
        return "inputs"


class Squares(ModuleExtractor):
    """A model whose loss is the mean square of what comes out; some examples have none."""

    def __init__(self, model, unknown=(), lossless=False):
        super().__init__(model, batch_size=5, device="cpu")
        self.unknown, self.lossless = set(unknown), lossless

    def probe(self):
        return self.model.probe(2)

    def loss(self, rows, inputs):
        if self.lossless:
            return None
        found = self.model(inputs).flatten(1).square().mean(1)
        return torch.where(torch.tensor([row in self.unknown for row in rows]), torch.nan, found)


def test_loss_recovered_by_hand(model, build, everywhere):
    sae, data = build(model, filters=everywhere), Inputs(model)
    extractor = Squares(model, unknown=(4,))
    rows = [row for row in range(12) if row != 7]
    found = loss_recovered(sae, extractor, data, rows)
    chosen = [row for row in rows if row != 4]
    with torch.no_grad():
        x = data.x[chosen]
        hidden = model.block(model.stem(x))
        channel = 1 if hidden.ndim == 4 else 2
        flat = hidden.movedim(channel, -1)
        spliced = sae.decode(sae.encode(flat.reshape(-1, 8))).reshape(flat.shape).movedim(-1, channel)
        zeroed = sae.autoencoder.normaliser.mean.expand(flat.shape).movedim(-1, channel)
        losses = [float(model.head(h).flatten(1).square().mean(1).mean()) for h in (hidden, spliced, zeroed)]
    for name, loss in zip(("original", "spliced", "zeroed"), losses, strict=True):
        assert found[name] == pytest.approx(loss, rel=1e-4)
    assert found["recovered"] == pytest.approx((losses[2] - losses[1]) / (losses[2] - losses[0]), rel=1e-3)
    assert (found["n"], found["control"]) == (10, "mean")


def test_a_perfect_autoencoder_recovers_all_and_a_silent_one_nothing(maps, build, monkeypatch):
    sae, data, extractor = build(maps), Inputs(maps), Squares(maps)
    monkeypatch.setattr(type(sae), "decode", lambda self, codes: self.seen)
    monkeypatch.setattr(type(sae), "encode", lambda self, x, check: setattr(self, "seen", x))
    assert loss_recovered(sae, extractor, data, range(12))["recovered"] == 1.0
    mean = sae.autoencoder.normaliser.mean
    monkeypatch.setattr(type(sae), "decode", lambda self, codes: mean.expand_as(self.seen))
    assert loss_recovered(sae, extractor, data, range(12))["recovered"] == 0.0


def test_a_normaliser_without_a_mean_is_zeroed_by_a_silent_code(maps, build):
    found = loss_recovered(build(maps, normaliser="core.layernorm"), Squares(maps), Inputs(maps), range(12))
    assert found["control"] == "silent"
    assert found["recovered"] is not None


def test_a_model_without_a_loss_gives_nothing(maps, build):
    extractor = Squares(maps, lossless=True)
    assert loss_recovered(build(maps), extractor, Inputs(maps), range(12)) is None
    assert switching_off(build(maps), extractor, Inputs(maps), {0: [1, 2]}) == []
    assert loss_recovered(build(maps), Squares(maps, unknown=range(12)), Inputs(maps), range(12)) is None


def test_switching_off_by_hand(maps, build):
    sae, data, extractor = build(maps), Inputs(maps), Squares(maps, unknown=(3,))
    rows = [1, 3, 5, 8]
    with torch.no_grad():
        hidden = maps.block(maps.stem(data.x[[1, 5, 8]])).movedim(1, -1)
        codes = sae.encode(hidden.reshape(-1, 8))

        def change(latent):
            dense = codes.dense()
            dense[:, latent] = 0
            shift = sae.decode(type(codes).from_dense(dense)) - sae.decode(codes)
            new = (hidden.reshape(-1, 8) + shift).reshape(hidden.shape)
            loss = [maps.head(h.movedim(-1, 1)).flatten(1).square().mean(1) for h in (hidden, new)]
            return (loss[1] - loss[0]).double().numpy()

        latent, *others = codes.latents.bincount(minlength=24).argsort(descending=True)[:3].tolist()
        expected, controls = change(latent), [change(other) for other in others]
    (found,) = switching_off(sae, extractor, data, {latent: rows}, {latent: others})
    assert found["latent"] == latent
    assert found["n"] == 3
    assert found["change"] == pytest.approx(expected.mean(), rel=1e-3, abs=1e-7)
    assert found["low"] <= found["change"] <= found["high"]
    assert [one["latent"] for one in found["controls"]] == others
    assert found["control"]["change"] == pytest.approx(np.concatenate(controls).mean(), rel=1e-3, abs=1e-7)
    assert found["control"]["n"] == 6
    (own,) = switching_off(sae, extractor, data, {latent: rows}, {latent: others}, control_rows={others[0]: [0, 2]})
    assert [one["n"] for one in own["controls"]] == [2, 3]
    again = switching_off(sae, extractor, data, {latent: rows}, {latent: others})
    assert again == [found], "the interval is drawn by a seed"


@pytest.fixture
def signed(maps, build):
    """An artifact with signed codes, its inputs, their hidden activations by row, and the codes of these."""
    sae, data = build(maps, activation={"type": "core.abstopk", "k": 5}), Inputs(maps)
    with torch.no_grad():
        hidden = maps.block(maps.stem(data.x)).movedim(1, -1)
        return sae, data, hidden, sae.encode(hidden.reshape(-1, 8))


def test_switching_off_a_pole_removes_the_codes_of_its_sign_alone(maps, signed):
    sae, data, hidden, codes = signed
    dense = codes.dense()
    both = (dense > 0).any(0) & (dense < 0).any(0)
    latent = int(both.nonzero()[0, 0])
    for pole, sign in ((latent, 1), (latent + 24, -1)):
        with torch.no_grad():
            off = dense.clone()
            off[:, latent] = torch.where(sign * dense[:, latent] > 0, 0.0, dense[:, latent])
            assert off[:, latent].any(), "the other pole stays"
            shift = sae.decode(type(codes).from_dense(off)) - sae.decode(codes)
            new = (hidden.reshape(-1, 8) + shift).reshape(hidden.shape)
            loss = [maps.head(h.movedim(-1, 1)).flatten(1).square().mean(1) for h in (hidden, new)]
            expected = float((loss[1] - loss[0]).double().mean())
        (found,) = switching_off(sae, Squares(maps), data, {pole: range(12)}, {pole: [pole]})
        assert (found["latent"], found["sign"]) == (latent, sign)
        assert found["change"] == pytest.approx(expected, rel=1e-3, abs=1e-7)
        assert [(one["latent"], one["sign"]) for one in found["controls"]] == [(latent, sign)]


def test_poles_are_measured_where_they_fire_beside_poles_of_other_latents(maps, signed, tmp_path):
    sae, data, hidden, codes = signed
    split, tokens = np.full(12, TEST, np.uint8), hidden[0, ..., 0].numel()
    with PostingsWriter(tmp_path / "codes", sae.info.hook, TokenFilter(), 24, split, signed=True) as writer:
        writer.append(
            np.repeat(np.arange(12), tokens),
            np.stack(np.divmod(np.tile(np.arange(tokens), 12), 5), axis=1),
            np.zeros(12 * tokens, np.uint8),
            *(part.numpy() for part in (codes.offsets, codes.latents, codes.values)),
        )
        postings = writer.finish({})
    poles = np.argsort(-postings.counts)[:4].tolist()
    found = measure(sae, Squares(maps), data, postings, range(12), poles)["latents"]
    assert [postings.poles.at(one["latent"], one["sign"]) for one in found] == poles
    for one, pole in zip(found, poles, strict=True):
        assert one["n"] == (postings.strength(pole) > 0).sum()
        others = {(other["latent"], other["sign"]) for other in one["controls"]}
        assert len(others) == 3
        assert not {latent for latent, _ in others} & {pole % 24 for pole in poles}, "their other poles are no controls"


def test_a_latent_that_never_fires_changes_nothing(maps, build):
    sae, data, extractor = build(maps), Inputs(maps), Squares(maps)
    sae.autoencoder.encoder_bias[5] = -1e6
    (found,) = switching_off(sae, extractor, data, {5: range(12)})
    assert (found["change"], found["low"], found["high"], found["n"]) == (0.0, 0.0, 0.0, 12)


def test_controls_fire_as_often():
    counts = [0, 10, 11, 12, 100, 110, 1000, 0, 9]
    found = matched_controls(counts, [1, 4], each=2, seed=0)
    assert set(found) == {1, 4}
    for latent, others in found.items():
        assert len(set(others)) == 2
        assert not {0, 7, 1, 4} & set(others), "silent latents and those measured are no controls"
        assert latent not in others
    many = matched_controls([int(1.2**i) + 1 for i in range(60)], [30], each=3)
    assert all(abs(other - 30) <= 7 for other in many[30])
