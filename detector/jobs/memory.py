"""Memory of a process that runs for months: what was freed goes back, and what lives long is set apart."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import Callable

LARGE = 4 * 2**20
"""Bytes from which on a block is a mapping of its own, which goes back to the system the moment it is freed: a
checkpoint is, the arrays of a step are not, for each page of a new mapping costs a fault."""
_MMAP_THRESHOLD, _TRIM_THRESHOLD, _ARENA_MAX = -3, -1, -8
"""Names of the C library's parameters (mallopt(3))."""


def give_back() -> bool:
    """Let glibc keep little of what was freed; call it before threads start. Says whether it could.

    By itself glibc takes every large block that is freed for a sign to keep such blocks (up to 32 MiB) among the small
    ones from then on, for each thread apart. Checkpoints and copies of a state, many MiB each and never of one
    size, then leave holes: of a service with 100,000 signals a tenth of its memory. Elsewhere nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    return all(mallopt(*one) for one in ((_MMAP_THRESHOLD, LARGE), (_TRIM_THRESHOLD, LARGE), (_ARENA_MAX, 2)))


async def set_apart(known: Callable[[], int]) -> None:
    """Keep what lives long out of full garbage collections: for 100,000 series each would stop everything for 400 ms.

    `known` tells how many series there are. What is set apart still goes when nothing refers to it; only cycles that
    are garbage just then stay, a few at each of the times, which are as rare as the series grow.
    """
    apart = 0
    while True:
        await asyncio.sleep(1.0)
        if known() > 1.1 * apart + 1000:
            apart = known()
            gc.freeze()
