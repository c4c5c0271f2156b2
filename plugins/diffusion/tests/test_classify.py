"""The classifier that judges pictures: planted truth, a slow reference, and what it refuses."""

import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from omnisae.errors import ConfigError, DatasetError
from omnisae.extract.dataset import Example
from omnisae_diffusion.classify import Classifier, group
from omnisae_diffusion.plugin_classifier import ClassifierConfig
from omnisae_vision.plugin import TimmConfig
from omnisae_vision.weights import METADATA

pytestmark = pytest.mark.filterwarnings("ignore:.* has random weights")

NAMES = ["hue=red", "hue=green", "hue=blue", "tone=dark", "tone=light"]
COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}


def painted(hues, tones, seed):
    """Pictures of one colour, dark or light, with noise."""
    random = np.random.default_rng(seed)
    bright = np.array([90 if tone == "dark" else 220 for tone in tones])
    base = np.array([COLOURS[hue] for hue in hues]) * bright[:, None]
    return (base[:, None, None] + random.uniform(0, 25, (len(hues), 16, 16, 3))).astype(np.uint8)


def drawn(n, seed):
    random = np.random.default_rng(seed)
    return random.choice(list(COLOURS), n).tolist(), random.choice(["dark", "light"], n).tolist()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A timm model whose head is fitted to the planted colours, and says itself what its outputs are."""
    import timm

    torch.manual_seed(0)
    arguments = {"num_classes": 5, "img_size": 32}
    model = timm.create_model("test_vit", **arguments).eval()
    hues, tones = drawn(120, 0)
    wanted = [{f"hue={hue}", f"tone={tone}"} for hue, tone in zip(hues, tones, strict=True)]
    truth = np.array([[name in pair for name in NAMES] for pair in wanted])
    shape = {"input_size": (3, 32, 32), "crop_pct": 1.0, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    small = torch.from_numpy(painted(hues, tones, 0)).permute(0, 3, 1, 2).float() / 127.5 - 1
    big = torch.nn.functional.interpolate(small, 32, mode="bicubic")
    with torch.no_grad():
        features = model.forward_head(model.forward_features(big), pre_logits=True)
        with_one = torch.cat([features, torch.ones(len(features), 1)], 1).double()
        target = torch.from_numpy(truth * 20.0 - 10)
        gram = with_one.T @ with_one + 1e-4 * torch.eye(with_one.shape[1])
        solved = torch.linalg.solve(gram, with_one.T @ target).float()
        model.head.weight.copy_(solved[:-1].T)
        model.head.bias.copy_(solved[-1])
    about = {
        "name": "painted", "architecture": "test_vit", "model_args": arguments, "pretrained_cfg": shape,
        "label_names": NAMES,
    }  # fmt: skip
    path = tmp_path_factory.mktemp("model") / "painted.safetensors"
    save_file(model.state_dict(), path, metadata={METADATA: json.dumps(about)})
    return path


@pytest.fixture(scope="module")
def config(checkpoint):
    return TimmConfig(model="painted", checkpoint=str(checkpoint), device="cpu", batch_size=7)


@pytest.fixture(scope="module")
def classifier(config):
    return ClassifierConfig(extractor=config).build()


def test_planted_colours_are_judged_by_domain(classifier):
    hues, tones = drawn(40, 1)
    found = classifier.judge(painted(hues, tones, 1))
    assert classifier.classes == {"hue": ("red", "green", "blue"), "tone": ("dark", "light")}
    assert found.labels == {"hue": hues, "tone": tones}
    assert len(found) == 40
    for values in found.probabilities.values():
        np.testing.assert_allclose(values.sum(axis=1), 1)
    red = found.of("hue", "red")
    assert red[[h == "red" for h in hues]].min() > 0.5 > red[[h != "red" for h in hues]].max()
    assert np.array_equal(classifier.score("hue", "red", painted(hues, tones, 1)), red)


def test_probabilities_are_the_softmax_within_a_domain(classifier):
    pictures = painted(*drawn(9, 2), 2)
    extractor = classifier.extractor
    inputs = torch.stack([extractor.prepare(Example(0, "a", picture)) for picture in pictures])
    with torch.no_grad():
        logits = extractor.model(inputs).double().numpy()
    found = classifier.judge(pictures).probabilities
    for domain, columns in {"hue": [0, 1, 2], "tone": [3, 4]}.items():
        slow = [[np.exp(row[c]) / sum(np.exp(row[d]) for d in columns) for c in columns] for row in logits]
        np.testing.assert_allclose(found[domain], slow, rtol=1e-4, atol=1e-6)


def test_a_batch_is_judged_as_its_pictures_one_by_one(classifier):
    pictures = painted(*drawn(16, 3), 3)
    whole = classifier.judge(pictures)
    for at in (0, 6, 7, 15):
        alone = classifier.judge(pictures[at : at + 1])
        np.testing.assert_allclose(alone.of("hue", "blue")[0], whole.of("hue", "blue")[at], rtol=1e-4, atol=1e-7)


def test_plain_names_are_one_domain_or_are_grouped(config):
    plain = ["red", "green", "blue", "dark", "light"]
    hues, tones = drawn(12, 4)
    pictures = painted(hues, tones, 4)
    one = ClassifierConfig(extractor=config, outputs=tuple(plain), domain="all").build()
    assert one.classes == {"all": tuple(plain)}
    grouped = ClassifierConfig(
        extractor=config, outputs=tuple(plain), domains={"tone": ("light", "dark"), "hue": ("red", "green", "blue")}
    ).build()
    assert grouped.judge(pictures).labels == {"hue": hues, "tone": tones}
    some = ClassifierConfig(extractor=config, outputs=tuple(plain), domains={"tone": ("light", "dark")}).build()
    assert some.judge(pictures).labels == {"tone": tones}


def test_two_classifiers_side_by_side(config):
    def of(domain, names):
        plain = ("red", "green", "blue", "dark", "light")
        return ClassifierConfig(extractor=config, outputs=plain, domains={domain: names}).build()

    hues, tones = drawn(6, 5)
    pictures = painted(hues, tones, 5)
    hue, tone = of("hue", ("red", "green", "blue")).judge(pictures), of("tone", ("dark", "light")).judge(pictures)
    assert hue.beside(tone).labels == {"hue": hues, "tone": tones}
    with pytest.raises(ConfigError, match="two classifiers judge 'hue'"):
        hue.beside(hue)
    with pytest.raises(ConfigError, match="6 and 1 pictures"):
        hue.beside(of("tone", ("dark", "light")).judge(pictures[:1]))


@pytest.mark.parametrize(
    ("pictures", "says"),
    [
        (np.zeros((2, 8, 8, 3)), "of float64, not uint8"),
        (np.zeros((2, 3, 8, 8), dtype=np.uint8), r"shape \[2, 3, 8, 8\]"),
        (np.zeros((8, 8, 3), dtype=np.uint8), r"shape \[8, 8, 3\]"),
        (np.zeros((0, 8, 8, 3), dtype=np.uint8), r"shape \[0, 8, 8, 3\]"),
        (torch.zeros((2, 8, 8, 3), dtype=torch.uint8), "a Tensor, not an array"),
    ],
)
def test_pictures_of_another_form(classifier, pictures, says):
    with pytest.raises(DatasetError, match=says):
        classifier.judge(pictures)


def test_a_domain_or_a_class_that_it_lacks(classifier):
    with pytest.raises(ConfigError, match="judges no 'hues'") as error:
        classifier.score("hues", "red", np.zeros((1, 8, 8, 3), dtype=np.uint8))
    assert "'hue'" in error.value.remedy
    with pytest.raises(ConfigError, match="knows no hue 'gren'") as error:
        classifier.score("hue", "gren", None)
    assert "'green'" in error.value.remedy


def test_outputs_that_nobody_named():
    with pytest.raises(ConfigError, match="what the 7 outputs of the classifier are called"):
        Classifier(ClassifierConfig(extractor=TimmConfig(
            model="test_vit", image_size=32, device="cpu", arguments={"num_classes": 7}
        )))  # fmt: skip


def test_a_model_without_classes_is_no_classifier():
    bare = TimmConfig(model="test_vit", image_size=32, device="cpu", arguments={"num_classes": 0})
    with pytest.raises(ConfigError, match="no score of any class"):
        ClassifierConfig(extractor=bare).build()


def test_names_that_do_not_fit(config):
    with pytest.raises(ConfigError, match="2 names for 5 outputs"):
        ClassifierConfig(extractor=config, outputs=("a", "b")).build()
    with pytest.raises(ConfigError, match="no output 'blu'") as error:
        group(["red", "blue"], "class", {"hue": ("red", "blu")})
    assert "'blue'" in error.value.remedy
    with pytest.raises(ConfigError, match="two outputs of the classifier are called 'digit=1'"):
        group(["digit=1", "digit=1"], "class", None)
    with pytest.raises(ConfigError, match="fewer than two outputs for 'ink'"):
        group(["digit=1", "digit=2", "ink=neon"], "class", None)


def test_groups_that_cannot_hold(config):
    with pytest.raises(ValidationError, match="'dog' more than once"):
        ClassifierConfig(extractor=config, domains={"a": ("dog", "cat"), "b": ("dog", "cow")})
    with pytest.raises(ValidationError, match="fewer than two outputs"):
        ClassifierConfig(extractor=config, domains={"a": ("dog",)})


def test_answers_that_are_not_finite_are_said(config):
    classifier = ClassifierConfig(extractor=config).build()
    with torch.no_grad():
        classifier.extractor.model.head.bias[0] = float("nan")
    with pytest.raises(DatasetError, match="NaN or infinity on 2 of 2"):
        classifier.judge(painted(["red", "blue"], ["dark", "dark"], 0))
