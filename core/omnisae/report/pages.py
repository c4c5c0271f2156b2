"""The pages: templates with autoescape, and the assets beside them."""

import shutil
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from omnisae.report import chunks
from omnisae.report.scale import SILENT, codes
from omnisae.report.words import whole

PAGES = ("index", "concepts", "latents", "latent")


def write_pages(folder: Path, context: Mapping[str, Any]) -> None:
    """Write the pages, and copy the style and the scripts that they use."""
    environment = Environment(
        loader=PackageLoader("omnisae.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["whole"] = whole
    for page in (*PAGES, *(["studies"] if context["studies"] else [])):
        text = environment.get_template(f"{page}.html").render(page=page, **context)
        (folder / f"{page}.html").write_text(text, encoding="utf-8")
    with as_file(files("omnisae.report") / "assets") as assets:
        shutil.copytree(assets, folder / "assets")


def write_run(folder: Path, facts: Mapping[str, Any]) -> None:
    """The chunk that every page with data loads first."""
    chunks.write(folder, "run", {"scale": codes(), "silent": SILENT, **facts})
