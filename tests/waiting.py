"""Wait for a condition, never for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(
    condition: Callable[[], bool | Awaitable[bool]], deadline: float = 10.0, why: str | Callable[[], str] = ""
) -> None:
    """Return once `condition` holds; fail after `deadline` seconds and say `why`."""
    end = time.monotonic() + deadline
    while True:
        held = condition()
        if held if isinstance(held, bool) else await held:
            return
        if time.monotonic() > end:
            raise AssertionError(why() if callable(why) else why or f"not so within {deadline} s")
        await asyncio.sleep(0.02)
