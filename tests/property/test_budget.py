"""The budget holds over days of simulated surprises, whatever the tails, the comings and goings, and an incident."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest

from detector.domain.aggregate import Head
from detector.domain.budget import Budget, Notice
from detector.pipeline.assess import Scored, assess
from detector.pipeline.budget import INTERVAL_SECONDS, NOTHING_SEEN, gathered, level_for
from detector.pipeline.crowd import Limits
from detector.pipeline.decide import decide
from detector.pipeline.state import Levels
from detector.pipeline.tables import CLOSED, MEAN
from detector.pipeline.tally import count, tallied
from models import SCORE, KernelBank, ScoringBank
from tests.synth import T0, Echo, Run, Sent, gauge, in_order, message, plan

SIGNALS, STEP, DAY = 20_000, 60_000, 1440
HOLD_EVERY = int(INTERVAL_SECONDS * 1000 / STEP)
BUDGET = Budget(20.0)
Surprises = npt.NDArray[np.float64]


class Fleet:
    """One partition of many signals at a step of a minute, with the job beside it.

    Attributes
    ----------
    fired : list of int
        By window: alerts that opened.
    levels : list of float
        By look of the job.
    """

    def __init__(self, levels: Levels, bank: Callable[[], ScoringBank] = Echo) -> None:
        limits = Limits(2 * SIGNALS, 2 * SIGNALS)
        settings = plan(banks=[("*", bank)], levels=levels, budgets=[BUDGET], limits=limits)
        self.state = Run(settings).take(in_order(self._first_windows())).state
        self.table = self.state.directory.series[:SIGNALS]
        self.signals = self.state.directory.signals.of[:SIGNALS, 0].astype(np.int64)
        self.state.tallies[:] = 0
        self.fired: list[int] = []
        self.levels: list[float] = []
        self._evidence = NOTHING_SEEN

    @staticmethod
    def _first_windows() -> Iterator[Sent]:
        for first in range(0, SIGNALS, 1000):
            some = [gauge(0.0, "m", labels={"n": str(n)}) for n in range(first, first + 1000)]
            yield message(T0, some, seconds=60, now=T0 + 2 * STEP)
        yield message(T0 + 10 * STEP, [], seconds=60, now=T0 + 10 * STEP)

    def take(self, scored: Scored, window: int) -> None:
        """Count and decide one window of every signal that has one; now and then the job has its turn."""
        state, now = self.state, T0 + (window + 1) * STEP
        state.clock = now
        self.table["last_arrival"][scored.signal - self.signals[0]] = now
        count(state, scored)
        decisions = decide(state, scored, [Head(window, now)])
        self.fired.append(sum(decision.alert.revision == 0 for decision in decisions))
        if window % HOLD_EVERY == HOLD_EVERY - 1:
            self._hold(window)

    def _hold(self, window: int) -> None:
        tallies = tallied(self.state, 0)
        self._evidence = gathered(self._evidence, tallies, BUDGET, INTERVAL_SECONDS)
        before = self.levels[-1] if self.levels else None
        level, _ = level_for(self._evidence, tallies[0].pace, BUDGET.per_day, before)
        self.levels.append(level)
        self.state.obey(Notice(window + 1, {BUDGET.name: level}))

    def on_day(self, day: int) -> int:
        """Alerts that opened on a day, the first being 1."""
        return sum(self.fired[(day - 1) * DAY : day * DAY])


def told(fleet: Fleet, live: npt.NDArray[np.int64], surprise: Surprises, window: int) -> Scored:
    """What scoring would have made of windows that are so surprising."""
    score = np.zeros(len(live), SCORE)
    score["surprise"] = surprise
    zeros = np.zeros(len(live), np.int64)
    start = np.full(len(live), T0 + window * STEP)
    return Scored(
        fleet.signals[live], zeros, start, surprise, np.zeros(len(live)), score, {}, np.zeros(len(live), np.uint8)
    )


def simulated(draw: Callable[[np.random.Generator, int, int], Surprises], seed: int, **levels: float) -> Fleet:
    """Three days; every signal comes at some time of the first, and a fifth of them goes for six hours of the third."""
    rng, fleet = np.random.default_rng(seed), Fleet(Levels(**levels))  # type: ignore[arg-type]  # keywords of one type
    comes = rng.integers(0, DAY, SIGNALS)
    pauses = rng.random(SIGNALS) < 0.2
    for window in range(3 * DAY):
        there = comes <= window
        if 2 * DAY + 360 <= window < 2 * DAY + 720:
            there &= ~pauses
        live = np.flatnonzero(there)
        fleet.take(told(fleet, live, draw(rng, len(live), window), window), window)
    return fleet


def tail(rate: float) -> Callable[[np.random.Generator, int, int], Surprises]:
    return lambda rng, n, _: -np.log10(1.0 - rng.random(n)) / rate


def with_an_incident(rng: np.random.Generator, n: int, window: int) -> Surprises:
    """In the evening of the second day a thousand signals fire within minutes, and stay strange for half an hour."""
    found = -np.log10(1.0 - rng.random(n)) / 0.8
    if 2 * DAY - 240 <= window < 2 * DAY - 210:
        found[: min(1000, n)] += 6.0 if window >= 2 * DAY - 238 else 6.0 * (rng.random(min(1000, n)) < 0.5)
    return found


@pytest.mark.parametrize(
    ("draw", "seed", "levels"),
    [
        pytest.param(with_an_incident, 3, {}, id="heavy tails and an incident", marks=pytest.mark.soak),
        pytest.param(tail(1.0), 1, {}, id="calibrated", marks=pytest.mark.soak),
        pytest.param(tail(0.7), 2, {}, id="very heavy tails", marks=pytest.mark.soak),
        pytest.param(tail(0.8), 4, {"rearm_windows": 300}, id="rearmed late", marks=pytest.mark.soak),
    ],
)
def test_the_budget_holds_on_day_three(
    draw: Callable[[np.random.Generator, int, int], Surprises], seed: int, levels: dict[str, float]
) -> None:
    fleet = simulated(draw, seed, **levels)
    assert 0.35 * BUDGET.per_day <= fleet.on_day(3) <= 2 * BUDGET.per_day, (fleet.on_day(3), fleet.levels[::72])


def values(rng: np.random.Generator, windows: int) -> Iterator[Surprises]:
    """Ordinary values of five kinds of signals: noise, inertia, durations, counts, and a daily wave."""
    kind, level = np.arange(SIGNALS) % 5, 10.0 ** rng.uniform(0.0, 3.0, SIGNALS)
    phase, inert = rng.uniform(0.0, 2 * np.pi, SIGNALS), np.zeros(SIGNALS)
    for window in range(windows):
        noise = rng.normal(size=SIGNALS)
        inert = 0.8 * inert + 0.6 * noise
        wave = 2.0 + np.sin(2 * np.pi * window / DAY + phase)
        x = level * (1.0 + 0.1 * noise)
        np.copyto(x, level * (1.0 + 0.1 * inert), where=kind == 1)
        np.copyto(x, level * np.exp(0.5 * noise), where=kind == 2)
        np.copyto(x, rng.poisson(np.minimum(level, 50.0)), where=kind == 3)
        np.copyto(x, level * wave * (1.0 + 0.1 * noise), where=kind == 4)
        yield x


@pytest.mark.soak
def test_the_budget_holds_on_day_three_for_what_the_kernel_says_of_ordinary_signals() -> None:
    fleet = Fleet(Levels(), KernelBank)
    closed = np.zeros(SIGNALS, CLOSED)
    closed["series"], closed["statistic"] = np.arange(SIGNALS), MEAN
    for window, x in enumerate(values(np.random.default_rng(5), 3 * DAY)):
        closed["start"], closed["value"] = T0 + (window + 1) * STEP, x
        fleet.take(assess(fleet.state, closed), window)
    assert 7 <= fleet.on_day(3) <= 40, (fleet.on_day(3), fleet.levels[::72])
