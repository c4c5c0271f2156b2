"""Two corpora: planted gaps are found, alike corpora are as shuffled ones."""

import numpy as np
import pytest

from omnisae.errors import DatasetError
from omnisae.extract.split import TEST
from omnisae.studies.configs import CorporaConfig
from omnisae.testing import StudyTests


def corpora_room(room, folder, n=400, *, apart=True, groups=None):
    """Latent 0 only in natural, 1 only in made, the rest alike."""
    random = np.random.default_rng(5)
    made = random.random(n) < 0.5
    codes = np.where(random.random((n, 10)) < 0.5, random.gamma(2, size=(n, 10)), 0.0)
    if apart:
        codes[made, 0], codes[~made, 1] = 0, 0
    names = {"origin": np.where(made, "made", "natural").tolist()}
    return room.material(folder, codes, labels=names, concepts={"is_made": made * 1.0}, groups=groups), codes, made


def test_what_a_corpus_lacks_and_what_it_has_too_much_of_is_found(room, answer, tmp_path):
    material, codes, made = corpora_room(room, tmp_path)
    found, told, measures = answer(CorporaConfig(column="origin", a="natural", b="made"), material)
    share = measures["share of made"]
    test = material.rows(TEST)
    a, b = (codes[test][side] for side in (~made[test], made[test]))
    energy = [(part.astype(np.float32).astype(float) ** 2).sum(axis=0) / len(part) for part in (a, b)]
    assert np.allclose(share, energy[1] / (energy[0] + energy[1]), atol=1e-12)
    assert (share[0], share[1]) == (0.0, 1.0)
    less, more = told["Suppressed in made (δ < 0.1)"], told["Exaggerated in made (δ > 0.9)"]
    assert (less.value, more.value) == (1, 1)
    assert less.control < 0.05
    assert less.p <= 0.02
    assert found.tables["Most suppressed in made"][0]["latent"] == "0"
    inside = (measures["share of made (low)"][2:] <= 0.5) & (measures["share of made (high)"][2:] >= 0.5)
    assert inside.mean() >= 0.7


def test_concepts_stand_with_their_latent_and_how_often_each_corpus_has_them(room, tmp_path, answer):
    random = np.random.default_rng(7)
    n = 400
    made = random.random(n) < 0.5
    seven = (random.random(n) < 0.3) & ~made  # what is made never has it
    red = (random.random(n) < 0.4).astype(float)
    red[:40] = np.nan
    codes = np.stack([seven * 2.0, np.nan_to_num(red) + 0.5, random.random(n)], axis=1)
    names, known = {"origin": np.where(made, "made", "natural").tolist()}, {"digit=7": seven * 1.0, "red": red}
    material = room.material(tmp_path, codes, labels=names, concepts=known, best={"red": 1, "digit=7": 0})
    tables = answer(CorporaConfig(column="origin", a="natural", b="made"), material)[0].tables
    (first,) = tables["Most suppressed in made"]
    assert (first["latent"], first["concept"], first["δ"]) == ("0", "digit=7", 0.0)
    less, alike = tables["Concepts, by the latent that tells each best"]
    assert (less["concept"], less["best latent"], less["δ"], less["made that have it"]) == ("digit=7", "0", 0.0, 0.0)
    test = material.rows(TEST)
    assert less["natural that have it"] == seven[test][~made[test]].mean()
    assert alike["low"] < 0.5 < alike["high"]
    assert alike["made that have it"] == np.nanmean(red[test][made[test]])


def test_alike_corpora_are_as_shuffled_ones(room, answer, tmp_path):
    material, _, _ = corpora_room(room, tmp_path, apart=False)
    _, told, _ = answer(CorporaConfig(column="is_made"), material)
    assert told["Mean distance of δ from one half"].p > 0.05
    assert told["Suppressed in yes (δ < 0.1)"].value == 0


def test_tokens_are_counted_not_examples(room, answer, tmp_path):
    """Doubling the tokens of one corpus, with the same codes, changes no share."""
    codes = np.array([[1.0, 2.0], [2.0, 1.0]] * 8)
    names = {"c": ["a", "a", "b", "b"] * 4}
    split = np.full(16, TEST, np.uint8)
    plain = room.material(tmp_path / "a", codes, labels=names, split=split)
    twice = np.repeat(np.arange(16), [1, 1, 2, 2] * 4)
    more = room.material(tmp_path / "b", codes[twice], example=twice, labels=names, split=split)
    one, two = (answer(CorporaConfig(column="c"), m)[2]["share of b"] for m in (plain, more))
    assert np.allclose(one, two)


def test_what_is_wrong_with_the_corpora_is_said(room, answer, tmp_path):
    names = {"site": ["x", "y", "z", "x"] * 4, "one": ["x"] * 16}
    material = room.material(tmp_path, np.ones((16, 2)), labels=names, features={"size": np.arange(16.0)})
    with pytest.raises(DatasetError, match="the first corpus .* is not named"):
        answer(CorporaConfig(column="site"), material)
    with pytest.raises(DatasetError, match="the column 'site' has no 'w'"):
        answer(CorporaConfig(column="site", a="x", b="w"), material)
    with pytest.raises(DatasetError, match="no column, concept or feature 'sight'") as caught:
        answer(CorporaConfig(column="sight"), material)
    assert "did you mean 'site'" in caught.value.remedy
    with pytest.raises(DatasetError, match="'size' holds numbers"):
        answer(CorporaConfig(column="size"), material)
    with pytest.raises(DatasetError, match="of 'site', 4 test examples are 'x' and 0 'z'"):
        answer(CorporaConfig(column="site", a="x", b="z"), material)


class TestCorpora(StudyTests):
    @pytest.fixture
    def config(self):
        return CorporaConfig(column="origin")

    @pytest.fixture
    def material(self, room, tmp_path):
        return corpora_room(room, tmp_path, groups=np.arange(400) // 2)[0]
