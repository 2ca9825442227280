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
        self._unsaid = 0

    def tell(self, reason: object, **more: Any) -> None:
        """Log it with its reason and how often it was not told; within a minute after that count it only."""
        now = time.monotonic()
        if now < self._due:
            self._unsaid += 1
            return
        self._due, unsaid, self._unsaid = now + SAY_AGAIN_SECONDS, self._unsaid, 0
        self._log.warning(self._event, reason=str(reason), unsaid=unsaid, **more)
