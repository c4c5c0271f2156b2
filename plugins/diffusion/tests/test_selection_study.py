"""The study of selections: planted concepts are found by every formula, and held-out numbers say so."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csc_array, csr_array
from scipy.stats import kstest

import omnisae
from omnisae.autoencoders.codes import Codes
from omnisae.config_file import load
from omnisae.errors import ConfigError, DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.hooks.point import HookPoint, Told
from omnisae.pipeline import run
from omnisae.postings.health import Reconstruction, health
from omnisae.postings.postings import Postings
from omnisae.postings.writer import PostingsWriter
from omnisae.studies.study import Material
from omnisae.tokens.batch import TokenBatch
from omnisae.tokens.filter import TokenFilter
from omnisae_diffusion.evaluation import choosing
from omnisae_diffusion.evaluation.choosing import Choosing
from omnisae_diffusion.evaluation.selection import Selection
from omnisae_diffusion.plugin import PromptsConfig
from omnisae_diffusion.plugin_edits import DeactivateConfig, SteerConfig
from omnisae_diffusion.plugin_studies import SelectionConfig
from omnisae_diffusion.selection import content, pairing, pairs, quality
from omnisae_diffusion.selection.table import LatentTable

HERE = Path(__file__).resolve()
CONFIGS = HERE.parents[3] / "configs" / "diffusion"
spec = importlib.util.spec_from_file_location("tiny_pipelines", HERE.with_name("tiny.py"))
assert spec is not None
assert spec.loader is not None
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)


# -- token maxima and calls --------------------------------------------------------------------------------------------


def test_maxima_are_of_content_tokens_by_a_loop(tmp_path):
    random = np.random.default_rng(0)
    dense = np.where(random.random((12, 5)) < 0.4, random.random((12, 5)) + 0.1, 0).astype(np.float32)
    example, role = np.repeat(np.arange(4), 3), np.tile([1, 0, 0], 4).astype(np.uint8)
    point = HookPoint(name="t", at=("text",), width=3, pattern="example ([bos] + position) d", sizes={"position": 2})
    place = np.tile([-1, 0, 1], 4)[:, None]
    writer = PostingsWriter(
        tmp_path / "c", point, TokenFilter(), 5, np.full(4, SELECT, dtype=np.uint8), {}, signed=False
    )
    with writer:
        offsets = np.concatenate([[0], np.cumsum((dense != 0).sum(axis=1))])
        writer.append(example, place, role, offsets, np.nonzero(dense)[1], dense[dense != 0])
        writer.finish(health(Reconstruction(), writer.counts, len(dense)))
    want = np.zeros((4, 5), dtype=np.float32)
    for token in range(12):
        if role[token] == 0:
            want[example[token]] = np.maximum(want[example[token]], dense[token])
    np.testing.assert_array_equal(content.maxima(Postings.open(tmp_path / "c")).toarray(), want)


class Source:
    """Tokens of three examples at two times, read in batches that cut examples."""

    hook = HookPoint(
        name="h", at=("unet.mid",), width=1, pattern="example d y x", sizes={"y": 1, "x": 2},
        told={"timestep": Told(module="unet", argument="timestep", ticks=(900.0, 100.0))},
    )  # fmt: skip

    def sequential(self, keep, examples=None, batch=5):
        axes = self.hook.axes
        for start in range(0, 12, batch):
            rows = torch.arange(start, min(start + batch, 12))
            coords = torch.zeros(len(rows), len(axes), dtype=torch.int32)
            coords[:, axes.index("timestep")] = (rows % 4 // 2).int()
            yield TokenBatch(
                rows[:, None].float(), (rows // 4).int(), coords, torch.zeros(len(rows), dtype=torch.uint8)
            )


def test_calls_are_whole_examples_split_by_time():
    found = list(content.calls(Source(), TokenFilter(), np.ones(3, dtype=bool)))
    assert [row for *_, row in found] == [0, 1, 2]
    for x, call, count, row in found:
        assert count == 2
        assert x[:, 0].tolist() == [4.0 * row + i for i in range(4)]
        assert call.tolist() == [0, 0, 1, 1]


# -- pairs -------------------------------------------------------------------------------------------------------------


def test_pairs_agree_in_the_other_columns_and_no_prompt_stands_in_two():
    ink = ["a", "b", "a", "b", "a", "b", "b", "c"]
    sources, targets = pairing.paired(np.arange(4), np.arange(4, 8), [ink], 9, [0])
    assert len(sources) == 3  # one partner in a, two in b
    assert [ink[row] for row in sources] == [ink[row] for row in targets]
    assert len(set(sources.tolist())) == len(set(targets.tolist())) == 3
    assert len(pairing.paired(np.arange(4), np.arange(4, 8), [], 2, [0])[0]) == 2
    with pytest.raises(DatasetError) as error:
        pairing.paired(np.array([7]), np.array([0, 1]), [ink], 9, [0])
    assert error.value.problem == (
        "none of 1 prompts with the concept has a partner among 2 others with equal words in the 1 columns that pairs "
        "must agree in"
    )
    assert error.value.remedy == "name fewer columns in `match` ([]: any two prompts make a pair), or add prompts"


def test_a_planted_direction_agrees_with_held_out_pairs():
    random = np.random.default_rng(1)
    sources, targets = random.random((2, 24, 40))
    targets[:, 7], sources[:, 7] = 3.0, 0.0
    along = pairs.direction(csr_array(sources[:12]), csr_array(targets[:12]), 97.0)
    assert int(np.abs(along).argmax()) == 7
    held = pairing.agreement(along, csr_array(sources[12:]), csr_array(targets[12:]), 97.0, draws=199)
    assert held.cosine > 0.9
    assert (held.pairs, held.p) == (12, 1 / 200)
    assert held.control < 0.6
    back = pairing.agreement(along, csr_array(targets[12:]), csr_array(sources[12:]), 97.0, draws=199)
    assert back.p > 0.9


def test_without_an_attribute_the_ps_of_agreement_are_uniform():
    random, ps = np.random.default_rng(2), []
    for trial in range(80):
        sources, targets = (csr_array(one) for one in random.random((2, 12, 16)))
        ps.append(pairing.agreement(random.random(16), sources, targets, 80.0, draws=99, seed=trial).p)
    assert kstest(ps, "uniform").pvalue > 0.01


# -- projections -------------------------------------------------------------------------------------------------------


def sides(n):
    fit = np.arange(n) % 2 == 0
    return {"fit": fit, "test": ~fit}


def test_a_planted_direction_tells_held_out_examples_and_random_ones_do_not():
    random = np.random.default_rng(3)
    values, labels = random.random((60, 30)) * (random.random((60, 30)) < 0.7), (np.arange(60) // 2 % 2).astype(float)
    values[labels == 1, 4] += 2.0
    along = np.zeros(30)
    along[[4, 9]] = 1.0, 0.1
    told = quality.projection(csc_array(values), along, labels, **sides(60))
    assert told.auroc == 1.0
    assert told.p < 0.05
    assert abs(told.control - 0.5) < 0.15
    assert (told.positives, told.negatives, told.draws) == (15, 15, 100)
    beside = np.stack([along, *np.eye(30)[10:]], axis=1)
    assert quality.against(csc_array(values), beside, labels, **sides(60)).p == pytest.approx(1 / 21)


def test_without_a_concept_the_ps_of_projections_are_uniform():
    random, ps = np.random.default_rng(4), []
    for _ in range(80):
        values = random.random((40, 60))
        along = np.zeros(60)
        along[random.choice(60, 3, replace=False)] = random.random(3) + 0.5
        labels = random.permutation(np.arange(40) % 2).astype(float)
        ps.append(quality.projection(csc_array(values), along, labels, draws=39, **sides(40)).p)
    assert kstest(ps, "uniform").pvalue > 0.01


# -- the study ---------------------------------------------------------------------------------------------------------

THINGS, STYLES = ("cat", "dog"), ("ink", "chalk")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run over a tiny text encoder: prompts of two objects, told apart by a word."""
    where, threads = tmp_path_factory.mktemp("selection"), torch.get_num_threads()
    torch.set_num_threads(1)
    rows = [(THINGS[i % 2], STYLES[i // 2 % 2]) for i in range(24)]
    told = [{"prompt": f"a {a} in {b}", "concept": a, "style": b} for a, b in rows]
    pd.DataFrame(told).to_csv(where / "prompts.csv", index=False)
    tiny.PIPELINES["stable_diffusion"](folder=where / "model")
    changes = (
        f"dataset.table={where / 'prompts.csv'}", "dataset.concepts=[concept,style]",
        f"extractor.model={where / 'model'}", "extractor.variant=null", "extractor.device=cpu", "extractor.steps=2",
        "extractor.dtype=float32", "extractor.batch_size=24", "autoencoder.latents=48", "autoencoder.activation.k=4",
        "autoencoder.auxk.k=8", "train.tokens=1500", "train.batch=256", "train.examples=0.2", "score.min_positives=1",
        "score.controls.permutations=19", "store.workers=0", "report.latents=2", "report.examples=2",
        "report.random_examples=1", "score.studies.0.k_retained=2",
    )  # fmt: skip
    yield run(load(CONFIGS / "text_encoder.yaml", changes), where / "run")
    torch.set_num_threads(threads)


def artifact_of(folder):
    return next(folder.rglob("*/autoencoder.safetensors"), folder / "sae" / "x").parent


def study_of(folder):
    (found,) = [
        one for one in json.loads((folder / "studies.json").read_text())["studies"] if "selection" in json.dumps(one)
    ]
    return found


def test_the_study_writes_tables_that_operations_take(folder):
    found = study_of(folder)
    assert not found["failed"]
    assert set(found["tables"]) == {"By itd", "By saedit", "By steerers"}
    assert found["tables"]["By itd"]
    written = sorted(folder.rglob("tables/*.safetensors"))
    assert any(path.stem.startswith("itd_") for path in written)
    assert {path.stem for path in written} >= {f"{m}_concept_{t}" for m in ("saedit", "steerers") for t in THINGS}
    sae = omnisae.load(artifact_of(folder))
    for path in written:
        table = LatentTable.load(path)
        config = DeactivateConfig if table.method == "itd" else SteerConfig
        (ready,) = sae.prepared([config(table=path)])
        assert len(ready.table.latents) > 0
    for row in found["tables"]["By steerers"]:
        assert row["prompt"].startswith("a ")
        assert 0 <= row["AUROC"] <= 1


# -- planted material --------------------------------------------------------------------------------------------------

POINT = HookPoint(
    name="h", at=("unet.mid",), width=8, pattern="example d y x", sizes={"y": 1, "x": 2},
    told={"timestep": Told(module="unet", argument="timestep", ticks=(900.0, 100.0))},
)  # fmt: skip


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Prompts of three words in two styles; those of word w fire latent w, in each of two times. Latents decode to
    themselves."""
    random = np.random.default_rng(5)
    word = np.repeat(np.arange(3), 16)
    split = np.tile(np.array([SELECT, TEST], dtype=np.uint8), 24)
    dense = np.where(random.random((48, 4, 8)) < 0.4, random.random((48, 4, 8)) * 0.5, 0).astype(np.float32)
    dense[:, :, :3] = 0
    dense[np.arange(48), :, word] = 2.0
    tokens = dense.reshape(-1, 8)
    coords = np.tile([[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 0, 1]], (48, 1))
    writer = PostingsWriter(tmp_path / "codes", POINT, TokenFilter(), 8, split, {}, signed=False)
    with writer:
        offsets = np.concatenate([[0], np.cumsum((tokens != 0).sum(axis=1))])
        role = np.zeros(len(tokens), dtype=np.uint8)
        writer.append(np.repeat(np.arange(48), 4), coords, role, offsets, np.nonzero(tokens)[1], tokens[tokens != 0])
        writer.finish(health(Reconstruction(), writer.counts, len(tokens)))
    rows = [{"prompt": f"{'abc'[w]}{i}", "letter": "abc"[w], "style": "xy"[i // 2 % 2]} for i, w in enumerate(word)]
    pd.DataFrame(rows).to_csv(tmp_path / "prompts.csv", index=False)
    dataset = PromptsConfig(table=str(tmp_path / "prompts.csv"), concepts=("letter", "style")).build()

    class Tokens:
        hook = POINT

        def sequential(self, keep, examples=None, batch=4096):
            kept = np.flatnonzero(np.repeat(examples, 4))
            yield TokenBatch(
                torch.from_numpy(tokens[kept]), torch.from_numpy(kept // 4), torch.from_numpy(coords[kept]),
                torch.zeros(len(kept), dtype=torch.uint8),
            )  # fmt: skip

    sae = SimpleNamespace(
        identity="a" * 64,
        info=SimpleNamespace(tokens=SimpleNamespace(select=TokenFilter(), evaluate=TokenFilter())),
        encode=lambda x, check: Codes.from_dense(x),
        decode=lambda codes: codes.dense(),
    )
    monkeypatch.setattr(choosing.SAE, "load", lambda path: sae)
    return Material(Postings.open(tmp_path / "codes"), Tokens(), dataset, None, tmp_path, (), {}, (), 0, tmp_path)


def test_every_formula_finds_the_planted_latents_and_tells_held_out_prompts(planted):
    one = Choosing(planted, SelectionConfig(column="letter", percentile=80, k=1, ratio_percentile=87.5, draws=20))
    assert one.methods == ("saeuron", "itd", "saedit")
    for method in one.methods:
        for number, (concept, found) in enumerate(one.found(method).items()):
            assert found.table is not None
            assert number in found.table.latents
            assert found.table.concept == concept == f"letter={'abc'[number]}"
            assert found.line["AUROC"] > 0.95  # beside the planted latent stand some of noise
            assert (found.line["n own"], found.line["n others"]) == (8, 16)
            if method == "itd":
                assert found.table.latents.tolist() == [number]
                # Own tokens change by 9 · 2 in one of eight dimensions, at each of two times; others by nothing.
                assert found.table.facts["gate"]["threshold"] == pytest.approx(0.99 * 18**2 / 8)
                assert (found.line["found"], found.line["mistaken"]) == (1.0, 0.0)
                assert (found.line["n found"], found.line["n mistaken"]) == (16, 32)
            if method == "saedit":
                assert found.line["cosine"] > 0.95
                assert found.line["test pairs"] == found.line["pairs"] == 8


def test_a_concept_that_leaves_no_latent_gets_no_table(planted):
    (planted.folder / "tables").mkdir()
    (planted.folder / "tables" / "itd_style_x.safetensors").write_bytes(b"of another run")
    nothing = SelectionConfig(column="style", methods=("itd",), k=1)
    told = Selection(nothing).study(planted)
    assert [row["latents"] for row in told.tables["By itd"]] == [0, 0]
    assert not (planted.folder / "tables" / "itd_style_x.safetensors").exists()
    assert told.findings == []
    assert told.notes[1] == (
        "itd left no latent of style=x, and wrote no table: each of its 1 strongest is among the 1 strongest of some "
        "other select prompt. Set k_retained lower, or train more latents."
    )


@pytest.mark.parametrize(
    ("given", "problem", "remedy"),
    [
        (
            {"column": "letter", "methods": ("steerers",)},
            "methods: steerers selects along 'position', and hook point 'h' lies along timestep, y, x",
            "leave it out of `methods`, or ask at a text encoder's hook point",
        ),
        (
            {"column": "letter", "concepts": ("d",)},
            "concepts: column 'letter' has no 'd'",
            "choose from: a, b, c",
        ),
        (
            {"column": "letter", "methods": ("saedit",), "match": ("letter",)},
            "match: 'letter' is the column of concepts, in which pairs differ",
            "name other columns, or none",
        ),
    ],
)
def test_what_does_not_fit_is_said(planted, given, problem, remedy):
    with pytest.raises(ConfigError) as error:
        Selection(SelectionConfig(**given)).study(planted)
    assert (error.value.problem, error.value.remedy) == (problem, remedy)


def test_a_concept_on_one_side_alone_is_said(planted):
    planted.dataset.table["letter"] = ["a" if i in (0, 2) else "b" for i in range(48)]
    with pytest.raises(DatasetError) as error:
        Choosing(planted, SelectionConfig(column="letter"))
    assert error.value.problem == "the test side has 0 prompts of 'letter=a' and 24 of others"
    assert error.value.remedy == (
        "both are needed: leave the concept out, add prompts, or split otherwise (score.split)"
    )
