"""What every bank of forecasters must keep to, as checks that anyone can run on one of their own.

`yield_forecast_checks` yields functions without arguments that raise AssertionError where a promise is broken;
`__name__` tells the promise. All streams are seeded and hourly; a full run takes a second on the kernel.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from models.load.contract import READY, WARMING_UP, ForecastBank, Forecasts

__all__ = ["HOUR_MS", "yield_forecast_checks"]

HOUR_MS = 3_600_000
MONDAY_MS = 1_764_547_200_000
"""2025-12-01 00:00 UTC."""

MakeBank = Callable[[], ForecastBank]
"""Makes an empty bank for windows of an hour."""
Floats = npt.NDArray[np.float64]


def yield_forecast_checks(make_bank: MakeBank) -> Iterator[Callable[[], None]]:
    """Yield the checks of a bank of forecasters.

    Parameters
    ----------
    make_bank
        Returns an empty bank for windows of an hour.

    Examples
    --------
    >>> from models.load import LoadBank
    >>> for check in yield_forecast_checks(lambda: LoadBank(HOUR_MS)):
    ...     check()
    """
    for check in _CHECKS:
        bound = functools.partial(check, make_bank)
        functools.update_wrapper(bound, check)
        yield bound


def _require(kept: object, where: object = "") -> None:
    """Raise AssertionError unless `kept`; unlike the statement it also works under `python -O`."""
    if not kept:
        raise AssertionError(f"broken for {where}" if where != "" else "broken")


def _refuses(call: Callable[..., Any], *arguments: Any) -> bool:
    try:
        call(*arguments)
    except ValueError:
        return True
    return False


def _load(n: int, seed: int = 7) -> Floats:
    """Hourly load with a pattern of the day: 40 to 160, and noise of 3."""
    hours = np.arange(n)
    return 100.0 - 60.0 * np.cos(hours * np.pi / 12) + np.random.default_rng(seed).normal(0.0, 3.0, n)


def _times(n: int, start: int = 0) -> npt.NDArray[np.int64]:
    return MONDAY_MS + HOUR_MS * np.arange(start, start + n)


def _started(make_bank: MakeBank, rows: int = 1, lower: float = -np.inf, upper: float = np.inf) -> ForecastBank:
    bank = make_bank()
    for row in range(rows):
        bank.add(row, lower, upper)
    return bank


def _feed(bank: ForecastBank, y: Floats, start: int = 0, row: int = 0) -> None:
    bank.observe(np.full(len(y), row), y, _times(len(y), start))


def _same(one: Forecasts, other: Forecasts) -> bool:
    """Tell whether two answers are the same to the last bit."""
    pairs = ((one.status, other.status), (one.expected, other.expected), (one.lower, other.lower))
    return all(np.array_equal(a, b, equal_nan=a.dtype == float) for a, b in (*pairs, (one.upper, other.upper)))


def check_early_answers_say_warming_up(make_bank: MakeBank) -> None:
    """Answer without numbers after 0, 1 and 3 windows, and with them after a fortnight."""
    for n in (0, 1, 3):
        bank = _started(make_bank)
        _feed(bank, _load(n))
        found = bank.forecast([0], 24)
        _require(found.status[0] == WARMING_UP, n)
        _require(np.isnan([found.expected, found.lower, found.upper]).all(), n)
    _feed(bank, _load(336), 3)
    found = bank.forecast([0], 24)
    _require(found.status[0] == READY)
    _require(np.isfinite([found.expected, found.lower, found.upper]).all())


def check_odd_horizons_and_coverages_are_refused(make_bank: MakeBank) -> None:
    """Refuse horizons and coverages out of range with a ValueError that names the range."""
    bank = _started(make_bank)
    _feed(bank, _load(336))
    odd: tuple[Any, ...] = (0, -1, 10**9, "abc", 1.5, True, None, bank.most_windows + 1)
    _require(all(_refuses(bank.forecast, [0], horizon) for horizon in odd))
    _require(all(_refuses(bank.forecast, [0], 1, coverage) for coverage in (0.0, 1.0, -0.5, "abc", float("nan"))))
    _require(bank.forecast([0], bank.most_windows).expected.shape == (1, bank.most_windows))


def check_forecasting_changes_nothing(make_bank: MakeBank) -> None:
    """Answer the same however often, and go on as if never asked."""
    asked, other = _started(make_bank), _started(make_bank)
    for start in range(0, 400, 100):
        _feed(asked, _load(400)[start : start + 100], start)
        _feed(other, _load(400)[start : start + 100], start)
        _require(_same(asked.forecast([0], 48), asked.forecast([0], 48)))
    _require(_same(asked.forecast([0], 48), other.forecast([0], 48)))
    _require(asked.snapshot([0]) == other.snapshot([0]))


def check_finite_in_finite_out(make_bank: MakeBank) -> None:
    """Answer only finite numbers, in order, whatever came: zeros, giants, constants, no numbers."""
    odd = np.array([0.0, 1e300, -1e300, 5e-324, -0.0, np.nan, np.inf, -np.inf, 1e-200, 3.0])
    streams = (np.zeros(400), np.tile([0.0, 0.0, 0.0, 5.0], 100), np.full(400, 1e9 + 0.1), np.tile(odd, 40))
    for number, y in enumerate((*streams, np.concatenate([_load(300), odd, _load(100)]))):
        bank = _started(make_bank)
        _feed(bank, y)
        found = bank.forecast([0], 48)
        numbers = np.array([found.lower, found.expected, found.upper])
        _require(np.isfinite(numbers).all() if found.status[0] == READY else np.isnan(numbers).all(), number)
        _require(found.status[0] != READY or (np.diff(numbers, axis=0) >= 0.0).all(), number)


def check_bounds_are_kept(make_bank: MakeBank) -> None:
    """Keep forecasts and intervals of counts at 0 or above, of ratios within 0 and 1."""
    near_zero = np.maximum(_load(400) - 100.0, 0.0)
    ratio = np.clip(_load(400) / 120.0, 0.0, 1.0)
    for y, upper in ((near_zero, np.inf), (ratio, 1.0)):
        bank = _started(make_bank, lower=0.0, upper=upper)
        _feed(bank, y)
        found = bank.forecast([0], 24, 0.99)
        _require(found.status[0] == READY)
        _require((found.lower >= 0.0).all())
        _require((found.upper <= upper).all())
        _require(found.expected.max() > 0.1)


def check_more_coverage_is_never_narrower(make_bank: MakeBank) -> None:
    """Nest the intervals of any coverages."""
    bank = _started(make_bank)
    _feed(bank, _load(600))
    found = [bank.forecast([0], 24, coverage) for coverage in (0.01, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.999)]
    for narrow, wide in itertools.pairwise(found):
        _require((wide.lower <= narrow.lower).all() and (wide.upper >= narrow.upper).all())
    _require((found[-1].upper - found[-1].lower > found[2].upper - found[2].lower).all())


def check_missing_values_are_missing_windows(make_bank: MakeBank) -> None:
    """Take a value that is no number as a window that isn't there."""
    y = _load(400)
    y[[100, 200, 201, 390]] = np.nan, np.inf, -np.inf, np.nan
    known = np.isfinite(y)
    holed, without = _started(make_bank), _started(make_bank)
    _feed(holed, y)
    without.observe(np.zeros(known.sum(), int), y[known], _times(400)[known])
    _require(_same(holed.forecast([0], 24), without.forecast([0], 24)))
    _require(holed.learned(0) == 396)


def check_late_windows_are_left_out(make_bank: MakeBank) -> None:
    """Leave out a window that isn't later than the latest."""
    bank = _started(make_bank)
    _feed(bank, _load(400))
    before = bank.forecast([0], 24)
    bank.observe([0, 0], [1e6, 1e6], [_times(400)[-1], _times(400)[100]])
    _require(_same(before, bank.forecast([0], 24)))


def check_a_gap_does_not_shift_the_season(make_bank: MakeBank) -> None:
    """Forecast after a gap of 7 hours as well as without it: the season follows the clock."""
    y = _load(600)
    bank = _started(make_bank)
    _feed(bank, y[:480])
    _feed(bank, y[487:500], 487)
    found = bank.forecast([0], 24).expected[0]
    _require(np.abs(found - (100.0 - 60.0 * np.cos(np.arange(500, 524) * np.pi / 12))).mean() < 10.0)


def check_rows_do_not_matter_to_each_other(make_bank: MakeBank) -> None:
    """Give the same numbers for a row alone, in company, and however the stream is cut into calls."""
    y, n = _load(400), 400
    alone = _started(make_bank)
    _feed(alone, y)
    bank = _started(make_bank, rows=3)
    rows = np.tile([2, 0, 1], n)
    values = np.stack([y, y * 7.0 - 2.0, np.full(n, 4.0)], axis=1).ravel()
    times = np.repeat(_times(n), 3)
    for start, stop in ((0, 7), (7, 500), (500, 1200)):
        bank.observe(rows[start:stop], values[start:stop], times[start:stop])
    _require(_same(bank.forecast([2], 48), alone.forecast([0], 48)))


def check_a_giant_does_no_lasting_harm(make_bank: MakeBank) -> None:
    """Forecast soundly 200 windows after a single 1e9 among values near 100, or say that it can't."""
    y = np.random.default_rng(7).normal(100.0, 3.0, 601)
    y[400] = 1e9
    bank = _started(make_bank)
    _feed(bank, y)
    found = bank.forecast([0], 24)
    _require(found.status[0] != READY or (np.abs(found.expected - 100.0) < 20.0).all())


def check_unit_and_offset_do_not_matter(make_bank: MakeBank) -> None:
    """Forecast a*f + b for a*y + b, as closely as float32 tells values apart."""
    y = _load(500)
    plain = _started(make_bank)
    _feed(plain, y)
    expected = plain.forecast([0], 24)
    for a, b in ((1000.0, 0.0), (0.37, 25.0), (1.0, 1000.0)):
        bank = _started(make_bank)
        _feed(bank, a * y + b)
        found = bank.forecast([0], 24)
        for one, other in ((found.expected, expected.expected), (found.lower, expected.lower)):
            _require(np.abs(one - (a * other + b)).max() < 0.01 * a, (a, b))


def check_snapshot_continues_identically(make_bank: MakeBank) -> None:
    """Go on after snapshot and restore as without them, to the last bit."""
    bank, copy = _started(make_bank, rows=2), make_bank()
    for row in (0, 1):
        _feed(bank, _load(300, seed=row), row=row)
    copy.restore(bank.snapshot([0, 1]), [0, 1])
    for row in (0, 1):
        for either in (bank, copy):
            _feed(either, np.append(_load(100, seed=5), 500.0), 300, row)
    _require(_same(bank.forecast([0, 1], 48), copy.forecast([0, 1], 48)))
    _require(copy.snapshot([1, 0]) == bank.snapshot([1, 0]))


def check_wrong_snapshots_are_refused(make_bank: MakeBank) -> None:
    """Refuse a blob of another size with a ValueError."""
    _require(_refuses(_started(make_bank).restore, b"x", [0]))


def check_state_is_bounded(make_bank: MakeBank) -> None:
    """Keep the size of a snapshot."""
    bank = _started(make_bank)
    sizes = set()
    for part in range(3):
        _feed(bank, _load(300), 300 * part)
        sizes.add(len(bank.snapshot([0])))
    _require(len(sizes) == 1)


_CHECKS: tuple[Callable[[MakeBank], None], ...] = (
    check_early_answers_say_warming_up,
    check_odd_horizons_and_coverages_are_refused,
    check_forecasting_changes_nothing,
    check_finite_in_finite_out,
    check_bounds_are_kept,
    check_more_coverage_is_never_narrower,
    check_missing_values_are_missing_windows,
    check_late_windows_are_left_out,
    check_a_gap_does_not_shift_the_season,
    check_rows_do_not_matter_to_each_other,
    check_a_giant_does_no_lasting_harm,
    check_unit_and_offset_do_not_matter,
    check_snapshot_continues_identically,
    check_wrong_snapshots_are_refused,
    check_state_is_bounded,
)
