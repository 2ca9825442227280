"""Leases for tests of the store."""

from __future__ import annotations

import time

from detector.ports import Lease, Store


async def claimed(store: Store, *partitions: int, owner: str = "a", ttl: float = 60.0) -> list[Lease]:
    leases = await store.claim(partitions, owner, ttl)
    assert [lease.partition for lease in leases] == sorted(partitions)
    return leases


async def claimed_in_the_end(store: Store, partition: int, owner: str, seconds: float = 5.0) -> Lease:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for lease in await store.claim([partition], owner, 60.0):
            return lease
    raise AssertionError(f"partition {partition} was not to be had within {seconds} s")
