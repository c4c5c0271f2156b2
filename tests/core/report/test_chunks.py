"""Data chunks: whatever a dataset calls its things, a chunk is one harmless statement."""

import json
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from omnisae.report.chunks import clean, script

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def payload(text: str) -> object:
    match = re.fullmatch(r'omnisae\.put\("name",(.*)\);\n', text, re.DOTALL)
    assert match
    return json.loads(match.group(1))


@given(values)
def test_a_chunk_gives_its_value_back_in_plain_ascii(value):
    text = script("name", value)
    assert text.isascii()
    assert "<" not in text
    assert text.count("\n") == 1
    assert payload(text) == value


def test_hostile_names_cannot_end_the_script(world):
    for name in world.HOSTILE:
        text = script("name", {"id": name})
        assert "</" not in text
        assert "\u2028" not in text
        assert payload(text) == {"id": name}


def test_what_is_no_number_becomes_null():
    assert clean([float("nan"), float("inf"), np.float32("nan")]) == [None, None, None]
    assert clean(np.array([1.0, np.nan])) == [1, None]


@given(st.lists(st.floats(-1e12, 1e12).filter(lambda x: x == 0 or abs(x) > 1e-12), min_size=1))
def test_arrays_keep_four_significant_digits(floats):
    array = np.array(floats)
    for kept, value in zip(clean(array), floats, strict=True):
        assert abs(kept - value) <= 0.0005001 * abs(value)
        assert len(f"{kept:.17g}".strip("-")) > 0


def test_arrays_print_short():
    assert script("name", np.array([0.1 + 0.2, 12.3456, 1e-5, 0.0])).endswith("[0.3,12.35,1e-05,0.0]);\n")
