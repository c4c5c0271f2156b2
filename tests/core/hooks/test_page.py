import doctest
import re
from pathlib import Path

import pytest
import torch

from omnisae.tokens.arrange import flatten, restore
from omnisae.tokens.layout import Layout

PAGE = Path(__file__).parents[3] / "docs" / "hook-points.md"
TABLE = re.findall(
    r"^\| ([^|`]+) \| `(example [^`]*|position example d|\(branch example\) d y x)` \|", PAGE.read_text(), re.M
)
SIZES = {"register": 4, "query": 5, "branch": 2, "head": 2, "y": 3, "x": 2}
SHAPES = {
    "example d y x": (2, 6, 3, 2),
    "example y x d": (2, 3, 2, 6),
    "example (y x) d": (2, 6, 6),
    "example ([cls] + [register] + y x) d": (2, 11, 6),
    "example d": (2, 6),
    "example [query] d": (2, 5, 6),
    "position example d": (7, 2, 6),
    "(branch example) d y x": (4, 6, 3, 2),
    "example position (head d)": (2, 7, 12),
    "example time ([cls] + y x) d": (2, 5, 7, 6),
}


def test_the_examples_of_the_page_are_true():
    assert doctest.testfile(str(PAGE), module_relative=False).failed == 0


@pytest.mark.parametrize("pattern", [pattern for _, pattern in TABLE])
def test_every_pattern_of_the_table_fits_and_restores(pattern):
    plain = Layout(pattern)
    layout = Layout(pattern, {n: s for n, s in SIZES.items() if n in {*plain.roles, *(a.name for a in plain.axes)}})
    tensor = torch.randn(SHAPES[pattern])
    tokens = flatten(tensor, layout)
    assert tokens.values.shape[1] == 6
    assert torch.equal(restore(tokens.values, layout, tokens.sizes), tensor)


def test_the_table_was_found():
    assert len(TABLE) == len(SHAPES)
