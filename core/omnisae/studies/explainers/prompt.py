"""What a language model is asked, and answers that are kept on disk."""

import hashlib
import json
import os
from pathlib import Path

from omnisae.atomic import write_json

QUESTION = """Below are texts. One part of a neural network responds to all of them and hardly to others.

{texts}

What do these texts have in common? Answer with one short phrase of at most eight words, and nothing else."""


def question(texts: tuple[str, ...], most: int) -> str:
    """The question about the strongest texts, one a line."""
    return QUESTION.format(texts="\n".join(f"- {' '.join(text.split())}" for text in texts[:most]))


def tidy(answer: str) -> str:
    """An answer as a phrase: its first line that says something, without marks around it."""
    lines = [line.strip(" \t-*\"'“”.") for line in answer.splitlines()]
    return next((line for line in lines if line), "")[:120]


class Kept:
    """Answers by what was asked of whom, a file each, written whole or not at all."""

    def __init__(self, folder: Path | None, whom: str) -> None:
        root = Path(os.environ.get("OMNISAE_CACHE") or Path.home() / ".cache" / "omnisae")
        self.folder, self.whom = folder or root / "phrases", whom

    def _file(self, asked: str) -> Path:
        name = hashlib.sha256(json.dumps([self.whom, asked]).encode()).hexdigest()[:32]
        return self.folder / f"{name}.json"

    def get(self, asked: str) -> str | None:
        """The kept answer; None where there is none, or its file cannot be read."""
        try:
            found = json.loads(self._file(asked).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found["answer"] if isinstance(found, dict) and isinstance(found.get("answer"), str) else None

    def put(self, asked: str, answer: str) -> None:
        """Keep an answer."""
        write_json(self._file(asked), {"of": self.whom, "asked": asked, "answer": answer})
