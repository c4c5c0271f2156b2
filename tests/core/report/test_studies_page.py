"""The page of studies in a report, made of arrays."""

import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from omnisae.errors import DatasetError
from omnisae.figure import Figure
from omnisae.report.build import build
from omnisae.studies.ask import ask
from omnisae.studies.densities import densities
from omnisae.studies.study import Finding, Findings, Material, Measure, Study

HOSTILE = "<script>alert(1)</script>"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)


class Full(Study):
    title, about = "Is everything shown?", "One of each, from arrays."

    def study(self, material):
        random = np.random.default_rng(0)
        lists, signed = len(material.postings.poles), material.postings.poles.signed
        values = random.beta(2, 5, lists)
        values[3] = np.nan
        drawn = densities(
            {"latents": values, "components": random.beta(2, 2, 64), "permuted": random.beta(2, 8, lists)},
            low=0, high=1, axis="largest |Spearman|", title="Alignment", caption="Density of alignment.",
        )  # fmt: skip
        kinds = ("share", "signed", "count", "raw", "chance")
        return Findings(
            findings=[
                Finding(f"A number of kind {kind}", 0.1234 if kind != "count" else 12345, 60, 0.05, "random directions",
                        0.1, 0.2, 0.0004, kind, "a remark that runs on for a while, as remarks do")
                for kind in kinds
            ] + [Finding("A number alone", -0.5, 7), Finding(HOSTILE, float("nan"), 0, 0.1, HOSTILE, remark=HOSTILE)],
            measures=[
                Measure("alignment", values, "largest |Spearman| with a fraction", "share"),
                Measure("called", [f"word {i}" if i % 3 else "" for i in range(lists)], "a name", "text"),
            ],
            figures=[drawn, Figure("image/png", PNG, "A pixel, n = 1.", "one pixel", "A picture")],
            tables={
                "By question": [
                    {"question": HOSTILE, "latent": f"{i % 28}{'+' * signed}", "n": 3, "mean": 0.25,
                     "best": float("nan"), "sure": True}
                    for i in range(210)
                ]
            },
            notes=["Three fractions of two questions.", HOSTILE],
            warnings=["The best latent of mass, 17, follows the confounder marker."],
        )  # fmt: skip


class Failing(Study):
    title, about = "Does it fail?", "It does."

    def study(self, material):
        raise DatasetError(f"there is no column {HOSTILE}", "did you mean 'site'?")


class Config:
    def __init__(self, study: type[Study]) -> None:
        self.type, self.build = f"test.{study.__name__.lower()}", study
        self.name = ""


def reported(world: ModuleType, folder: Path, *, signed: bool = False) -> Path:
    made = world.make(folder, n=120, side=24, latents=56, grid=6, per_latent=25, signed=signed)
    material = Material(
        made.postings, None, made.dataset, made.extractor, folder / "sae", [], {}, [], 0, folder  # type: ignore[arg-type]
    )  # fmt: skip
    ask([Config(Full), Config(Failing)], material, folder)  # type: ignore[list-item]
    build(*made.parts())
    return folder / "report"


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "signed"])
def report(request, world, tmp_path_factory):
    return reported(world, tmp_path_factory.mktemp("run"), signed=request.param)


def test_every_part_of_an_answer_is_on_the_page(report):
    text = (report / "studies.html").read_text()
    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))
    for words in (
        "Is everything shown?", "One of each, from arrays.", "test.full", "0.100 to 0.200", "random directions",
        "12 345", "+0.123", "&lt;0.001", "−0.5", "By question", "10 further rows in",
        
        "Three fractions of two questions.", "follows the confounder marker", "Measured of every latent",
        "No answer: there is no column", "did you mean &#39;site&#39;?", "Density of alignment.", "A pixel, n = 1.",
    ):  # fmt: skip
        assert words in plain, words
    assert '<svg class="chart"' in text
    assert re.search(r'<img src="studies/\w+\.png" alt="one pixel"', text)
    assert (report / "studies").is_dir()
    assert re.search(r'<a href="latent.html#3\+?">3\+?</a>', text)


def test_nothing_that_a_study_says_is_markup(report):
    for page in report.glob("*.html"):
        assert "<script>alert" not in page.read_text(), page.name
    for chunk in (report / "data").rglob("*.js"):
        assert "<" not in chunk.read_text(), chunk.name


def test_warnings_stand_on_the_overview(report):
    text = (report / "index.html").read_text()
    assert "follows the confounder marker" in text
    assert "The study test.failing has no answer: there is no column" in text


def test_measures_are_columns_of_the_latents(report):
    chunk = (report / "data" / "latents" / "0.js").read_text()
    assert "word 1" in chunk
    assert "alignment" in (report / "latents.html").read_text()
