"""The run folder: where every stage's output lies, and which stages are done with which inputs. No torch here."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from omnisae.atomic import write_json
from omnisae.errors import RunError

STAGES = ("extract", "train", "encode", "score", "report")


@dataclass(frozen=True)
class Done:
    """A finished stage: the content key of all its inputs, and how long it took."""

    key: str
    seconds: float


class RunFolder:
    """Paths of one run, and the ledger `stages.json` of what is done.

    A stage is done when the ledger holds its content key (a hash of everything it depends on) and its output is there;
    time stamps play no part.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def train(self) -> Path:
        """Checkpoints, metrics.jsonl and TensorBoard of the training."""
        return self.path / "train"

    def store(self, hook: str) -> Path:
        return self.path / "store" / hook

    def artifact(self, job: str, first: bool) -> Path:
        """The first autoencoder lies in `sae/` itself, further ones in folders below it."""
        return self.path / "sae" if first else self.path / "sae" / job

    def findings(self, job: str, first: bool) -> Path:
        """Where codes, tables and the report of an autoencoder lie: the run folder itself for the first."""
        return self.path if first else self.path / "more" / job

    def ledger(self) -> dict[str, Done]:
        """The finished stages by name."""
        file = self.path / "stages.json"
        if not file.exists():
            return {}
        try:
            return {name: Done(**entry) for name, entry in json.loads(file.read_text()).items()}
        except (ValueError, TypeError) as error:
            raise RunError(f"{file} cannot be read: {error}", "remove it: every stage then runs again") from error

    def is_done(self, stage: str, key: str) -> bool:
        done = self.ledger().get(stage)
        return done is not None and done.key == key

    def require(self, stage: str, key: str) -> None:
        """Raise RunError unless the stage is done with this very input."""
        done = self.ledger().get(stage)
        base = stage.partition(":")[0]
        if done is None:
            raise RunError(
                f"{self.path} has no finished stage '{base}'", f"run `omnisae {base}` with the same config first"
            )
        if done.key != key:
            raise RunError(
                f"the stage '{base}' in {self.path} was made from another config, model or dataset",
                f"run `omnisae {base}` again, or give this run a folder of its own (--out)",
            )

    @contextmanager
    def doing(self, stage: str, key: str) -> Iterator[None]:
        """Mark a stage as done with `key` when the block ends well; until then, and after an error, it is undone."""
        self._write({name: done for name, done in self.ledger().items() if name != stage})
        start = monotonic()
        yield
        self._write(self.ledger() | {stage: Done(key, round(monotonic() - start, 3))})

    def _write(self, ledger: dict[str, Done]) -> None:
        self.write_json("stages.json", {name: {"key": d.key, "seconds": d.seconds} for name, d in ledger.items()})

    def seconds(self) -> dict[str, float]:
        """Seconds by stage, of those that are done, in the order of the stages."""
        done = self.ledger()
        ordered = sorted(done, key=lambda name: (STAGES.index(name.partition(":")[0]), name))
        return {name: done[name].seconds for name in ordered}

    def write_json(self, name: str, value: Any) -> None:
        write_json(self.path / name, value)
