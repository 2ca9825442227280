"""Recommendations as they follow from one window after another, for a whole fleet at once."""

from __future__ import annotations

import numpy as np

from detector.domain.arrays import Floats
from detector.pipeline.allocation import (
    ALLOWED,
    CAP,
    CUTS,
    MOST_DOWN,
    MOST_UP,
    SHARES,
    allocate,
    over_strata,
    steady,
)
from detector.simulation.counting import Kept

LOAD_RATE, NEED_RATE, CUT_RATE, PART_RATE = 0.3, 0.05, 0.3, 0.2
ASTRAY, LEAST_MOVE = 1.75, 0.02
"""Cuts are published anew once some stratum holds so many times more or less than it should, by exact counts, and one
of them has moved by so much, relative."""
BOOST, BOOST_WINDOWS, COOL_DOWN, RESERVE = 4.0, 4, 8, 0.08
CREDIT = 0.1
MOST_CREDIT = 0.1
"""What was spent too little or too much is made good by a tenth of it each window, at most a tenth of the budget."""
SAFE = 0.1
"""Probability for a series of which nothing is known."""


class Steering:
    """What is recommended for each series, from window to window.

    Parameters
    ----------
    series : int
    budget : float
        Events of a window over all series, the reserve for boosts included.
    strictness : float
        Errors allowed are divided by it. 1 saves what is not needed; a large one spends the whole budget.
    p_min : float
    strata : bool
        False: one rate a series.

    Attributes
    ----------
    cuts : float64[series, strata - 1]
    shares : float64[strata]
    p : float64[series, strata]
    cap : float64[series]
        For the next window, as `keeping.by_strata` takes them.
    kappa : float
        Times the allowed error that is to be expected.
    """

    def __init__(
        self, series: int, budget: float, strictness: float = 1.0, p_min: float = 0.001, *, strata: bool = True
    ) -> None:
        self.shares = np.array(SHARES if strata else (1.0,))
        self._qs = np.array(CUTS if strata else ())
        self._nominal = np.diff(np.concatenate([[0.0], self._qs, [1.0]]))
        self.budget = budget
        self.p_min = p_min
        self.kappa = 1.0
        self._allowed = np.array(ALLOWED[strata]) / strictness
        self.cuts = np.full((series, len(self._qs)), np.inf)
        self.p = np.full((series, len(self.shares)), SAFE)
        self.cap = np.full(series, CAP * budget / series)
        self._known = np.zeros(series, bool)
        self._expected = np.zeros(series)
        self._part = np.tile(self._nominal, (series, 1))
        self._ones = np.zeros((series, 3))
        self._looks = np.zeros((series, 3))
        self._tracked = np.zeros_like(self.cuts)
        self._boosted = np.full(series, -COOL_DOWN)
        self._credit = 0.0

    @property
    def qs(self) -> Floats:
        """Quantiles at which strata are to be cut."""
        return self._qs

    def update(self, told: Kept, surprise: Floats, alarm: float) -> int:
        """Decide for the next window; return how many entries changed.

        Parameters
        ----------
        told : Kept
            What the window just ended showed.
        surprise : float64[series]
            Highest of each series in it.
        alarm : float
            From which on a series gets a boost.
        """
        seen = told.seen.sum(axis=1)
        new = ~self._known & (seen > 0.0)
        self._follow(told, seen, new)
        self._credit += self.budget - told.kept.sum()
        limit = MOST_CREDIT * self.budget
        spend = self.budget + min(max(CREDIT * self._credit, -limit), limit)
        need = (self._ones / self._allowed**2).max(axis=1)
        found = allocate(need, self._expected, (1.0 - RESERVE) * spend, self.p_min * self._expected)
        self.kappa = found.kappa
        events = found.events * self._boosts(found.events, surprise, alarm)
        moved = self._publish_cuts(new)
        return self._publish_rates(events, moved)

    def _follow(self, told: Kept, seen: Floats, new: np.ndarray) -> None:
        """Take in load, needs and where the cuts should lie."""
        self._known |= new
        self._expected = np.where(new, seen, self._expected + LOAD_RATE * (seen - self._expected))
        part = told.seen / np.maximum(seen, 1.0)[:, None]
        cut = np.isfinite(self.cuts).all(axis=1) & (seen > 0.0)
        self._part = np.where(cut[:, None], self._part + PART_RATE * (part - self._part), self._part)
        self._looks += np.isfinite(told.ones)
        rate = np.maximum(NEED_RATE, 1.0 / np.maximum(self._looks, 1.0))
        self._ones += np.where(np.isfinite(told.ones), rate * (told.ones - self._ones), 0.0)
        at = np.where((seen > 0.0)[:, None], told.at, self._tracked)
        first = (self._tracked == 0.0) & (at > 0.0)
        logs = np.log(np.maximum(at, 1e-12)) - np.log(np.maximum(self._tracked, 1e-12))
        self._tracked = np.where(first, at, self._tracked * np.exp(CUT_RATE * logs))

    def _boosts(self, events: Floats, surprise: Floats, alarm: float) -> Floats:
        """Return what each series' events are multiplied by; the reserve bounds the boosts, the strangest first."""
        self._boosted += 1
        running = (self._boosted >= 0) & (self._boosted < BOOST_WINDOWS)
        ready = self._boosted >= BOOST_WINDOWS + COOL_DOWN
        fresh = (surprise >= alarm) & (ready | (self._boosted < 0))
        more = np.minimum((BOOST - 1.0) * events, self._expected - events)
        left = RESERVE * self.budget - more[running].sum()
        for i in np.flatnonzero(fresh)[np.argsort(-surprise[fresh])]:
            if more[i] <= left:
                left -= more[i]
                self._boosted[i] = 0
                running[i] = True
        return np.where(running, 1.0 + np.maximum(more, 0.0) / np.maximum(events, 1e-9), 1.0)

    def _publish_cuts(self, new: np.ndarray) -> np.ndarray:
        if not self.cuts.shape[1]:
            return new
        astray = (self._part > ASTRAY * self._nominal) | (ASTRAY * self._part < self._nominal)
        moves = np.abs(self._tracked - self.cuts) > LEAST_MOVE * self.cuts  # not where many values are the same
        uncut = ~np.isfinite(self.cuts).all(axis=1)
        moved = self._known & (uncut | (astray.any(axis=1) & moves.any(axis=1))) & (self._tracked > 0.0).all(axis=1)
        rising = np.maximum.accumulate(self._tracked * (1.0 + 1e-9 * np.arange(len(self._qs))), axis=1)
        self.cuts[moved] = rising[moved]
        self._part[moved] = self._nominal
        changed: np.ndarray = moved | new
        return changed

    def _publish_rates(self, events: Floats, moved: np.ndarray) -> int:
        expected = self._expected[:, None] * self._part
        targets = over_strata(events, expected) if len(self._qs) else np.minimum(events, self._expected)[:, None]
        wanted = np.divide(targets, expected, out=np.ones_like(expected), where=expected > 0.0)
        wanted = np.clip(wanted, self.p_min, 1.0)
        stale = self._known & (moved | (steady(self.p, wanted) != self.p).any(axis=1))
        bounded = np.clip(wanted, MOST_DOWN * self.p, MOST_UP * self.p)  # an entry that moves moves as a whole
        self.p[stale] = np.where(moved[stale, None], wanted[stale], bounded[stale])
        allocated = (self.p * expected).sum(axis=1)
        fit = min(self.budget / max(allocated[self._known].sum(), 1e-9), 1.0)
        self.cap = np.where(self._known, np.maximum(np.floor(CAP * fit * allocated), 1.0), self.cap)
        return int(stale.sum())
