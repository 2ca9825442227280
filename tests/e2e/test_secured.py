"""The whole service on a broker with TLS, keys and roles, and nothing secret in anything it says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import trustme
from nats.aio.client import Client

from detector.adapters.formats.encoding import JSON, encode
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.connection import disconnect
from detector.config import load
from detector.errors import SettingsError
from tests.e2e.service import COMMAND, DetectorProcess
from tests.integration.nats.deployed import Deployed, deployed
from tests.waiting import until

STEP = 10


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Deployed]:
    async with deployed(tmp_path) as running:
        yield running


async def detector(broker: Deployed, role: str, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run a command to its end; returns exit code and all it printed."""
    child = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **broker.environment(role), "COLUMNS": "300", **environment},
    )
    printed, _ = await asyncio.wait_for(child.communicate(), 90)
    assert child.returncode is not None
    return child.returncode, printed.decode()


@asynccontextmanager
async def collecting(broker: Deployed, log: Path) -> AsyncIterator[None]:
    arguments = ["collect", "--tenant", "acme", "--service", "web-1", "--seconds", "0.5"]
    with log.open("wb") as file:
        child = await asyncio.create_subprocess_exec(
            *COMMAND, *arguments, stdout=file, stderr=file, env={**os.environ, **broker.environment("collector")}
        )
    try:
        yield
    finally:
        child.send_signal(signal.SIGINT)
        await asyncio.wait_for(child.wait(), 30)


async def _publish(client: Client, service: str, values: list[float]) -> None:
    last = int(time.time()) // STEP * STEP
    async with BatchPublisher(client) as publisher:
        for back, value in zip(range(len(values), 0, -1), values, strict=True):
            start = (last - STEP * back) * 1000
            body = encode(JSON, "pod-1", start, STEP, [{"metric": "load", "kind": "gauge", "value": value}])
            await publisher.send("acme", service, body, id=f"{service}:{start}")


def _secrets(broker: Deployed) -> list[str]:
    return [path.read_text().strip() for path in broker.folder.glob("*.seed")]


@pytest.mark.soak
async def test_every_role_does_its_work_and_no_secret_is_said(broker: Deployed, tmp_path: Path) -> None:
    service = DetectorProcess(tmp_path / "detector-data", environment=broker.environment("service"))
    await service.start()
    subscriber, collector = await broker.connect("subscriber"), await broker.connect("collector")
    heard = await subscriber.subscribe("alerts.>")
    await subscriber.flush()
    values = np.random.default_rng(1).normal(100, 3, 300).tolist()
    await _publish(collector, "shop", [*values, 100.0, 900.0, 101.0])
    message = await heard.next_msg(30)
    assert json.loads(message.data)["observed"] == 900.0

    await broker.stop()  # the same again after a reconnection
    await broker.start()
    await _publish(collector, "store", [*values, 100.0, 900.0, 101.0])
    message = await heard.next_msg(30)
    assert (message.subject.split(".")[2], json.loads(message.data)["observed"]) == ("store", 900.0)

    said = tmp_path / "collect.log"
    async with collecting(broker, said):

        async def arrived() -> bool:
            return 'service="web-1"' in (await service.get("/metrics"))[1]

        await until(arrived, 30, lambda: said.read_text())
    rows = "".join(f"2026-01-01T{n // 60:02}:{n % 60:02}:00Z,{100 + n % 7}\n" for n in range(120))
    (tmp_path / "cpu.csv").write_text("timestamp,value\n" + rows)
    code, scored = await detector(broker, "admin", "replay", str(tmp_path / "cpu.csv"))
    assert (code, scored.count("\n2026-01-01T")) == (0, 120), scored
    code, checked = await detector(broker, "service", "config", "check")
    assert (code, "service.seed" in checked) == (0, True)
    pages = [(await service.get(page))[1] for page in ("/metrics", "/readyz", "/livez")]
    assert await service.stop() == 0
    everything = "\n".join([service.log, said.read_text(), scored, checked, *pages, broker.log])
    assert [secret for secret in _secrets(broker) if secret in everything] == []
    assert not re.search(
        "violation|Traceback|eof_received", "\n".join([service.log, said.read_text(), scored]), re.IGNORECASE
    )
    assert "Violation" not in broker.log
    for client in (subscriber, collector):
        await disconnect(client)


@pytest.mark.soak
async def test_nc_07_commands_end_with_one_line_where_the_authority_is_another(
    broker: Deployed, tmp_path: Path
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    other = {"DETECTOR_NATS__TLS_CA": str(tmp_path / "other.pem")}
    folder = str(tmp_path / "detector-data")
    started = time.monotonic()
    ended = await asyncio.gather(
        detector(broker, "service", "run", "--folder", folder, "--port", "0", **other),
        detector(broker, "collector", "collect", **other),
    )
    assert time.monotonic() - started < 40
    for code, printed in ended:
        assert code == 1
        assert re.fullmatch(r"detector: NATS at tls://\S+ .*certificate verify failed.*nats\.tls_ca .*\n", printed)


async def test_secrets_in_wrong_places_are_not_repeated(broker: Deployed, tmp_path: Path) -> None:
    seed = _secrets(broker)[0]
    file = tmp_path / "detector.toml"
    file.write_text('[nats]\npassword = "sesame"\n')
    pasted = {
        "DETECTOR_NATS__NKEY_SEED_FILE": seed,
        "DETECTOR_NATS__TLS_KEY": "-----BEGIN PRIVATE KEY-----\nsesame",
        "DETECTOR_NATS__TOKEN": "sesame",
        "DETECTOR_HTTP__PORT": "ann:sesame@broker",
    }
    missing = {"DETECTOR_NATS__URL": "tls://ann:sesame@b", "DETECTOR_NATS__TLS_CA": str(tmp_path / "none.pem")}
    (code, printed), (other, more) = await asyncio.gather(
        detector(broker, "service", "config", "check", "--config", str(file), **pasted),
        detector(broker, "service", "config", "check", **missing),
    )
    assert (code, other) == (2, 2)
    for key in ("nats.nkey_seed_file", "nats.tls_key", "nats.token", "nats.password", "http.port"):
        assert key in printed, printed
    assert "nats.tls_ca" in more
    assert not re.search(f"sesame|{seed}|Traceback", printed + more), printed + more
    with pytest.raises(SettingsError) as refused:
        load(environment={"DETECTOR_NATS": "ann:sesame@broker"})
    assert "sesame" not in str(refused.value)


async def test_the_service_says_which_file_is_missing(broker: Deployed, tmp_path: Path) -> None:
    broker.credentials("service").nkey_seed_file.chmod(0o644)  # type: ignore[union-attr]  # it is set
    code, printed = await detector(
        broker, "service", "run", "--folder", str(tmp_path / "data"), "--port", "0",
        DETECTOR_NATS__TLS_CERT=str(tmp_path / "none.pem"), DETECTOR_NATS__TLS_KEY=str(tmp_path / "none.key"),
    )  # fmt: skip
    assert code == 1
    assert "chmod 600" in printed
    assert "none.pem: No such file" in printed
    assert printed.count("\n") == 1
