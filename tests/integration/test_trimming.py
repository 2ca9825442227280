"""An alert larger than the broker takes: published all the same, and kept whole in the database."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from detector.adapters.formats.encoding import JSON, encode
from detector.adapters.nats import embedded
from detector.adapters.nats.batches import BatchPublisher
from detector.app import running
from detector.config import load
from tests.waiting import until

T0, STEP = 1_764_000_000_000, 10


async def test_nc_08_an_alert_above_max_payload_is_trimmed_rather_than_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "MAX_PAYLOAD", 2048)
    values = [*np.random.default_rng(1).normal(100, 3, 300).tolist(), 100.0, 900.0, 101.0]
    settings = load(flags={"folder": str(tmp_path), "http.port": 0}, environment={}).settings
    async with running(settings) as service:
        heard = await service.client.subscribe("alerts.>")
        async with BatchPublisher(service.client) as publisher:
            for number, value in enumerate(values):
                body = encode(JSON, "pod", T0 + number * STEP * 1000, STEP, [{"metric": "load", "value": value}])
                await publisher.send("replay-x", "shop", body, id=str(number))
        message = await heard.next_msg(30)
        assert message.headers is not None
        head = sum(len(f"{name}: {value}\r\n") for name, value in message.headers.items())
        assert len(message.data) + head <= 2048
        body = json.loads(message.data)
        assert (body["observed"], body["state"], body["trimmed"]) == (900.0, "firing", True)
        assert body["evidence"].keys() >= {"position", "config_hash", "model"}
        await until(lambda: service.relay.depth == 0)
        assert service.relay.trouble is None
        assert service.client.stats["reconnects"] == 0
        (stored,) = await service.store.alerts()
        assert {"state", "windows"} <= stored.evidence.keys()
        assert stored.id == body["id"]
