"""Two processes never write into one folder at once, and a dead one stands in nobody's way."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import omnisae.lock as lock
from omnisae.errors import RunError
from omnisae.lock import run_lock

HOLD = """
import sys
from pathlib import Path
from omnisae.lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holding(folder: Path) -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_the_second_process_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    child = holding(tmp_path)
    with pytest.raises(RunError) as refused, run_lock(tmp_path):
        pass
    assert f"process {child.pid} on {socket.gethostname()} has been writing here since 20" in refused.value.problem
    assert "--out" in refused.value.remedy
    child.communicate("")
    with run_lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    child = holding(tmp_path)
    child.kill()
    child.communicate()
    assert (tmp_path / ".lock").exists()
    with run_lock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
    with run_lock(tmp_path):
        pass
    os.close(writing)
    os.close(reading)
    os.waitpid(child, 0)


def test_an_error_lets_go(tmp_path: Path) -> None:
    with pytest.raises(KeyError), run_lock(tmp_path):
        raise KeyError
    with run_lock(tmp_path / "made"):
        pass


@pytest.mark.parametrize(
    ("pid", "host", "free"),
    [(os.getpid(), socket.gethostname(), False), (2**22 + 1, socket.gethostname(), True), (1, "elsewhere", False)],
    ids=["alive", "dead", "elsewhere"],
)
def test_where_the_file_system_knows_no_locks_the_record_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pid: int, host: str, free: bool
) -> None:
    monkeypatch.setattr(lock, "fcntl", None)
    (tmp_path / ".lock").write_text(json.dumps({"pid": pid, "host": host, "started": "2026-01-01 00:00:00"}))
    if free:
        with run_lock(tmp_path):
            pass
    else:
        with pytest.raises(RunError, match=f"process {pid} on {host}"), run_lock(tmp_path):
            pass
