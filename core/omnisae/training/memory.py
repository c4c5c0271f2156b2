"""Memory of a step that the next one uses again."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's mallopt
_LARGEST = 2**31 - 1
_ON_THE_HEAP = 2**30


def keep_freed_memory() -> None:
    """Let what a step frees stay with the process, for the next step.

    Gradients and residuals are tens of megabytes each, which glibc's allocator would give back to the system when they
    are freed and ask for again, page by page, in every step. Where the C library is another one, nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, _ON_THE_HEAP)
        set_option(_TRIM_THRESHOLD, _LARGEST)
