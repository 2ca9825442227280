"""Services under load with a collector each, in processes of their own, which read commands and print what they count.

Arguments: URL of the broker, how many. Commands, one a line, begin with the number of a process or ``all``:
``rate R``, ``jump SECONDS``, ``end``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

_real = time.time
_offset = 0.0


def _clock() -> float:
    return _real() + _offset


time.time = _clock  # before the collector is imported, so that all of a process goes by it

import numpy as np  # noqa: E402

from detector.collector import Collector  # noqa: E402

METRIC = "http.server.request.duration"


class Load:
    """Observes at a rate until told to end."""

    def __init__(self, collector: Collector, seed: int) -> None:
        self.collector = collector
        self.rate = 50.0
        self.observed = 0
        self.ended = threading.Event()
        self._rng = np.random.default_rng(seed)

    def run(self) -> None:
        owed, before = 0.0, time.monotonic()
        while not self.ended.wait(0.1):
            now = time.monotonic()
            owed += (now - before) * self.rate
            before = now
            for value in self._rng.lognormal(-3.0, 0.8, int(owed)):
                self.collector.observe(METRIC, value, {"route": "/pay"}, error=value > 0.3)
            self.observed += int(owed)
            owed -= int(owed)


def serve(url: str, number: int, commands: int) -> None:
    global _offset
    collector = Collector(url, "acme", "shop", instance=f"pod-{number}", seconds=1.0, mode="strata", safe=50.0)
    load = Load(collector, number)
    thread = threading.Thread(target=load.run)
    thread.start()

    def show() -> None:
        counts = {"number": number, **collector.counts(), "observed": load.observed, "at": time.monotonic()}
        os.write(1, json.dumps(counts).encode() + b"\n")  # at once, so that lines of processes don't mix

    def keep_showing() -> None:
        while not load.ended.wait(0.5):
            show()

    showing = threading.Thread(target=keep_showing)
    showing.start()
    with os.fdopen(commands) as lines:
        for line in lines:
            word, _, amount = line.partition(" ")
            if word == "rate":
                load.rate = float(amount)
            elif word == "jump":
                _offset += float(amount)
            else:
                break
    load.ended.set()
    thread.join()
    showing.join()
    collector.close(20.0)
    show()


def main() -> None:
    url, many = sys.argv[1], int(sys.argv[2])
    pipes: list[int] = []
    for number in range(many):
        reading, writing = os.pipe()
        if os.fork() == 0:
            for other in (*pipes, writing, 0):
                os.close(other)
            serve(url, number, reading)
            os._exit(0)
        os.close(reading)
        pipes.append(writing)
    for line in sys.stdin:
        target, _, command = line.partition(" ")
        for pipe in pipes if target == "all" else [pipes[int(target)]]:
            os.write(pipe, command.encode())
    for pipe in pipes:
        os.close(pipe)
    for _ in pipes:
        os.wait()


if __name__ == "__main__":
    main()
