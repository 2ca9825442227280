"""The server we run ourselves, and connecting to one."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from detector.adapters.nats.connection import Counts, connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer, _binary, _free_port
from detector.errors import BusError
from tests.integration.nats.conftest import until


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "zombie" not in Path(f"/proc/{pid}/status").read_text() if Path("/proc/self").exists() else True


async def test_it_starts_and_stops_cleanly(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / 'a "Bücher" folder/nats')
    await server.start()
    pid = server.pid
    assert pid is not None
    assert os.getpgid(pid) == pid != os.getpgid(0)
    await server.stop()
    await server.stop()
    assert not runs(pid)
    assert "Server Exiting" in server.log_file.read_text()


async def test_it_is_started_again_on_its_port_when_killed(server: EmbeddedServer) -> None:
    url, pid = server.url, server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: server.restarts == 1)
    assert server.url == url
    client = await connect(url)
    await disconnect(client)


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = EmbeddedServer(tmp_path, port)
        with pytest.raises(BusError, match=rf"nats-server .* port {port}.*nats-server\.log"):
            await server.start()
    await server.start()
    assert server.port == port
    await server.stop()


async def test_a_folder_in_use_is_refused(server: EmbeddedServer) -> None:
    with pytest.raises(BusError, match="in use by another process"):
        await EmbeddedServer(server.folder).start()


async def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BusError, match=r"file.* can't hold a server.*another folder"):
        await EmbeddedServer(tmp_path / "file" / "nats").start()


async def test_a_server_that_outlived_its_owner_is_ended_first(tmp_path: Path) -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(f"""
            import asyncio
            from pathlib import Path
            from detector.adapters.nats.embedded import EmbeddedServer

            async def main():
                server = EmbeddedServer(Path({str(tmp_path)!r}))
                await server.start()
                print(server.pid, flush=True)
                await asyncio.Event().wait()

            asyncio.run(main())
        """),
        stdout=asyncio.subprocess.PIPE,
    )
    assert owner.stdout is not None
    orphan = int(await owner.stdout.readline())
    owner.kill()
    await owner.wait()
    assert runs(orphan)
    async with EmbeddedServer(tmp_path) as server:
        assert not runs(orphan)
        assert server.pid not in (None, orphan)


@pytest.fixture
def guarded() -> Iterator[int]:
    """Port of a server that wants a password."""
    port = _free_port()
    child = subprocess.Popen(
        [_binary(), "-a", "127.0.0.1", "-p", str(port), "--user", "ann", "--pass", "p@ss/word"],
        stderr=subprocess.DEVNULL,
    )
    yield port
    child.terminate()
    child.wait()


async def test_secrets_from_the_address_let_us_in_and_appear_nowhere(guarded: int) -> None:
    address = f"nats://ann:p%40ss%2Fword@127.0.0.1:{guarded}"
    with capture_logs() as logs:
        client = await connect(address)
        assert client.connected_url is not None
        assert "p@ss" not in client.connected_url.netloc
        await client.force_reconnect()
        await until(lambda: client.is_connected and client.stats["reconnects"] == 1)
        await disconnect(client)
        with pytest.raises(BusError) as refused:
            await connect(f"nats://ann:wr%40ng@127.0.0.1:{guarded}", deadline=1)
    assert re.search("Authorization Violation|hangs up when it is told who we are", str(refused.value))
    for text in (str(refused.value), repr(refused.value.__cause__), *map(str, logs)):
        assert "p@ss" not in text
        assert "wr" not in text
        assert "p%40ss" not in text


@pytest.mark.parametrize(
    "address",
    ["nats://ann:se/cret@127.0.0.1:1", "nats://se@cret@127.0.0.1:1", "nats://ann:cret,se@127.0.0.1:1", "cret@:x"],
)
async def test_connecting_ends_by_its_deadline_and_keeps_secrets(address: str) -> None:
    begun = time.monotonic()
    with pytest.raises(BusError, match=r"check nats\.url") as error:
        await connect(address, deadline=0.5)
    assert time.monotonic() - begun < 2
    assert "cret" not in str(error.value)


async def test_a_lost_connection_is_told_once(tmp_path: Path) -> None:
    server, counts = EmbeddedServer(tmp_path), Counts()
    await server.start()
    client = await connect(server.url, counts=counts)
    with capture_logs() as logs:
        await server.stop()
        await until(lambda: counts.errors >= 4)
        assert counts.disconnects == 1
        await server.start()
        await until(lambda: client.is_connected and counts.reconnects == 1)
        await disconnect(client)
        await server.stop()
    kinds = [entry.get("kind") for entry in logs if entry["log_level"] == "warning"]
    assert len(kinds) == len(set(kinds)) <= 4
    assert counts.disconnects == 1
