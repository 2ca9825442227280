"""Ways of sampling side by side at equal volume: how wrong each is, and what it still lets a detector see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from detector.domain.arrays import Floats
from detector.simulation.baselines import EmaSampleRate, Jaeger
from detector.simulation.keeping import MEAN, P50, P99, RATIO, exactly
from detector.simulation.schemes import (
    KEYS,
    ByDynsampler,
    ByJaeger,
    ByKeys,
    Everything,
    Scheme,
    Sketches,
    Steered,
    Taken,
    Uniform,
)
from detector.simulation.steering import Steering
from detector.simulation.traffic import CLEAN, ERRORS, ILL, STEP_SECONDS, Anomaly, Size, Traffic, Window
from detector.simulation.volume import Volume
from models import KernelBank

FULL, SKETCH = "full collection", "sketch"
UNIFORM, JAEGER, DYNSAMPLER = "uniform", "Jaeger adaptive", "dynsampler EMA"
DYNK, DYNK_COUNTED = "dynK", "dynK, exact counters"
OURS, OURS_RATE, OURS_SAVING = "Detector, strata", "Detector, rate only", "Detector, errors allowed"
SHARES = (0.01, 0.1)
"""Shares of the bytes of full collection at which ways of sampling are compared."""
STRICT = 100.0
"""Errors allowed are divided by this where a budget is to be spent to the last byte."""
WATCHED = (P50, P99, RATIO)
FALSE_ALARMS = 5e-3
"""Share of the windows of a clean run above the level at which anomalies count as found."""
ALARM = 3.0
"""Surprise at which a series gets a boost."""
Key = tuple[str, float]
"""A way of sampling, and the share of the full volume it was given; 0 where it cannot be chosen."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one way of sampling came to on one seed, after the warm windows.

    Attributes
    ----------
    volume : float
        Bytes, as a share of those of full collection, in the clean run.
    errors : tuple of float
        Relative errors of mean, p50 and p99 against all events of the window, absolute, averaged over the windows of a
        series and then over series, in the clean run. A window of which nothing was kept counts as 1.
    p99_kept : float
        Share of the series whose p99 is off by 5 % at most, on the average.
    bias : float
        The same of the mean with its sign, averaged over all.
    ill_p99 : float
        As the third of `errors`, within anomalies of latencies.
    recall : float
        Share of the anomalies in which some signal of the series reached the level.
    delay : float
        Windows from an anomaly's first to the one that told, on the average over those found.
    changes : float
        Rates or entries that changed, a series and window.
    """

    volume: float
    errors: tuple[float, float, float]
    p99_kept: float
    bias: float
    ill_p99: float
    recall: float
    delay: float
    changes: float


class Course:
    """One scheme over one run: what it estimated, what a detector made of it, and what it cost."""

    def __init__(self, scheme: Scheme, size: Size, rng: np.random.Generator) -> None:
        shape = (size.windows, size.series)
        self._scheme, self._rng = scheme, rng
        self.values = np.full((*shape, 4), np.nan)
        self.surprise = np.zeros(shape)
        self.volume = np.zeros(size.windows)
        self.changes = np.zeros(size.windows)
        self._bank = KernelBank(capacity=size.series * len(WATCHED))
        for row in range(size.series * len(WATCHED)):
            self._bank.add(row, STEP_SECONDS * 1000)

    def take(self, t: int, window: Window) -> None:
        """Keep, estimate, score, and let the scheme hear of it."""
        taken = self._scheme.take(window, self._rng)
        self.values[t] = taken.estimates.values
        self.volume[t] = taken.volume
        self.surprise[t] = self._scored(t, taken)
        self.changes[t] = taken.changes + self._scheme.hear(self.surprise[t], ALARM)

    def _scored(self, t: int, taken: Taken) -> Floats:
        """Return the highest surprise of each series; all scores go through the models of the service."""
        values, variances = (
            figure[:, WATCHED].ravel() for figure in (taken.estimates.values, taken.estimates.variances)
        )
        known = np.flatnonzero(np.isfinite(values) & np.isfinite(variances))
        times = np.full(len(known), t * STEP_SECONDS * 1000)
        scores, _ = self._bank.observe(known, values[known], times, variances[known], np.inf)
        surprise = np.zeros(len(values))
        surprise[known] = scores["surprise"]
        highest: Floats = surprise.reshape(-1, len(WATCHED)).max(axis=1)
        return highest


def compete(seed: int, size: Size, advance: Callable[[int], None]) -> dict[Key, Result]:
    """Run every way of sampling over a clean run and an ill one of the same fleet.

    Parameters
    ----------
    seed : int
    size : Size
    advance : callable
        Told how many windows more are done; there are twice `size.windows`.

    Notes
    -----
    About 25 s a seed at the default size.
    """
    volume = Volume(Traffic(seed, size, CLEAN))
    courses, truths = {}, {}
    for run in (CLEAN, ILL):
        traffic = Traffic(seed, size, run)
        schemes = _schemes(volume, size)
        lanes = {
            key: Course(scheme, size, np.random.default_rng((seed, run, lane)))
            for lane, (key, scheme) in enumerate(schemes.items())
        }
        truth = np.zeros((size.windows, size.series, 4))
        for t in range(size.windows):
            window = traffic.window(t)
            truth[t] = exactly(window)
            for course in lanes.values():
                course.take(t, window)
            advance(1)
        courses[run], truths[run] = lanes, truth
    full = float(courses[CLEAN][FULL, 0.0].volume[size.warm :].mean())
    anomalies = Traffic(seed, size, ILL).anomalies
    if not anomalies:
        raise ValueError(
            f"no anomaly fits into windows {size.warm} to {size.windows}: simulate more windows, or series"
        )
    return {
        key: _result(courses[CLEAN][key], courses[ILL][key], truths, full, anomalies, size.warm)
        for key in courses[CLEAN]
    }


def _schemes(volume: Volume, size: Size) -> dict[Key, Scheme]:
    n = size.series
    found: dict[Key, Scheme] = {(FULL, 0.0): Everything(), (SKETCH, 0.0): Sketches()}
    for share in SHARES:
        found[UNIFORM, share] = Uniform(share)
        found[JAEGER, share] = ByJaeger(Jaeger(n, volume.jaeger_target(share)))
        found[DYNSAMPLER, share] = ByDynsampler(EmaSampleRate(n, volume.dynsampler_goal(share)))
        for name, counted in ((DYNK, False), (DYNK_COUNTED, True)):
            goal = volume.keyed_goal(share, counted=counted)
            found[name, share] = ByKeys(EmaSampleRate(n * KEYS, goal), counted=counted)
        found[OURS, share] = Steered(Steering(n, volume.steering_events(share, 5), STRICT))
        found[OURS_RATE, share] = Steered(Steering(n, volume.steering_events(share, 1), STRICT, strata=False))
    found[OURS_SAVING, SHARES[-1]] = Steered(Steering(n, volume.steering_events(SHARES[-1], 5)))
    return found


def _result(
    clean: Course, ill: Course, truths: dict[int, Floats], full: float, anomalies: list[Anomaly], warm: int
) -> Result:
    off = _relative(clean.values, truths[CLEAN])[warm:]
    by_series = np.nanmean(np.abs(off), axis=0)
    level = float(np.quantile(clean.surprise[warm:], 1.0 - FALSE_ALARMS))
    delays = [_delay(ill.surprise, anomaly, level) for anomaly in anomalies]
    found = [delay for delay in delays if delay is not None]
    ill_off = np.abs(_relative(ill.values, truths[ILL])[:, :, P99])
    inside = [ill_off[t, a.series] for a in anomalies if a.kind != ERRORS for t in range(a.first, a.last + 1)]
    means = off[:, :, MEAN]
    return Result(
        volume=float(clean.volume[warm:].mean() / full),
        errors=(float(by_series[:, MEAN].mean()), float(by_series[:, P50].mean()), float(by_series[:, P99].mean())),
        p99_kept=float((by_series[:, P99] <= 0.05).mean()),
        bias=float(np.mean(means[np.isfinite(means) & (np.abs(means) < 1.0)])),
        ill_p99=float(np.nanmean(inside)) if inside else np.nan,
        recall=len(found) / len(anomalies),
        delay=float(np.mean(found)) if found else np.nan,
        changes=float(clean.changes[warm:].mean() / clean.values.shape[1]),
    )


def _relative(values: Floats, truth: Floats) -> Floats:
    """Return relative errors; 1 where something was and nothing is known, NaN where nothing was."""
    with np.errstate(divide="ignore", invalid="ignore"):
        off = values / truth - 1.0
    off[np.isnan(values) & np.isfinite(truth)] = 1.0
    off[~(truth > 0.0)] = np.nan
    return off


def _delay(surprise: Floats, anomaly: Anomaly, level: float) -> int | None:
    told = np.flatnonzero(surprise[anomaly.first : anomaly.last + 1, anomaly.series] >= level)
    return int(told[0]) if len(told) else None
