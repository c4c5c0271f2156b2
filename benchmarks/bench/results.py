"""Result files: `benchmarks/results/<kind>-<time>.json`, one a run, and `targets.json` of the last run."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "results"
TARGETS = "targets.json"
KEPT = 2
"""Runs of a kind that are kept: that a target is met shows on two."""


def path(kind: str, date: str, folder: Path = FOLDER) -> Path:
    """The file of a run that began at this (ISO) date."""
    return folder / f"{kind}-{date[:19].replace(':', '')}.json"


def write(file: Path, content: Any) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_suffix(".half")
    half.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    half.replace(file)


def runs(kind: str, folder: Path = FOLDER) -> list[dict[str, Any]]:
    """The kept runs of a kind, the newest first. Those that were broken off are passed over."""
    return [run for _, run in _finished(kind, folder)]


def prune(kind: str, folder: Path = FOLDER) -> list[Path]:
    """Remove all but the newest runs of a kind, and those that were broken off. Returns what was removed."""
    kept = [file for file, _ in _finished(kind, folder)][:KEPT]
    old = [file for file in folder.glob(f"{kind}-*.json") if file not in kept]
    for file in old:
        file.unlink()
    return old


def _finished(kind: str, folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    found = [(file, json.loads(file.read_text())) for file in sorted(folder.glob(f"{kind}-*.json"), reverse=True)]
    return [(file, run) for file, run in found if run["finished"]]
