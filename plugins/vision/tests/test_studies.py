"""Studies of pictures, on materials whose answer is known."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from omnisae.errors import ConfigError, DatasetError
from omnisae.testing import StudyTests
from omnisae_vision.plugin import TimmConfig
from omnisae_vision.plugin_studies import EmbeddingConfig, MonosemanticityConfig, NamingConfig, TaxonomyConfig
from omnisae_vision.studies.embedding import _answers
from omnisae_vision.studies.monosemanticity import monosemanticity
from omnisae_vision.studies.tree import Tree, load

KINDS = ("cat", "dog", "oak", "rose")
PARENTS = {"cat": "animal", "dog": "animal", "oak": "plant", "rose": "plant", "animal": "thing", "plant": "thing"}


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


def test_latents_of_one_kind_are_monosemantic_and_others_less(pictures, answer):
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


def test_vectors_are_joined_by_id(pictures, tmp_path, answer):
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


def test_another_model_makes_vectors_once_and_they_are_kept(room, shapes, tmp_path, answer):
    from omnisae.studies.study import Material
    from omnisae_vision.plugin_datasets import ImageFolderConfig

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


def test_pictures_of_one_kind_meet_deep(pictures, tmp_path, answer):
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


# -- embeddings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words"),
    [({}, "give either `path`"), ({"path": "x.npy", "hook": {"at": "blocks.1"}}, "no model is given")],
)
def test_wrong_embeddings_are_refused(fields, words):
    with pytest.raises(ValidationError, match=words):
        EmbeddingConfig.model_validate(fields)


def test_studies_name_the_files_that_they_read(tmp_path):
    table = EmbeddingConfig(path=tmp_path / "v.npy", ids=tmp_path / "ids.txt")
    assert MonosemanticityConfig(embedding=table).reads() == (tmp_path / "v.npy", tmp_path / "ids.txt")
    assert TaxonomyConfig(taxonomy=tmp_path / "tree.csv").reads() == (tmp_path / "tree.csv",)
    naming = NamingConfig(vectors=tmp_path / "w.npz", embedding=table)
    assert naming.reads() == (tmp_path / "w.npz", tmp_path / "v.npy", tmp_path / "ids.txt")


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
