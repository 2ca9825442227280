"""What 100,000 models cost alone: a window of each, and their checkpoints through a database."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detector.adapters.formats import checkpoints
from detector.adapters.nats.subjects import PARTITIONS
from detector.adapters.sql.migrate import upgrade
from detector.adapters.sql.store import SqlStore
from detector.pipeline.crowd import Limits
from detector.pipeline.state import PartitionState
from models import KernelBank
from tests.synth import STEP, T0, Run, Sent, gauge, in_order, message, plan

AGE = 100
"""Windows that each signal has seen before the clock starts: by then all views are rated."""
ROUNDS = 5


@dataclass(frozen=True)
class Weighed:
    """Measured of models alone: microseconds an observation by round, and seconds for all checkpoints."""

    signals: int
    observed_us: list[float]
    saved_seconds: float
    loaded_seconds: float
    state_bytes: int

    def rows(self) -> Iterator[list[str]]:
        """Yield what is measured and the figure."""
        middle, least, most = statistics.median(self.observed_us), min(self.observed_us), max(self.observed_us)
        yield ["signals in the bank", f"{self.signals:,}"]
        yield [f"µs an observation, {len(self.observed_us)} rounds", f"{middle:.2f} ({least:.2f} - {most:.2f})"]
        yield [f"all {PARTITIONS} checkpoints saved", f"{self.saved_seconds:.2f} s, {self.state_bytes / 1e6:,.0f} MB"]
        yield ["loaded", f"{self.loaded_seconds:.2f} s"]


def weigh(signals: int, folder: Path) -> Weighed:
    """Measure the bank, then checkpoints of as many signals, partition by partition, on SQLite below `folder`."""
    observed = _observe(signals)
    saved, loaded, size = asyncio.run(_save_and_load(signals, folder))
    return Weighed(signals, observed, saved, loaded, size)


def _observe(signals: int) -> list[float]:
    rng, bank, rows, exact = np.random.default_rng(7), KernelBank(), np.arange(signals), np.zeros(signals)
    for row in rows.tolist():
        bank.add(row, STEP)
    taken = []
    for window in range(AGE + ROUNDS):
        x, stamps = rng.normal(100.0, 3.0, signals), np.full(signals, T0 + window * STEP)
        begin = time.perf_counter()
        bank.observe(rows, x, stamps, exact, np.inf)
        taken.append((time.perf_counter() - begin) / signals * 1e6)
    return taken[AGE:]


async def _save_and_load(signals: int, folder: Path) -> tuple[float, float, int]:
    url = f"sqlite:///{folder / 'bank.db'}"
    upgrade(url)
    store = SqlStore.open(url)
    leases = await store.claim(range(PARTITIONS), "bench", 600.0)
    states = [_partition(signals // PARTITIONS) for _ in leases]
    begin = time.perf_counter()
    for lease, state in zip(leases, states, strict=True):
        await store.save_checkpoint(lease, state.position, await asyncio.to_thread(checkpoints.encode, state))
    saved, size = time.perf_counter() - begin, 0
    begin = time.perf_counter()
    for lease, state in zip(leases, states, strict=True):
        (_, blob), *_ = await store.load_checkpoints(lease.partition)
        size += len(blob)
        await asyncio.to_thread(checkpoints.decode, state.plan, blob)
    loaded = time.perf_counter() - begin
    await store.close()
    return saved, loaded, size


def _partition(signals: int) -> PartitionState:
    run = Run(plan(limits=Limits(2 * signals, 2 * signals)))
    return run.take(in_order(_windows(signals))).state


def _windows(signals: int) -> Iterator[Sent]:
    for window in range(2):
        for first in range(0, signals, 1000):
            some = [gauge(float(n), "m", labels={"n": str(n)}) for n in range(first, min(first + 1000, signals))]
            yield message(T0 + window * STEP, some, now=T0 + (window + 1) * STEP)
    yield message(T0 + 9 * STEP, [], now=T0 + 9 * STEP)
