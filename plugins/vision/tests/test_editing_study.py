"""The study of edits in regions, on a model whose head reads one direction at one place."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from omnisae.autoencoders.codes import Codes
from omnisae.concepts.annotations import Annotations, Mask, Region
from omnisae.concepts.level import levels
from omnisae.config import HookConfig, ScoreConfig
from omnisae.errors import ConfigError, DatasetError
from omnisae.extract.dataset import Dataset, Example
from omnisae.extract.split import SELECT, TEST
from omnisae.postings.health import Reconstruction, health
from omnisae.postings.writer import PostingsWriter
from omnisae.studies.study import Material
from omnisae.testing import StudyTests
from omnisae.tokens.filter import TokenFilter
from omnisae_vision.editing_answers import decisions, logs, named_like
from omnisae_vision.editing_push import at_random
from omnisae_vision.editing_trials import seeded
from omnisae_vision.plugin import OpenClipConfig, TimmConfig
from omnisae_vision.plugin_edits import DenseConfig, RegionEffectsConfig
from omnisae_vision.towers import Tower
from omnisae_vision.towers_extractor import TowerExtractor


def _planted():
    name = "vision_planted"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("planted.py"))
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


planted = _planted()
GRID, PLACE, WIDTH = planted.GRID, planted.PLACE, planted.WIDTH
N = 80
NAMES = ("spot", "spread", "first", "last")


class Maps(Dataset):
    """Maps of channels: `spot` is channel 0 at PLACE, `spread` channel 1 over the left half, `noise` channel 3
    anywhere, each in half of the examples; masks say where. Channel 4 is anywhere, too, and no concept."""

    def __init__(self):
        random = np.random.default_rng(0)
        self.has = {name: random.random(N) < 0.5 for name in ("spot", "spread", "noise")}
        self.maps = np.zeros((N, WIDTH, *GRID), dtype=np.float32)
        self.maps[self.has["spot"], 0, PLACE[0], PLACE[1]] = 1.0
        self.maps[self.has["spread"], 1, :, :2] = 1.0
        for channel, rows in ((3, np.flatnonzero(self.has["noise"])), (4, np.arange(0, N, 3))):
            for row in rows:
                self.maps[row, channel, random.integers(GRID[0]), random.integers(GRID[1])] = 1.0

    @property
    def ids(self):
        return [f"e{i}" for i in range(N)]

    def load(self, row):
        return Example(row, f"e{row}", torch.from_numpy(self.maps[row]))

    def fingerprint(self):
        return "maps"

    def annotations(self):
        return Annotations(self.ids, {}, self.regions, ("noise", "spot", "spread"))

    def regions(self, row):
        channel = {"spot": 0, "spread": 1, "noise": 3}
        return [
            Region(name, i, Mask(self.maps[row, channel[name]] > 0))
            for i, name in enumerate(channel, start=1)
            if self.has[name][row]
        ]


class PlantedExtractor(TowerExtractor):
    """Gives the maps to the planted model as they are."""

    def __init__(self, model):
        self.geometry = None
        super().__init__(TimmConfig(model="planted", device="cpu", batch_size=16, targets=NAMES), model, None)

    def tower(self):
        return Tower(GRID)

    def prepare(self, example):
        return example.input

    def probe(self):
        return torch.zeros(2, WIDTH, *GRID)

    def declare(self, path, view, shape):
        return "example d y x", {"y": GRID[0], "x": GRID[1]}

    def place(self, mask, example):
        return mask


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    torch.manual_seed(0)
    model, dataset = planted.Planted(), Maps()
    extractor = PlantedExtractor(model)
    sae = planted.artifact(model, folder / "sae")
    split = np.where(np.arange(N) % 2 == 0, SELECT, TEST).astype(np.uint8)
    (hook,) = extractor.resolve([HookConfig(at="hidden", name="hidden")])
    tokens = extractor.extract(range(N), torch.from_numpy(dataset.maps), [hook]).tokens["hidden"]
    codes = sae.encode(tokens.values)
    with PostingsWriter(folder / "codes", hook, TokenFilter(), WIDTH, split) as writer:
        writer.append(
            tokens.example.numpy().astype(np.int32), tokens.coords.numpy().astype(np.int32), tokens.role.numpy(),
            codes.offsets.numpy(), codes.latents.numpy(), codes.values.numpy(),
        )  # fmt: skip
        postings = writer.finish(health(Reconstruction(), writer.counts, len(tokens.example), writer.poles))
    found, _, _ = levels(postings, dataset, extractor, ScoreConfig(min_positives=2))
    best = {"spot": 0, "spread": 1, "noise": 3}
    return Material(
        postings=postings, source=None, dataset=dataset, extractor=extractor, artifact=folder / "sae", levels=found,
        table={
            "concept": np.array([*best, "spot"]),
            "list": np.array([*best.values(), 3]),
            "level": np.array(4 * ["token"]),
        },
        siblings=[], seed=0, folder=folder,
    )  # fmt: skip


def ask(material, **options):
    config = RegionEffectsConfig(**{"decide": "sigmoid", "pictures": 16, "draws": 1, "others": 1} | options)
    found = config.build().study(material)
    (rows,) = found.tables.values()
    return found, {row["concept"]: row for row in rows}


def flipped(concept, draws):
    """The share of random directions that turn the answer: it stands 0.75 above zero for spot, which reads one token's
    channel 0, and 0.25 for spread, which reads channel 1 of half of all tokens."""
    channel, above, reads = {"spot": (0, 0.75, 1.0), "spread": (1, 0.25, 0.5)}[concept]
    drawn = [at_random(seeded([0, channel, draw]), WIDTH) for draw in range(draws)]
    codes = Codes.from_dense(torch.zeros(1, WIDTH))
    return float(np.mean([above + reads * float(one(None, codes)[0, channel]) < 0 for one in drawn]))


class TestConformance(StudyTests):
    @pytest.fixture
    def config(self):
        return RegionEffectsConfig(decide="sigmoid", pictures=8, draws=1, others=1)

    @pytest.fixture
    def material(self, material):
        return material


def test_off_in_its_region_the_answer_falls_and_elsewhere_it_stays(material):
    found, by_concept = ask(material, draws=10)
    for concept in ("spot", "spread"):
        row = by_concept[concept]
        assert row["target"] == concept
        assert row["target known by"] == "name"
        assert (row["target changed"], row["low"], row["high"]) == (1.0, 1.0, 1.0)
        assert (row["outside"], row["others changed"]) == (0.0, 0.0)
        assert row["random direction"] == pytest.approx(flipped(concept, 10))
        assert row["other latents"] == 0.0
    assert by_concept["spot"]["target shift"] == pytest.approx(-1.0)
    assert by_concept["spread"]["target shift"] == pytest.approx(-0.5)
    assert by_concept["noise"]["target changed"] == 0.0
    assert by_concept["spot"]["pictures"] == min(16, int((material.dataset.has["spot"][1::2]).sum()))
    (measure,) = [m for m in found.measures if m.name == "target changed (off)"]
    np.testing.assert_array_equal(measure.values, [1, 1, np.nan, 0, np.nan, np.nan])
    told = {one.name: one for one in found.findings}["Target changed, against outside"]
    assert (told.value, told.n, told.control) == (pytest.approx(2 / 3), 3, 0.0)


def test_on_in_a_region_the_answer_comes_and_elsewhere_not(material):
    _, by_concept = ask(material, switch="on")
    spot = by_concept["spot"]
    assert (spot["target changed"], spot["outside"], spot["others changed"]) == (1.0, 0.0, 0.0)
    assert spot["target shift"] == pytest.approx(1.0)
    assert by_concept["spread"]["target changed"] == 1.0
    assert by_concept["spread"]["outside"] == 1.0, "the head reads this channel everywhere"


def test_where_it_fires_is_a_region_too(material):
    _, by_concept = ask(material, region="firing", latents=(0, 1))
    assert by_concept["spot"]["target changed"] == by_concept["spread"]["target changed"] == 1.0


def test_a_dense_answer_changes_at_its_places_only(material):
    dense = DenseConfig(at="norm", through=("head",))
    _, by_concept = ask(material, dense=dense)
    for concept in ("spot", "spread"):
        row = by_concept[concept]
        assert (row["target changed"], row["others changed"], row["outside"]) == (1.0, 0.0, 0.0)
    _, softly = ask(material, dense=dense, decide="softmax")
    assert (softly["spot"]["target changed"], softly["spot"]["others changed"]) == (1.0, 0.0)


def test_a_target_without_its_name_is_chosen_on_select(material):
    _, by_concept = ask(material, outputs=("a", "b", "c", "d"))
    assert (by_concept["spot"]["target"], by_concept["spread"]["target"]) == ("a", "b")
    assert by_concept["spot"]["target known by"] == "select pictures"
    assert by_concept["spot"]["target changed"] == 1.0


def test_nothing_stays_in_the_model(material):
    model = material.extractor.model
    ask(material)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"latents": (9,)}, ConfigError, "latents: there is no latent '9'"),
        ({"latents": (4,)}, ConfigError, "among the best of no concept of regions"),
        ({"outputs": ("a", "b")}, ConfigError, "outputs: 2 names for 4 outputs"),
        (
            {"dense": {"at": "norm", "through": ["heat"]}},
            ConfigError,
            "the model has no 'heat'\n  → did you mean 'head'",
        ),
        ({"latents": (2,), "region": "firing"}, DatasetError, "none of 1 latents has a region"),
    ],
)
def test_what_cannot_be_asked(material, options, error, message):
    with pytest.raises(error, match=message):
        ask(material, **options)


def test_a_hook_point_without_grid_or_masks_without_concepts(material):
    fields = {name: getattr(material, name) for name in Material.__dataclass_fields__}
    without = Material(
        **fields | {"table": {"concept": np.array(["x"]), "list": np.array([0]), "level": np.array(["example"])}}
    )
    with pytest.raises(DatasetError, match="no concept of regions was scored"):
        ask(without)
    assert ask(without, region="firing")[1]["x"]["target changed"] == 1.0


def test_a_model_that_scores_no_class_is_refused(paint, tmp_path, material):
    from omnisae_vision.plugin_datasets import ImageFolderConfig

    paint(tmp_path / "a.png")
    thin = {"embed_dim": 16, "vision_cfg": {"width": 32, "head_width": 16, "layers": 2}}
    config = OpenClipConfig(model="ViT-B-32", device="cpu", arguments=thin)
    extractor = config.build(ImageFolderConfig(root=str(tmp_path)).build())
    from omnisae_vision.editing_answers import answers

    with pytest.raises(ConfigError, match="answers with no score of any class"):
        answers(extractor, None)(extractor.probe())
    with pytest.raises(ConfigError, match="vision.open_clip needs `classes`"):
        answers(extractor, DenseConfig(at="ln_post", through=("proj",)))(extractor.probe())


def test_zero_shot_answers_of_pictures_and_of_places(paint, tmp_path):
    """CLIP without a head: the classes' text vectors score pictures, and the patches' tokens on their own."""
    from omnisae_vision.editing_answers import answers
    from omnisae_vision.plugin_datasets import ImageFolderConfig

    paint(tmp_path / "a.png")
    thin = {"embed_dim": 16, "vision_cfg": {"width": 32, "head_width": 16, "layers": 2}}
    config = OpenClipConfig(model="ViT-B-32", device="cpu", arguments=thin, classes=("cat", "dog", "sofa"))
    extractor = config.build(ImageFolderConfig(root=str(tmp_path)).build())
    inputs = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    whole, dense = answers(extractor, None), answers(extractor, DenseConfig(at="ln_post", through=("proj",)))
    assert whole(inputs).shape == (2, 1, 3)
    torch.testing.assert_close(whole(inputs)[:, 0], extractor.answers(inputs))
    found = dense(inputs)
    assert found.shape == (2, 49, 3)
    assert dense.grid == (7, 7)
    seen = []
    handle = extractor.model.ln_post.register_forward_hook(lambda _m, _i, out: seen.append(out))
    extractor.answers(inputs)
    handle.remove()
    tokens = seen[0][:, 1:] @ extractor.model.proj
    torch.testing.assert_close(found, extractor.answer(tokens.flatten(0, 1)).unflatten(0, (2, 49)))


def test_decisions_and_scores():
    scores = np.array([[2.0, -1.0, 0.5]])
    assert decisions(scores, True).tolist() == [[True, False, True]]
    assert decisions(scores, False).tolist() == [[True, False, False]]
    np.testing.assert_allclose(np.exp(logs(scores, False)).sum(), 1.0)
    assert logs(scores, True) is scores


@pytest.mark.parametrize(
    ("concept", "outputs", "found"),
    [
        ("red", ("has_red", "blue"), 0), ("class=dog", ("cat", "dog"), 1), ("Traffic light", ("traffic_light",), 0),
        ("red", ("red", "has_red"), None), ("red", ("infrared",), None),
    ],
)  # fmt: skip
def test_an_output_is_known_by_its_name(concept, outputs, found):
    assert named_like(concept, outputs) == found


def test_configs_that_contradict_themselves():
    with pytest.raises(ValidationError):
        RegionEffectsConfig(pictures=1)
    with pytest.raises(ValidationError):
        RegionEffectsConfig(dense={"at": "norm", "through": []})


@pytest.mark.parametrize(("written", "switch"), [("off", "off"), ("on", "on"), ("'off'", "off")])
def test_a_bare_off_in_yaml_is_off(written, switch):
    from omnisae.config_file.yaml_text import read

    given = read(f"{{type: vision.region_effects, switch: {written}}}", "it").value
    assert RegionEffectsConfig(**given).switch == switch
