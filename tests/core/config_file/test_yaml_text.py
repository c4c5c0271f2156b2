"""YAML as configs are written in it."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisae.config_file.yaml_text import read, write
from omnisae.errors import ConfigError

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert read(write(value), "text").value == value


LIKE_OTHERS = [
    "1e-3",
    "1_000",
    "010",
    "1:30",
    "2026-01-01",
    "yes",
    "null",
    "~",
    ".5",
    "1.",
    "-.inf",
    "0x10",
    "=",
    "<<",
    "y",
]


@pytest.mark.parametrize("text", LIKE_OTHERS)
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    assert read(write({"a": text}), "text").value == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("1.0e-3", 0.001),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("1_000_000", 1_000_000),
        ("010", 10),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("on", True),
        ("no", False),
        ("~", None),
        ("y", "y"),
        ("1e", "1e"),
        ("world:shapes", "world:shapes"),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    found = read(f"a: {text}", "text").value["a"]
    assert found == value
    assert type(found) is type(value)


def test_lines_are_known() -> None:
    document = read("a:\n  - b: 1\n  - 2\nc: 3\n", "text")
    assert document.lines[("a", 0, "b")] == 2
    assert document.lines[("a", 1)] == 3
    assert document.lines[("c",)] == 4


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        (
            "a: 1\nb: 2\na: 3\n",
            "f.yaml, line 3, column 1: the key 'a' stands twice (first on line 1)",
            "keep one of the two",
        ),
        ("a: {b: 1, b: 2}", "the key 'b' stands twice (first on line 1)", "keep one of the two"),
        ("a:\n\tb: 1\n", "f.yaml, line 2, column 1", "indent with spaces, not tabs"),
        ("a: [1\nb: 2", "f.yaml, line 2", "mend the YAML there"),
        ("a: !!python/object:os.system {}", "could not determine a constructor for the tag", "mend the YAML there"),
        ("--- 1\n--- 2\n", "but found another document", "mend the YAML there"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_place(text: str, problem: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text, "f.yaml")
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_anchors_and_merges_work() -> None:
    assert read("base: &b {x: 1}\nhere: {<<: *b, y: 2}\n", "text").value["here"] == {"x": 1, "y": 2}
