"""What the user is told of plug-ins that are not well; every fault stays with the plug-in that has it."""

from typing import Any

import pytest

Told = dict[str, Any]

BROKEN = {
    "omnisae-broken": [
        "importing 'omnisae_broken' raised ValueError: invalid literal for int() with base 10: 'seven'",
        "omnisae_broken.py, line 3",
    ],
    "omnisae-exits": ["importing 'omnisae_exits' raised SystemExit: not on this machine"],
    "omnisae-garbled": ["importing 'omnisae_garbled' raised SyntaxError", "line 1"],
    "omnisae-misspelt": ["omnisae has no hook 'omnisae_extractor'; did you mean 'omnisae_extractors'?"],
    "omnisae-unmarked": ["omnisae_extractors is not marked with @hookimpl"],
    "omnisae-empty": ["'omnisae_empty' implements no hook; mark its functions with @hookimpl"],
    "omnisae-signature": ["omnisae_extractors", "'device'"],
    "omnisae-wrapper": ["omnisae_extractors is a hook wrapper; omnisae's hooks take plain functions only"],
    "omnisae-raising": [
        "omnisae_extractors raised RuntimeError: no licence (",
        "omnisae_raising.py, line 8",
        "omnisae_datasets raised KeyError: 'late'",
    ],
    "omnisae-misnamed": [
        "OtherConfig has the type 'other.net'; it must begin with the entry point's name: 'misnamed.net'",
        "PlainConfig must declare its type as one Literal with the same default",
        "UnsetConfig must declare its type as one Literal with the same default",
        "LaxConfig accepts unknown keys",
        "BareConfig does not implement build",
        "returned omnisae_misnamed.RuleConfig, which is no ExtractorConfig: it is an activation rule and belongs to "
        "omnisae_autoencoders",
        "returned builtins.int, which must be a subclass of ExtractorConfig",
        "returned 'net', which is no config class",
        "two components have the type 'misnamed.same': omnisae_misnamed.OneConfig and omnisae_misnamed.TwoConfig",
        "which is no config class; return the class, not an instance",
    ],
}


@pytest.mark.parametrize("distribution", BROKEN)
def test_a_broken_plugin_is_told_with_its_reason(told: Told, distribution: str) -> None:
    record = told[distribution]
    assert (record["status"], record["usable"], record["offers"]) == ("broken", False, [])
    for sentence in BROKEN[distribution]:
        assert sentence in record["error"]
    assert f"pip uninstall {distribution}" in record["remedy"]


def test_a_sound_plugin_is_ok_beside_them(told: Told) -> None:
    record = told["omnisae-good"]
    assert (record["status"], record["error"], record["remedy"]) == ("ok", "", "")
    assert [offer["type"] for offer in record["offers"]] == ["good.items", "good.net"]
    assert {"type": "good.net", "kind": "extractor", "hook": "omnisae_extractors", "summary": "A net."} in record[
        "offers"
    ]


def test_core_is_ok_beside_them(told: Told) -> None:
    assert told["omnisae"]["status"] == "ok"
    assert "core.topk" in [offer["type"] for offer in told["omnisae"]["offers"]]


def test_a_missing_dependency_is_told_with_the_pip_command(told: Told) -> None:
    record = told["omnisae-needy"]
    assert (record["status"], record["usable"]) == ("missing", False)
    assert record["error"] == "needs no-such-library>=2, which is not installed"
    assert record["remedy"] == "pip install 'no-such-library>=2'"
    assert [offer["type"] for offer in record["offers"]] == ["needy.net"]


def test_an_import_that_fails_for_a_declared_dependency_is_no_fault_of_the_plugin(told: Told) -> None:
    record = told["omnisae-needy-import"]
    assert record["status"] == "missing"
    assert record["error"].startswith(
        "needs no-such-library>=2, which is not installed; importing 'omnisae_needy_import'"
    )
    assert record["remedy"] == "pip install 'no-such-library>=2'"


def test_an_undeclared_dependency_is_told(told: Told) -> None:
    record = told["omnisae-undeclared"]
    assert record["status"] == "broken"
    assert "ModuleNotFoundError: No module named 'no_such_module'" in record["error"]
    assert "perhaps: pip install no_such_module" in record["remedy"]
    assert "omnisae-undeclared does not declare it" in record["remedy"]


def test_a_dependency_of_another_version_is_told_and_does_not_stop(told: Told) -> None:
    record = told["omnisae-dated"]
    assert (record["status"], record["usable"]) == ("missing", True)
    assert record["error"].startswith("needs pluggy>=999, and ")
    assert record["remedy"] == "pip install 'pluggy>=999'"


def test_a_plugin_for_another_omnisae_is_told(told: Told) -> None:
    record = told["omnisae-foreign"]
    assert "cannot import name 'TimeMachine'" in record["error"]
    assert record["remedy"] == "it was written for another version of omnisae: pip install --upgrade omnisae-foreign"


def test_two_distributions_with_one_name_are_both_named(told: Told) -> None:
    for own in ("omnisae-twin-a", "omnisae-twin-b"):
        record = told[own]
        assert (record["name"], record["status"]) == ("twin", "broken")
        assert "omnisae-twin-a 1.0 (omnisae_twin_a) and omnisae-twin-b 2.0 (omnisae_twin_b)" in record["error"]
        assert record["remedy"] == "uninstall all but one: pip uninstall omnisae-twin-a or pip uninstall omnisae-twin-b"


def test_nobody_takes_cores_name(told: Told) -> None:
    record = told["omnisae-pretender"]
    assert record["status"] == "broken"
    assert record["error"] == "the name 'core' belongs to omnisae, and omnisae-pretender 1.0 registers it too"
    assert "pip uninstall omnisae-pretender" in record["remedy"]


def test_one_type_loads_one_plugin(python: Any) -> None:
    code = """
import sys
from omnisae.plugins import ExtractorConfig
from omnisae.plugins.registry import registry
config = registry().resolve(ExtractorConfig, {"type": "good.net", "checkpoint": "large"})
print(config.checkpoint, sorted(name for name in sys.modules if name.startswith("omnisae_")))
"""
    assert python(code).stdout.strip() == "large ['omnisae_good']"


def test_using_a_broken_plugin_says_why_and_how_to_mend_it(python: Any) -> None:
    code = """
from omnisae.errors import PluginError
from omnisae.plugins import ExtractorConfig
from omnisae.plugins.registry import registry
for name in ("broken.net", "needy.net", "twin.net", "dated.net"):
    try:
        print(registry().resolve(ExtractorConfig, name).type)
    except PluginError as error:
        print(error.problem, "|", error.remedy)
"""
    broken, needy, twin, dated = python(code).stdout.strip().splitlines()
    assert broken.startswith("'broken.net' cannot be used: plug-in 'broken' (omnisae-broken 1.0): importing")
    assert needy == (
        "'needy.net' cannot be used: plug-in 'needy' (omnisae-needy 1.0): needs no-such-library>=2, which is not "
        "installed | pip install 'no-such-library>=2'"
    )
    assert "registered more than once" in twin
    assert dated == "dated.net"


def test_observers_hear_events_and_a_raising_one_stops_nobody(python: Any) -> None:
    code = """
import logging, sys
logging.basicConfig(stream=sys.stdout, format="%(message)s")
from omnisae.plugins.registry import registry
registry().observe({"event": "step", "n": 1})
registry().observe({"event": "step", "n": 2})
print([event["n"] for event in sys.modules["omnisae_observer"].heard])
"""
    warning, heard = python(code).stdout.strip().splitlines()
    assert warning == (
        "plug-in 'deaf' raised OSError: the line is dead while it followed the run; it hears nothing more, "
        "the run goes on"
    )
    assert heard == "[1, 2]"
