"""The configuration of deploy/nats: each role can do its work, and nothing beside it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js.api import KeyValueConfig

from detector.adapters.formats.sampling import decode_acknowledgement, encode_order, encode_recommendation
from detector.adapters.nats import subjects
from detector.adapters.nats.bus import NatsBus
from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.credentials import Credentials
from detector.adapters.nats.embedded import _binary
from detector.adapters.nats.sampling import Bucket
from detector.adapters.nats.streams import ensure_streams, stream_info
from detector.collector import Collector
from detector.domain.recommendation import Entry, Recommendation, Stratum
from detector.errors import BusError
from detector.ports import Outgoing
from tests.integration.nats.conftest import batch
from tests.integration.nats.deployed import DEPLOY, MAKE_KEYS, Deployed, deployed, make_keys
from tests.waiting import until

ROLES = ("service", "collector", "subscriber", "admin")
LAST = "_r_.last"  # a subject of the server's own
DIRECT = "$JS.API.DIRECT.GET.KV_sampling.$KV.sampling."
CONSUMERS = ("CREATE.{}.c", "DURABLE.CREATE.{}.c", "DELETE.{}.c", "MSG.NEXT.{}.c", "INFO.{}.c", "LIST.{}", "NAMES.{}")


def _consumers(*streams: str) -> list[str]:
    return [f"$JS.API.CONSUMER.{which.format(stream)}" for stream in streams for which in CONSUMERS]


def _streams(*streams: str) -> list[str]:
    verbs = ("CREATE", "UPDATE", "DELETE", "PURGE", "MSG.GET", "MSG.DELETE", "SNAPSHOT", "RESTORE")
    return [f"$JS.API.STREAM.{verb}.{stream}" for stream in streams for verb in verbs]


REFUSED = r"(Authorization Violation|hangs up when it is told who we are).*nkey_seed_file"
MAY_NOT_PUBLISH = {
    "service": [
        "metrics.acme.shop", "part.3.acme.shop", "anything", "_INBOX.other", "sampling.ack.acme.shop.pod",
        "$KV.other.key", "$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.MSG.GET.ALERTS", "$JS.API.STREAM.NAMES",
        "$JS.API.INFO", "$SYS.REQ.SERVER.PING", *_consumers("ALERTS", "KV_sampling", "OTHER"),
    ],
    "collector": [
        "metrics.acme", "metrics.acme.shop.pod", "part.3.acme.shop", "tick.3", "alerts.acme.shop.critical",
        "incidents.acme", "forecasts.acme.shop", "deadletter.acme.shop", "scores.acme.shop", "$KV.sampling.acme.shop",
        "sampling.rec.acme.shop", "sampling.heartbeat.acme", "$JS.API.STREAM.INFO.METRICS", "$JS.API.STREAM.NAMES",
        "$JS.API.DIRECT.GET.METRICS", "$JS.API.INFO", "_INBOX.other", *_streams("METRICS", "KV_sampling"),
        *_consumers("METRICS", "ALERTS", "KV_sampling"),
    ],
    "subscriber": [
        "metrics.acme.shop", "tick.3", "alerts.acme.shop.critical", "incidents.acme", "forecasts.acme.shop",
        "deadletter.acme.shop", "scores.acme.shop", "$KV.sampling.acme.shop", "sampling.rec.acme.shop",
        "$JS.API.STREAM.INFO.METRICS", "$JS.ACK.METRICS.c.1.1.1.1.0", DIRECT + "acme.shop", "_INBOX.other",
        *_streams("METRICS", "ALERTS", "FORECASTS"), *_consumers("METRICS", "DEADLETTER", "KV_sampling"),
        "$JS.API.CONSUMER.LIST.ALERTS", "$JS.API.STREAM.LIST",
    ],
}  # fmt: skip
MAY_NOT_SUBSCRIBE = {
    "service": [">", "_INBOX.>", "metrics.>", "alerts.>", "part.>", "$KV.>", "$JS.API.>", "sampling.rec.>"],
    "collector": [
        ">", "_INBOX.>", "metrics.>", "alerts.>", "forecasts.>", "deadletter.>", "scores.>", "$KV.>", "$JS.>",
        "part.>", "tick.*", "sampling.ack.>",
    ],
    "subscriber": [
        ">", "_INBOX.>", "metrics.>", "part.>", "tick.*", "deadletter.>", "scores.>", "$KV.>", "$JS.>", "sampling.>",
    ],
}  # fmt: skip


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Deployed]:
    async with deployed(tmp_path) as running:
        yield running


async def _refused(client: Client, errors: list[str], publish: list[str], subscribe: list[str]) -> set[str]:
    """Subjects at which the server complained before it complained about the last one, which nobody may use."""
    errors.clear()
    for subject in publish:
        await client.publish(subject, b"{}")
    for subject in subscribe:
        await client.subscribe(subject)
    await client.publish(LAST, b"")
    await client.flush()
    await until(lambda: LAST in _subjects(errors), why=lambda: f"{errors}")
    return _subjects(errors) - {LAST}


def _subjects(errors: list[str]) -> set[str]:
    return {found[1].lower() for text in errors if (found := re.search(r'[Vv]iolation for .* to "([^"]*)"', text))}


@pytest.mark.parametrize("role", ["service", "collector", "subscriber"])
async def test_a_role_is_denied_what_is_not_its_work(broker: Deployed, role: str) -> None:
    errors: list[str] = []
    client = await broker.watched(role, errors)
    inboxes = [f"_INBOX.{_key(broker, other)}.>" for other in ("service", "collector", "subscriber") if other != role]
    for publish, subscribe in ((MAY_NOT_PUBLISH[role], []), ([], [*MAY_NOT_SUBSCRIBE[role], *inboxes])):
        wanted = {subject.lower() for subject in (*publish, *subscribe)}
        assert wanted - await _refused(client, errors, publish, subscribe) == set()
    assert client.is_connected
    await disconnect(client)


def _key(broker: Deployed, role: str) -> str:
    found = re.search(rf'^{role}_key: "(U\w+)"$', (broker.folder / "keys.conf").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


async def test_the_admin_may_do_everything(broker: Deployed) -> None:
    errors: list[str] = []
    client = await broker.watched("admin", errors)
    for subject in {subject for named in MAY_NOT_SUBSCRIBE.values() for subject in named}:
        await client.subscribe(subject)
    for subject in {subject for named in MAY_NOT_PUBLISH.values() for subject in named}:
        await client.publish(subject, b"{}")
    end = await client.subscribe("end")
    await client.publish("end", b"")
    await end.next_msg(5)  # complaints would have come before
    assert errors == []
    await disconnect(client)


async def test_nobody_comes_in_without_a_key_of_the_list(broker: Deployed, tmp_path: Path) -> None:
    await make_keys(tmp_path / "strange", "service")
    ca = broker.folder / "ca.pem"
    for known in (Credentials(tls_ca=ca), Credentials(tmp_path / "strange" / "service.seed", ca)):
        with pytest.raises(BusError, match=REFUSED):
            await connect(broker.url, credentials=known, deadline=1.0)
    with pytest.raises(BusError, match=REFUSED):
        await connect(broker.url.replace("//", "//ann:sesame@"), credentials=Credentials(tls_ca=ca), deadline=1.0)


async def test_a_subscriber_reads_alerts_in_every_way_it_may(broker: Deployed) -> None:
    service = await broker.connect("service")
    await ensure_streams(service.jetstream())
    errors: list[str] = []
    client = await broker.watched("subscriber", errors)
    plain = await client.subscribe("alerts.>")
    await client.flush()
    await NatsBus(service).publish(Outgoing("1", "alerts.acme.shop.critical", b"{}"))
    assert (await plain.next_msg(5)).subject == "alerts.acme.shop.critical"
    js = client.jetstream()
    ordered = await js.subscribe("alerts.>", stream="ALERTS", ordered_consumer=True)
    assert (await ordered.next_msg(5)).data == b"{}"
    durable = await js.pull_subscribe("alerts.acme.>", durable="mine", stream="ALERTS")
    (message,) = await durable.fetch(1, timeout=5)
    await message.ack_sync(timeout=5)
    assert (await js.consumer_info("ALERTS", "mine")).num_ack_pending == 0
    await js.delete_consumer("ALERTS", "mine")
    assert errors == []
    await disconnect(client)
    await disconnect(service)


async def test_recommendations_are_written_by_the_service_and_read_by_the_collector(broker: Deployed) -> None:
    errors: list[str] = []
    service = await broker.watched("service", errors)
    bucket = await service.jetstream().create_key_value(KeyValueConfig("sampling", direct=True))
    await bucket.put("acme.shop", b"half")
    assert (await bucket.get("acme.shop")).value == b"half"
    collector = await broker.watched("collector", errors)
    notices = await collector.subscribe("sampling.rec.acme.shop")
    acks = await service.subscribe("sampling.ack.>")
    await collector.flush()
    await service.flush()
    await service.publish("sampling.rec.acme.shop", b"1")
    await notices.next_msg(5)
    assert (await collector.request(DIRECT + "acme.shop", b"", timeout=5)).data == b"half"
    await collector.publish("sampling.ack.acme.shop.pod-1", b"applied")
    assert (await acks.next_msg(5)).data == b"applied"
    assert errors == []
    await disconnect(collector)
    await disconnect(service)


async def test_the_sampling_contract_works_within_these_permissions(broker: Deployed) -> None:
    errors: list[str] = []
    service = await broker.watched("service", errors)
    await ensure_streams(service.jetstream())
    acks = await service.subscribe(subjects.ACKNOWLEDGEMENTS)
    entry = Entry("d", None, "s", "rate", 1.0, (Stratum(None, 0.5, 5.0),), 1.0, 9.0, 0.1, 1.0)
    told = Recommendation("acme", "web.shop", 7, 1, 0, 120.0, 0, 5.0, 0.01, ("because",), (entry,))
    await Bucket(service).put("acme", "web.shop", encode_recommendation(told))
    collector = await asyncio.to_thread(
        partial(
            Collector, broker.url, "acme", "web.shop", instance="pod.1", seconds=0.2, mode="rate",
            credentials=broker.credentials("collector"),
        )
    )  # fmt: skip
    await until(lambda: collector.counts()["connected"])

    async def obeyed() -> bool:
        await service.publish(subjects.heartbeat("acme"), encode_order((7, 0)))
        return bool(collector.counts()["epoch"] == 7)

    await until(obeyed)
    answer = decode_acknowledgement((await acks.next_msg(5)).data)
    assert (answer.instance, answer.result, answer.version) == ("pod.1", "applied", 1)
    collector.observe("d", 1.0)
    await asyncio.to_thread(collector.close)
    assert (await stream_info(service.jetstream())).last >= 1
    assert errors == []
    await disconnect(service)


async def test_a_collector_of_one_tenant_as_the_file_shows_it(tmp_path: Path) -> None:
    async with deployed(tmp_path) as broker:
        admin = await broker.connect("admin")
        await ensure_streams(admin.jetstream())
        await disconnect(admin)
        await broker.stop()
        assert (await make_keys(tmp_path, "collector_acme")).count("made") == 1
        (tmp_path / "nats.conf").unlink()
        (tmp_path / "nats.conf").write_text(
            re.sub("^( *)#acme", r"\1", (DEPLOY / "nats.conf").read_text(), flags=re.MULTILINE)
        )
        await broker.start()
        errors: list[str] = []
        client = await broker.watched("collector_acme", errors)
        assert await NatsBus(client).publish(batch(1)) is False
        others = ["metrics.other.shop", "sampling.ack.other.shop.pod", DIRECT + "other.shop"]
        subscribe = ["sampling.rec.*.*", "sampling.rec.other.*"]
        assert await _refused(client, errors, others, subscribe) == {s.lower() for s in [*others, *subscribe]}
        await disconnect(client)


async def test_a_key_is_replaced_by_making_it_anew(broker: Deployed) -> None:
    service = await broker.connect("service")
    before = {path.name: path.read_bytes() for path in broker.folder.glob("*.seed")}
    assert (await make_keys(broker.folder, *ROLES)).count("stays") == 4
    assert {path.name: path.read_bytes() for path in broker.folder.glob("*.seed")} == before
    stolen = broker.folder / "stolen"
    (broker.folder / "collector.seed").rename(stolen)
    await make_keys(broker.folder, "collector")
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in broker.folder.glob("*.seed"))
    assert broker.child is not None
    broker.child.send_signal(signal.SIGHUP)
    await until(lambda: "Reloaded server configuration" in broker.log)
    await disconnect(await broker.connect("collector"))
    with pytest.raises(BusError, match=REFUSED):
        await connect(broker.url, credentials=Credentials(stolen, broker.folder / "ca.pem"), deadline=1.0)
    assert service.is_connected
    await disconnect(service)


async def test_keys_of_users_who_took_their_seeds_along_stay(tmp_path: Path) -> None:
    folder, taken, conf = tmp_path / "server", tmp_path / "users", tmp_path / "server" / "keys.conf"
    taken.mkdir()
    assert (await make_keys(folder)).count("made") == 4
    for seed in folder.glob("*.seed"):
        seed.rename(taken / seed.name)
    before = conf.read_text()
    assert "made" not in await make_keys(folder)
    assert (conf.read_text(), list(folder.glob("*.seed"))) == (before, [])
    assert (await make_keys(folder, "collector_acme")).count("made") == 1
    assert set(before.splitlines()) < set(conf.read_text().splitlines())
    assert (await make_keys(folder, "service")).count("made") == 1
    replaced = set(before.splitlines()) - set(conf.read_text().splitlines())
    assert {line.partition(":")[0] for line in replaced} == {"service_key", "service_inbox"}


async def test_a_first_key_of_another_name_comes_with_those_that_the_server_needs(tmp_path: Path) -> None:
    assert (await make_keys(tmp_path, "collector_acme")).count("made") == 5
    conf = (tmp_path / "keys.conf").read_text()
    assert [name for name in (*ROLES, "collector_acme") if f"{name}_key:" not in conf] == []


def test_names_that_the_server_could_not_read_are_refused(tmp_path: Path) -> None:
    for arguments in ([], [str(tmp_path), "../x"], [str(tmp_path), "a-b"]):
        done = subprocess.run([*MAKE_KEYS, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "make_keys.py" in done.stderr or "a-z" in done.stderr
    assert list(tmp_path.iterdir()) == []


async def test_ns_01_an_acknowledged_message_is_on_disk(broker: Deployed) -> None:
    config = (await broker.ask("jsz"))["config"]
    assert config["sync_always"] is True
    assert config["max_storage"] == 16 * 1024**3


def test_the_server_does_not_start_without_tls(tmp_path: Path) -> None:
    subprocess.run([*MAKE_KEYS, str(tmp_path)], check=True, capture_output=True, timeout=60)
    (tmp_path / "nats.conf").symlink_to(DEPLOY / "nats.conf")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NATS_")}
    done = subprocess.run(
        [str(_binary()), "-t", "-c", str(tmp_path / "nats.conf")],
        capture_output=True,
        text=True,
        timeout=10,
        env={**environment, "NATS_STORE": str(tmp_path)},
    )
    assert done.returncode != 0
    assert "NATS_TLS_CERT" in done.stderr + done.stdout
