"""The machine and the commit that a result belongs to. Nothing that names the machine's owner or place."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")
ROOT = Path(__file__).parents[2]


def machine() -> dict[str, Any]:
    """What speed depends on."""
    found = _cpu()
    return {
        "cpu": found.get("model name", platform.processor() or platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in FLAGS if flag in found.get("flags", "").split()],
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": gpu(),
        "system": platform.system(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def gpu() -> str | None:
    """The name of the GPU, where torch can use one."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def occasion() -> dict[str, Any]:
    """When, and of which state of the repository. `changed`: there were changes that no commit holds."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
    }


def _cpu() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines) if value}


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
