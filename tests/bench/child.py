"""A contestant's process as the bench sees it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from tests.waiting import until

START_SECONDS = 300.0
STOP_SECONDS = 30.0
ASK_SECONDS = 0.02
"""A contestant is asked no more often, so that it does not pay for the answers."""


class Child:
    """`python -m module arguments`, which speaks as in `tests.bench.answers`."""

    def __init__(self, module: str, arguments: list[str], log: Path) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._applied = 0

    async def __aenter__(self) -> Child:
        pipe = asyncio.subprocess.PIPE
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe, stderr=log)
        try:
            await until(lambda: self.ask("ready"), START_SECONDS, "the contestant did not get ready")
        except BaseException:
            self._running.kill()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._running
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    @property
    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "not started"
        return self._process

    async def ask(self, word: str) -> Any:
        process = self._running
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(word.encode() + b"\n")
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self._command[1:])} ended: {self._log.read_text(errors='replace')[-2000:]}")
        return json.loads(line)

    async def until_applied(self, count: int, patience: float = 60.0) -> None:
        """Wait until so many aggregates are applied; give up where nothing moves for `patience` seconds."""
        latest, moved = self._applied, time.monotonic()
        while self._applied < count:
            self._applied = await self.ask("applied")
            if self._applied > latest:
                latest, moved = self._applied, time.monotonic()
            if time.monotonic() - moved > patience:
                raise RuntimeError(f"applied {latest} of {count} and stopped: {self._log.read_text()[-2000:]}")
            await asyncio.sleep(ASK_SECONDS)

    def resident(self) -> int:
        """Bytes of memory now."""
        return int(psutil.Process(self._running.pid).memory_info().rss)

    def cpu_seconds(self) -> float:
        return cpu_seconds(self._running.pid)


def cpu_seconds(pid: int | None) -> float:
    """User and system time of a process and its threads, to 10 ms on Linux."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
