"""SASRec against a slow reference in the common layout, its checkpoints, and the recommenders trained in the run."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from omnisae.config import HookConfig
from omnisae.errors import ArtifactError, ConfigError, DatasetError, HookError
from omnisae.testing import ExtractorTests
from omnisae_recommendation.checkpoint import load_sasrec
from omnisae_recommendation.gru4rec import Gru4Rec
from omnisae_recommendation.lightgcn import averaging
from omnisae_recommendation.plugin_datasets import AtomicConfig
from omnisae_recommendation.plugin_models import Bert4recConfig, Gru4recConfig, LightgcnConfig, SasrecConfig
from omnisae_recommendation.training import windows


@pytest.fixture(scope="module")
def sessions(world):
    return AtomicConfig(root=str(world), history=12).build()


class _Recommender(ExtractorTests):
    @pytest.fixture
    def dataset(self, sessions):
        return sessions

    @pytest.fixture
    def hooks(self):
        return [HookConfig(at="final"), HookConfig(at=self.inner)]


class TestSasrec(_Recommender):
    inner = "blocks.*"

    @pytest.fixture
    def config(self):
        return SasrecConfig(width=16, epochs=1, heads=2)


class TestSasrecWithTheLastEventApart(_Recommender):
    inner = "embedded"

    @pytest.fixture
    def config(self):
        return SasrecConfig(width=16, random=True, order="query", last="role")


class TestGru4rec(_Recommender):
    inner = "layers.0"

    @pytest.fixture
    def config(self):
        return Gru4recConfig(width=16, hidden=24, epochs=1)


class TestBert4rec(_Recommender):
    inner = "blocks.1"

    @pytest.fixture
    def config(self):
        return Bert4recConfig(width=16, epochs=1)


class TestLightgcn(_Recommender):
    inner = "rounds.2"

    @pytest.fixture
    def config(self):
        return LightgcnConfig(width=16, epochs=1)


def common_weights(items, width, places, blocks, seed=0):
    """Random weights under the names of the common PyTorch implementation."""
    torch.manual_seed(seed)
    out = OrderedDict({"item_emb.weight": torch.randn(items + 1, width), "pos_emb.weight": torch.randn(places, width)})
    out["item_emb.weight"][0] = 0
    out["pos_emb.weight"][0] = 0
    for i in range(blocks):
        for norm in ("attention_layernorms", "forward_layernorms"):
            out[f"{norm}.{i}.weight"], out[f"{norm}.{i}.bias"] = 1 + torch.randn(width) / 5, torch.randn(width) / 5
        out[f"attention_layers.{i}.in_proj_weight"] = torch.randn(3 * width, width) / 4
        out[f"attention_layers.{i}.in_proj_bias"] = torch.randn(3 * width) / 4
        out[f"attention_layers.{i}.out_proj.weight"] = torch.randn(width, width) / 4
        out[f"attention_layers.{i}.out_proj.bias"] = torch.randn(width) / 4
        for conv in ("conv1", "conv2"):
            out[f"forward_layers.{i}.{conv}.weight"] = torch.randn(width, width, 1) / 4
            out[f"forward_layers.{i}.{conv}.bias"] = torch.randn(width) / 4
    out["last_layernorm.weight"], out["last_layernorm.bias"] = 1 + torch.randn(width) / 5, torch.randn(width) / 5
    return out


def slow(w, history, order, length, blocks, heads):
    """The state after one history, event by event and head by head, straight from the formulas."""
    width = w["item_emb.weight"].shape[1]
    norm = lambda x, name: functional.layer_norm(x, (width,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-8)  # noqa: E731
    items = [0] * (length - len(history)) + list(history)
    rows = []
    for step, item in enumerate(items):
        one_more = len(w["pos_emb.weight"]) == length + 1
        place = (step + 1) * (item > 0) if one_more else step
        rows.append(
            (w["item_emb.weight"][item] * width**0.5 + w["pos_emb.weight"][place]) * (order != "query" or item > 0)
        )
    x = torch.stack(rows)

    def attend(asks, answers, i):
        bias, weight = w[f"attention_layers.{i}.in_proj_bias"], w[f"attention_layers.{i}.in_proj_weight"]
        q, k, v = (
            s @ weight[j * width : (j + 1) * width].T + bias[j * width : (j + 1) * width]
            for j, s in enumerate((asks, answers, answers))
        )
        out, size = torch.zeros_like(q), width // heads
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            for at in range(length):
                score = torch.softmax(q[at, part] @ k[: at + 1, part].T / size**0.5, dim=0)
                out[at, part] = score @ v[: at + 1, part]
        return out @ w[f"attention_layers.{i}.out_proj.weight"].T + w[f"attention_layers.{i}.out_proj.bias"]

    def feed(x, i):
        name = f"forward_layers.{i}"
        inner = torch.relu(x @ w[f"{name}.conv1.weight"][..., 0].T + w[f"{name}.conv1.bias"])
        return inner @ w[f"{name}.conv2.weight"][..., 0].T + w[f"{name}.conv2.bias"]

    for i in range(blocks):
        a, f = f"attention_layernorms.{i}", f"forward_layernorms.{i}"
        if order == "query":
            asks = norm(x, a)
            x = norm(asks + attend(asks, x, i), f)
            x = (x + feed(x, i)) * (torch.tensor(items) > 0)[:, None]
        elif order == "first":
            x = x + attend(norm(x, a), norm(x, a), i)
            x = x + feed(norm(x, f), i)
        else:
            x = norm(x + attend(x, x, i), a)
            x = norm(x + feed(x, i), f)
    return norm(x, "last_layernorm")[-1]


@pytest.mark.parametrize(("order", "places"), [("query", 6), ("query", 7), ("first", 7), ("last", 7)])
def test_a_checkpoint_computes_what_the_formulas_say(tmp_path, order, places):
    weights = common_weights(9, 8, places, 2)
    torch.save(weights, tmp_path / "model.pth")
    model = load_sasrec(tmp_path / "model.pth", items=9, length=6, heads=2, order=order).eval()
    for history in ([3, 1, 4], [5, 9, 2, 6, 5, 3], [8]):
        items = torch.tensor([[0] * (6 - len(history)) + history])
        state = model(items)[0, -1]
        torch.testing.assert_close(state, slow(weights, history, order, 6, 2, 2), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model.scores(model(items))[0], weights["item_emb.weight"][1:] @ state)


def test_a_checkpoint_that_does_not_fit_is_refused_with_the_reason(tmp_path, sessions):
    items = len(sessions.histories.rows)
    path = tmp_path / "m.pth"

    def refused(weights, said, **settings):
        torch.save(weights, path)
        with pytest.raises(ArtifactError) as error:
            SasrecConfig(checkpoint=path, **settings).build(sessions)
        assert said in str(error.value)

    refused(
        common_weights(items + 3, 8, 13, 1), f"is {items + 3} items and one for none; the dataset has {items} items"
    )
    refused(common_weights(items, 8, 201, 1), "pos_emb has 201 rows, and histories have 12 events")
    refused(common_weights(items, 8, 13, 1), "its width 8 is no multiple of extractor.heads = 3", heads=3)
    less = common_weights(items, 8, 13, 1)
    del less["forward_layers.0.conv2.bias"]
    refused(less, "lacks ['blocks.0.narrow.bias']")
    refused({"a": torch.zeros(1)}, "it is no SASRec in the common layout")
    refused([1, 2], "holds a list that is no state_dict")
    with pytest.raises(ArtifactError, match="there is no checkpoint"):
        SasrecConfig(checkpoint=tmp_path / "none.pth").build(sessions)
    with pytest.raises(ConfigError, match="asks for random weights, and extractor.checkpoint names some"):
        SasrecConfig(checkpoint=path, random=True).build(sessions)


def test_a_checkpoint_that_holds_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("this must never run",)

    torch.save({"item_emb.weight": Evil()}, tmp_path / "m.pth")
    with pytest.raises(ArtifactError, match="cannot be read as weights alone"):
        load_sasrec(tmp_path / "m.pth", items=1, length=1, heads=1, order="last")


def test_the_published_checkpoint_has_the_published_architecture(shared):
    path = next(Path(shared).glob("SASRec.ml-1m*.pth"))
    model = load_sasrec(path, items=3416, length=200, heads=1, order="query").eval()
    assert len(model.blocks) == 2
    assert model.item_emb.weight.shape == (3417, 50)
    items = torch.zeros(2, 200, dtype=torch.int64)
    items[:, -3:] = torch.tensor([[1, 2, 3], [40, 50, 60]])
    assert torch.isfinite(model.scores(model(items))).all()


def test_training_here_is_deterministic_done_once_and_depends_on_its_settings(sessions, tmp_path, monkeypatch):
    config = SasrecConfig(width=16, epochs=1, seed=3)
    first = config.build(sessions)
    again = config.build(sessions)
    monkeypatch.setenv("OMNISAE_CACHE", str(tmp_path))
    anew = config.build(sessions)
    assert first.parent() == again.parent() == anew.parent()
    assert len(list((tmp_path / "recommendation").iterdir())) == 1
    assert config.model_copy(update={"seed": 4}).build(sessions).parent() != first.parent()


def test_training_learns_and_never_sees_what_is_held_out(sessions):
    pieces = windows(sessions).numpy()
    lessons = {tuple(sessions.histories.lesson(row)) for row in range(len(sessions))}
    for piece in pieces:
        events = piece[piece > 0]
        assert any(tuple(events) == lesson[i : i + len(events)] for lesson in lessons for i in range(len(lesson)))
    spans = sum(max(len(sessions.histories.lesson(row)) - 1, 0) for row in range(len(sessions)))
    assert ((pieces[:, 1:] > 0) & (pieces[:, :-1] > 0)).sum() == spans, "every pair of events teaches once"
    rows = range(len(sessions))
    loss = []
    for epochs, negatives in ((1, None), (12, None), (2, 2)):
        found = SasrecConfig(width=16, layers=1, epochs=epochs, lr=3e-3, batch=32, negatives=negatives).build(sessions)
        inputs = found.collate([found.prepare(sessions.load(row)) for row in rows])
        loss.append(float(found.loss(rows, inputs).mean()))
    assert loss[1] < loss[0] - 0.1, loss
    assert np.isfinite(loss[2])


def test_where_nothing_came_next_there_is_no_loss(world):
    data = AtomicConfig(root=str(world), history=12, holdout="none").build()
    found = SasrecConfig(width=8, random=True).build(data)
    loss = found.loss([0, 1], found.collate([found.prepare(data.load(row)) for row in (0, 1)]))
    assert torch.isnan(loss).all()


def test_empty_steps_leave_a_gru_at_zero():
    model = Gru4Rec(5, 4, 6, 2, 0.0).eval()
    items = torch.tensor([[0, 0, 0, 2, 4]])
    with torch.no_grad():
        state = model.layers[0](model.item_emb(items))
        assert (state[0, :3] == 0).all()
        torch.testing.assert_close(model(items)[:, -1], model(items[:, 3:])[:, -1])


def test_one_round_of_lightgcn_is_the_formula(sessions):
    graph = averaging(sessions).to_dense()
    users = len(sessions)
    row = 0
    mine = sorted({int(item) for item in sessions.histories.lesson(row)})
    degree = {i: sum(i in set(sessions.histories.lesson(u).tolist()) for u in range(users)) for i in mine}
    for item in mine:
        assert float(graph[row, users + item - 1]) == pytest.approx(1 / (len(mine) * degree[item]) ** 0.5)
    assert torch.equal(graph, graph.T)
    assert int((graph[row] > 0).sum()) == len(mine)


def test_the_last_event_can_be_kept_alone(sessions):
    found = SasrecConfig(width=8, random=True, last="role").build(sessions)
    (point,) = found.resolve([HookConfig(at="final")])
    assert point.roles == ("content", "last")
    tokens = found.extract([0, 1], found.collate([found.prepare(sessions.load(r)) for r in (0, 1)]), [point])
    batch = tokens.tokens[point.name]
    assert int((batch.role == 1).sum()) == 2
    events = [len(sessions.history(row)) for row in (0, 1)]
    assert torch.bincount(batch.example).tolist() == events


def test_a_hook_point_without_positions_and_another_dataset_are_refused(sessions):
    found = SasrecConfig(width=8, random=True).build(sessions)
    with pytest.raises(HookError, match="12 positions of a history in the second dimension are expected"):
        found.declare("blocks.0", "output", (2, 5, 8))
    from omnisae.extract.table_dataset import TableDataset

    with pytest.raises(DatasetError, match="needs users' histories, and the dataset is a TableDataset"):
        SasrecConfig().build(TableDataset.__new__(TableDataset))
    with pytest.raises(ConfigError, match="extractor.width 10 is no multiple of extractor.heads 4"):
        SasrecConfig(width=10, heads=4).build(sessions)
