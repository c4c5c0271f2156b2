"""The benchmark's own environment: the peers at pinned versions, on top of what the project has installed.

`benchmarks/.venv` sees the project's packages by a .pth file, so that torch is not installed twice, and its own first,
so that a pin of a peer wins. The pinned lists are whole (`--no-deps`): nothing is resolved, so nothing can change.
"""

import hashlib
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

FOLDER = Path(__file__).parents[1] / ".venv"
LISTS = {"quick": FOLDER.parent / "requirements-quick.txt", "full": FOLDER.parent / "requirements.txt"}


def python(peer: bool) -> str:
    """The interpreter for a peer, or for omnisae itself."""
    return str(FOLDER / "bin" / "python") if peer else sys.executable


def ensure(which: str) -> bool:
    """Make the environment, unless it holds this list already. Returns whether there was something to do."""
    wanted = {name: _digest(LISTS[name]) for name in LISTS}
    if any(_stamp(name).exists() and _stamp(name).read_text() == wanted[name] for name in (which, "full")):
        return False
    print(f"installing the peers into {FOLDER} ...", flush=True)
    if not Path(python(peer=True)).exists():
        venv.create(FOLDER, with_pip=True)
    site = FOLDER / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (site / "project.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    command = [python(peer=True), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(LISTS[which])]
    done = subprocess.run([*command, "--disable-pip-version-check"], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(
            f"the peers of {LISTS[which].name} could not be installed into {FOLDER}:\n{done.stderr}\n"
            f"remove {FOLDER} and try again, where the versions named there can be reached"
        )
    _stamp(which).write_text(wanted[which])
    return True


def _stamp(which: str) -> Path:
    return FOLDER / f".installed-{which}"


def _digest(file: Path) -> str:
    """Of the list, what it includes, and the interpreter that it was installed for."""
    lists = [LISTS["quick"], file]
    text = "".join(one.read_text() for one in lists) + sys.version + sysconfig.get_paths()["purelib"]
    return hashlib.sha256(text.encode()).hexdigest()
