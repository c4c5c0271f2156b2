"""Names of latents, on materials whose names are known."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import kstest

from omnisae.errors import DatasetError
from omnisae.testing import StudyTests
from omnisae_vision.plugin_studies import EmbeddingConfig, NamingConfig
from omnisae_vision.studies.naming import Naming
from omnisae_vision.studies.vocabulary import vocabulary

KINDS = ("cat", "dog", "oak", "rose")


def words_file(path, extra=20, width=24):
    """Text vectors: one a kind near its pictures' direction, the others anywhere."""
    random = np.random.default_rng(2)
    names = [*KINDS, *(f"other{i}" for i in range(extra))]
    vectors = np.concatenate([np.eye(width)[:4], 0.3 * random.normal(size=(extra, width))])
    np.savez(path, words=np.array(names), vectors=vectors + 0.02 * random.normal(size=vectors.shape))
    return path


def test_planted_names_are_found_by_pictures(pictures, tmp_path, answer):
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


def test_planted_names_are_found_by_the_decoder(room, tmp_path, answer):
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


def test_p_of_names_by_pictures_is_uniform_where_pictures_tell_nothing(room, tmp_path, answer):
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


def test_what_is_wrong_with_the_vocabulary_is_said(pictures, tmp_path, answer):
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


class TestNaming(StudyTests):
    @pytest.fixture
    def config(self, pictures, tmp_path):
        return NamingConfig(vectors=words_file(tmp_path / "w.npz"), embedding=EmbeddingConfig(path=pictures[1]))

    @pytest.fixture
    def material(self, pictures):
        return pictures[0]
