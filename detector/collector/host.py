"""What this machine says of itself, as aggregates; names follow OpenTelemetry's conventions for systems."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import psutil

Aggregate = dict[str, Any]
VIRTUAL_DISKS = ("tmpfs", "devtmpfs", "squashfs", "overlay", "proc", "sysfs", "cgroup", "cgroup2")


def read_host() -> list[Aggregate]:
    """Read this machine once.

    Returns
    -------
    list of dict
        15 to 30 aggregates: running totals (`since` the boot) of CPU, disk and network, gauges of memory,
        load, file systems and processes. What the platform can't tell is left out.

    Notes
    -----
    About 2 milliseconds, mostly the count of processes. Blocks.
    """
    found: list[Aggregate] = []
    for part in (_cpu, _memory, _disks, _network, _processes):
        try:
            found.extend(part())
        except (OSError, psutil.Error, AttributeError, NotImplementedError):
            continue  # this platform or container does not tell
    return found


def _cpu() -> Iterator[Aggregate]:
    since = round(psutil.boot_time() * 1000)
    for mode, seconds in psutil.cpu_times()._asdict().items():
        if not mode.startswith("guest"):
            yield _total("system.cpu.time", seconds, "s", since, {"cpu.mode": mode})
    yield _gauge("system.cpu.load_average.1m", os.getloadavg()[0], "{thread}")


def _memory() -> Iterator[Aggregate]:
    memory = psutil.virtual_memory()
    yield _gauge("system.memory.usage", memory.total - memory.available, "By")
    yield _gauge("system.memory.utilization", 1 - memory.available / memory.total, "1")


def _disks() -> Iterator[Aggregate]:
    since = round(psutil.boot_time() * 1000)
    counters = psutil.disk_io_counters()
    if counters is not None:
        for direction in ("read", "write"):
            labels = {"disk.io.direction": direction}
            yield _total("system.disk.io", getattr(counters, f"{direction}_bytes"), "By", since, labels)
            yield _total(
                "system.disk.operations", getattr(counters, f"{direction}_count"), "{operation}", since, labels
            )
    for disk in psutil.disk_partitions():
        if disk.fstype not in VIRTUAL_DISKS:
            share = psutil.disk_usage(disk.mountpoint).percent / 100
            yield _gauge("system.filesystem.utilization", share, "1", {"system.filesystem.mountpoint": disk.mountpoint})


def _network() -> Iterator[Aggregate]:
    since = round(psutil.boot_time() * 1000)
    for name, nic in psutil.net_io_counters(pernic=True).items():
        if name.startswith("lo") or not nic.bytes_sent + nic.bytes_recv:
            continue
        for direction, suffix, errors in (("transmit", "sent", "errout"), ("receive", "recv", "errin")):
            labels = {"network.interface.name": name, "network.io.direction": direction}
            yield _total("system.network.io", getattr(nic, f"bytes_{suffix}"), "By", since, labels)
            yield _total("system.network.packets", getattr(nic, f"packets_{suffix}"), "{packet}", since, labels)
            yield _total("system.network.errors", getattr(nic, errors), "{error}", since, labels)


def _processes() -> Iterator[Aggregate]:
    yield _gauge("system.process.count", len(psutil.pids()), "{process}")


def _gauge(metric: str, value: float, unit: str, labels: dict[str, str] | None = None) -> Aggregate:
    return {"metric": metric, "labels": labels or {}, "unit": unit, "kind": "gauge", "value": value}


def _total(metric: str, value: float, unit: str, since: int, labels: dict[str, str]) -> Aggregate:
    return {
        "metric": metric,
        "labels": labels,
        "unit": unit,
        "kind": "cumulative",
        "value": value,
        "since": since,
    }


Read = Callable[[], list[Aggregate]]
