"""Faults: what goes wrong with a backend's metrics, put into normal values at known rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tests.quality.streams import Fault, Floats

Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class Site:
    """Normal values and what sizes a fault in them.

    Attributes
    ----------
    day : int
        Rows in a day.
    noise : float
        Robust standard deviation about a running median of two hours, or of five rows where that is more.
    season : float
        Share of the variance that the time of day explains.
    """

    values: Floats
    day: int
    noise: float
    season: float

    @classmethod
    def of(cls, values: Floats, day: int) -> Site:
        return cls(values, day, _noise(values, day), _season(values, day))

    @property
    def positive(self) -> bool:
        """Whether the values can't fall below 0."""
        return bool(np.nanmin(self.values) >= 0.0)

    def lasting(self, rng: Rng, first: int, shortest: float, longest: float) -> slice:
        """Rows from `first` on, a length in days drawn between the two."""
        least, most = max(round(shortest * self.day), 4), max(round(longest * self.day), 8)
        return slice(first, min(first + int(rng.integers(least, most + 1)), len(self.values)))

    def sigmas(self, rng: Rng, least: float = 3.0) -> float:
        return max(float(rng.choice([3.0, 5.0, 8.0, 12.0])), least)


@dataclass(frozen=True, eq=False)
class Change:
    """Rows of a fault and the values that take their place."""

    rows: slice
    values: Floats
    size: str
    sigmas: float


Kind = Callable[[Site, Rng, int], Change | None]
"""Makes a fault that begins at a row; None where this kind would be no fault there."""


def _spike(site: Site, rng: Rng, first: int) -> Change | None:
    sigmas = site.sigmas(rng)
    rows = slice(first, first + int(rng.integers(1, 4)))
    return Change(rows, site.values[rows] + sigmas * site.noise, f"{sigmas:g} sigmas", sigmas)


def _dip(site: Site, rng: Rng, first: int) -> Change | None:
    sigmas = site.sigmas(rng)
    rows = slice(first, first + int(rng.integers(1, 4)))
    if site.positive:
        sigmas = min(sigmas, float(np.nanmin(site.values[rows])) / site.noise)
    if sigmas < 2.5:
        return None
    return Change(rows, site.values[rows] - sigmas * site.noise, f"{sigmas:.1f} sigmas", sigmas)


def _zero(site: Site, rng: Rng, first: int) -> Change | None:
    rows = site.lasting(rng, first, 0.02, 0.12)
    fall = float(np.nanmean(site.values[rows])) / site.noise
    return Change(rows, np.zeros(rows.stop - first), f"{fall:.0f} sigmas", fall) if fall > 3.0 else None


def _shift(site: Site, rng: Rng, first: int) -> Change | None:
    rows = site.lasting(rng, first, 0.2, 1.0)
    level = float(np.nanmean(site.values[rows]))
    up = rng.random() < 0.5
    if rng.random() < 0.5:
        sigmas = site.sigmas(rng)
    else:
        share = float(rng.choice([0.2, 0.5, 1.0]))
        sigmas = max(abs(level) * (share if up else share / (1.0 + share)) / site.noise, 3.0)
    if not up and site.positive:
        sigmas = min(sigmas, level / site.noise)
    if sigmas < 2.5:
        return None
    moved = site.values[rows] + (sigmas if up else -sigmas) * site.noise
    return Change(rows, np.maximum(moved, 0.0) if site.positive else moved, "up" if up else "down", sigmas)


def _leak(site: Site, rng: Rng, first: int) -> Change | None:
    rows = site.lasting(rng, first, 0.4, 2.0)
    sigmas = site.sigmas(rng, least=5.0)
    climb = np.arange(1, rows.stop - first + 1) / (rows.stop - first)
    return Change(rows, site.values[rows] + sigmas * site.noise * climb, f"to {sigmas:g} sigmas", sigmas)


def _variance(site: Site, rng: Rng, first: int) -> Change | None:
    rows = site.lasting(rng, first, 0.2, 1.0)
    times = float(rng.choice([2.0, 3.0, 5.0]))
    shaken = site.values[rows] + rng.normal(0.0, np.sqrt(times**2 - 1.0) * site.noise, rows.stop - first)
    return Change(rows, np.maximum(shaken, 0.0) if site.positive else shaken, f"times {times:g}", times)


def _flatline(site: Site, rng: Rng, first: int) -> Change | None:
    rows = site.lasting(rng, first, 0.08, 0.5)
    normal = site.values[rows]
    _, counts = np.unique(normal[np.isfinite(normal)], return_counts=True)
    moving = float(np.nanstd(normal)) / site.noise
    if moving < 0.3 or counts.max(initial=0) > 0.4 * len(normal):
        return None
    return Change(rows, np.full(len(normal), site.values[first - 1]), f"{len(normal)} rows", moving)


def _season_shift(site: Site, rng: Rng, first: int) -> Change | None:
    rows = site.lasting(rng, first, 0.5, 1.0)
    hours = int(rng.choice([2, 3, 4, 6]))
    late = hours * site.day // 24
    if site.season < 0.4 or first < 2 * site.day or not late:
        return None
    shifted = site.values[rows.start - late : rows.stop - late]
    sigmas = float(np.nanmean(np.abs(shifted - site.values[rows]))) / site.noise
    return Change(rows, shifted.copy(), f"{hours} h late", sigmas) if sigmas > 1.5 else None


def _burst(site: Site, rng: Rng, first: int) -> Change | None:
    rows = site.lasting(rng, first, 0.03, 0.14)
    count = rows.stop - first
    sigmas = site.sigmas(rng)
    hit = rng.random(count) < 0.5
    hit[0] = True
    return Change(
        rows, site.values[rows] + hit * rng.exponential(sigmas * site.noise, count), f"{sigmas:g} sigmas", sigmas
    )


def _spike_rate(site: Site, rng: Rng, first: int) -> Change | None:
    rows = site.lasting(rng, first, 0.4, 1.2)
    count = rows.stop - first
    sigmas = site.sigmas(rng, least=5.0)
    hit = rng.random(count) < 0.1
    hit[0] = True
    tall = sigmas * site.noise * rng.uniform(0.8, 1.2, count)
    return Change(rows, site.values[rows] + hit * tall, f"{sigmas:g} sigmas", sigmas)


KINDS: Mapping[str, Kind] = {
    "spike": _spike,
    "dip": _dip,
    "drop to zero": _zero,
    "level shift": _shift,
    "leak": _leak,
    "variance": _variance,
    "flatline": _flatline,
    "season shift": _season_shift,
    "error burst": _burst,
    "spike rate": _spike_rate,
}


def inject(values: Floats, site: Site, kind: str, rng: Rng, first: int) -> Fault | None:
    """Put one fault into `values`, in place; None and nothing changed where this kind makes no sense there.

    Missing values stay missing, and a fault never touches the row before it or the last two.
    """
    if not np.isfinite(site.values[first - 1 : first + 3]).all():
        return None
    change = KINDS[kind](site, rng, first)
    if change is None or change.rows.stop > len(values) - 2:
        return None
    normal = site.values[change.rows]
    values[change.rows] = np.where(np.isnan(normal) | np.isnan(change.values), normal, change.values)
    return Fault(kind, first, change.rows.stop - 1, change.size, round(change.sigmas, 2))


def _noise(values: Floats, day: int) -> float:
    around = pd.Series(values).rolling(max(day // 12, 5) | 1, center=True, min_periods=2).median().to_numpy()
    away = np.abs(values - around)
    low, high = np.nanquantile(values, [0.1, 0.9])
    return max(1.4826 * float(np.nanmedian(away)), 0.8 * float(np.nanmean(away)), 0.01 * float(high - low), 1e-9)


def _season(values: Floats, day: int) -> float:
    if len(values) < 4 * day:
        return 0.0
    times = pd.Series(values).groupby(np.arange(len(values)) % day).transform("median").to_numpy()
    return 1.0 - float(np.nanvar(values - times) / max(np.nanvar(values), 1e-300))
