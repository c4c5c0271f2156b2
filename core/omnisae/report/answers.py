"""What the studies found, as the report shows it: a page of answers, columns and lines for every latent."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from omnisae.errors import RunError
from omnisae.report.columns import Column
from omnisae.report.words import DASH, chance, plural, share, short, signed, whole
from omnisae.studies.ask import FIGURES, FILE, LATENTS

WRITE = {"share": share, "signed": signed, "count": whole, "raw": short, "chance": chance}
MOST_ROWS = 200
"""Rows of a study's own table that its page shows; the rest stands in studies.json."""
LATENT_COLUMNS = ("latent", "best latent")
"""Columns of a study's table that name one latent, as pages do: 17, or 17+ and 17- where codes are signed."""
LATENT_NAME = re.compile(r"\d+[+-]?")


@dataclass(frozen=True)
class Answers:
    """The studies of a run as written down, and what they measured of every posting list, by column."""

    studies: Sequence[Mapping[str, Any]] = ()
    columns: Sequence[Column] = ()
    values: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    folder: Path = Path()

    @property
    def warnings(self) -> list[str]:
        """What the overview must say of them."""
        failed = [f"The study {one['type']} has no answer: {one['failed']}" for one in self.studies if one["failed"]]
        return failed + [str(warning) for one in self.studies for warning in one["warnings"]]

    def of(self, latent: int) -> list[Any]:
        """What was measured of one posting list, in the order of the columns."""
        return [self.values[column.key][latent] for column in self.columns]

    def pages(self) -> list[dict[str, Any]]:
        """The studies as the template writes them."""
        return [_page(study, self.folder) for study in self.studies]

    def copy_figures(self, report: Path) -> None:
        """Drawings that are files, beside the page."""
        if any(figure["media"] != "text/html" for study in self.studies for figure in study["figures"]):
            shutil.copytree(self.folder / FIGURES, report / FIGURES)


def read(run: Path) -> Answers:
    """The answers in a run's folder; none where nothing was asked. Raises RunError where a file is damaged."""
    if not (run / FILE).exists():
        return Answers()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = json.loads((run / FILE).read_text(encoding="utf-8"))
        table = pq.read_table(run / LATENTS)
    except (ValueError, OSError, pa.ArrowInvalid) as error:
        raise RunError(
            f"{run / FILE} or {LATENTS} beside it is damaged: {error}", "run `omnisae score` again"
        ) from None
    columns = [Column(m["name"], m["name"], m["kind"], m["note"]) for m in found["measures"]]
    return Answers(found["studies"], columns, {c.key: table[c.key].to_pylist() for c in columns}, run)


def _page(study: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {
        "title": study["title"],
        "type": study["type"],
        "about": study["about"],
        "failed": study["failed"],
        "findings": [_line(finding) for finding in study["findings"]],
        "figures": [_figure(figure, folder) for figure in study["figures"]],
        "tables": [_table(title, rows) for title, rows in study["tables"].items() if rows],
        "notes": study["notes"],
        "warnings": study["warnings"],
        "measures": study["measures"],
    }


def _line(finding: Mapping[str, Any]) -> dict[str, str]:
    write = WRITE[finding["kind"]]
    low, high = finding["low"], finding["high"]
    return {
        "name": finding["name"],
        "value": write(finding["value"]),
        "interval": f"{write(low)} to {write(high)}" if low is not None and high is not None else DASH,
        "control": write(finding["control"]) if finding["control"] is not None else DASH,
        "against": finding["against"],
        "p": chance(finding["p"]),
        "n": whole(finding["n"]),
        "remark": finding["remark"],
    }


def _figure(figure: Mapping[str, str], folder: Path) -> dict[str, Any]:
    shown: dict[str, Any] = dict(figure)
    if figure["media"] == "text/html":  # made by a study, which escapes its text; the page's policy runs no script
        shown["html"] = Markup((folder / figure["file"]).read_text(encoding="utf-8"))
    return shown


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    more = f"{plural(len(rows) - MOST_ROWS, 'further row')} in {FILE}." if len(rows) > MOST_ROWS else ""
    shares = {key for key in rows[0] if _are_shares([row.get(key) for row in rows])}
    cells = [
        [_cell(row.get(key), key in shares) | _link(key, row.get(key)) for key in rows[0]] for row in rows[:MOST_ROWS]
    ]
    head = [{"name": key, "number": cell["number"]} for key, cell in zip(rows[0], cells[0], strict=True)]
    return {"title": title, "head": head, "rows": cells, "more": more}


def _link(key: str, value: Any) -> dict[str, str]:
    """Where a cell leads: a latent's own page."""
    return {"link": f"latent.html#{value}" if key in LATENT_COLUMNS and LATENT_NAME.fullmatch(str(value)) else ""}


def _are_shares(values: Sequence[Any]) -> bool:
    """Whether a column holds numbers between −1 and 1 only: they stand below each other with equal decimals."""
    known = [value for value in values if value is not None]
    return all(isinstance(value, float) and -1 <= value <= 1 for value in known)


def _cell(value: Any, is_share: bool) -> dict[str, Any]:
    if value is None:
        return {"text": DASH, "number": True}
    if isinstance(value, bool):
        return {"text": "yes" if value else "no", "number": False}
    if isinstance(value, int):
        return {"text": whole(value), "number": True}
    if isinstance(value, float):
        return {"text": share(value) if is_share else short(value), "number": True}
    return {"text": str(value), "number": False}
