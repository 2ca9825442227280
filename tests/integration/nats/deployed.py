"""A nats-server with the configuration of deploy/nats, keys of its own and a certificate of an authority of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
import trustme
from nats.aio.client import Client

from detector.adapters.nats.connection import connect
from detector.adapters.nats.credentials import Credentials
from detector.adapters.nats.embedded import _binary, _free_port
from tests.waiting import until

DEPLOY = Path(__file__).parents[3] / "deploy" / "nats"
MAKE_KEYS = [sys.executable, str(DEPLOY / "make_keys.py")]


@dataclass
class Deployed:
    """The server, on the port it had before when it is started again."""

    folder: Path
    flags: tuple[str, ...] = ()
    port: int = field(default_factory=_free_port)
    monitoring: int = field(default_factory=_free_port)
    child: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"tls://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def credentials(self, role: str) -> Credentials:
        return Credentials(nkey_seed_file=self.folder / f"{role}.seed", tls_ca=self.folder / "ca.pem")

    async def connect(self, role: str) -> Client:
        return await connect(self.url, name=role, credentials=self.credentials(role))

    async def watched(self, role: str, errors: list[str]) -> Client:
        """Connect so that every complaint of the server is kept."""

        async def keep(error: Exception) -> None:
            errors.append(str(error))

        return await nats.connect(self.url, error_cb=keep, **self.credentials(role).options())

    def environment(self, role: str) -> dict[str, str]:
        """Settings of a command that connects in this role."""
        known = self.credentials(role)
        return {
            "DETECTOR_NATS__URL": self.url,
            "DETECTOR_NATS__NKEY_SEED_FILE": str(known.nkey_seed_file),
            "DETECTOR_NATS__TLS_CA": str(known.tls_ca),
        }

    async def ask(self, page: str) -> dict[str, Any]:
        """Read a page of the server's monitoring."""
        url = f"http://127.0.0.1:{self.monitoring}/{page}"
        with await asyncio.to_thread(urllib.request.urlopen, url, timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    async def start(self) -> None:
        command = [str(_binary()), "-c", str(self.folder / "nats.conf"), "-a", "127.0.0.1"]
        command += ["-p", str(self.port), "-m", str(self.monitoring), *self.flags]
        places = {"NATS_STORE": "store", "NATS_TLS_CERT": "server.pem", "NATS_TLS_KEY": "server.key"}
        environment = {**os.environ, **{name: str(self.folder / file) for name, file in places.items()}}
        with (self.folder / "server.log").open("ab") as log:
            self.child = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env=environment)
        await until(self._greets, why=lambda: self.log[-2000:])

    async def stop(self) -> None:
        if self.child is not None and self.child.returncode is None:
            self.child.terminate()
            await self.child.wait()

    async def _greets(self) -> bool:
        assert self.child is not None
        assert self.child.returncode is None, self.log[-2000:]
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            return (await reader.readline()).startswith(b"INFO ")
        finally:
            writer.close()


@asynccontextmanager
async def deployed(folder: Path, *flags: str) -> AsyncIterator[Deployed]:
    """Keys, certificates and server, in `folder`; flags are those of nats-server."""
    await make_keys(folder)
    (folder / "nats.conf").symlink_to(DEPLOY / "nats.conf")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    write_certificate(authority, folder, "server")
    server = Deployed(folder, flags)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


async def make_keys(folder: Path, *names: str) -> str:
    done = await asyncio.to_thread(
        subprocess.run, [*MAKE_KEYS, str(folder), *names], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout


def write_certificate(authority: trustme.CA, folder: Path, name: str) -> None:
    """Write name.pem and name.key, as secret as they have to be."""
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    key = folder / f"{name}.key"
    key.touch(0o600)
    certificate.private_key_pem.write_to_path(key)
