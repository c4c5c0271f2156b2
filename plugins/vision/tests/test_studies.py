"""Studies of pictures, on materials whose answer is known."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import kstest

from omnisae.errors import ConfigError, DatasetError
from omnisae.testing import StudyTests
from omnisae_vision.plugin import TimmConfig
from omnisae_vision.plugin_studies import EmbeddingConfig, MonosemanticityConfig, NamingConfig, TaxonomyConfig
from omnisae_vision.studies.embedding import _answers
from omnisae_vision.studies.monosemanticity import monosemanticity
from omnisae_vision.studies.naming import Naming
from omnisae_vision.studies.tree import Tree, load
from omnisae_vision.studies.vocabulary import vocabulary

ROOM = Path(__file__).parents[3] / "tests" / "core" / "studies" / "room.py"
KINDS = ("cat", "dog", "oak", "rose")
PARENTS = {"cat": "animal", "dog": "animal", "oak": "plant", "rose": "plant", "animal": "thing", "plant": "thing"}


@pytest.fixture(scope="session")
def room():
    if not ROOM.exists():
        pytest.skip(f"materials are made by {ROOM.name} of core's own tests, which is absent")
    if "studies_room" not in sys.modules:
        spec = importlib.util.spec_from_file_location("studies_room", ROOM)
        sys.modules["studies_room"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["studies_room"])
    return sys.modules["studies_room"]


def answer(config, material):
    found = config.build().study(material)
    return found, {one.name: one for one in found.findings}, {m.name: m.values for m in found.measures}


@pytest.fixture
def pictures(room, tmp_path):
    """Latents 0 to 3 see one kind each, 4 sees both animals, 5 anything, 6 is constant, 7 is dead; another model's
    vectors lie near one direction a kind."""
    random = np.random.default_rng(0)
    kind = random.integers(0, 4, 320)
    codes = np.zeros((320, 8))
    for one in range(4):
        codes[:, one] = (kind == one) * random.uniform(1, 2, 320)
    codes[:, 4] = (kind < 2) * random.uniform(1, 2, 320)
    codes[:, 5] = random.uniform(1, 2, 320) * (random.random(320) < 0.5)
    codes[:, 6] = 1.0
    vectors = np.eye(24)[kind] + 0.03 * random.normal(size=(320, 24))
    np.save(tmp_path / "vectors.npy", vectors)
    turn = np.linalg.qr(random.normal(size=(8, 8)))[0]
    names = {"class": [KINDS[i] for i in kind]}
    material = room.material(tmp_path / "room", codes, activations=codes @ turn, labels=names)
    return material, tmp_path / "vectors.npy", kind


# -- MonoSemanticity --------------------------------------------------------------------------------------------------


def by_pairs(values, vectors):
    """The score as it is defined: over all pairs."""
    scaled = (values - values.min()) / (values.max() - values.min())
    top = bottom = 0.0
    for i in range(len(values)):
        for j in range(i + 1, len(values)):
            weight = scaled[i] * scaled[j]
            top, bottom = top + weight * float(vectors[i] @ vectors[j]), bottom + weight
    return top / bottom


@given(st.integers(0, 10_000), st.integers(3, 25))
@settings(max_examples=20, deadline=None)
def test_one_pass_is_the_sum_over_pairs(seed, n):
    random = np.random.default_rng(seed)
    values = random.normal(size=(n, 3))
    vectors = random.normal(size=(n, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.allclose(monosemanticity(values, vectors), [by_pairs(v, vectors) for v in values.T], rtol=0, atol=1e-12)


def test_scale_and_shift_change_nothing_and_what_has_no_pair_is_unknown():
    random = np.random.default_rng(1)
    vectors = np.eye(3)[random.integers(0, 3, 20)]
    values = random.gamma(1, size=(20, 4))
    values[:, 2], values[:, 3] = 1.0, np.arange(20) == 7
    found = monosemanticity(values, vectors)
    assert np.isnan(found[2:]).all()
    assert np.allclose(monosemanticity(values * 3 - 5, vectors)[:2], found[:2], atol=1e-12)
    assert np.allclose(monosemanticity(values[:, :2], np.tile([[1.0, 0]], (20, 1))), 1.0)


def test_latents_of_one_kind_are_monosemantic_and_others_less(pictures):
    material, path, _ = pictures
    config = MonosemanticityConfig(embedding=EmbeddingConfig(path=path))
    found, told, measures = answer(config, material)
    score = measures["monosemanticity"]
    assert score[:4].min() > 0.95
    assert 0.4 < score[4] < 0.6
    assert score[5] < 0.35
    assert np.isnan(score[6:]).all()
    mean = told["Mean MonoSemanticity"]
    assert mean.n == 6
    assert mean.value > mean.control + 0.2
    assert told["Mean MonoSemanticity, against shuffled pictures"].p == 0.02
    assert found.tables["Most monosemantic latents"][0]["latent"] in {"0", "1", "2", "3"}


def test_vectors_are_joined_by_id(pictures, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    material, path, _ = pictures
    plain = answer(MonosemanticityConfig(embedding=EmbeddingConfig(path=path)), material)[2]["monosemanticity"]
    vectors, order = np.load(path), np.random.default_rng(0).permutation(320)
    ids = [f"e{i}" for i in order]
    pq.write_table(pa.table({"name": ids, "v": list(vectors[order])}), tmp_path / "v.parquet")
    np.save(tmp_path / "shuffled.npy", vectors[order])
    (tmp_path / "ids.txt").write_text("\n".join(ids) + "\n")
    for config in (
        EmbeddingConfig(path=tmp_path / "v.parquet", id="name"),
        EmbeddingConfig(path=tmp_path / "shuffled.npy", ids=tmp_path / "ids.txt"),
    ):
        found = answer(MonosemanticityConfig(embedding=config), material)[2]["monosemanticity"]
        assert np.allclose(found, plain, atol=1e-6, equal_nan=True)
    np.save(tmp_path / "few.npy", vectors[:7])
    with pytest.raises(DatasetError, match="has 7 rows for 320 pictures"):
        answer(MonosemanticityConfig(embedding=EmbeddingConfig(path=tmp_path / "few.npy")), material)
    (tmp_path / "ids.txt").write_text("\n".join(f"x{i}" for i in order))
    config = EmbeddingConfig(path=tmp_path / "shuffled.npy", ids=tmp_path / "ids.txt")
    with pytest.raises(DatasetError, match="no label joins an example"):
        answer(MonosemanticityConfig(embedding=config), material)


def test_another_model_makes_vectors_once_and_they_are_kept(room, shapes, tmp_path):
    from omnisae.studies.study import Material
    from omnisae_vision.plugin import ImageFolderConfig

    made = room.material(tmp_path, np.random.default_rng(0).random((12, 3)))
    dataset = ImageFolderConfig(root=str(shapes)).build()
    material = Material(**{name: getattr(made, name) for name in made.__dataclass_fields__} | {"dataset": dataset})
    model = TimmConfig(model="vit_tiny_patch16_224", image_size=64, arguments={"embed_dim": 48, "num_heads": 2})
    own = MonosemanticityConfig(embedding=EmbeddingConfig(model=model.model_copy(update={"device": "cpu"})))
    hooked = MonosemanticityConfig(
        embedding=EmbeddingConfig(model=model.model_copy(update={"device": "cpu"}), hook={"at": "blocks.3"})
    )
    import torch

    for config, width in ((own, 1000), (hooked, 48)):
        torch.manual_seed(0)
        _, _, measures = answer(config, material)
        assert not np.isnan(measures["monosemanticity"]).any()
        widths = [np.load(file).shape for file in (tmp_path / "embeddings").glob("*.npy")]
        assert (12, width) in widths
    assert len(list((tmp_path / "embeddings").glob("*.npy"))) == 2


# -- taxonomy ---------------------------------------------------------------------------------------------------------


def written(folder, form):
    if form == "csv":
        (folder / "t.csv").write_text("child,parent\n" + "\n".join(f"{c},{p}" for c, p in PARENTS.items()))
        return folder / "t.csv"
    raw = {
        "flat": PARENTS,
        "nested": {"thing": {"animal": ["cat", "dog"], "plant": {"oak": {}, "rose": None}}},
        "named": {
            "name": "thing",
            "children": [
                {"name": "animal", "children": [{"name": "cat"}, {"name": "dog"}]},
                {"name": "plant", "children": [{"name": "oak"}, {"name": "rose", "children": []}]},
            ],
        },
    }[form]
    (folder / f"{form}.json").write_text(json.dumps(raw))
    return folder / f"{form}.json"


@pytest.mark.parametrize("form", ["csv", "flat", "nested", "named"])
def test_a_taxonomy_is_read_from_every_form(form, tmp_path):
    tree = load(written(tmp_path, form))
    assert tree.path("cat") == ["thing", "animal", "cat"]
    assert tree.meeting(["cat", "cat"]) == "cat"
    assert tree.meeting(["cat", "dog"]) == "animal"
    assert tree.meeting(["cat", "rose"]) == "thing"
    assert tree.depths(KINDS).tolist() == [[2, 1, 0, 0], [1, 2, 0, 0], [0, 0, 2, 1], [0, 0, 1, 2]]


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_depths_are_those_of_meetings(seed):
    random = np.random.default_rng(seed)
    parents = {f"n{i}": f"n{random.integers(0, i)}" for i in range(1, 20)}
    tree = Tree(parents, "t")
    names = sorted(tree.names)
    depth = tree.depths(names)
    for _ in range(10):
        some = random.choice(len(names), 4)
        met = tree.meeting([names[i] for i in some])
        assert len(tree.path(met)) - 1 == min(depth[some[0], i] for i in some)


def test_several_roots_hang_from_one(tmp_path):
    (tmp_path / "t.csv").write_text("child,parent\ncat,animal\noak,plant\n")
    assert load(tmp_path / "t.csv").depths(["cat", "oak"]).tolist() == [[2, 0], [0, 2]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("child,parent\na,b\nb,c\nc,a\n", "has no root"),
        ("child,parent\nx,y\na,b\nb,a\n", "go round in a circle"),
        ("child,parent\na,b\na,c\n", "'a' has two parents, 'b' and 'c'"),
        ("kid,parent\na,b\n", "has no column 'child'"),
    ],
)
def test_what_is_no_tree_is_refused(text, words, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DatasetError, match=words):
        load(tmp_path / "t.csv")


def test_pictures_of_one_kind_meet_deep(pictures, tmp_path):
    material, _, _ = pictures
    _, told, measures = answer(TaxonomyConfig(taxonomy=written(tmp_path, "csv")), material)
    assert measures["LCA depth"][:4].tolist() == [2, 2, 2, 2]
    assert measures["LCA depth"][4:6].tolist() == [1, 0]
    assert np.isnan(measures["LCA depth"][7])
    assert list(measures["sees"])[:5] == ["cat", "dog", "oak", "rose", "animal"]
    assert measures["LCA p"][:4].max() == pytest.approx(1 / 200)
    assert told["Mean depth of pairs"].p == pytest.approx(1 / 200)
    assert told["Mean depth of pairs"].value > told["Mean depth of pairs"].control + 0.4
    (tmp_path / "small.csv").write_text("child,parent\ncat,animal\n")
    with pytest.raises(DatasetError, match=r"small\.csv has no class 'dog'"):
        answer(TaxonomyConfig(taxonomy=tmp_path / "small.csv"), material)


# -- naming -----------------------------------------------------------------------------------------------------------


def words_file(path, extra=20, width=24):
    """Text vectors: one a kind near its pictures' direction, the others anywhere."""
    random = np.random.default_rng(2)
    names = [*KINDS, *(f"other{i}" for i in range(extra))]
    vectors = np.concatenate([np.eye(width)[:4], 0.3 * random.normal(size=(extra, width))])
    np.savez(path, words=np.array(names), vectors=vectors + 0.02 * random.normal(size=vectors.shape))
    return path


def test_planted_names_are_found_by_pictures(pictures, tmp_path):
    material, path, _ = pictures
    config = NamingConfig(vectors=words_file(tmp_path / "w.npz"), embedding=EmbeddingConfig(path=path))
    found, told, measures = answer(config, material)
    assert list(measures["name"])[:4] == list(KINDS)
    assert measures["name"][7] == ""
    assert measures["name q"][:4].max() < 0.05
    assert measures["name q"][5] > 0.05
    assert measures["name margin"][:4].min() > 0.5
    mean = told["Mean cosine with its name"]
    assert mean.value > mean.control + 0.3
    assert told["Mean cosine with its name, against others' names"].control < mean.value - 0.3
    assert found.tables["Names by their margin over chance"][0]["name"] in KINDS


def test_planted_names_are_found_by_the_decoder(room, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(3)
    text = random.normal(size=(40, 32))
    text -= text.mean(axis=0)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    rows = np.concatenate([text[[7, 3, 11]], random.normal(size=(3, 32))])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    x = random.gamma(1, size=(60, 6)) @ rows
    made = room.artifact(tmp_path / "sae", rows, x)
    material = room.material(tmp_path, random.gamma(1, size=(60, 6)), activations=x, artifact=made)
    words = [f"w{i}" for i in range(40)]
    pq.write_table(pa.table({"word": words, "vector": list(text)}), tmp_path / "w.parquet")
    config = NamingConfig(vectors=tmp_path / "w.parquet", compare="decoder")
    _, told, measures = answer(config, material)
    assert list(measures["name"])[:3] == ["w7", "w3", "w11"]
    assert measures["name q"][:3].max() < 0.05
    assert measures["name q"][3:].min() > 0.05
    assert told["Surely named (q ≤ 0.05)"].value == 0.5


def test_names_of_random_directions_are_sure_as_seldom_as_said(room, tmp_path):
    """p of the maximum over the vocabulary is uniform where decoder rows have nothing to do with words."""
    random = np.random.default_rng(5)
    rows = random.normal(size=(150, 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    x = random.normal(size=(40, 16))
    made = room.artifact(tmp_path / "sae", rows, x)
    material = room.material(tmp_path, np.ones((40, 150)), activations=x, artifact=made)
    config = NamingConfig(vectors=words_file(tmp_path / "w.npz", 30, 16), compare="decoder", draws=999)
    text = random.normal(size=(30, 16))
    assert kstest(Naming(config)._by_decoder(material, text).p, "uniform").pvalue > 0.01


def test_p_of_names_by_pictures_is_uniform_where_pictures_tell_nothing(room, tmp_path):
    random = np.random.default_rng(6)
    codes = np.where(random.random((1200, 120)) < 0.3, random.gamma(2, size=(1200, 120)), 0.0)
    np.save(tmp_path / "v.npy", random.normal(size=(1200, 24)))
    material = room.material(tmp_path / "room", codes, activations=codes[:, :4])
    config = NamingConfig(
        vectors=words_file(tmp_path / "w.npz"),
        embedding=EmbeddingConfig(path=tmp_path / "v.npy"),
        draws=999,
        examples=4,
    )
    q = answer(config, material)[2]["name q"]
    p = Naming(config)._by_pictures(material, vocabulary(config, material)[1]).p
    assert kstest(p, "uniform").pvalue > 0.01
    assert np.nanmin(q) > 0.05


def test_what_is_wrong_with_the_vocabulary_is_said(pictures, tmp_path):
    material, path, _ = pictures
    embedding = EmbeddingConfig(path=path)
    for name, arrays, words in (
        ("a.npz", {"words": np.array(["a", "a"]), "vectors": np.eye(24)[:2]}, "'a' more than once"),
        (
            "b.npz",
            {"words": np.array(["a", "b"]), "vectors": np.eye(24)[:3]},
            r"2 words and vectors of shape \[3, 24\]",
        ),
        ("c.npz", {"word": np.array(["a", "b"]), "vectors": np.eye(24)[:2]}, "has no array 'words'"),
        (
            "d.npz",
            {"words": np.array(["a", "b"]), "vectors": np.eye(5)[:2]},
            "length 5 and the pictures' vectors of 24",
        ),
        ("e.npz", {"words": np.array(["a", "b"]), "vectors": np.zeros((2, 24))}, "the vector of 'a' is zero or NaN"),
        ("f.npz", {"words": np.array(["a"]), "vectors": np.eye(24)[:1]}, r"1 word\(s\)"),
    ):
        np.savez(tmp_path / name, **arrays)
        with pytest.raises(DatasetError, match=words):
            answer(NamingConfig(vectors=tmp_path / name, embedding=embedding), material)
    with pytest.raises(DatasetError, match="does not exist"):
        answer(NamingConfig(vectors=tmp_path / "none.npz", embedding=embedding), material)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "give either `vectors`"),
        ({"vectors": "w.npz"}, "`embedding` must give the pictures' vectors"),
        ({"text": {"type": "vision.timm", "model": "x"}, "words": ["a", "b"]}, "has no text tower"),
        ({"text": {"type": "vision.open_clip", "model": "ViT-B-32"}}, "needs its vocabulary"),
        ({"vectors": "w.npz", "compare": "decoder", "prompts": ["x"]}, "hold {} once each"),
    ],
)
def test_wrong_naming_configs_are_refused(fields, words):
    with pytest.raises(ValidationError, match=words):
        NamingConfig.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [({}, "give either `path`"), ({"path": "x.npy", "hook": {"at": "blocks.1"}}, "no model is given")],
)
def test_wrong_embeddings_are_refused(fields, words):
    with pytest.raises(ValidationError, match=words):
        EmbeddingConfig.model_validate(fields)


def test_a_model_without_an_answer_is_refused():
    with pytest.raises(ConfigError, match="has no answer of its own"):
        _answers(object(), None)  # type: ignore[arg-type]


# -- what every study keeps to ----------------------------------------------------------------------------------------


class TestMonosemanticity(StudyTests):
    @pytest.fixture
    def config(self, pictures):
        return MonosemanticityConfig(embedding=EmbeddingConfig(path=pictures[1]))

    @pytest.fixture
    def material(self, pictures):
        return pictures[0]


class TestTaxonomy(StudyTests):
    @pytest.fixture
    def config(self, tmp_path):
        return TaxonomyConfig(taxonomy=written(tmp_path, "named"), permutations=19)

    @pytest.fixture
    def material(self, pictures):
        return pictures[0]


class TestNaming(StudyTests):
    @pytest.fixture
    def config(self, pictures, tmp_path):
        return NamingConfig(vectors=words_file(tmp_path / "w.npz"), embedding=EmbeddingConfig(path=pictures[1]))

    @pytest.fixture
    def material(self, pictures):
        return pictures[0]
