"""The memory of this process, as Linux counts it: resident bytes, now and at most since the last reset."""

import ctypes
import gc
from pathlib import Path

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


def resident() -> int:
    """Bytes resident now."""
    return _field("VmRSS")


def peak() -> int:
    """The most bytes resident at once since `settle`."""
    return _field("VmHWM")


def settle() -> None:
    """Give what is free back to the system, and let the peak begin anew at what is resident now."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    RESET.write_text("5")  # proc(5): resets the peak resident set size


def _field(name: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{STATUS} has no line {name}: memory is measured on Linux only")
