"""The report as a folder: what it holds, what it says, and what it leaves out."""

import json
import os
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnisae.errors import RunError
from omnisae.postings.poles import Poles
from omnisae.postings.writer import PostingsWriter
from omnisae.report import build as building
from omnisae.report.build import build
from omnisae.report.facts import COLUMNS, read
from omnisae.report.tables import write_concepts
from omnisae.report.visualizer import Figure, Visualizer
from omnisae.tokens.filter import TokenFilter


def chunk(run, name):
    text = (run / "report" / "data" / f"{name}.js").read_text()
    return json.loads(re.fullmatch(r'omnisae\.put\("[^"]*",(.*)\);\n', text, re.DOTALL).group(1))


@pytest.fixture(scope="module")
def built(world, tmp_path_factory):
    made = world.make(tmp_path_factory.mktemp("run"), n=120, side=24, latents=55, grid=6, per_latent=25)
    build(*made.parts())
    return made


def test_every_shown_example_is_read_once(built):
    assert len(set(built.dataset.loads)) == len(built.dataset.loads)
    shown = {
        row
        for path in (built.run / "report/data/pages/0").glob("*.js")
        for row in chunk(built.run, f"pages/0/{path.stem}")["examples"]
    }
    assert {int(row) for row in shown} == set(built.dataset.loads)


def test_overview_says_health_controls_and_warnings_with_their_n(built):
    text = (built.run / "report/index.html").read_text()
    assert "0.873" in text
    assert f"n = {built.postings.n_tokens:,}".replace(",", "\u202f") in text
    assert "0 is the mean activation everywhere, 1 is the model untouched (loss 1.23, 0.46 with" in text
    assert "have a latent that beats every control" in text
    assert "The concept “purple” was not scored" in text
    assert "1 example could not be read and was skipped: disc-00003" in text
    assert "Fewer than 20 positive test examples" in text
    assert 'class="mark neuron"' in text


def test_no_path_of_a_file_is_shown(built):
    for path in (built.run / "report").rglob("*"):
        if path.suffix in (".html", ".js"):
            text = path.read_text()
            assert "/secret" not in text
            assert str(built.run) not in text


def test_nothing_points_to_the_network(built):
    for path in (built.run / "report").rglob("*"):
        if path.suffix in (".html", ".js", ".css"):
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, never fetched
            assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", text.replace("// ", "")), path


def test_concepts_are_sorted_by_margin_and_chosen_on_select(built):
    rows = chunk(built.run, "concepts/0")["rows"]
    best = [i for i, rank in enumerate(rows["rank"]) if rank == 0]
    margins = [rows["margin"][i] for i in best]
    known = [m for m in margins if m is not None]
    assert known == sorted(known, reverse=True)
    assert margins[len(known) :] == [None] * (len(margins) - len(known))
    first = {}
    for claim in read(built.run, built.postings.poles).claims:
        first.setdefault(claim.concept, claim.latent)
    assert {rows["concept"][i]: rows["latent"][i] for i in best} == first


def test_latent_table_agrees_with_the_posting_lists(built):
    rows = chunk(built.run, "latents/0")["rows"]
    lists = built.postings
    for latent in (0, 7, 49):
        tokens, values = lists.entries(latent)
        assert rows["frequency"][latent] == pytest.approx(len(tokens) / lists.n_tokens, rel=1e-3)
        assert rows["examples"][latent] == len(np.unique(lists.example[tokens]))
        assert rows["maximum"][latent] == pytest.approx(values.max(initial=0), rel=1e-3)
    assert rows["drawn"][49] == 0


def test_pages_hold_the_values_of_the_posting_lists(built):
    page = chunk(built.run, "pages/0/5")
    row = page["top"][0]
    tokens, values = built.postings.entries(5)
    here = built.postings.example[tokens] == row
    heat = next(group for group in page["drawings"] if group["title"] == "Heatmap")["examples"][str(row)][0]
    assert sum(heat["v"]) == pytest.approx(float(values[here].sum()), rel=1e-2)
    assert page["ceiling"] == pytest.approx(float(values.max()), rel=1e-3)
    assert page["examples"][str(row)]["strength"] == page["ceiling"]
    assert all(built.postings.split[int(r)] in (1, 2) for r in page["examples"])
    assert (built.run / "report" / heat["picture"]["src"]).exists()


def test_latents_beyond_the_limit_have_numbers_and_no_pictures(world, tmp_path):
    made = world.make(tmp_path, n=60, side=16, latents=40, grid=4, per_latent=10)
    made.config = world.config(latents=5)
    build(*made.parts())
    assert len(list((tmp_path / "report/data/pages/0").glob("*.js"))) == 5
    assert sum(facts["drawn"] for facts in chunk(tmp_path, "brief/0")["latents"]) == 5
    assert "5 of them have drawings" in (tmp_path / "report/latents.html").read_text()


def test_a_bare_run_gives_a_report_that_says_what_is_missing(world, tmp_path):
    made = world.make(tmp_path, n=60, side=16, latents=12, grid=4, per_latent=10, bare=True, maps=False, pictures=False)
    (tmp_path / "codes").mkdir()
    (tmp_path / "codes/health.json").write_text(
        '{"explained_variance": 0.512, "l0": 2, "dead_fraction": 0, "tokens": 7}'
    )
    build(*made.parts())
    text = (tmp_path / "report/index.html").read_text()
    assert "0.512" in text
    assert "n = 7 test tokens" in text
    assert "No concept was scored" in text
    assert "no concepts that could be scored" in text
    assert "loss of its own" in text
    page = chunk(tmp_path, "pages/0/0")
    assert all(d["picture"] is None for group in page["drawings"] for ds in group["examples"].values() for d in ds)


def test_a_run_whose_latents_are_all_dead_is_reported(world, tmp_path):
    made = world.make(tmp_path, n=60, side=16, latents=12, grid=4, per_latent=10)
    lists = made.postings
    lists.offsets, lists.token, lists.value = np.zeros(13, np.int64), lists.token[:0], lists.value[:0]
    lists.__dict__.pop("maxima", None)
    build(*made.parts())
    assert "No latent fires" in (tmp_path / "report/index.html").read_text()


def test_hostile_names_are_text_everywhere(world, tmp_path):
    made = world.make(tmp_path, n=60, side=16, latents=12, grid=4, per_latent=10, hostile=True, name="<b>run</b>")
    build(*made.parts())
    for path in (tmp_path / "report").rglob("*"):
        if path.suffix == ".html":
            text = path.read_text()
            assert "<script>alert" not in text
            assert "<img src=x" not in text
            assert "<b>run" not in text
            assert "49" not in re.findall(r'class="name"[^>]*>([^<]*)<', text)
        if path.suffix == ".js" and "data" in path.parts:
            assert "<" not in path.read_text()


def test_an_unreadable_picture_is_left_out_and_named_by_its_id(world, tmp_path):
    made = world.make(tmp_path, n=40, side=16, latents=4, grid=4, per_latent=40, unreadable=range(40))
    build(*made.parts())
    text = (tmp_path / "report/index.html").read_text()
    assert re.search(r"The picture of \d+ examples could not be read: disc-000", text)
    assert "/secret" not in text


class Broken(Visualizer):
    def title(self):
        return "broken"

    def draw_latent(self, view):
        raise ZeroDivisionError("no luck")


class Files(Visualizer):
    def title(self):
        return "files"

    def draw_latent(self, view):
        return [Figure("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a file", "nothing")]


def test_a_visualizer_that_raises_is_left_out_and_named(world, tmp_path, monkeypatch):
    made = world.make(tmp_path, n=40, side=16, latents=4, grid=4, per_latent=20)
    monkeypatch.setattr(building, "_visualizers", lambda config: ({"x.broken": Broken(), "x.files": Files()}, {}))
    build(*made.parts())
    assert (
        "The visualizer x.broken failed and is left out: ZeroDivisionError: no luck"
        in (tmp_path / "report/index.html").read_text()
    )
    (group,) = chunk(tmp_path, "pages/0/0")["drawings"]
    assert (tmp_path / "report" / group["latent"][0]["src"]).read_bytes().startswith(b"<svg")


def test_the_former_report_stays_until_the_new_one_is_whole(world, tmp_path, monkeypatch):
    made = world.make(tmp_path, n=40, side=16, latents=4, grid=4, per_latent=20)
    first = build(*made.parts()).read_text()
    (tmp_path / "report" / "stale.txt").write_text("old")

    def crash(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(building, "write_pages", crash)
        with pytest.raises(OSError, match="disk full"):
            build(*made.parts())
    assert (tmp_path / "report" / "index.html").read_text() == first
    build(*made.parts())
    assert not (tmp_path / "report" / "stale.txt").exists()
    assert sorted(os.listdir(tmp_path)) == sorted(set(os.listdir(tmp_path)) - {"report.tmp", "report.old"})


def test_concepts_of_one_name_on_two_levels_are_two_and_further_metrics_are_shown(tmp_path):
    row = dict.fromkeys(COLUMNS, 0.5) | {"latent": 1, "n_select": 9, "n_test": 9, "concept": "a"}
    rows = [row | {"level": level, "x.metric": 7.25} for level in ("example", "token", "token")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "concepts.parquet")
    facts = read(tmp_path, Poles(2))
    claims = facts.claims
    assert [(claim.level, claim.rank) for claim in claims] == [("example", 0), ("token", 0), ("token", 1)]
    write_concepts(tmp_path, facts)
    text = (tmp_path / "data/concepts/0.js").read_text()
    assert '"x.metric":[7.25,7.25,7.25]' in text


def test_real_posting_lists_give_the_same_chunks_as_arrays(world, tmp_path):
    made = world.make(tmp_path, n=60, side=16, latents=12, grid=4, per_latent=10)
    build(*made.parts())
    names = ("latents/0", "brief/0", "pages/0/0", "pages/0/5")
    arrays = {name: chunk(tmp_path, name) for name in names}
    lists = made.postings
    codes = np.zeros((lists.n_tokens, lists.latents), np.float32)
    for latent in range(lists.latents):
        tokens, values = lists.entries(latent)
        codes[tokens, latent] = values
    rows, latents = codes.nonzero()
    offsets = np.r_[0, np.cumsum((codes != 0).sum(axis=1))]
    with PostingsWriter(tmp_path / "codes", lists.hook, TokenFilter(), lists.latents, lists.split) as writer:
        writer.append(lists.example, lists.coords, lists.role, offsets, latents, codes[rows, latents])
        made.postings = writer.finish({})
    build(*made.parts())
    for name in names:
        assert chunk(tmp_path, name) == arrays[name]


def test_poles_have_names_and_pages_of_their_own(world, tmp_path):
    made = world.make(tmp_path, n=120, side=24, latents=60, grid=6, per_latent=25, signed=True)
    build(*made.parts())
    lists = made.postings
    assert (lists.latents, len(lists.poles)) == (30, 60)
    run = chunk(tmp_path, "run")
    assert (run["latents"], run["signed"]) == (30, True)
    table = chunk(tmp_path, "latents/0")["rows"]
    assert table["latent"][:2] + table["latent"][30:32] == ["0+", "1+", "0-", "1-"]
    claims = read(tmp_path, lists.poles).claims
    assert {claim.latent for claim in claims} == {lists.poles.name(claim.pole) for claim in claims}
    assert set(chunk(tmp_path, "concepts/0")["rows"]["latent"]) <= set(table["latent"])
    brief = chunk(tmp_path, "brief/0")["latents"]
    assert brief[35]["count"] == len(lists.entries(35)[0])
    assert (brief[35]["other"]["latent"], brief[5]["other"]["latent"]) == ("5+", "5-")
    assert brief[5]["other"]["count"] == brief[35]["count"]
    assert brief[30]["effect"]["latent"] == "0-"
    assert [one["latent"] for one in brief[30]["effect"]["controls"]] == ["1+", "2+", "3+"]
    page = chunk(tmp_path, "pages/0/35")
    assert page["ceiling"] == pytest.approx(float(lists.entries(35)[1].max()), rel=1e-3)
    histogram = next(group for group in page["drawings"] if group["title"] == "How strongly it fires")["latent"][0]
    assert histogram["caption"].startswith("Magnitudes of codes below zero, n = ")
    text = (tmp_path / "report/index.html").read_text()
    assert "30 latents of two poles each" in text
    assert "Bipolar latents" in text
    assert 'href="latent.html#0+"' in text
    assert re.search(r"F1 of latent \d+[+−]: ", text)
    assert "the sign of the codes meant" in (tmp_path / "report/latents.html").read_text()


def test_a_damaged_file_is_named(world, tmp_path):
    made = world.make(tmp_path, n=40, side=16, latents=4, grid=4, per_latent=20)
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(RunError, match=r"metrics\.json is not JSON"):
        build(*made.parts())
    (tmp_path / "metrics.json").write_text("{}")
    (tmp_path / "concepts.parquet").write_bytes(b"PAR1nonsense")
    with pytest.raises(RunError, match=r"concepts\.parquet is not a Parquet table"):
        build(*made.parts())


def test_the_foot_names_the_parts_that_the_config_sets() -> None:
    from omnisae.autoencoders.configs import ArchetypalConfig, TopKConfig
    from omnisae.config import AutoencoderConfig
    from omnisae.report.build import _parts

    plain = AutoencoderConfig(latents=8, activation=TopKConfig(k=2))
    assert _parts(plain) == ["core.topk, k 2"]
    mixed = AutoencoderConfig(latents=8, activation=TopKConfig(k=2), decoder=ArchetypalConfig(points=16))
    assert _parts(mixed) == ["core.topk, k 2", "core.archetypal, points 16"]
