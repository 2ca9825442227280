"""Trouble that lasts: told when it begins, and then once a minute."""

from __future__ import annotations

import time
from typing import Any

SAY_AGAIN_SECONDS = 60.0


class Trouble:
    """One kind of trouble.

    Parameters
    ----------
    log : structlog logger
    event : str
        What is told.
    """

    def __init__(self, log: Any, event: str) -> None:
        self._log = log
        self._event = event
        self._due = 0.0

    def tell(self, reason: object, **counts: int) -> None:
        """Log it with its reason and counts, unless that was done within the last minute."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + SAY_AGAIN_SECONDS
            self._log.warning(self._event, reason=str(reason), **counts)
