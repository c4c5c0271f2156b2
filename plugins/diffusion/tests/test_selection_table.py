"""Tables of latents: what they hold for, what they refuse and how they say it, and their files."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from omnisae.errors import ArtifactError
from omnisae_diffusion.selection.entry import EVERYWHERE, Entry
from omnisae_diffusion.selection.table import LatentTable

TIMES = (950.0, 900.0, 850.0, 800.0)


def entries(count):
    return tuple(
        Entry.of([step, 20 + step], gates=[0.1 * step, EVERYWHERE], targets=[1.5, -2], scores=[0.25, 0.125])
        for step in range(count)
    )


def made(times=TIMES, **settings):
    given = {"method": "saeuron", "concept": "7", "identity": "a" * 40, "hook": "mid"} | settings
    return LatentTable(entries=given.pop("entries", entries(len(times))), times=times, **given)


def same(one, two):
    assert (one.about, one.times, one.binds) == (two.about, two.times, two.binds)
    for a, b in zip(one.entries, two.entries, strict=True):
        for name in ("latents", "gates", "targets", "scores"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
            assert getattr(a, name).dtype == getattr(b, name).dtype


def test_what_is_saved_is_loaded(tmp_path):
    table = made(facts={"percentile": 99.99, "τ": None, "n": [1, 2]}, binds="steps")
    table.save(tmp_path / "deep" / "7.safetensors")
    same(LatentTable.load(tmp_path / "deep" / "7.safetensors"), table)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["7.safetensors"]
    flat = LatentTable("itd", "a cat", "b", "text", (Entry.of([3]),), axis=None)
    flat.save(tmp_path / "cat.safetensors")
    same(LatentTable.load(tmp_path / "cat.safetensors"), flat)
    assert flat.at().latents.tolist() == [3]
    assert flat.at(123.0) is flat.at_step(5) is flat.entries[0]


def test_times_without_a_latent_keep_their_place(tmp_path):
    table = made(entries=(Entry.of([]), Entry.of([5]), Entry.of([]), Entry.of([6, 5])))
    table.save(tmp_path / "t")
    found = LatentTable.load(tmp_path / "t")
    assert [len(entry) for entry in found.entries] == [0, 1, 0, 2]
    assert found.at(800).latents.tolist() == [6, 5]
    assert found.latents.tolist() == [5, 6]


def test_a_failed_write_leaves_the_old_table(tmp_path):
    table = made()
    table.save(tmp_path / "t")
    with pytest.raises(ArtifactError, match="t: the facts of the table cannot be written as JSON"):
        made(facts={"n": float("nan")}).save(tmp_path / "t")
    with pytest.raises(ArtifactError, match="not JSON serializable"):
        made(facts={"n": np.zeros(2)}).save(tmp_path / "t")
    same(LatentTable.load(tmp_path / "t"), table)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("told", "step"), [(950, 0), (901, 1), (925, 0), (924.9, 1), (825, 2), (780, 3), (975, 0), (775.5, 3)]
)
def test_the_entry_is_that_of_the_nearest_time(told, step):
    assert made().at(told).latents[0] == step


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 999), min_size=2, max_size=12, unique=True), st.integers(-50, 1100))
def test_nearness_by_a_loop(times, told):
    table = made(tuple(float(time) for time in times))
    gaps = sorted(b - a for a, b in zip(sorted(times)[:-1], sorted(times)[1:], strict=True))
    middle = gaps[len(gaps) // 2] if len(gaps) % 2 else (gaps[len(gaps) // 2 - 1] + gaps[len(gaps) // 2]) / 2
    distance, step = min((abs(time - told), step) for step, time in enumerate(times))
    if distance <= middle / 2 + 1e-3 * max(times):
        assert table.places([told]).tolist() == [step]
    else:
        with pytest.raises(ArtifactError, match="holds for the times"):
            table.at(told)


def test_times_that_are_far_are_refused_with_what_the_table_holds_for():
    with pytest.raises(ArtifactError) as caught:
        made().at(700)
    assert str(caught.value) == (
        "the table of '7' (saeuron) holds for the times 950, 900, 850, 800 and up to 25.95 beside them, and the model "
        "was told 700\n  → select the latents again with the steps of this run, or generate with the table's"
    )
    hole = made((950.0, 900.0, 850.0, 100.0, 50.0, 0.0))
    with pytest.raises(ArtifactError, match="was told 500"):
        hole.at(500)
    with pytest.raises(ArtifactError, match=r"times 980, 960, 940, 920, …, 20, 0 \(50 in all\)"):
        made(tuple(980.0 - 20 * step for step in range(50))).at(1100)
    with pytest.raises(ArtifactError, match="told nan"):
        made().at(float("nan"))
    with pytest.raises(ArtifactError, match="lies along 'timestep', and no place on that axis was told"):
        made().at()


def test_a_table_of_one_time_holds_for_that_time_alone():
    one = made((999.0,))
    assert one.at(999) is one.at(999.4)
    with pytest.raises(ArtifactError, match="holds for the times 999 and up to 0.999 beside them"):
        one.at(749)


def test_a_table_bound_to_times_serves_runs_of_other_step_counts():
    twenty = made(tuple(950.0 - 50 * step for step in range(20)))
    twenty.check("a" * 40, 64, tuple(975.0 - 25 * step for step in range(40)))
    assert twenty.places((941.0, 921.0, 1.0)).tolist() == [0, 1, 19]
    assert twenty.places(np.array([[10.0], [940.0]])).tolist() == [19, 0]
    with pytest.raises(ArtifactError, match="the model was told 980"):  # the first of 50 steps: none near it was seen
        twenty.check("a" * 40, 64, tuple(980.0 - 20 * step for step in range(50)))
    with pytest.raises(ArtifactError, match="the model was told 999"):
        twenty.check("a" * 40, 64, (999.0, 500.0))


def test_a_table_bound_to_steps_refuses_another_count():
    table = made(binds="steps")
    table.check("a" * 40, 64, (4.0, 3.0, 2.0, 1.0))  # whatever the times are
    assert table.at_step(2).latents.tolist() == [2, 22]
    with pytest.raises(ArtifactError, match=r"'7' is bound to runs of 4 steps, and this one has 50\n  → generate"):
        table.check("a" * 40, 64, tuple(range(50)))
    with pytest.raises(ArtifactError, match="holds for steps 0 to 3, and step 4 was asked for"):
        table.at_step(4)


def test_another_artifact_is_refused():
    with pytest.raises(ArtifactError) as caught:
        made().check("b" * 40, 64, hook="up.1")
    assert str(caught.value) == (
        "the table of '7' (saeuron) was selected with autoencoder aaaaaaaaaaaaaaaa…, and this one is bbbbbbbbbbbbbbbb…"
        ", which reads 'up.1' (the table's: 'mid'): its latents mean something else\n"
        "  → select the latents again with this artifact, or load the artifact of the table"
    )
    with pytest.raises(ArtifactError, match="names latent 23, and the artifact has 23 latents"):
        made().check("a" * 40, 23)
    made().check("a" * 40, 24)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            {"entries": (Entry.of([]),) * 4},
            r"the table of '7' \(saeuron\) is empty: no latent was selected at any time",
        ),
        ({"times": ()}, "is empty"),
        ({"axis": None}, "has 4 entries and 4 times on axis None"),
        ({"entries": entries(3)}, "has 3 entries and 4 times on axis 'timestep'"),
        ({"times": (950.0, 900.0, 900.0, 1.0)}, "are doubled or not finite: 950, 900, 900, 1"),
        ({"times": (950.0, 900.0, float("nan"), 1.0)}, "are doubled or not finite"),
        ({"binds": "luck"}, 'binds to \'luck\'\n  → a table binds to "time" or to "steps"'),
    ],
)
def test_tables_that_say_nothing_are_refused(what, message):
    with pytest.raises(ArtifactError, match=message):
        made(**what)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"latents": [-1]}, "names latent -1: the first is 0"),
        ({"latents": [4, 4]}, "names latent 4 twice"),
        ({"latents": [4], "gates": [float("nan")]}, r"a gate level is NaN or \+∞"),
        ({"latents": [4], "targets": [float("inf")]}, "targets of an entry are NaN or infinite"),
        (
            {"latents": [4], "scores": [1, 2]},
            r"targets \[1\], scores \[2\]: one number a latent",
        ),
    ],
)
def test_entries_that_cannot_be_are_refused(what, message):
    with pytest.raises(ArtifactError, match=message):
        Entry.of(**what)


def damaged(path, change):
    """A saved table with its arrays and header changed."""
    made().save(path)
    arrays = load_file(path)
    header = made().about | {"format": "omnisae table of latents", "schema": 1}
    change(arrays, header)
    save_file(arrays, path, metadata={"table": json.dumps(header)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, h: a.pop("gates"), "t is damaged: it lacks gates"),
        (lambda a, h: a.update(latents=a["latents"][:-1]), "one number a latent|do not divide 7 latents"),
        (lambda a, h: a.update(offsets=a["offsets"][::-1].copy()), "its offsets do not divide 8 latents"),
        (lambda a, h: a.update(offsets=np.zeros(1, np.int64)), "its offsets do not divide 8 latents"),
        (
            lambda a, h: a.update(gates=a["gates"].astype(np.float64)),
            r"gates is float64 of shape \[8\], and must be",
        ),
        (lambda a, h: a.update(times=a["times"][None]), r"times is float64 of shape \[1, 4\]"),
        (lambda a, h: a.update(times=a["times"] * 0), "t: the times of the table of '7' are doubled or not finite"),
        (lambda a, h: a.update(targets=a["targets"] * np.nan), "t: targets of an entry are NaN or infinite"),
        (lambda a, h: h.update(schema=2), "t has schema 2; this omnisae reads up to 1\n  → update omnisae"),
        (lambda a, h: h.update(format="recipe"), "t holds no table of latents"),
        (lambda a, h: h.pop("identity"), "its header says nothing valid of identity"),
        (lambda a, h: h.update(axis=7, facts=[]), "its header says nothing valid of axis, facts"),
        (lambda a, h: h.pop("axis"), "its header says nothing valid of axis"),
    ],
)
def test_damaged_files_are_told_by_what_is_wrong(tmp_path, change, message):
    damaged(tmp_path / "t", change)
    with pytest.raises(ArtifactError, match=message):
        LatentTable.load(tmp_path / "t")


def test_files_that_are_no_tables_are_told(tmp_path):
    with pytest.raises(ArtifactError, match="none.safetensors: there is no such file"):
        LatentTable.load(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text("latents: 1, 2, 3")
    with pytest.raises(ArtifactError, match="text is no safetensors file, or is truncated"):
        LatentTable.load(tmp_path / "text")
    made().save(tmp_path / "t")
    whole = (tmp_path / "t").read_bytes()
    for length in (0, 7, 100, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(ArtifactError, match="cut is no safetensors file, or is truncated"):
            LatentTable.load(tmp_path / "cut")
    save_file({"weights": np.zeros(3)}, tmp_path / "weights")
    with pytest.raises(ArtifactError, match="weights holds no table of latents\n  → give the file"):
        LatentTable.load(tmp_path / "weights")
    save_file({"weights": np.zeros(3)}, tmp_path / "weights", metadata={"table": "{"})
    with pytest.raises(ArtifactError, match="weights is damaged: its header is no JSON"):
        LatentTable.load(tmp_path / "weights")


def test_tables_need_no_torch():
    """Configs and reports read tables."""
    import subprocess
    import sys

    code = "import sys; from omnisae_diffusion.selection import table, table_file; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
