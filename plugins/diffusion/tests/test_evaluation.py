"""Maps of concepts, their controls, what blocks move; a whole run in which a digit is erased and steered towards."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from omnisae.config_file import load
from omnisae.errors import ArtifactError, ConfigError, DatasetError
from omnisae.extract.split import SELECT, TEST
from omnisae.hooks.point import HookPoint, Told
from omnisae.pipeline import run
from omnisae.postings.health import Reconstruction, health
from omnisae.postings.postings import Postings
from omnisae.postings.writer import PostingsWriter
from omnisae.tokens.filter import TokenFilter
from omnisae_diffusion.evaluation import blocks, matched
from omnisae_diffusion.plugin_studies import ErasureConfig, SteeringConfig
from omnisae_diffusion.selection import maps
from omnisae_diffusion.selection.entry import Entry
from omnisae_diffusion.selection.means import Means
from omnisae_diffusion.selection.table import LatentTable

TIMES, SIDE, LATENTS = (900.0, 100.0), 2, 5
CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "diffusion"
CLASSIFIER = {"extractor": {"type": "vision.timm", "model": "digits_classifier", "checkpoint": "world:digits"}}


def hook(**more):
    told = {"timestep": Told(module="unet", argument="timestep", ticks=TIMES)}
    given = {"pattern": "example d y x", "sizes": {"y": SIDE, "x": SIDE}, "told": told, **more}
    return HookPoint(name="h", at=("unet.mid",), width=3, **given)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Eight select and two test examples; those of the concept fire latent 3 at the second time in the upper right
    corner, all others latent 1 everywhere at the first time."""
    folder = tmp_path_factory.mktemp("planted") / "codes"
    split = np.array([SELECT] * 8 + [TEST] * 2, dtype=np.uint8)
    has = np.arange(10) % 2 == 0
    codes = np.zeros((10, len(TIMES), SIDE, SIDE, LATENTS), dtype=np.float32)
    codes[has, 1, 0, 1, 3] = 2.0
    codes[~has, 0, :, :, 1] = 1.0
    codes[:, :, :, :, 4] = 0.5
    codes[8, 0, 0, 0, 2] = 9.0  # of a test example: it must not show
    write(folder, hook(), split, codes)
    return Postings.open(folder), {"seven": has.astype(np.float64)}


def write(folder, point, split, codes):
    """Posting lists of codes laid out as example, time, y, x, latent."""
    examples, times = codes.shape[:2]
    grid = np.stack(np.meshgrid(range(times), range(SIDE), range(SIDE), indexing="ij"), axis=-1).reshape(-1, 3)
    dense = codes.reshape(-1, codes.shape[-1])
    offsets = np.concatenate([[0], np.cumsum((dense != 0).sum(axis=1))])
    writer = PostingsWriter(folder, point, TokenFilter(), codes.shape[-1], split, {}, signed=False)
    with writer:
        writer.append(
            np.repeat(np.arange(examples), len(grid)),
            np.tile(grid, (examples, 1)),
            np.zeros(len(dense), dtype=np.uint8),
            offsets,
            np.nonzero(dense)[1],
            dense[dense != 0],
        )
        writer.finish(health(Reconstruction(), writer.counts, len(dense)))


def test_a_map_holds_what_a_concept_has_more_or_less_at_every_time_and_place(planted):
    postings, labels = planted
    found = maps.Maps(postings, labels).table("seven", identity="a" * 40)
    assert (found.method, found.grid, found.times) == ("map", {"y": 2, "x": 2}, TIMES)
    dense = np.zeros((2, SIDE, SIDE, LATENTS))
    for at, entry in enumerate(found.entries):
        dense.reshape(8, LATENTS)[at, entry.latents] = entry.targets
    wanted = np.zeros_like(dense)
    wanted[1, 0, 1, 3] = 2.0 - 1.0  # the concept's mean less that of all, of which half have it
    wanted[0, :, :, 1] = -0.5
    np.testing.assert_allclose(dense, wanted, atol=1e-6)
    assert found.facts == {"examples with the concept": 4, "examples compared": 8, "latents": 64}


def test_a_map_to_another_concept_puts_its_codes_in_the_place_of_the_concepts_own(planted):
    postings, labels = planted
    known = maps.Maps(postings, labels | {"other": np.where(np.isnan(labels["seven"]), np.nan, 1 - labels["seven"])})
    found = known.table("seven", identity="a" * 40, instead="other")
    assert (found.concept, found.facts["instead"]) == ("seven", "other")
    back = known.table("other", identity="a" * 40, instead="seven")
    for one, two in zip(found.entries, back.entries, strict=True):
        np.testing.assert_array_equal(one.latents, two.latents)
        np.testing.assert_allclose(one.targets, -two.targets)
    dense = np.zeros((2, SIDE, SIDE, LATENTS))
    for at, entry in enumerate(found.entries):
        dense.reshape(8, LATENTS)[at, entry.latents] = entry.targets
    assert dense[1, 0, 1, 3] == pytest.approx(-2.0), "where the concept alone fires"
    assert dense[0, 0, 0, 1] == pytest.approx(1.0), "where the other alone does"


def test_other_concepts_come_the_nearest_first(planted):
    postings, labels = planted
    rows = np.flatnonzero(labels["seven"] == 1)
    half = np.zeros_like(labels["seven"])
    half[rows[:1]] = 1
    known = maps.Maps(postings, labels | {"one of it": half, "the rest": np.where(labels["seven"] == 0, 1.0, 0.0)})
    assert known.nearest("seven") == ["one of it", "the rest"]


def test_a_map_comes_back_from_its_file_and_keeps_the_largest_differences(planted, tmp_path):
    postings, labels = planted
    found = maps.Maps(postings, labels).table("seven", identity="a" * 40, most=1)
    assert max(len(entry) for entry in found.entries) == 1
    found.save(tmp_path / "map.safetensors")
    again = LatentTable.load(tmp_path / "map.safetensors")
    assert (again.grid, again.times, len(again.entries)) == ({"y": 2, "x": 2}, TIMES, 8)
    np.testing.assert_array_equal(again.entries[5].targets, found.entries[5].targets)
    with pytest.raises(ArtifactError, match="the map of 'seven' has an entry for each of 4 places at every time"):
        again.at(900.0)


def test_a_map_needs_examples_times_and_places(planted):
    postings, _ = planted
    with pytest.raises(DatasetError, match="the concept 'seven' has no example on the side that selects"):
        maps.Maps(postings, {"seven": np.zeros(10)}).table("seven", identity="")
    timeless = SimpleNamespace(hook=hook(told={}))
    with pytest.raises(ConfigError, match="hook point 'h' lies along y, x, and a map along time, y and x"):
        maps.Maps(timeless, {"seven": np.zeros(10)})


def test_a_maps_control_moves_as_much_at_the_same_places_along_other_latents(planted):
    postings, labels = planted
    found = maps.Maps(postings, labels).table("seven", identity="a" * 40)
    other = matched.shuffled(found, LATENTS, seed=1)
    assert other.grid == found.grid
    for one, two in zip(found.entries, other.entries, strict=True):
        np.testing.assert_array_equal(one.targets, two.targets)
    moved = {(int(a), int(b)) for one, two in zip(found.entries, other.entries, strict=True)
             for a, b in zip(one.latents, two.latents, strict=True)}  # fmt: skip
    assert len({a for a, _ in moved}) == len(moved), "a latent stands for one other in the whole map"
    assert matched.shuffled(found, LATENTS, seed=1).entries[5].latents.tolist() == other.entries[5].latents.tolist()


def test_random_latents_fire_as_often_as_those_they_stand_for_and_are_none_of_them():
    level = np.array([[1.0, 1.1, 5.0, 5.2, 0.0]])
    found = Means(level[None], np.array([[10]]), (900.0,))
    table = LatentTable("saeuron", "c", "a", "h", (Entry.of([0]),), (900.0,))
    other = matched.matched(table, found, 0, level, seed=0)
    assert other.entries[0].latents[0] in (1, 2, 3), "a silent latent is no control, nor is one of the table's own"
    assert other.entries[0].targets[0] == pytest.approx(level[0, other.entries[0].latents[0]])
    assert other.method == "random latents"


def test_layout_detail_and_colour_are_told_apart():
    random = np.random.default_rng(0)
    plain = np.full((4, 16, 16, 3), 120, dtype=np.uint8)
    fine = plain.copy()
    fine[:, ::2, ::2] += 60
    fine[:, 1::2, 1::2] += 60
    fine[:, ::2, 1::2] -= 60
    fine[:, 1::2, ::2] -= 60  # the same mean in every cell of two by two
    coarse = plain.copy()
    coarse[:, :8] += 60
    hue = plain.copy().astype(int)
    hue[..., 0] += 57
    hue[..., 1] -= 29  # as light as before: 0.299 · 57 = 0.587 · 29
    apart = {name: blocks._apart(plain, other.astype(np.uint8)) for name, other in
             (("detail", fine), ("layout", coarse), ("colour", hue))}  # fmt: skip
    for name, found in apart.items():
        assert max(found, key=found.get) == name, (name, found)
    noise = random.integers(0, 255, plain.shape).astype(np.uint8)
    assert blocks._apart(noise, noise) == {"layout": 0.0, "detail": 0.0, "colour": 0.0}


def test_strengths_must_ascend():
    from omnisae_diffusion.evaluation.steering import Steering

    config = SteeringConfig.model_validate({"column": "digit", "classifier": CLASSIFIER, "strengths": [0, 2, 1]})
    with pytest.raises(ConfigError, match=r"strengths are \[0.0, 2.0, 1.0\]\n  → give them ascending, each once"):
        Steering(config)
    assert ErasureConfig.model_validate({"column": "digit", "classifier": CLASSIFIER}).ways == ("turn", "map")


@pytest.fixture(scope="module")
def studies(tmp_path_factory, digits):
    """The U-Net's quickstart with fewer prompts and one digit."""
    text = (CONFIGS / "quickstart_unet.yaml").read_text()
    text = text.replace('table: "world:digits"', 'table: "world:digits", first: 400').replace('["3", "7"]', '["3"]')
    config = tmp_path_factory.mktemp("config") / "unet.yaml"
    config.write_text(
        text.replace("latents: 40", "latents: 4")
        .replace("[0, 2, 4, 6]", "[0, 3, 6]")
        .replace("others: 120", "others: 60")
        .replace("400_000", "200_000")
    )
    folder = run(load(config), tmp_path_factory.mktemp("runs") / "unet")
    found = {study["type"]: study for study in json.loads((folder / "studies.json").read_text())["studies"]}
    assert not any(study["failed"] for study in found.values()), found
    return found, folder


@pytest.mark.slow
def test_a_digit_is_erased_by_its_latents_and_not_by_others_and_nothing_else_is_lost(studies):
    found, folder = studies
    numbers = {one["name"]: one for one in found["diffusion.erasure"]["findings"]}
    assert numbers["unchanged by an edit of nothing"]["value"] == 1.0
    (row,) = found["diffusion.erasure"]["tables"]["Each concept in turn"]
    assert row["still shown"] <= 0.1, row
    assert row["points lost in its domain"] <= 3, row
    assert row["by random latents"] > 0.1, row
    assert row["IRA n"] >= 50
    table = LatentTable.load(folder / "tables" / "digit_3.safetensors")
    assert (table.concept, table.grid) == ("digit=3", {"y": 8, "x": 8})


@pytest.mark.slow
def test_steering_towards_a_digit_raises_its_rate_with_the_strength(studies):
    found, _ = studies
    (rows,) = found["diffusion.steering"]["tables"].values()
    rates = [rows[0][name] for name in rows[0] if name.startswith("×")]
    assert rates == sorted(rates), rates
    assert rates[-1] > rates[0] + 0.05, rates
    assert rates[-1] > rows[0]["random latents"], rows


@pytest.mark.slow
def test_every_time_is_explained_better_than_by_as_many_components(studies):
    found, _ = studies
    rows = found["diffusion.times"]["tables"]["By time"]
    assert [row["time"] for row in rows] == [999 - 100 * step for step in range(10)]
    assert all(row["explained variance"] > row["components"] for row in rows), rows
