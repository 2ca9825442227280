"""What the collector costs a web service: FastAPI under uvicorn, asked over keep-alive connections, with and without.

Figures, never a gate. Both services run from the start and are asked in turns, so that whatever else the machine does
meets both; the CPU of a process counts all its threads. The least of many rounds is what the machine's other work has
disturbed least.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from timeit import repeat

from detector.adapters.nats.connection import connect, disconnect
from detector.adapters.nats.embedded import EmbeddedServer, _free_port
from detector.adapters.nats.streams import ensure_streams
from detector.collector import Collector
from tests.waiting import until

METRIC, CONNECTIONS = "http.server.request.duration", 8
REQUEST = b"GET /pay/7 HTTP/1.1\r\nHost: localhost\r\n\r\n"


def serve(port: int, url: str) -> None:
    """Run the service, observed by a collector where `url` names a broker."""
    import uvicorn
    from fastapi import FastAPI

    app = FastAPI()
    collector = Collector(url, "bench", "shop") if url else None

    @app.get("/pay/{order}")
    async def pay(order: int) -> dict[str, int]:
        begin = time.perf_counter()
        total = sum(range(order))
        if collector is not None:
            collector.observe(METRIC, time.perf_counter() - begin, {"route": "/pay", "method": "GET"})
        return {"order": order, "total": total}

    uvicorn.run(app, port=port, log_level="error")


@dataclass
class Service:
    """The service in a process of its own."""

    port: int
    pid: int

    def cpu(self) -> float:
        """Seconds that its threads ran, to the nanosecond, as Linux tells."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


@contextlib.asynccontextmanager
async def service(url: str) -> AsyncIterator[Service]:
    port = _free_port()
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.bench.library", "--serve", str(port), url)

    async def answers() -> bool:
        try:
            await ask(port, 1)
        except OSError:
            return False
        return True

    try:
        await until(answers, 60)
        yield Service(port, child.pid)
    finally:
        child.terminate()
        await child.wait()


async def ask(port: int, requests: int) -> list[float]:
    """Ask one after the other over one connection; returns how long each took, in seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    took = []
    for _ in range(requests):
        begin = time.perf_counter()
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        took.append(time.perf_counter() - begin)
    writer.close()
    return took


async def round_of(one: Service, requests: int) -> tuple[float, float]:
    """Return CPU and median time of a request, in µs."""
    before = one.cpu()
    took = await asyncio.gather(*[ask(one.port, requests // CONNECTIONS) for _ in range(CONNECTIONS)])
    used = one.cpu() - before
    return used / requests * 1e6, statistics.median(second for each in took for second in each) * 1e6


async def compare(rounds: int, requests: int) -> None:
    with tempfile.TemporaryDirectory(prefix="detector-bench-") as folder:
        async with EmbeddedServer(Path(folder)) as broker:
            client = await connect(broker.url)
            await ensure_streams(client.jetstream())
            async with service("") as without, service(broker.url) as observed:
                results: dict[str, list[tuple[float, float]]] = {"without": [], "with": []}
                for number in range(rounds + 1):
                    turns = [("without", without), ("with", observed)]
                    for name, one in turns if number % 2 else reversed(turns):
                        figures = await round_of(one, requests)
                        if number:  # the first one warms up
                            results[name].append(figures)
            await disconnect(client)
    print("FastAPI under load, µs a request        without      with      more")
    for place, what in enumerate(("CPU", "until the answer, median")):
        sides = [[figures[place] for figures in results[name]] for name in ("without", "with")]
        for how, figure in (("least of rounds", min), ("median of rounds", statistics.median)):
            a, b = (float(figure(side)) for side in sides)
            print(f"{what + ', ' + how:42} {a:10.1f} {b:9.1f} {b - a:+9.1f} ({(b - a) / a:+.1%})")


def call_cost() -> float:
    """Return what one call takes of its caller, in nanoseconds."""
    collector = Collector("nats://127.0.0.1:1", "bench", "shop")
    labels = {"route": "/pay", "method": "GET"}
    best = min(repeat(lambda: collector.observe(METRIC, 0.02, labels), number=20_000, repeat=15)) / 20_000
    collector.close(0.0)
    return best * 1e9


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.library", description=__doc__)
    parser.add_argument("--serve", nargs=2, metavar=("PORT", "URL"), help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--requests", type=int, default=800, help="of a round")
    chosen = parser.parse_args()
    if chosen.serve:
        serve(int(chosen.serve[0]), chosen.serve[1])
        return
    print(f"observe: {call_cost():.0f} ns a call")
    asyncio.run(compare(chosen.rounds, chosen.requests))


if __name__ == "__main__":
    main()
