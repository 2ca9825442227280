"""Fit the forests of all services anew from the samples in the checkpoints, and tell the partitions by the stream."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import numpy as np
import structlog

from detector.adapters.formats import checkpoints, forests
from detector.adapters.nats import subjects
from detector.domain.sharing import show_partitions
from detector.errors import CheckpointError
from detector.jobs.schedule import Job
from detector.pipeline.ensembles import Fitted, seed_of
from detector.ports import Outgoing, Publisher, Store
from models.ensemble import fit, isolation
from models.ensemble_sample import usable

HELD_OUT = 4
"""One row of so many is not fitted to, and says how the forest does on what it hasn't seen."""

_log = structlog.get_logger()


def refit(store: Store, publisher: Publisher, partitions: int, hours: float, keep_seconds: float) -> Job:
    """Make the job that every so many hours fits each service's forest; older ones are kept for `keep_seconds`."""
    work = partial(refit_forests, store, publisher, partitions, keep_seconds)
    return Job("refit_forests", hours * 3600.0, work)


async def refit_forests(store: Store, publisher: Publisher, partitions: int, keep_seconds: float) -> str:
    """Fit the forest of each service that has new windows, store it with its model card, and tell its partition.

    A forest is a message of the stream: whoever replays it takes the same forest at the same place. One that was
    stored and could not be told is fitted again the next time.

    Raises
    ------
    StoreError, BusError
    """
    fitted, wanting, damaged = 0, 0, []
    for partition in range(partitions):
        try:
            samples = await _newest(store, partition)
        except CheckpointError as error:
            _log.error("no forests fitted", partition=partition, reason=str(error))
            damaged.append(partition)
            continue
        for sample in samples:
            if sample.last <= sample.version:
                continue
            made = await asyncio.to_thread(fit_sample, sample)
            if made is None:
                wanting += 1
                continue
            forest, card = made
            body = forests.encode_forest(forest)
            await store.save_forest(card, body)
            name = f"forest:{partition}:{seed_of(forest.tenant, forest.service)}:{forest.version}"
            headers = (("Content-Type", forests.FOREST),)
            await publisher.publish(Outgoing(name, subjects.tick(partition), body, headers))
            fitted += 1
    gone = await store.prune_forests(keep_seconds)
    unread = f", partitions {show_partitions(damaged)} could not be read" if damaged else ""
    return f"{fitted} forests fitted, {wanting} services have too few windows yet, {gone} old forests deleted{unread}"


async def _newest(store: Store, partition: int) -> list[forests.Sample]:
    """Read the samples of the newest checkpoint that can be read."""
    trouble: CheckpointError | None = None
    for _, blob in await store.load_checkpoints(partition):
        try:
            return await asyncio.to_thread(checkpoints.samples, blob)
        except CheckpointError as error:
            trouble = error
    if trouble is not None:
        raise trouble
    return []


def fit_sample(sample: forests.Sample) -> tuple[Fitted, dict[str, Any]] | None:
    """Fit a forest and write its model card; None where the sample is too small.

    Notes
    -----
    About 0.3 s. The figure of the card, ``held_out_above_99``, should be near .01: much more says that the forest
    knows its sample by heart.
    """
    import sklearn  # here, because it takes a second to load and only fits need it

    seed = seed_of(sample.tenant, sample.service)
    columns, rows = usable(sample.residuals)
    rows = rows[np.random.default_rng(seed).permutation(len(rows))]
    held = len(rows) // HELD_OUT
    try:
        forest = fit(rows[held:], seed)
    except ValueError:
        return None
    level = np.quantile(isolation(forest, rows[held:]), 0.99)
    signals = tuple(sample.signals[column] for column in columns)
    card = {
        "tenant": sample.tenant,
        "service": sample.service,
        "version": sample.last,
        "signals": list(signals),
        "first": sample.first,
        "last": sample.last,
        "windows": sample.offered,
        "rows": len(rows) - held,
        "held_out": held,
        "held_out_above_99": float((isolation(forest, rows[:held]) > level).mean()),
        "seed": seed,
        "trees": len(forest.roots),
        "nodes": len(forest.nodes),
        "scikit_learn": sklearn.__version__,
    }
    return Fitted(sample.tenant, sample.service, sample.last, signals, forest), card
