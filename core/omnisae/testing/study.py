"""Checks of a study."""

import math

import numpy as np
import pytest

from omnisae.plugins.kinds import StudyConfig
from omnisae.studies.study import Findings, Material, Study


class StudyTests:
    """Give the fixtures `config` and `material` (of a small run; without it only the words are checked)."""

    @pytest.fixture
    def config(self) -> StudyConfig:
        raise NotImplementedError("give the fixture `config`")

    @pytest.fixture
    def material(self) -> Material | None:
        return None

    @pytest.fixture
    def study(self, config: StudyConfig) -> Study:
        return config.build()

    @pytest.fixture
    def findings(self, study: Study, material: Material | None) -> Findings:
        if material is None:
            pytest.skip("no material was given")
        return study.study(material)

    def test_it_says_what_it_asks(self, study: Study) -> None:
        assert study.title, "a study declares `title`"
        assert study.about, "a study says in `about` how it answers, and its source"

    def test_every_number_says_its_n_and_what_its_control_is(self, findings: Findings) -> None:
        assert findings.findings or findings.measures or findings.tables, "a study finds something"
        for finding in findings.findings:
            assert finding.n >= 0, finding.name
            assert math.isnan(finding.control) or finding.against, f"{finding.name}: say what the control is"
            if not (math.isnan(finding.low) or math.isnan(finding.high)):
                assert finding.low <= finding.high, finding.name
            assert math.isnan(finding.p) or 0 <= finding.p <= 1, finding.name

    def test_every_measure_has_one_value_a_posting_list(self, findings: Findings, material: Material | None) -> None:
        assert material is not None
        for measure in findings.measures:
            assert len(measure.values) == len(material.postings.poles), measure.name
            assert measure.note, f"{measure.name}: say what it means"
            if measure.kind != "text":
                assert not np.isinf(np.asarray(measure.values, dtype=np.float64)).any(), measure.name

    def test_twice_gives_the_same(self, study: Study, findings: Findings, material: Material | None) -> None:
        assert material is not None
        again = study.study(material)
        for one, other in zip(findings.findings, again.findings, strict=True):
            assert one.name == other.name
            assert one.value == other.value or (math.isnan(one.value) and math.isnan(other.value)), one.name
