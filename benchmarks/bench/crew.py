"""The parent's side: contestants as processes, of which only the one whose turn it is can run."""

import json
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.bench import environment
from benchmarks.bench.setting import Entry, Setting

from omnisae.environment import WISHES

ROOT = Path(__file__).parents[2]
SURROUNDINGS = {
    "SPARSIFY_DISABLE_TRITON": "1",  # its Triton decoder fails where there is no driver
    "OMP_WAIT_POLICY": WISHES["OMP_WAIT_POLICY"],  # the same for everybody, since all wait for their turns
    "TQDM_DISABLE": "1",
    "WANDB_MODE": "disabled",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
LAST_LINES = 12


class ContestantError(Exception):
    """A contestant's process failed. The message holds the end of what it printed, `reason` the last line of it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.reason = message.splitlines()[-1].strip()


class Member:
    """One contestant's process. Between an answer and the next question it is stopped (SIGSTOP)."""

    def __init__(self, entry: Entry, setting: Setting, data: Path, logs: Path) -> None:
        self.entry = entry
        self._log = logs / f"{entry.name.replace(' ', '-')}.log"
        spec = json.dumps(entry.spec(setting, str(data)))
        # Peers run as they are shipped; omnisae, too, and its command asks torch for large pages.
        surroundings = dict(SURROUNDINGS) if entry.peer else {**WISHES, **SURROUNDINGS}
        if setting.device != "cpu":
            del surroundings["SPARSIFY_DISABLE_TRITON"]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [environment.python(entry.peer), "-m", "benchmarks.bench.worker", spec],
                cwd=ROOT,
                env=os.environ | surroundings,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ready(self) -> dict[str, str]:
        """Wait until it is built. Returns its versions. Raises ContestantError."""
        return self._reply()["ready"]

    def ask(self, do: str, **more: Any) -> Any:
        """Let it run until it has answered. Raises ContestantError."""
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.stdin.write(json.dumps({"do": do, **more}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failed() from None
        return self._reply()

    def close(self) -> None:
        """End its process."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def _reply(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            raise self._failed()
        self._process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def _failed(self) -> ContestantError:
        code = self._process.wait()
        told = "\n    ".join(self._log.read_text(errors="replace").splitlines()[-LAST_LINES:])
        return ContestantError(f"{self.entry.name} ended with exit code {code}; its last words:\n    {told}")


class Crew(dict[str, Member]):
    """The contestants of a race by name; `absent` holds those that could not be built, and why."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: dict[str, dict[str, str]] = {}
        self.absent: dict[str, str] = {}


@contextmanager
def crew(entries: Iterable[Entry], setting: Setting, data: Path, logs: Path) -> Iterator[Crew]:
    """All contestants, built side by side and then stopped. One that fails is left out and named in `absent`."""
    made = Crew()
    logs.mkdir(parents=True, exist_ok=True)
    started = [Member(entry, setting, data, logs) for entry in entries]
    try:
        for member in started:
            try:
                made.versions[member.entry.name] = member.ready()
                made[member.entry.name] = member
            except ContestantError as error:
                made.absent[member.entry.name] = error.reason
                print(f"left out: {error}", flush=True)
        yield made
    finally:
        for member in started:
            member.close()
