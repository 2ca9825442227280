"""The running service as its users meet it: producers, subscribers, and those who run it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nats.aio.client import Client

from detector.adapters.formats.encoding import JSON, encode
from detector.adapters.nats import subjects
from detector.adapters.nats.batches import BatchPublisher
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer
from tests.e2e.service import COMMAND, DetectorProcess
from tests.waiting import until

STEP = 10


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[DetectorProcess]:
    process = DetectorProcess(tmp_path / "detector-data")
    await process.start()
    yield process
    await process.stop()  # killed, it would leave its broker behind


def _windows(count: int) -> list[int]:
    """Starts of windows that end about now."""
    last = int(time.time()) // STEP * STEP
    return [(last - STEP * back) * 1000 for back in range(count, 0, -1)]


async def _publish(client: Client, service: str, values: list[float], windows: list[int], **fields: Any) -> None:
    async with BatchPublisher(client) as publisher:
        for start, value in zip(windows, values, strict=True):
            body = encode(JSON, "pod-1", start, STEP, [{"metric": "load", "kind": "gauge", "value": value, **fields}])
            await publisher.send("acme", service, body, id=f"{service}:{start}")


async def _accepted(service: DetectorProcess, count: int) -> None:
    async def enough() -> bool:
        return (await service.metrics()).get('detector_aggregates{result="accepted"}', 0) >= count

    await until(enough, 30, lambda: service.log[-2000:])


async def _messages(client: Client, subject: str, count: int) -> list[Any]:
    subscription = await client.jetstream().subscribe(subject, ordered_consumer=True)
    found = [await subscription.next_msg(20) for _ in range(count)]
    await subscription.unsubscribe()
    return found


async def test_an_alert_reaches_sql_and_nats_with_exact_names_lab_03(service: DetectorProcess) -> None:
    values = [*np.random.default_rng(1).normal(100, 3, 300).tolist(), 100.0, 900.0, 101.0]
    client = await connect(service.nats)
    await _publish(client, "größe *.> 温度", values, _windows(303), labels={"cpu load": "a.b"}, unit="ms")
    (message,) = await _messages(client, "alerts.>", 1)
    body = json.loads(message.data)
    assert message.subject == subjects.alerts("acme", "größe *.> 温度", body["severity"])
    assert message.headers["Nats-Msg-Id"] == f"{body['id']}:0" == message.headers["ce-id"]
    assert body["series"] == {"metric": "load", "labels": {"cpu load": "a.b"}}
    assert (body["tenant"], body["service"], body["signal"], body["unit"]) == ("acme", "größe *.> 温度", "mean", "ms")
    assert (body["state"], body["reason"], body["observed"]) == ("firing", "spike", 900.0)
    assert body["lower"] < 100 < body["upper"] < 900
    listed = await asyncio.to_thread(
        subprocess.run,
        [*COMMAND, "alerts", "--folder", str(service.folder), "--json"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert json.loads(listed.stdout)["id"] == body["id"]
    await disconnect(client)


async def test_ns_04_a_poison_message_is_a_dead_letter_and_the_next_100_are_done(service: DetectorProcess) -> None:
    client = await connect(service.nats)
    js = client.jetstream()
    await js.publish("metrics.acme.shop", b"\xff\xfe not a batch")
    await js.publish("metrics.a$b.c", b"{}")
    crooked = b'{"v":1,"instance":"a","start":1764000000001,"seconds":10,"aggregates":[]}'
    await js.publish("metrics.replay-x.shop", crooked)
    await _publish(client, "shop", [1.0 + n % 7 for n in range(100)], _windows(100))
    await _accepted(service, 100)
    letters = [json.loads(message.data) for message in await _messages(client, "deadletter.>", 3)]
    reasons = sorted(letter["refused"][0]["reason"] for letter in letters)
    assert reasons == ["bad_subject", "bad_timestamp", "not_json"]
    poison = next(letter for letter in letters if letter["tenant"] == "acme")
    assert base64.b64decode(poison["body"]) == b"\xff\xfe not a batch"
    metrics = await service.metrics()
    assert metrics['detector_refused{reason="not_json"}'] == metrics['detector_refused{reason="bad_subject"}'] == 1
    assert (await service.get("/readyz"))[0] == 200
    await disconnect(client)


@pytest.mark.soak
async def test_nc_06_sigterm_with_messages_in_hand_loses_none(tmp_path: Path) -> None:
    service = DetectorProcess(tmp_path / "detector-data")
    await service.start()
    client = await connect(service.nats)
    await _publish(client, "shop", [float(n % 11) for n in range(500)], _windows(500))
    await disconnect(client)
    started = time.monotonic()
    assert await service.stop() == 0, service.log[-2000:]
    assert time.monotonic() - started < 15
    await service.start()
    await _accepted(service, 500)
    metrics = await service.metrics()
    assert metrics['detector_aggregates{result="accepted"}'] == metrics["detector_windows_learned"] == 500
    assert metrics['detector_aggregates{result="duplicate"}'] == 0
    await service.stop()


@pytest.mark.soak
async def test_nc_01_after_a_broker_crash_all_50_are_handled_and_health_shows_it(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path / "nats") as broker:
        service = DetectorProcess(tmp_path / "detector-data", "--nats", broker.url)
        await service.start()
        client = await connect(broker.url)
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGSTOP)  # it is there and says nothing
        try:
            await until(lambda: _status(service, 503), 20, lambda: service.log[-2000:])
            faults = json.loads((await service.get("/readyz"))[1])["faults"]
            assert faults.keys() & {"consumer", "broker", "worker"}, faults
        finally:
            os.kill(broker.pid, signal.SIGKILL)
        await until(lambda: broker.restarts == 1, 30)
        await _publish(client, "shop", [float(n % 5) for n in range(50)], _windows(50))
        await _accepted(service, 50)
        await until(lambda: _status(service, 200), 30, lambda: service.log[-2000:])
        await disconnect(client)
        await service.kill()


async def _status(service: DetectorProcess, wanted: int) -> bool:
    return (await service.get("/readyz"))[0] == wanted


@pytest.mark.soak
async def test_secrets_are_in_no_log(tmp_path: Path) -> None:
    service = DetectorProcess(tmp_path / "detector-data", "--nats", "nats://ann:sesame@127.0.0.1:9")
    await service.start(ready=False)
    await until(lambda: not service.alive, 30)
    assert "127.0.0.1:9" in service.log
    assert "sesame" not in service.log
    assert "Traceback" not in service.log


async def test_it_runs_where_no_note_can_be_left_and_none_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with EmbeddedServer(tmp_path / "nats") as broker:
        elsewhere = ["--nats", broker.url, "--database", f"sqlite:///{tmp_path}/detector.db"]
        service = DetectorProcess(tmp_path / "log", *elsewhere, "--folder", str(tmp_path / "file/below"))
        await service.start(ready=False)
        await until(lambda: "no note" in service.log or not service.alive, 60, lambda: service.log[-2000:])
        assert await service.stop() == 0, service.log
        assert "Not a directory" in service.log
        assert "stopping" in service.log
