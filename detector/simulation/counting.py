"""What is kept by who counts exactly before sampling, compiled, over all series at once.

Figures go through the pipeline's own estimators, `pipeline.strata` and `pipeline.quantiles`, as in the service.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.domain.arrays import Floats, Integers
from detector.domain.buckets import BUCKETS
from detector.pipeline.quantiles import quantile
from detector.pipeline.sketches import SKETCH, boundary, clear, index_of, merge
from detector.pipeline.strata import SAMPLED, mean_of, mean_variance, merge_stratum, quantile_variance
from detector.pipeline.tables import Record
from detector.simulation.keeping import MEAN, P50, P99, RATIO, Estimates, end_of, keep
from detector.simulation.traffic import Window
from models.compiled import jit

FINEST = 7
"""Scale of a sketch whose values lie close together."""


@dataclass(frozen=True)
class Kept:
    """What mode `strata` has to tell of a window, beside its estimates.

    Attributes
    ----------
    seen, kept : float64[series, strata]
    ones : float64[series, 3]
        Relative variance that one kept event has to mean, p50 and p99; NaN where nothing is known.
    at : float64[series, k]
        Quantiles asked for.
    """

    seen: Floats
    kept: Floats
    ones: Floats
    at: Floats


def by_strata(
    window: Window, cuts: Floats, shares: Floats, p: Floats, cap: Floats, rng: np.random.Generator, qs: Floats
) -> tuple[Estimates, Kept]:
    """Keep events by latency strata with exact counts, as collectors in mode `strata` do.

    Parameters
    ----------
    window
    cuts : float64[series, strata - 1]
        Upper ends of all strata but the last, which is open; rising.
    shares : float64[strata]
        Share of the kept events that each stratum is meant to get.
    p : float64[series, strata]
        Probability of an event to be kept; with one stratum this is mode `rate`.
    cap : float64[series]
        Most events kept of a series; what is above goes at random.
    rng
    qs : float64[k]
        Quantiles to return besides.
    """
    n = len(cuts)
    found = Estimates.none(n)
    told = Kept(np.zeros_like(p), np.zeros_like(p), np.zeros((n, 3)), np.zeros((n, len(qs))))
    record, sampled = np.zeros(1, SKETCH)[0], np.zeros(1, SAMPLED)[0]
    _by_strata(
        window.values, window.failed, window.offsets, cuts, shares, p, cap, rng, record, sampled, found.values,
        found.variances, told.seen, told.kept, told.ones, told.at, qs,
    )  # fmt: skip
    found.kept[:] = told.kept.sum(axis=1)
    return found, told


def by_keys_counted(window: Window, bounds: Floats, rates: Floats, rng: np.random.Generator) -> Estimates:
    """Keep as `by_keys` does, but with exact counts of each key beside it, and the estimators that these allow."""
    found = Estimates.none(len(rates))
    record, sampled = np.zeros(1, SKETCH)[0], np.zeros(1, SAMPLED)[0]
    _by_keys_counted(
        window.values, window.failed, window.offsets, bounds, rates, rng, record, sampled, found.values,
        found.variances, found.kept,
    )  # fmt: skip
    return found


def sketched(window: Window) -> tuple[Estimates, Floats]:
    """Keep no event but a sketch of all, of at most 160 buckets; return also the bytes of each one's buckets."""
    n = len(window.offsets) - 1
    found, sizes = Estimates.none(n), np.zeros(n)
    record, sampled = np.zeros(1, SKETCH)[0], np.zeros(1, SAMPLED)[0]
    _sketched(window.values, window.failed, window.offsets, record, sampled, found.values, found.variances, sizes)
    return found, sizes


@jit
def thin(kept: Floats, k: int, most: int, rng: np.random.Generator) -> int:
    """Drop at random what is above `most`, keeping the order; return how many are left."""
    while k > most:
        at = int(rng.random() * k)
        for j in range(at, k - 1):
            kept[j] = kept[j + 1]
        k -= 1
    return k


@jit
def _left_by_cap(kept: Floats, cap: float, rng: np.random.Generator, left: Floats) -> None:
    """Write to `left` how many of those kept of each stratum remain, any `cap` of all being as likely as any others."""
    left[:] = kept
    k = kept.sum()
    while k > cap:
        at = rng.random() * k
        h = 0
        while at >= left[h] and h < len(left) - 1:
            at -= left[h]
            h += 1
        left[h] -= 1.0
        k -= 1.0


@jit
def _add_stratum(
    record: Record, sampled: Record, lower: float, cut: float, width_below: float, seen: float, kept: Floats, k: int,
    counts: Floats,
) -> None:  # fmt: skip
    """Send one stratum's summary, as a collector would, to the pipeline's estimator."""
    total, squares = 0.0, 0.0
    scale, low, high = FINEST, 0, -1
    if k > 0:
        for j in range(k):
            total += kept[j]
            squares += kept[j] * kept[j]
        least, most = kept[:k].min(), kept[:k].max()
        while True:
            low, high = index_of(least, scale), index_of(most, scale)
            if high - low < BUCKETS:
                break
            scale -= 1
        counts[: high - low + 1] = 0.0
        for j in range(k):
            counts[index_of(kept[j], scale) - low] += 1.0
    merge_stratum(
        record, sampled, lower, cut, width_below, seen, k, total, squares, scale, 0.0, 0.0, low, counts, 0,
        high - low + 1, np.nan, np.nan,
    )  # fmt: skip


@jit
def _conclude(record: Record, sampled: Record, failures: float, values: Floats, variances: Floats) -> None:
    values[MEAN], variances[MEAN] = mean_of(record), mean_variance(record)
    values[P50], variances[P50] = quantile(record, 0.5), quantile_variance(record, sampled, 0.5)
    values[P99], variances[P99] = quantile(record, 0.99), quantile_variance(record, sampled, 0.99)
    values[RATIO] = failures if record.count > 0.0 else np.nan
    variances[RATIO] = 0.0


@jit
def _variance_of_one(
    record: Record, sampled: Record, shares: Floats, within: Floats, seen: Floats, out: Floats
) -> None:
    """Write to out[MEAN, P50, P99] the relative variance that one kept event has to each figure, by strata.

    `within` is the variance of the values of each stratum, `shares` of the kept events it gets. That of a quantile
    is what it would be had half of each stratum been kept, so that it is known where all were.
    """
    total, mean = record.count, mean_of(record)
    out[:] = np.nan
    if not total > 0.0 or not mean > 0.0:
        return
    out[MEAN] = 0.0
    for h in range(len(shares)):
        out[MEAN] += (seen[h] / total / mean) ** 2 * within[h] / shares[h]
    for one in range(sampled.used):
        sampled.count[one] = max(min(sampled.count[one], 0.5 * sampled.seen[one]), 1.0)
    for figure, q in ((P50, 0.5), (P99, 0.99)):
        below, one = 0.0, 0  # strata that saw nothing are not among the sampled
        for h in range(len(shares)):
            if seen[h] > 0.0 and q * total <= below + seen[h]:
                value = quantile(record, q)
                left = 1.0 / sampled.count[one] - 1.0 / seen[h]
                if left > 0.0:
                    out[figure] = quantile_variance(record, sampled, q) / (value * value) / left / shares[h]
                break
            below += seen[h]
            one += int(seen[h] > 0.0)


@jit
def _by_strata(
    values: Floats, failed: np.ndarray, offsets: Integers, cuts: Floats, shares: Floats, p: Floats, cap: Floats,
    rng: np.random.Generator, record: Record, sampled: Record, out: Floats, variances: Floats, seen: Floats,
    kept: Floats, ones: Floats, at: Floats, qs: Floats,
) -> None:  # fmt: skip
    longest = np.diff(offsets).max()
    buffer, unused, counts = np.empty(longest), np.empty(longest, np.bool_), np.empty(BUCKETS)
    strata = p.shape[1]
    within, left = np.zeros(strata), np.zeros(strata)
    for i in range(len(offsets) - 1):
        start = offsets[i]
        k = 0
        for h in range(strata):
            end = end_of(values, start, offsets[i + 1], cuts[i, h] if h < strata - 1 else np.inf)
            seen[i, h] = end - start
            kept[i, h] = keep(values, failed, start, end, 2, p[i, h], rng, buffer[k:], unused)
            k += int(kept[i, h])
            start = end
        _left_by_cap(kept[i], cap[i], rng, left)
        clear(record)
        sampled.used = 0
        k, lower, width = 0, 0.0, 0.0
        for h in range(strata):
            cut = cuts[i, h] if h < strata - 1 else np.inf
            mine = buffer[k : k + int(kept[i, h])]
            k += len(mine)
            n = thin(mine, len(mine), int(left[h]), rng)
            _add_stratum(record, sampled, lower, cut, width, seen[i, h], mine, n, counts)
            within[h] = mine[:n].var() * n / (n - 1) if n > 1 else min(cut - lower, width) ** 2 / 12.0
            kept[i, h] = n
            lower, width = cut, cut - lower
        failures = failed[offsets[i] : offsets[i + 1]].sum() / max(offsets[i + 1] - offsets[i], 1)
        _conclude(record, sampled, failures, out[i], variances[i])
        for q in range(len(qs)):
            at[i, q] = quantile(record, qs[q])
        _variance_of_one(record, sampled, shares, within, seen[i], ones[i])


@jit
def _by_keys_counted(
    values: Floats, failed: np.ndarray, offsets: Integers, bounds: Floats, rates: Floats, rng: np.random.Generator,
    record: Record, sampled: Record, out: Floats, variances: Floats, kept: Floats,
) -> None:  # fmt: skip
    longest = np.diff(offsets).max()
    buffer, unused, counts = np.empty(longest), np.empty(longest, np.bool_), np.empty(BUCKETS)
    for i in range(len(offsets) - 1):
        a, end = offsets[i], offsets[i + 1]
        clear(record)
        sampled.used = 0
        lower, width = 0.0, 0.0
        kept[i] = 0.0
        for c in range(len(bounds) + 1):
            cut = bounds[c] if c < len(bounds) else np.inf
            b = end_of(values, a, end, cut)
            bad = failed[a:b].sum()
            for outcome in range(2):
                k = keep(values, failed, a, b, outcome, 1.0 / rates[i, c, outcome], rng, buffer, unused)
                seen = bad if outcome == 1 else b - a - bad
                _add_stratum(record, sampled, lower, cut, width, seen, buffer, k, counts)
                kept[i] += k
            lower, width, a = cut, cut - lower, b
        failures = failed[offsets[i] : end].sum() / max(end - offsets[i], 1)
        _conclude(record, sampled, failures, out[i], variances[i])


@jit
def _sketched(
    values: Floats, failed: np.ndarray, offsets: Integers, record: Record, sampled: Record, out: Floats,
    variances: Floats, sizes: Floats,
) -> None:  # fmt: skip
    counts = np.empty(BUCKETS)
    for i in range(len(offsets) - 1):
        a, end = offsets[i], offsets[i + 1]
        clear(record)
        sampled.used = 0
        sizes[i] = 0.0
        if end > a:
            scale = FINEST
            while index_of(values[end - 1], scale) - index_of(values[a], scale) >= BUCKETS:
                scale -= 1
            low = index_of(values[a], scale)
            n = index_of(values[end - 1], scale) - low + 1
            start = a
            for j in range(n):
                reached = end_of(values, start, end, boundary(low + j + 1, scale)) if j < n - 1 else end
                counts[j] = reached - start
                sizes[i] += 1.0 if counts[j] < 128 else 2.0 if counts[j] < 256 else 3.0
                start = reached
            merge(
                record, scale, 0.0, 0.0, low, counts, 0, n, values[a:end].sum(), values[a], values[end - 1], 1.0
            )  # fmt: skip
        _conclude(record, sampled, failed[a:end].sum() / max(end - a, 1), out[i], variances[i])
