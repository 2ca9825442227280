"""Who is trusted and who is told anything: certificates, keys in files, and servers that are not what they seem."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from detector.adapters.nats.bus import NatsBus
from detector.adapters.nats.connection import Counts, connect, disconnect
from detector.adapters.nats.credentials import Credentials
from detector.adapters.nats.streams import ensure_streams
from detector.errors import BusError
from tests.integration.nats.conftest import batch
from tests.integration.nats.deployed import Deployed, deployed, make_keys, write_certificate
from tests.waiting import until

PLAIN = b'INFO {"server_id":"x","version":"2.12.0","max_payload":1048576,"headers":true}\r\n'
TLS_THAT_NEVER_COMES = PLAIN.replace(b'"headers"', b'"tls_required":true,"headers"')


class Listener:
    """A stranger on a port: greets, then only listens."""

    def __init__(self, greeting: bytes) -> None:
        self.greeting = greeting
        self.guests = 0
        self.heard = b""

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.greeting)
        try:
            while more := await reader.read(65_536):
                self.heard += more
        except ConnectionError:
            pass
        self.guests += 1
        writer.close()


@asynccontextmanager
async def listening(greeting: bytes, port: int = 0) -> AsyncIterator[tuple[Listener, int]]:
    listener = Listener(greeting)
    server = await asyncio.start_server(listener.receive, "127.0.0.1", port)
    try:
        yield listener, server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Deployed]:
    async with deployed(tmp_path) as running:
        yield running


async def test_nc_07_an_authority_that_is_not_ours_is_named(broker: Deployed, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    started = time.monotonic()
    for ca in (tmp_path / "other.pem", None):
        with pytest.raises(BusError, match=r"certificate verify failed.*nats\.tls_ca") as refused:
            await connect(broker.url, credentials=Credentials(broker.folder / "service.seed", ca), deadline=1.0)
        assert "\n" not in str(refused.value)
    assert time.monotonic() - started < 8


async def test_nc_07_a_name_that_is_not_in_the_certificate_is_refused(tmp_path: Path) -> None:
    async with deployed(tmp_path) as broker:
        url = broker.url.replace("127.0.0.1", "127.0.0.2")
        async with forwarded("127.0.0.2", broker.port):
            with pytest.raises(BusError, match=r"not valid for '127\.0\.0\.2'.*a name in it"):
                await connect(url, credentials=broker.credentials("service"), deadline=1.0)


@asynccontextmanager
async def forwarded(host: str, port: int) -> AsyncIterator[None]:
    """Pass everything sent to `host` on to the loopback address."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while more := await reader.read(65_536):
            writer.write(more)
        writer.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, back), copy(there, writer), return_exceptions=True)

    server = await asyncio.start_server(pass_on, host, port, family=socket.AF_INET)
    try:
        yield
    finally:
        server.close()


async def test_nc_07_a_handshake_that_never_ends_is_given_up() -> None:
    async with listening(TLS_THAT_NEVER_COMES) as (_, port):
        started = time.monotonic()
        with pytest.raises(BusError, match=r"could not be reached within 1 s"):
            await connect(f"tls://127.0.0.1:{port}", deadline=1.0)
        assert time.monotonic() - started < 5


async def test_nc_07_a_server_without_tls_is_told_nothing(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    async with listening(PLAIN) as (listener, port):
        for url, known in (
            (f"tls://ann:sesame@127.0.0.1:{port}", None),
            (f"ann:sesame@127.0.0.1:{port}", Credentials(tls_ca=tmp_path / "ca.pem")),
        ):
            with pytest.raises(BusError, match="does not offer TLS") as refused:
                await connect(url, credentials=known, deadline=1.0)
            assert "sesame" not in str(refused.value)
        assert listener.guests > 0
        assert listener.heard == b""


async def test_nc_07_tls_is_demanded_of_whoever_is_there_at_a_reconnection(broker: Deployed) -> None:
    counts = Counts()
    client = await connect(broker.url, counts=counts, credentials=broker.credentials("service"))
    await ensure_streams(client.jetstream())
    await broker.stop()
    await until(lambda: not client.is_connected)
    async with listening(PLAIN, broker.port) as (listener, _):
        await until(lambda: listener.guests >= 2)
        assert listener.heard == b""
    await broker.start()
    await until(lambda: counts.reconnects == 1)
    await NatsBus(client).tick(3)
    await disconnect(client)


async def test_nc_07_over_a_reconnection_batches_go_on_encrypted(broker: Deployed) -> None:
    admin = await broker.connect("admin")
    await ensure_streams(admin.jetstream())
    collector = await broker.connect("collector")
    assert await NatsBus(collector).publish(batch(1)) is False
    await broker.stop()
    await broker.start()
    await until(lambda: collector.is_connected)
    assert await NatsBus(collector).publish(batch(2)) is False
    connections = (await broker.ask("connz"))["connections"]
    assert [connection["tls_version"] for connection in connections] == ["1.3"] * len(connections) != []
    await disconnect(collector)
    await disconnect(admin)


async def test_a_client_shows_its_certificate_where_the_server_asks(tmp_path: Path) -> None:
    clients = trustme.CA()
    clients.cert_pem.write_to_path(tmp_path / "clients.pem")
    write_certificate(clients, tmp_path, "mine")
    files = {"--tlscert": "server.pem", "--tlskey": "server.key", "--tlscacert": "clients.pem"}
    flags = [word for flag, file in files.items() for word in (flag, str(tmp_path / file))]
    async with deployed(tmp_path, "--tlsverify", *flags) as broker:
        known = broker.credentials("service")
        with pytest.raises(BusError, match="could not be reached"):
            await connect(broker.url, credentials=known, deadline=1.0)
        shown = Credentials(known.nkey_seed_file, known.tls_ca, tmp_path / "mine.pem", tmp_path / "mine.key")
        await disconnect(await connect(broker.url, credentials=shown))


async def test_every_file_that_can_not_be_used_is_named_with_its_remedy(tmp_path: Path) -> None:
    await make_keys(tmp_path, "service")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    write_certificate(authority, tmp_path, "mine")
    write_certificate(authority, tmp_path, "other")
    seed, ca, cert, key = (tmp_path / name for name in ("service.seed", "ca.pem", "mine.pem", "mine.key"))
    assert Credentials(seed, ca, cert, key).faults() == []

    secret = seed.read_text().strip()
    damaged = tmp_path / "damaged.seed"
    damaged.touch(0o600)
    damaged.write_text(secret[:20] + ("A" if secret[20] != "A" else "B") + secret[21:])
    for known, expected in (
        (Credentials(tmp_path / "none.seed"), r"nats\.nkey_seed_file: .*none\.seed: No such file"),
        (Credentials(tmp_path), r"nats\.nkey_seed_file: .*Is a directory"),
        (Credentials(damaged), r"damaged\.seed holds no seed .*make_keys\.py"),
        (Credentials(key), r"mine\.key holds no seed"),
        (Credentials(None, tmp_path / "none.pem"), r"nats\.tls_ca: .*none\.pem: No such file"),
        (Credentials(None, seed), r"nats\.tls_ca: .*service\.seed holds no certificates"),
        (Credentials(None, ca, cert), r"nats\.tls_cert and nats\.tls_key go together"),
        (Credentials(None, ca, cert, tmp_path / "other.key"), r"mine\.pem and .*other\.key are no certificate and its"),
    ):
        (fault,) = known.faults()
        assert re.search(expected, fault), fault
        assert secret not in fault
        with pytest.raises(BusError, match=expected):
            await connect("nats://127.0.0.1:9", credentials=known)

    for path in (seed, key):
        path.chmod(0o640)
    assert Credentials(seed, ca, cert, key).faults() == []
    for path in (seed, key):
        path.chmod(0o644)
    faults = Credentials(seed, ca, cert, key).faults()
    assert [f"chmod 600 {path}" in fault for path, fault in zip((seed, key), faults, strict=True)] == [True, True]


async def test_a_key_with_a_password_is_refused_and_not_asked_for(tmp_path: Path) -> None:
    authority = trustme.CA()
    write_certificate(authority, tmp_path, "mine")
    locked = tmp_path / "locked.key"
    locked.touch(0o600)
    key = serialization.load_pem_private_key((tmp_path / "mine.key").read_bytes(), None)
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"sesame"),
        )
    )
    (fault,) = Credentials(tls_cert=tmp_path / "mine.pem", tls_key=locked).faults()
    assert "without a password" in fault
