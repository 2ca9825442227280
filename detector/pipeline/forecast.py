"""Forecast signals: learn the windows that are complete, judge what was said of them, and say what comes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detector.domain.aggregate import Head
from detector.domain.arrays import Floats
from detector.domain.forecast import DAY, Forecast, paths_of
from detector.pipeline.assess import Scored
from detector.pipeline.breach import Outlook, let_go, watch, within
from detector.pipeline.decide import Decision
from detector.pipeline.forecasters import Forecasters, leads, spacing
from detector.pipeline.judging import judge, note, realised
from detector.pipeline.state import PartitionState
from detector.pipeline.tables import Table
from models.load import LoadBank
from models.load.contract import READY
from models.load.trend import LASTS, PARTS, drifting


def foresee(state: PartitionState, scored: Scored, heads: list[Head]) -> tuple[list[Forecast], list[Decision]]:
    """Forecast what the plan names.

    Parameters
    ----------
    state : PartitionState
        Changed: forecasters and breaches.
    scored : Scored
    heads : list of Head

    Returns
    -------
    list of Forecast, list of Decision
        Each in the order of the messages that brought them about.

    Notes
    -----
    Nothing where nothing is forecast, else a few nanoseconds a window of any signal; for one that is forecast 20
    microseconds every five minutes and half a millisecond every quarter of an hour, twice that where it has a limit.
    """
    own = state.forecasters
    decisions = list(let_go(state, scored, heads))
    if not len(own):
        return [], decisions
    rolled = own.rolled(scored.signal, scored.start, scored.value, scored.head, state.recent["step"])
    told: list[Forecast] = []
    for windows in _rounds(rolled):
        for index, bank in enumerate(own.banks):
            for outlook in _learn(state, bank, windows[own.table["bank"][windows["row"]] == index], heads):
                if not own.table["replayed"][outlook.row]:
                    told.append(_told(state, outlook))
                decisions.extend(watch(state, outlook))
    told.sort(key=lambda one: one.position)
    decisions.sort(key=lambda one: one.position)
    return told, decisions


def _rounds(rolled: Table) -> Iterator[Table]:
    """Part windows so that each part holds one of a row at most: then nothing depends on how a run was cut."""
    while len(rolled):
        _, first = np.unique(rolled["row"], return_index=True)
        yield rolled[first]
        rolled = np.delete(rolled, first)


def _learn(state: PartitionState, bank: LoadBank, windows: Table, heads: list[Head]) -> Iterator[Outlook]:
    """Learn one window of each row; judge and renew what was said, where it is time to."""
    own = state.forecasters
    rows, starts, values = (np.ascontiguousarray(windows[name]) for name in ("row", "start", "value"))
    places = own.table["place"][rows].astype(np.int64)
    bank.observe(places, values, starts, *own.plan.calendar.at(starts))
    every, ahead = spacing(bank), leads(bank)
    number = starts // bank.step_ms + rows  # rows take turns
    now = np.flatnonzero(number % every == 0)
    if not len(now):
        return
    horizon = _horizon(own, bank)
    comes = starts[now, None] + bank.step_ms * np.arange(1, horizon + 1)
    local, holiday = own.plan.calendar.at(comes)
    found = bank.forecast(places[now], horizon, own.plan.coverage, local, holiday & 1)
    before = bank.value(places[now], starts[now] - bank.step_ms * bank.season)
    for i, one in enumerate(now):
        row, turn = int(rows[one]), int(number[one]) // every
        outlook = Outlook(
            row=row,
            position=heads[windows["head"][one]].position,
            bank=bank,
            comes=comes[i],
            value=float(values[one]),
            expected=found.expected[i],
            lower=found.lower[i],
            upper=found.upper[i],
            trend=_trend(own, bank, row, int(starts[one]), horizon),
        )
        judge(own.table[row], turn, int(starts[one]), outlook.value, float(before[i]))
        note(own.table[row], turn, ahead, every, outlook.expected, outlook.lower, outlook.upper, outlook.trend)
        if found.status[i] == READY:
            yield outlook


def _horizon(own: Forecasters, bank: LoadBank) -> int:
    """Windows to look ahead: a day, or as far as a limit or a lead asks."""
    farthest = max([DAY, *(limit.lead for limit in own.plan.limits)]) // bank.step_ms
    return min(max(farthest, int(leads(bank)[-1])), bank.most_windows)


def _trend(own: Forecasters, bank: LoadBank, row: int, start: int, horizon: int) -> Floats:
    """Carry on the slope of a signal that has a limit; NaN for others."""
    if not own.table["limited"][row]:
        return np.full(horizon, np.nan)
    needed = bank.season + (LASTS + 1) * max(bank.season // PARTS, 1)
    times = start - bank.step_ms * np.arange(needed - 1, -1, -1)
    return drifting(bank.value(np.full(needed, own.table["place"][row]), times), bank.season, horizon)


def _told(state: PartitionState, outlook: Outlook) -> Forecast:
    own, bank = state.forecasters, outlook.bank
    row = own.table[outlook.row]
    ends = np.stack([outlook.expected, outlook.lower, outlook.upper])[:, : max(DAY // bank.step_ms, 1)]
    ends = within(state, outlook.row, ends)
    judged, mase, inside = realised(own.table[outlook.row : outlook.row + 1])
    issued_at = int(outlook.comes[0])
    return Forecast(
        position=outlook.position,
        signal=state.directory.signals.used(int(row["signal"])),
        model=bank.name,
        issued_at=issued_at,
        coverage=own.plan.coverage,
        paths=paths_of(issued_at, bank.step_ms, ends),
        judged=int(judged[0]),
        mase=float(mase[0]),
        inside=float(inside[0]),
    )
