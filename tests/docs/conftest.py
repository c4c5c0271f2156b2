"""The pages of the documentation."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("plugins/*/README.md"), *ROOT.glob("README.md")])


def blocks(language: str) -> list[tuple[str, str]]:
    """Every block of a language, with the page and line where it begins."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.S | re.M):
            line = text.count("\n", 0, match.start()) + 1
            found.append((f"{page.relative_to(ROOT)}:{line}", match.group(1)))
    return found


def pytest_generate_tests(metafunc: object) -> None:
    """`python_block` and `yaml_block` run over all pages."""
    for language in ("python", "yaml"):
        name = f"{language}_block"
        if name in metafunc.fixturenames:  # type: ignore[attr-defined]
            found = blocks(language)
            metafunc.parametrize(name, [text for _, text in found], ids=[at for at, _ in found])  # type: ignore[attr-defined]
