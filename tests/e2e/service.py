"""A real `detector run` in a process of its own, to be killed and started again."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tests.waiting import until

COMMAND = [sys.executable, "-m", "detector"]


class DetectorProcess:
    """`detector run` on a folder, with whatever else the command line takes."""

    def __init__(self, folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._arguments = ["run", "--folder", str(folder), "--port", "0", *arguments]
        self.environment = {**os.environ, **(environment or {})}
        self._child: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> str:
        return (self.folder / "service.log").read_text(errors="replace")

    @property
    def http(self) -> str:
        return str(json.loads((self.folder / "endpoints.json").read_text())["http"])

    @property
    def nats(self) -> str:
        return str(json.loads((self.folder / "endpoints.json").read_text())["nats"])

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.returncode is None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    async def start(self, ready: bool = True, deadline: float = 60.0) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "endpoints.json").unlink(missing_ok=True)
        with (self.folder / "service.log").open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                *COMMAND, *self._arguments, stdout=log, stderr=log, env=self.environment, start_new_session=True
            )
        if ready:
            await until(self.is_ready, deadline, lambda: f"detector run is not ready:\n{self.log[-3000:]}")

    async def is_ready(self) -> bool:
        assert self.alive, self.log[-3000:]
        if not (self.folder / "endpoints.json").exists():
            return False
        return (await self.get("/readyz"))[0] == 200

    async def get(self, path: str) -> tuple[int, str]:
        return await asyncio.to_thread(_get, self.http + path)

    async def metrics(self) -> dict[str, float]:
        _, text = await self.get("/metrics")
        return {name: float(value) for name, value in re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        return await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> int:
        if self._child is None:
            return 0
        if self._child.returncode is None:
            self._child.send_signal(number)
        return await asyncio.wait_for(self._child.wait(), 30)


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)
