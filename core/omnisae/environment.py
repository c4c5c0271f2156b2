"""What the command asks of torch by the environment, which torch reads once, as it is imported. No torch here."""

import os
from collections.abc import Mapping

WISHES: Mapping[str, str] = {
    # Threads that wait for each other by spinning take the very cores that the others need as soon as anything else
    # runs on the machine: training was measured 20 times slower beside one busy process.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Large tensors on pages of 2 MiB instead of 4 KiB, where Linux has them to give: the sparse sums read rows all over
    # such tensors, and most of the time looked a page up for every row.
    "THP_MEM_ALLOC_ENABLE": "1",
}


def prepare() -> None:
    """Set what the user has not set otherwise."""
    for name, value in WISHES.items():
        os.environ.setdefault(name, value)
