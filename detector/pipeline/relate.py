"""Score how well the signals of each service go together, once their own models have seen the same windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from detector.domain.aggregate import Head, Kind
from detector.pipeline.assess import Scored, assess
from detector.pipeline.ensembles import METRIC, Fitted, Judged
from detector.pipeline.ratios import note
from detector.pipeline.state import PartitionState
from detector.pipeline.tables import CLOSED, ISOLATION


def relate(state: PartitionState, scored: Scored, heads: list[Head]) -> Scored:
    """Gather scored windows by service, and score the rows that are complete.

    Parameters
    ----------
    state : PartitionState
        Changed: ensembles, and the models of their scores.
    scored : Scored
        What `assess` has made of the windows of all signals.
    heads : list of Head

    Returns
    -------
    Scored
        A window a row: the `isolation` of a service, with its forest and residuals as context where it could open an
        alert.
    """
    directory, ensembles = state.directory, state.ensembles
    judged: list[Judged] = []
    if ensembles is not None:
        columns = {name: getattr(scored, name) for name in ("signal", "head", "start", "value")}
        judged = list(ensembles.gather(columns, scored.score, directory.services))
    closed = np.zeros(len(judged), CLOSED)
    for place, one in enumerate(judged):
        closed[place] = (one.series, ISOLATION, one.head, one.start, one.isolation, 0.0, 0.0)
        note(directory.series, one.series, one.start, heads[one.head].now)
    found = assess(state, closed)
    return replace(found, context={place: _context(judged[place]) for place in found.before})


def adopt(state: PartitionState, fitted: Fitted, head: Head) -> None:
    """Judge a service by a forest from this message on."""
    directory = state.directory
    service = directory.known_service(fitted.tenant, fitted.service)
    if state.ensembles is None or service is None:
        return
    ensemble = state.ensembles.take(fitted, service, directory.signals.named)
    if ensemble is not None:
        row = directory.made(service, METRIC, Kind.ISOLATION, head.now - head.now % ensemble.step, ensemble.step)
        ensemble.row = -1 if row is None else row
        state.counts["forests"] += 1


def _context(judged: Judged) -> Mapping[str, Any]:
    """Name the forest and the residuals, in half intervals, that of the signal that fits the others least first."""
    forest = judged.fitted.forest
    apart = np.abs(forest.features(judged.row[None, :])[0])
    order = np.argsort(-apart, kind="stable")
    return {
        "forest": judged.fitted.version,
        "residuals": {judged.fitted.signals[i]: round(float(judged.row[i]), 4) for i in order},
    }
