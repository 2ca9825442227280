"""What a contest over several seeds comes to: a table, and what may be claimed from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from detector.domain.arrays import Floats
from detector.simulation.contest import (
    DYNK,
    DYNK_COUNTED,
    DYNSAMPLER,
    FULL,
    JAEGER,
    OURS,
    OURS_RATE,
    SHARES,
    Key,
    Result,
    compete,
)
from detector.simulation.surge import surge
from detector.simulation.traffic import Size

RESAMPLES = 4000
SURGE_WINDOWS = 90
CLAIM_COLUMNS = ("claim", "measured", "95 %", "held")
COLUMNS = ("sampler", "volume", "mean", "p50", "p99", "p99 in anomalies", "bias", "recall", "delay", "changes")
FIGURES = ("mean", "p50", "p99")
Results = Mapping[Key, Sequence[Result]]
"""Of every way of sampling, one result a seed, in the same order."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure over seeds, with its bootstrap interval of 95 %.

    Attributes
    ----------
    middle, low, high : float
    """

    middle: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Claim:
    """Something to be shown, and whether it was.

    Attributes
    ----------
    text : str
    measured : Interval
    held : bool
        By the less favourable end of the interval.
    """

    text: str
    measured: Interval
    held: bool


def contest(size: Size, advance: Callable[[int], None]) -> Results:
    """Let all ways of sampling compete on `size.seeds` seeds, from 1 on; `advance` hears of windows done.

    There are 2·size.windows·size.seeds of them, 70 ms each at 120 series of 2,400 events.
    """
    found: dict[Key, list[Result]] = {}
    for seed in range(1, size.seeds + 1):
        for key, result in compete(seed, size, advance).items():
            found.setdefault(key, []).append(result)
    return found


def over_seeds(figure: Callable[..., Floats], *columns: Sequence[float]) -> Interval:
    """Resample seeds, all columns alike.

    Parameters
    ----------
    figure : callable
        Of as many arrays as columns, float64[..., seeds]; reduces the last axis.
    columns
        A figure of each seed.

    Examples
    --------
    >>> over_seeds(lambda x: x.mean(axis=-1), [2.0, 2.0, 2.0])
    Interval(middle=2.0, low=2.0, high=2.0)
    """
    arrays = [np.asarray(column, float) for column in columns]
    picked = np.random.default_rng(0).integers(len(arrays[0]), size=(RESAMPLES, len(arrays[0])))
    low, high = np.quantile(figure(*(array[picked] for array in arrays)), [0.025, 0.975])
    return Interval(float(figure(*arrays)), float(low), float(high))


def _mean(values: Floats) -> Floats:
    found: Floats = values.mean(axis=-1)
    return found


def _ratio(ours: Floats, theirs: Floats) -> Floats:
    found: Floats = theirs.mean(axis=-1) / ours.mean(axis=-1)
    return found


def _difference(ours: Floats, theirs: Floats) -> Floats:
    found: Floats = theirs.mean(axis=-1) - ours.mean(axis=-1)
    return found


def table(results: Results) -> list[tuple[str, ...]]:
    """Return a row of text for each way of sampling, in the order of `COLUMNS`."""
    rows = []
    for (name, share), of_seeds in results.items():
        errors = [over_seeds(_mean, [result.errors[k] for result in of_seeds]) for k in range(3)]
        given = f" at {share:.0%}" if share else ""
        rows.append(
            (
                name + given,
                f"{_average(of_seeds, lambda r: r.volume):.2%}",
                *(f"{error.middle:.2%} ({error.low:.2%} to {error.high:.2%})" for error in errors),
                f"{_average(of_seeds, lambda r: r.ill_p99):.1%}",
                f"{_average(of_seeds, lambda r: r.bias):+.2%}",
                f"{_average(of_seeds, lambda r: r.recall):.3f}",
                f"{_average(of_seeds, lambda r: r.delay):.2f}",
                f"{_average(of_seeds, lambda r: r.changes):.2f}",
            )
        )
    return rows


def _average(of_seeds: Sequence[Result], pick: Callable[[Result], float]) -> float:
    return float(np.mean([pick(result) for result in of_seeds]))


def claims(results: Results) -> list[Claim]:
    """Judge what the closed loop is built to reach; a claim holds only if its interval does."""
    found = []
    for share in SHARES:
        for peer in (JAEGER, DYNSAMPLER):
            for k, least in ((2, 4.0), (0, 3.0), (1, 2.0)):
                found.append(_times_smaller(results, share, peer, k, least))
        found.append(_times_smaller(results, share, DYNK, 2, 2.0))
        fewer = over_seeds(_ratio, *([r.changes for r in results[name, share]] for name in (OURS, DYNK)))
        found.append(Claim(f"at {share:.0%}: 5 times fewer changes than {DYNK}", fewer, fewer.low >= 5.0))
    found.append(_times_smaller(results, 0.01, DYNK_COUNTED, 2, 1.5))
    found.append(_times_smaller(results, 0.1, DYNK_COUNTED, 2, 1 / 1.15))
    found += _against_everything(results)
    for share in SHARES:
        found += [_tie(results, share, k) for k in range(3)]
    return found


def claim_rows(results: Results, surged: Sequence[Claim]) -> list[tuple[str, ...]]:
    """Return a row of text for each claim, in the order of `CLAIM_COLUMNS`."""
    return [
        (
            claim.text,
            f"{claim.measured.middle:.4g}",
            f"{claim.measured.low:.4g} to {claim.measured.high:.4g}",
            "yes" if claim.held else "no",
        )
        for claim in [*claims(results), *surged]
    ]


def surges(size: Size) -> list[Claim]:
    """Judge the surge of a whole fleet, with and without a detector, over the seeds of `size`."""
    small = replace(size, windows=SURGE_WINDOWS, warm=SURGE_WINDOWS // 3)
    seeds = range(1, size.seeds + 1)
    living = [surge(seed, small) for seed in seeds]
    dead = [surge(seed, small, alive=False) for seed in seeds]
    free = over_seeds(_mean, [surge(seed, small, capped=False).peak for seed in seeds])
    peak, peak_dead = over_seeds(_mean, [s.peak for s in living]), over_seeds(_mean, [s.peak for s in dead])
    below = over_seeds(_mean, [float(s.below_p_min) for s in (*living, *dead)])
    return [
        Claim("surge of 5 times: peak, in budgets, 1.5 at most", peak, max(s.peak for s in living) <= 1.5),
        Claim("the same, detector dead from then on: 1.3 at most", peak_dead, max(s.peak for s in dead) <= 1.3),
        Claim("the same without caps, over 1.5", free, free.low > 1.5),
        Claim("recommendations below p_min, none", below, below.high == 0.0),
    ]


def points(results: Results) -> dict[str, list[list[tuple[float, float, float, float]]]]:
    """Return volume, error and its interval of each way of sampling, for each of `FIGURES`, by rising volume."""
    found: dict[str, list[list[tuple[float, float, float, float]]]] = {}
    for (name, _), of_seeds in results.items():
        if name == FULL:
            continue
        panels = found.setdefault(name, [[] for _ in FIGURES])
        for k, panel in enumerate(panels):
            error = over_seeds(_mean, [result.errors[k] for result in of_seeds])
            floor = 1e-5  # a sketch keeps the mean exactly, which no logarithm shows
            volume = _average(of_seeds, lambda r: r.volume)
            panel.append((volume, max(error.middle, floor), max(error.low, floor), max(error.high, floor)))
            panel.sort()
    return found


def _times_smaller(results: Results, share: float, peer: str, k: int, least: float) -> Claim:
    columns = ([r.errors[k] for r in results[name, share]] for name in (OURS, peer))
    times = over_seeds(_ratio, *columns)
    text = f"at {share:.0%}: error of the {FIGURES[k]} {least:.3g} times smaller than {peer}"
    return Claim(text, times, times.low >= least)


def _tie(results: Results, share: float, k: int) -> Claim:
    columns = ([r.errors[k] for r in results[name, share]] for name in (JAEGER, OURS_RATE))
    times = over_seeds(_ratio, *columns)
    text = f"at {share:.0%}, rate only: error of the {FIGURES[k]} within 10 % of {JAEGER}"
    return Claim(text, times, times.high <= 1.1)


def _against_everything(results: Results) -> list[Claim]:
    ours, full = results[OURS, 0.1], results[FULL, 0.0]
    lost = over_seeds(_difference, [r.recall for r in ours], [r.recall for r in full])
    later = over_seeds(_difference, [r.delay for r in full], [r.delay for r in ours])
    good = over_seeds(_mean, [r.p99_kept for r in ours])
    bias = over_seeds(_mean, [r.bias for r in ours])
    return [
        Claim("at 10%: recall lost against full collection, at most .05", lost, lost.high <= 0.05),
        Claim("at 10%: windows later than full collection, at most 1", later, later.high <= 1.0),
        Claim("at 10%: share of series whose p99 is off by 5 % at most, .95 or more", good, good.low >= 0.95),
        Claim("at 10%: bias of the mean, .005 at most", bias, max(-bias.low, bias.high) <= 0.005),
    ]
