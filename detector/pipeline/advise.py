"""How much each series of a tenant should sample next: errors first, within the budget, and without swings. Pure.

Accuracy goes by the least traffic that is to be expected, caps by the most. Windows are as long as the step of the
series: shorter ones would cost messages and tell nothing sooner, and longer ones don't fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detector.domain.arrays import Floats
from detector.domain.recommendation import RATE, STRATA, Entry, Stratum
from detector.domain.volume import Course, Measured, Pace, Ration, ServiceVolume, Volume
from detector.pipeline.allocation import ALLOWED, CAP, CUTS, DEAD_BAND, MOST_DOWN, MOST_UP, allocate, over_strata
from detector.pipeline.noise import cuts_of, need, spread_of, variances

RESERVE = 0.08
"""Part of the budget that only boosts may use."""
BOOST, BOOST_WINDOWS, REST_WINDOWS = 4.0, 4.0, 8.0
SUSPICION = 2.0
"""Surprise from which a series is boosted: it buys a better look, not a better chance to notice."""
QUEUE = 0.8
EASE, RECOVERY = 0.7, 0.05
"""Backpressure: the budget times this after drops or a full queue, and so much of it back a minute."""
LEAST_PRESSURE, LEAST_GAIN = 0.05, 0.5
GAIN_STEPS = 20
"""A correction counts in steps of a twentieth, so that noise moves no rates."""
LEAST_EVENTS = 5.0
"""Events a window that the cap of a series always leaves room for, so that one that wakes up is seen."""
_WEIGHTS = np.diff([0.0, *CUTS, 1.0])


@dataclass(frozen=True, slots=True)
class Advice:
    """What is recommended to the services of one tenant.

    Attributes
    ----------
    entries : mapping
        By service, one a series, and one a metric for series without an own.
    safe : mapping
        By service: events a second that one instance may go on to keep.
    reason : tuple of str
    kappa : float
        Times the error that is allowed; above 1 the budget is missed, infinite where not even `p_min` fits.
    seen, kept : float
        Events a second that are expected, and of them kept.
    course : Course
        For the next time.
    """

    entries: Mapping[str, tuple[Entry, ...]]
    safe: Mapping[str, float]
    reason: tuple[str, ...]
    kappa: float
    seen: float
    kept: float
    course: Course


def advise(
    services: Sequence[ServiceVolume], ration: Ration, measured: Measured, course: Course, seconds: float
) -> Advice:
    """Recommend to all services of a tenant.

    Parameters
    ----------
    services : sequence of ServiceVolume
    ration : Ration
    measured : Measured
        Since the last recommendation.
    course : Course
        As the last call left it.
    seconds : float
        Since the last call, 0 for the first.

    Returns
    -------
    Advice
        No probability is below `p_min`, and the caps of all instances of all series that are told, by themselves or
        together, add up to at most `CAP` times the budget.

    Notes
    -----
    About 0.2 ms a series.
    """
    named = [(one.service, series) for one in services for series in one.series]
    low, high, step, instances, of = (_column(named, name) for name in ("low", "high", "step_s", "instances", "of"))
    last = [course.paces.get(_name(*one)) for one in named]
    due = course.asked * sum(
        pace.p * events for pace, events in zip(last, low.tolist(), strict=True) if pace is not None
    )
    course = _pressed(course, due, measured, seconds)
    budget = ration.events_per_s * course.pressure
    strata = ration.mode == STRATA
    wanted = np.array([need(series.p50, series.p99, strata=strata) for _, series in named])
    each = low / of
    found = allocate(wanted / step, each, budget * (1.0 - RESERVE), ration.p_min * each, of)
    target = np.divide(found.events, each, out=np.ones(len(named)), where=each > 0.0)
    paces = [
        _towards(before, min(max(float(p), ration.p_min), 1.0), seconds / one[1].step_s)
        for one, before, p in zip(named, last, target, strict=True)
    ]
    asked = math.floor(course.gain * GAIN_STEPS) / GAIN_STEPS if found.kappa > 1.0 else 1.0
    base = np.maximum(asked * np.array([pace.p for pace in paces]), ration.p_min)
    paces, p = _boosted(named, paces, base, low, budget * RESERVE)
    room = np.maximum(p * high, of * LEAST_EVENTS / step)
    allotted = room * min(1.0, budget / max(float(room.sum()), 1e-300))
    caps = CAP * allotted / (instances * of)
    entries: dict[str, list[Entry]] = {one.service: [] for one in services}
    for (service, series), own, cap, wants in zip(named, p.tolist(), caps.tolist(), wanted.tolist(), strict=True):
        entries[service].append(_entry(series, own, cap, wants, ration))
    safe = {
        one.service: sum(
            float(a / n) for (s, _), a, n in zip(named, allotted, instances, strict=True) if s == one.service
        )
        for one in services
    }
    kept = float((p * low).sum())
    course = Course(
        course.pressure, course.gain, asked, {_name(*one): pace for one, pace in zip(named, paces, strict=True)}
    )
    reason = _reason(named, paces, found.kappa, course, ration, float(low.sum()), kept)
    whole = {service: (*own, *_rests(own)) for service, own in entries.items()}
    return Advice(whole, safe, reason, found.kappa, float(low.sum()), kept, course)


def _pressed(course: Course, due: float, measured: Measured, seconds: float) -> Course:
    """Give way where collectors can't keep up, come back slowly, and aim lower where they keep more than they should.

    What they should keep goes by the traffic of now at the rates of the last time. So the correction does not see its
    own effect, nor a change of traffic, which the rates themselves will follow; and the reserve takes a small excess.
    """
    if measured.dropped > 0 or measured.queue > QUEUE:
        pressure = max(course.pressure * EASE, LEAST_PRESSURE)
    else:
        pressure = min(course.pressure + RECOVERY * seconds / 60.0, 1.0)
    gain = course.gain
    if measured.kept is not None and due > 0.0:
        fits = min(max(due / max(measured.kept, 1e-300) / (1.0 - RESERVE), LEAST_GAIN), 1.0)
        gain *= math.sqrt(math.sqrt(fits / gain))
    return Course(pressure, gain, course.asked, course.paces)


def _towards(last: Pace | None, target: float, windows: float) -> Pace:
    """Move towards the target: not for trifles, not all at once, and once under way until it is reached."""
    if last is None:
        return Pace(target)
    boost = max(last.boost - windows, 0.0)
    rest = max(last.rest - max(windows - last.boost, 0.0), 0.0)
    if not last.moving and abs(target - last.p) <= DEAD_BAND * last.p:
        return Pace(last.p, False, boost, rest)
    p = min(max(target, last.p * MOST_DOWN), last.p * MOST_UP)
    return Pace(p, p != target, boost, rest)


def _boosted(
    named: Sequence[tuple[str, Volume]], paces: Sequence[Pace], base: Floats, low: Floats, reserve: float
) -> tuple[list[Pace], Floats]:
    """Let suspicious series keep more for some windows, the most suspicious first, as far as the reserve goes."""
    p, after = base.copy(), list(paces)
    for i in sorted(range(len(named)), key=lambda i: (-paces[i].boost, -named[i][1].surprise)):
        pace = paces[i]
        fresh = pace.boost == pace.rest == 0.0 and named[i][1].surprise >= SUSPICION
        if not fresh and pace.boost == 0.0:
            continue
        more = min(BOOST * base[i], 1.0)
        costs = (more - base[i]) * low[i]
        if costs <= reserve and more > base[i]:
            reserve -= costs
            p[i] = more
            if fresh:
                after[i] = Pace(pace.p, pace.moving, BOOST_WINDOWS, REST_WINDOWS)
    return after, p


def _entry(series: Volume, p: float, cap: float, wants: float, ration: Ration) -> Entry:
    events = series.low * series.step_s / series.of
    cuts = cuts_of(series.p50, series.p99) if ration.mode == STRATA else ()
    mode = STRATA if cuts else RATE
    weights = _WEIGHTS if cuts else np.ones(1)
    have = events * weights
    targets = over_strata(np.array([p * events]), have[None, :])[0] if cuts else have * p
    shares = np.divide(targets, have, out=np.full(len(have), p), where=have > 0.0)
    strata = tuple(
        Stratum(cut, min(max(share, ration.p_min), 1.0), target / series.instances)
        for cut, share, target in zip((*cuts, None), shares.tolist(), targets.tolist(), strict=True)
    )
    kept = max(p * events, 1.0)
    left = max(1.0 / kept - 1.0 / max(events, kept), 0.0)
    error = math.sqrt(variances(spread_of(series.p50, series.p99), strata=bool(cuts))[2] * left)
    return Entry(
        series.metric, series.labels, series.unit, mode, series.step_s, strata,
        1.0, cap, error, max(math.sqrt(wants * left), error / ALLOWED[bool(cuts)][2]),
    )  # fmt: skip


def _rests(entries: Sequence[Entry]) -> list[Entry]:
    """Give each metric without one an entry for new series: as the largest, but with the smallest cap."""
    largest: dict[str, Entry] = {}
    told = {entry.metric for entry in entries if entry.labels is None}
    for entry in entries:
        if entry.metric in told:
            continue
        there = largest.get(entry.metric)
        if there is None or entry.cap_eps > there.cap_eps:
            largest[entry.metric] = entry
    return [
        Entry(
            one.metric, None, one.unit, one.mode, one.window_s, one.strata, one.error_keep,
            min(one.cap_eps, LEAST_EVENTS / one.window_s), one.expected_rse, one.kappa,
        )
        for one in largest.values()
    ]  # fmt: skip


def _reason(
    named: Sequence[tuple[str, Volume]],
    paces: Sequence[Pace],
    kappa: float,
    course: Course,
    ration: Ration,
    seen: float,
    kept: float,
) -> tuple[str, ...]:
    """Say in words what decided."""
    said = [f"{kept:.4g} of {seen:.4g} events/s are kept, {ration.events_per_s:.4g} are allowed"]
    if math.isinf(kappa):
        said.append(f"budget_missed: not even p_min {ration.p_min:g} fits, caps hold it")
    elif kappa > 1.0:
        said.append(f"budget_missed: errors are {kappa:.3g} times what is allowed")
    else:
        said.append("the allowed errors fit, the rest is saved")
    if course.pressure < 1.0:
        said.append(f"backpressure: {course.pressure:.0%} of the budget in use")
    if course.asked < 1.0:
        said.append(f"more is kept than asked for: {course.asked:.0%} of the rates are asked for")
    boosts = [f"{service} {one.metric}" for (service, one), pace in zip(named, paces, strict=True) if pace.boost > 0.0]
    if boosts:
        said.append(f"boost of {len(boosts)} series: {', '.join(boosts[:3])}")
    moving = sum(pace.moving for pace in paces)
    if moving:
        said.append(f"{moving} series are on the way, at most x{MOST_UP:g} or x{MOST_DOWN:g} a time")
    return tuple(said)


def _name(service: str, series: Volume) -> str:
    labels = "*" if series.labels is None else ",".join(f"{k}={value}" for k, value in sorted(series.labels.items()))
    return f"{service}\n{series.metric}\n{labels}"


def _column(named: Sequence[tuple[str, Volume]], name: str) -> Floats:
    return np.array([max(float(getattr(series, name)), 0.0) for _, series in named])
