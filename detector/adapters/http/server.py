"""HTTP for those who run the service: is it alive, is it ready, what does it do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping

import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from detector import __version__
from detector.errors import DetectorError

STOP_SECONDS = 5
"""Answers that a client does not read are given up after so long."""

Faults = Callable[[], Mapping[str, str]]


def application(faults: Faults, registry: CollectorRegistry) -> FastAPI:
    """Build the HTTP application.

    Parameters
    ----------
    faults : callable
        What keeps the service from doing its work now: name of the part and what is wrong with it.
    registry : CollectorRegistry
        What ``/metrics`` shows.
    """
    app = FastAPI(title="Detector", version=__version__)

    @app.get("/livez", summary="The process runs and its event loop turns")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", summary="Everything works: 200, or 503 with what does not", responses={503: {}})
    async def readyz() -> JSONResponse:
        wrong = dict(faults())
        ready = {"status": "not ready" if wrong else "ready", "faults": wrong}
        return JSONResponse(ready, status_code=503 if wrong else 200)

    @app.get("/metrics", summary="Prometheus text format", response_class=Response)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app


class HttpServer:
    """The application served on one socket.

    Parameters
    ----------
    app : FastAPI
    host : str
        Loopback unless somebody chose otherwise.
    port : int
        0 takes a free one; `url` says which.

    Raises
    ------
    DetectorError
        Where the address is taken.
    """

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        six = ":" in host
        try:
            self._socket = socket.create_server((host, port), family=socket.AF_INET6 if six else socket.AF_INET)
        except OSError as error:
            raise DetectorError(f"http.host {host}, http.port {port}: {error.strerror}; choose another, or 0") from None
        self.url = f"http://{f'[{host}]' if six else host}:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=STOP_SECONDS
        )
        self._server = uvicorn.Server(config)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Serve in the background. Signals stay with the caller."""
        self._task = asyncio.create_task(self._server._serve([self._socket]))

    async def stop(self) -> None:
        """Answer what is under way, for `STOP_SECONDS` at most, then close."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()
