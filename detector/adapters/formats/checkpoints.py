"""State of a partition to bytes and back: a MessagePack envelope round raw arrays. Nothing is ever unpickled."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import msgspec
import numpy as np

from detector import __version__
from detector.adapters.formats import forests
from detector.domain.alert import Alert
from detector.domain.budget import Notice
from detector.errors import CheckpointError
from detector.pipeline.forecasters import FORECAST, ROLLUP
from detector.pipeline.roster import Roster
from detector.pipeline.sketches import SKETCH
from detector.pipeline.spreads import SPREAD
from detector.pipeline.state import RECENT, Breach, Finding, PartitionState, Plan
from detector.pipeline.tables import SERIES, SOURCE
from models import SCORE
from models.load import LoadBank
from models.rows import grown

CODEC = 8


@dataclass
class Body:
    """Everything `PartitionState` holds but its plan and its models."""

    position: int
    stream: int
    clock: int
    clocks: dict[int, int]
    bank_of: list[int]
    findings: dict[int, Finding]
    missing: dict[int, Alert]
    halves: dict[int, dict[int, tuple[bool, float]]]
    counts: dict[str, int]
    notice: Notice
    recent: bytes
    tallies: dict[str, list[int]]
    forecasts: bytes
    rollups: list[int]
    forecast_plan: str
    waiting: dict[int, tuple[int, int, int, bool, bool]]
    breaches: dict[int, dict[str, Breach]]
    roster: Roster


class Envelope(msgspec.Struct):
    """What is read first: whether the body can be read at all."""

    codec: int
    schema: str
    version: str
    crc: int
    body: bytes
    models: list[bytes]
    ensembles: bytes = b""


class Captured(NamedTuple):
    """A state at one moment: layout, body, by bank its signals' models in order, forecasters; and its ensembles."""

    schema: str
    body: bytes
    models: list[bytes | bytearray]
    ensembles: bytes


def schema(state: PartitionState) -> str:
    """Name the layout of the arrays and the models; a checkpoint of another layout is not loaded."""
    layout = [str(table.descr) for table in (SERIES, SOURCE, SKETCH, SPREAD, SCORE, RECENT, FORECAST)]
    layout.append(f"{LoadBank.name}:{LoadBank(ROLLUP).bytes_per_signal}")
    banks = [f"{bank.name}:{bank.bytes_per_signal}" for bank in state.banks]
    return f"{zlib.crc32(repr(layout).encode()):08x} numpy{np.__version__.split('.')[0]} {' '.join(banks)}"


def capture(state: PartitionState) -> Captured:
    """Copy what is to be saved, so that the state may change while it is sealed: about 10 ms for 10 MiB."""
    body = Body(
        position=state.position,
        stream=state.stream,
        clock=state.clock,
        clocks=state.clocks,
        bank_of=state.bank_of,
        findings=state.findings,
        missing=state.missing,
        halves=state.halves,
        counts=dict(sorted(state.counts.items())),
        notice=state.notice,
        recent=_fitted(state.recent, len(state.directory.signals)).tobytes(),
        tallies={
            budget.name: counts.tolist() for budget, counts in zip(state.plan.budgets, state.tallies, strict=True)
        },
        forecasts=state.forecasters.saved(),
        rollups=[bank.step_ms for bank in state.forecasters.banks],
        forecast_plan=state.plan.forecasts.name,
        waiting=state.forecasters.waiting,
        breaches=state.breaches,
        roster=state.directory.roster(),
    )
    models: list[bytes | bytearray] = [
        *(bank.snapshot(rows) for bank, rows in zip(state.banks, _rows(state), strict=True)),
        *state.forecasters.models(),
    ]
    ensembles = b"" if state.ensembles is None else forests.pack(state)
    return Captured(schema(state), msgspec.msgpack.encode(body), models, ensembles)


def seal(captured: Captured) -> bytes:
    """Write what was captured, about 4 KiB a signal and 73 more where it is forecast, under a checksum."""
    layout, body, models, ensembles = captured
    checksum = _checksum(body, [*models, ensembles])
    states = cast("list[bytes]", models)  # any buffer is written alike, but only bytes are read
    return msgspec.msgpack.encode(Envelope(CODEC, layout, __version__, checksum, body, states, ensembles))


def encode(state: PartitionState) -> bytes:
    """Write the state of a partition: about a second for 500 MiB, and as much memory again while it runs."""
    return seal(capture(state))


def decode(plan: Plan, blob: bytes) -> PartitionState:
    """Read the state of a partition.

    Parameters
    ----------
    plan : Plan
        The settings of now; those of then are not kept.
    blob : bytes

    Raises
    ------
    CheckpointError
        Damaged, cut off, or of another layout. The partition then starts from the checkpoint before it, or
        cold and by replay of the stream.
    """
    state = PartitionState(plan)
    envelope = _open(blob)
    if envelope.codec != CODEC or envelope.schema != schema(state):
        raise CheckpointError(
            f"written by version {envelope.version} with layout {envelope.schema!r}, this is {schema(state)!r}"
        )
    _check(envelope)
    try:
        body = msgspec.msgpack.decode(envelope.body, type=Body)
        state.directory.load(body.roster)
        state.bank_of = body.bank_of
        state.recent = np.frombuffer(body.recent, RECENT).copy()
        scoring = len(state.banks)
        for bank, rows, models in zip(state.banks, _rows(state), envelope.models[:scoring], strict=True):
            bank.restore(models, rows)
        state.forecasters.resume(body.forecasts, body.rollups, envelope.models[scoring:])
        state.forecasters.waiting, state.breaches = body.waiting, body.breaches
        if state.ensembles is not None:
            forests.unpack(state, envelope.ensembles)
        _adopt(state, same_forecasts=body.forecast_plan == state.plan.forecasts.name)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CheckpointError(f"can't be read: {error}") from None
    state.position, state.stream = body.position, body.stream
    state.clock, state.clocks = body.clock, body.clocks
    state.findings, state.missing, state.halves = body.findings, body.missing, body.halves
    state.counts = Counter(body.counts)
    state.obey(body.notice)
    for index, budget in enumerate(plan.budgets):
        counts = body.tallies.get(budget.name, [])
        state.tallies[index, : len(counts)] = counts
    return state


def _fitted(table: np.ndarray, rows: int) -> np.ndarray:
    return grown(table, rows)[:rows]


def verify(blob: bytes) -> None:
    """Tell whether a checkpoint is whole, whatever its layout; of the cost of reading it once.

    Raises
    ------
    CheckpointError
        Damaged or cut off.
    """
    _check(_open(blob))


def samples(blob: bytes) -> list[forests.Sample]:
    """Read what a checkpoint holds of the services whose signals are watched together.

    Raises
    ------
    CheckpointError
        Damaged, cut off, or of another layout.
    """
    envelope = _open(blob)
    if envelope.codec != CODEC:
        raise CheckpointError(f"written by version {envelope.version} in codec {envelope.codec}, this is {CODEC}")
    _check(envelope)
    try:
        return list(forests.samples(envelope.ensembles))
    except (msgspec.MsgspecError, ValueError) as error:
        raise CheckpointError(f"its samples can't be read: {error}") from None


def _open(blob: bytes) -> Envelope:
    try:
        return msgspec.msgpack.decode(blob, type=Envelope)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CheckpointError(f"not a checkpoint, or cut off: {error}") from None


def _check(envelope: Envelope) -> None:
    if _checksum(envelope.body, [*envelope.models, envelope.ensembles]) != envelope.crc:
        raise CheckpointError("its checksum does not fit: damaged where it was stored")


def _checksum(body: bytes, models: Sequence[bytes | bytearray]) -> int:
    found = zlib.crc32(body)
    for states in models:
        found = zlib.crc32(states, found)
    return found


def _rows(state: PartitionState) -> list[np.ndarray]:
    """Signals of each bank."""
    fresh = {signal for signal, _ in state.directory.signals.fresh}
    used = [signal for signal, named in enumerate(state.directory.signals) if named is not None and signal not in fresh]
    bank_of = np.array([state.bank_of[signal] for signal in used], np.int64)
    return [np.array(used, np.int64)[bank_of == index] for index in range(len(state.banks))]


def _adopt(state: PartitionState, *, same_forecasts: bool) -> None:
    """Find the budget of each signal, and give it a cold model where the settings name another one for its metric.

    Where the settings of forecasts have changed, which signals are forecast follows those of now.
    """
    if not same_forecasts:
        state.forecasters.waiting = {}
    row_of = {signal: row for row, signals in enumerate(state.directory.signals.of) for signal in signals.tolist()}
    for index, rows in enumerate(_rows(state)):
        for signal in rows.tolist():
            series = state.directory.signals.used(signal).series
            state.enlist(signal, series)
            if not same_forecasts:
                state.foresee(signal, row_of[signal])
            bank = state.bank_for(series.metric)
            if bank != index:
                state.banks[bank].add(signal, state.step_of(signal))
                state.bank_of[signal] = bank
