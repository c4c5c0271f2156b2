"""Drawings of latents over histories and items: what they show, and that every text is escaped."""

from functools import partial

import numpy as np
import pytest

from omnisae.extract.split import SELECT, TEST
from omnisae.hooks.point import HookPoint
from omnisae.report.visualizer import Firing, LatentView
from omnisae.testing import VisualizerTests
from omnisae_recommendation.plugin_datasets import AtomicConfig
from omnisae_recommendation.plugin_views import ItemsConfig, SequenceConfig
from omnisae_recommendation.views.sequence import strengths, window


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Users who take six items; items 0 and 1 are of one kind, and one title is a script."""
    root = tmp_path_factory.mktemp("views")
    random = np.random.default_rng(0)
    lines = [f"u{u}\ti{i}\t{t}\n" for u in range(20) for t, i in enumerate(random.permutation(6))]
    (root / "v.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n" + "".join(lines))
    names = ["<script>alert(1)</script>", "One & One", "Two", "Three", "Four", "Five"]
    items = [f"i{i}\t{name}\t{'first' if i < 2 else 'rest'}\n" for i, name in enumerate(names)]
    (root / "v.item").write_text("item_id:token\ttitle:token_seq\tkind:token\n" + "".join(items))
    return AtomicConfig(root=str(root), history=8, concept_items=1).build()


def fires_at_first(data, row, size=8):
    """A latent that fires where the item is of the kind `first`."""
    items = data.history(row)
    at = np.flatnonzero(data.concept("kind=first")[items - 1])
    slots = data.slots(row)[at]
    return Firing(
        row, slots[:, None].astype(np.int32), np.linspace(1, 2, len(at)).astype(np.float32), {"position": size}
    )


def view_of(data):
    hook = HookPoint(name="h", at=("blocks.0",), pattern="example position d", sizes={"position": 8}, width=4)
    firing = partial(fires_at_first, data)
    strength = np.array([firing(row).values.max(initial=0) for row in range(len(data))])
    split = np.where(np.arange(len(data)) % 2, SELECT, TEST).astype(np.uint8)
    return LatentView(3, hook, 2.0, strength, data, None, np.ones(len(data), bool), split, firing_in=firing)


class _View(VisualizerTests):
    @pytest.fixture
    def view(self, data):
        return view_of(data)


class TestSequence(_View):
    @pytest.fixture
    def config(self):
        return SequenceConfig()

    @pytest.fixture
    def firing(self, data):
        return fires_at_first(data, 0)


class TestItems(_View):
    @pytest.fixture
    def config(self):
        return ItemsConfig()


def test_every_item_of_a_history_stands_there_in_order_with_its_strength(data):
    view = view_of(data)
    firing = fires_at_first(data, 0)
    (figure,) = SequenceConfig().build().draw_example(view, firing)
    text = figure.data.decode().partition(">")[2]  # beyond the label, which names the strongest first
    titles = [data.items.titles[i - 1] for i in data.history(0)]
    assert text.count('class="level"') == len(firing.values)
    assert "<script" not in text
    places = [text.index(title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")) for title in titles]
    assert places == sorted(places)
    assert f"fires at {len(firing.values)} of 5 events" in figure.alt
    assert f"next came {data.items.titles[data.histories.target(0) - 1]}" in figure.caption


def test_items_and_concepts_of_a_planted_latent_lead_the_tables(data):
    items, concepts = ItemsConfig().build().draw_latent(view_of(data))
    assert "&lt;script&gt;alert(1)" in items.data.decode()
    assert items.data.count(b"<tr>") == 3, "the head and the two items at which it fires"
    assert "One &amp; One" in items.data.decode()
    assert concepts.data.count(b"<tr>") == 2
    assert "most of all kind=first: 1.000 against 0." in concepts.alt
    assert "kind=rest" not in concepts.data.decode()


def test_the_last_events_token_and_masks_are_put_where_they_belong(data):
    last = HookPoint(
        name="h", at=("x",), pattern="example (position + [last]) d", sizes={"position": 7, "last": 1}, width=4
    )
    view = view_of(data)
    one = Firing(0, np.array([[6], [-1]]), np.array([1.0, 3.0]), {"position": 7})
    with_last = LatentView(0, last, 3.0, view.strength, data, None)
    assert strengths(with_last, one, data).tolist() == [0, 0, 0, 1, 3]
    masked = HookPoint(
        name="h", at=("x",), pattern="example (position + [mask]) d", sizes={"position": 8, "mask": 1}, width=4
    )
    behind = Firing(0, np.array([[7], [-1]]), np.array([1.0, 3.0]), {"position": 8})
    assert strengths(LatentView(0, masked, 3.0, view.strength, data, None), behind, data).tolist() == [0, 0, 0, 0, 1]


def test_of_a_long_history_the_events_around_the_strongest_are_drawn():
    values = np.zeros(50)
    values[30] = 1
    assert window(values, 50) == range(50)
    assert window(values, 10) == range(25, 35)
    assert window(np.eye(50)[49], 10) == range(40, 50)


def test_other_datasets_are_not_drawn(data):
    view = view_of(data)
    other = LatentView(0, view.hook, 1.0, view.strength, object(), None, firing_in=view.firing_in)
    assert not SequenceConfig().build().applies(other)
    assert not ItemsConfig().build().applies(other)
