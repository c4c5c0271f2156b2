"""Ctrl-C in a real process: one message, exit code 130, no traceback."""

import signal
import subprocess
import sys
from pathlib import Path

CODE = """
import sys, time, types
import omnisae.config_file
omnisae.config_file.load = lambda path, overrides=(): types.SimpleNamespace(name="x")
def run(config, out=None, stages=None):
    print("running", flush=True)
    time.sleep(60)
sys.modules["omnisae.pipeline"] = types.SimpleNamespace(run=run)
from omnisae.cli import main
main(["run", "config.yaml"])
"""


def test_ctrl_c_ends_with_130(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CODE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr == (
        "error: interrupted; what is finished is kept in runs/x, and the same command goes on from there\n"
    )
