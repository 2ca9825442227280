"""Log lines, to standard error."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any

import structlog


def set_up_logs(level: str, form: str) -> None:
    """Log to standard error from `level` on: for people on a terminal, as JSON elsewhere or where `form` says so."""
    people = form == "console" or (form == "auto" and sys.stderr.isatty())
    # Tracebacks are plain text: a pretty one would show local variables, and what secrets they hold.
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    renderers: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    least = getattr(logging, level.upper())
    logging.basicConfig(stream=sys.stderr, level=max(least, logging.WARNING), format="%(message)s")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([console] if people else renderers),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: _Logger(sys.stderr),
        cache_logger_on_first_use=False,
    )


class _Logger(structlog.PrintLogger):
    """Loses lines that can't be written, on a full disk say: the work goes on without them."""

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg
