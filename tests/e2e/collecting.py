"""A service under load with a collector, in a process of its own; it reads commands and prints what it counts.

Arguments: URL of the broker, instance, seed. Commands, one a line: ``rate R``, ``jump SECONDS``, ``end``.
"""

from __future__ import annotations

import json
import sys
import threading
import time

_real = time.time
_offset = 0.0


def _clock() -> float:
    return _real() + _offset


time.time = _clock  # before the collector is imported, so that all of this process goes by it

import numpy as np  # noqa: E402

from detector.collector import Collector  # noqa: E402

METRIC = "http.server.request.duration"


class Load:
    """Observes at a rate until told to end."""

    def __init__(self, collector: Collector, seed: int) -> None:
        self.collector = collector
        self.rate = 100.0
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


def main() -> None:
    global _offset
    url, instance, seed = sys.argv[1:]
    collector = Collector(url, "acme", "shop", instance=instance, seconds=1.0, mode="strata", safe=50.0)
    load = Load(collector, int(seed))
    thread = threading.Thread(target=load.run)
    thread.start()

    def show() -> None:
        counts = {**collector.counts(), "observed": load.observed, "at": time.monotonic()}
        print(json.dumps(counts), flush=True)

    def keep_showing() -> None:
        while not load.ended.wait(0.5):
            show()

    threading.Thread(target=keep_showing, daemon=True).start()
    for line in sys.stdin:
        word, _, number = line.partition(" ")
        if word == "rate":
            load.rate = float(number)
        elif word == "jump":
            _offset += float(number)
        else:
            break
    load.ended.set()
    thread.join()
    collector.close(20.0)
    show()


if __name__ == "__main__":
    main()
