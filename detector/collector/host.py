"""What this machine says of itself, as aggregates; names follow OpenTelemetry's conventions for systems."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psutil

Aggregate = dict[str, Any]
Read = Callable[[], list[Aggregate]]

MOST = 8
"""Network interfaces and file systems that are told, in order of name, so that no machine sends series without end."""
VIRTUAL_FILES = ("tmpfs", "devtmpfs", "squashfs", "overlay", "proc", "sysfs", "cgroup", "cgroup2")
VIRTUAL_LINKS = ("lo", "veth", "docker", "br-", "virbr", "cni", "cali", "flannel", "ifb", "dummy")
BLOCK_DEVICES = Path("/sys/block")


def read_host() -> list[Aggregate]:
    """Read this machine once.

    Returns
    -------
    list of dict
        15 to 30 aggregates on most machines, at most 72: running totals (`since` the boot) of CPU, disks and
        network, gauges of memory, load, file systems and processes. What the platform can't tell is left out.

    Notes
    -----
    About a millisecond, mostly the count of processes. Blocks.

    Examples
    --------
    >>> sorted({aggregate["kind"] for aggregate in read_host()})
    ['cumulative', 'gauge']
    """
    found: list[Aggregate] = []
    for part in (_cpu, _load, _memory, _disks, _file_systems, _network, _processes):
        try:
            found.extend(part())
        except (OSError, psutil.Error, AttributeError, LookupError, RuntimeError, ValueError):
            continue  # this platform or container does not tell
    return found


def _cpu() -> Iterator[Aggregate]:
    for mode, seconds in psutil.cpu_times()._asdict().items():
        if not mode.startswith("guest"):  # counted under user and nice already
            yield _total("system.cpu.time", seconds, "s", {"cpu.mode": mode})


def _load() -> Iterator[Aggregate]:
    yield _gauge("system.cpu.load_average.1m", os.getloadavg()[0], "{thread}")


def _memory() -> Iterator[Aggregate]:
    memory = psutil.virtual_memory()
    yield _gauge("system.memory.usage", memory.total - memory.available, "By")
    yield _gauge("system.memory.utilization", 1 - memory.available / memory.total, "1")


def _disks() -> Iterator[Aggregate]:
    disks = [disk for name, disk in psutil.disk_io_counters(perdisk=True).items() if _is_hardware(name)]
    for direction in ("read", "write") if disks else ():
        labels = {"disk.io.direction": direction}
        yield _total("system.disk.io", sum(getattr(disk, f"{direction}_bytes") for disk in disks), "By", labels)
        times = sum(getattr(disk, f"{direction}_count") for disk in disks)
        yield _total("system.disk.operations", times, "{operation}", labels)


def _is_hardware(disk: str) -> bool:
    """Tell a disk from a partition of it, and from what lies on top of it, which would count twice."""
    return not BLOCK_DEVICES.is_dir() or (BLOCK_DEVICES / disk / "device").exists()


def _file_systems() -> Iterator[Aggregate]:
    mounted = {disk.device: disk for disk in reversed(psutil.disk_partitions()) if disk.fstype not in VIRTUAL_FILES}
    for disk in sorted(mounted.values(), key=lambda disk: disk.mountpoint)[:MOST]:
        try:
            usage = psutil.disk_usage(disk.mountpoint)
        except OSError:
            continue  # gone, or not ours to look at
        if usage.used + usage.free:
            share = usage.used / (usage.used + usage.free)
            yield _gauge("system.filesystem.utilization", share, "1", {"system.filesystem.mountpoint": disk.mountpoint})


def _network() -> Iterator[Aggregate]:
    links = psutil.net_io_counters(pernic=True)
    used = [name for name in sorted(links) if not name.startswith(VIRTUAL_LINKS) and any(links[name])]
    for name in used[:MOST]:
        for direction, suffix, errors in (("transmit", "sent", "errout"), ("receive", "recv", "errin")):
            labels = {"network.interface.name": name, "network.io.direction": direction}
            yield _total("system.network.io", getattr(links[name], f"bytes_{suffix}"), "By", labels)
            yield _total("system.network.packets", getattr(links[name], f"packets_{suffix}"), "{packet}", labels)
            yield _total("system.network.errors", getattr(links[name], errors), "{error}", labels)


def _processes() -> Iterator[Aggregate]:
    yield _gauge("system.process.count", len(psutil.pids()), "{process}")


@cache
def _booted() -> int:
    """Read the boot time once: Linux derives it from the clock anew each time, and a changed one means a reset."""
    return round(psutil.boot_time() * 1000)


def _gauge(metric: str, value: float, unit: str, labels: dict[str, str] | None = None) -> Aggregate:
    return {"metric": metric, "labels": labels or {}, "unit": unit, "kind": "gauge", "value": value}


def _total(metric: str, value: float, unit: str, labels: dict[str, str]) -> Aggregate:
    return {"metric": metric, "labels": labels, "unit": unit, "kind": "cumulative", "value": value, "since": _booted()}
