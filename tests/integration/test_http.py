"""The socket that health and metrics are served on."""

from __future__ import annotations

import asyncio
import socket

import pytest
from fastapi import FastAPI, Response
from prometheus_client import CollectorRegistry

from detector.adapters.http import server
from detector.adapters.http.server import HttpServer, application
from tests.e2e.service import _get
from tests.waiting import until


async def _served(host: str) -> tuple[str, tuple[int, str]]:
    http = HttpServer(application(dict, CollectorRegistry()), host, 0)
    http.start()
    answer = await asyncio.to_thread(_get, f"{http.url}/readyz")
    await http.stop()
    return http.url, answer


async def test_it_listens_on_ipv6_where_the_host_is_one() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    url, (status, _) = await _served("::1")
    assert url.startswith("http://[::1]:")
    assert status == 200


async def test_it_stops_though_a_client_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STOP_SECONDS", 0.2)
    app = FastAPI()
    app.get("/")(lambda: Response(bytes(2**26)))  # more than the system takes in between
    http = HttpServer(app, "127.0.0.1", 0)
    http.start()
    with socket.create_connection(("127.0.0.1", int(http.url.rpartition(":")[2]))) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: http._server.server_state.total_requests == 1)
        await asyncio.wait_for(http.stop(), 10)
