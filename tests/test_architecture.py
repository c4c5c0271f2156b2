"""Each floor imports only from floors below it; files stay short; core knows no domain."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "core" / "omnisae"
FLOORS = {
    "errors": 1, "atomic": 1, "lock": 1, "environment": 1, "figure": 1, "svg": 1,
    "tokens": 2, "plugins": 2, "config": 2, "config_file": 2, "run_folder": 2, "processes": 2,
    "store": 3, "hooks": 3,
    "extract": 4,
    "autoencoders": 5,
    "training": 6, "postings": 6,
    "concepts": 7, "interventions": 7, "studies": 7,
    "report": 8,
    "pipeline": 9, "stages": 9, "run": 9,
    "cli": 10, "commands": 10, "plugin": 10, "testing": 10, "scaffold": 10, "__init__": 10, "__main__": 10,
}  # fmt: skip
ALLOWED = {
    ("config", "hooks.point"): "the vocabulary of views, without torch",
    ("config_file", "hooks.point"): "the same",
    ("extract", "concepts.annotations"): "datasets say what they know of examples",
}
MODULES = sorted(path for path in CORE.rglob("*.py") if "templates" not in path.parts)


def room(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, bool]]:
    """The omnisae modules that a file imports, and whether for type checking only."""
    tree = ast.parse(path.read_text())
    typing_only = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("omnisae."):
            found.append((str(node.module).removeprefix("omnisae."), node in typing_only))
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("omnisae.")]
            found += [(name.removeprefix("omnisae."), node in typing_only) for name in names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(CORE)))
def test_a_floor_imports_only_from_floors_below(path: Path) -> None:
    own = FLOORS[room(path)]
    for target, typing_only in imports(path):
        other = target.split(".")[0]
        if typing_only or other == room(path):
            continue
        if any(room(path) == a and target.startswith(b) for a, b in ALLOWED):
            continue
        assert FLOORS[other] <= own, f"{path.relative_to(ROOT)} (floor {own}) imports {target}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(CORE)))
def test_no_file_is_longer_than_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


DOMAIN_WORDS = re.compile(
    r"\b(proteins?|residues?|galax\w*|mammo\w*|lesions?|diffusion|timesteps?|single.?cell|genes?|recommend\w*|dino|images?)\b",
    re.I,
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(CORE)))
def test_core_has_no_domain_word(path: Path) -> None:
    """Media types and HTML's own names aside."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        plain = re.sub(
            r"image/[a-z+]+|<img|background-image|image-rendering|PIL import Image|Image\.\w+|add_image", "", line
        )
        assert not DOMAIN_WORDS.search(plain), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
