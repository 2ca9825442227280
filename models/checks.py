"""What every model must keep to, as checks that anyone can run on a model of their own.

`yield_checks` is for banks, `yield_estimator_checks` for River estimators. Each yields functions without
arguments that raise AssertionError where a promise is broken; `__name__` tells the promise. All streams are
seeded; a full run takes about a second on the kernel.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.bank import Scores, ScoringBank
from models.calibration import GRACE

__all__ = ["ALERT", "NEW_LEVEL_WINDOWS", "yield_checks", "yield_estimator_checks"]

ALERT = 2.9
"""Surprise from which on an observation counts as an alert in these checks."""
NEW_LEVEL_WINDOWS = 60
"""Windows after which a new constant level that stays must be ordinary."""
STEP_MS = 10_000
MONDAY_MS = 1_764_547_200_000
"""2025-12-01 00:00 UTC."""

MakeBank = Callable[[float], ScoringBank]
"""Makes an empty bank for a floor; models without a floor ignore it."""
Floats = npt.NDArray[np.float64]


class Estimator(Protocol):
    """The part of a River anomaly detector that is checked."""

    def learn_one(self, x: dict[str, Any]) -> None:
        """Learn."""

    def score_one(self, x: dict[str, Any]) -> float:
        """Score, changing nothing."""
        ...


def yield_checks(make_bank: MakeBank, floor: float = 1e-6) -> Iterator[Callable[[], None]]:
    """Yield the checks of a bank.

    Parameters
    ----------
    make_bank
        Called with a floor, returns an empty bank.
    floor
        The floor that the model is used with.

    Examples
    --------
    >>> from models import KernelBank
    >>> for check in yield_checks(KernelBank):
    ...     check()
    """
    for check in _WITH_FLOOR:
        yield _named(check, make_bank, floor)
    yield _named(check_unit_and_offset_do_not_matter, make_bank, 0.0)


def yield_estimator_checks(make: Callable[[], Estimator], feature: str) -> Iterator[Callable[[], None]]:
    """Yield the checks of a River estimator that takes one numeric feature of this name."""
    for check in (check_score_one_changes_nothing, check_score_one_in_range):
        yield _named(check, make, feature)


def _require(kept: object, where: object = "") -> None:
    """Raise AssertionError unless `kept`; unlike the statement it also works under `python -O`."""
    if not kept:
        raise AssertionError(f"broken for {where}" if where != "" else "broken")


def _refuses(call: Callable[..., None], *arguments: Any) -> bool:
    try:
        call(*arguments)
    except ValueError:
        return True
    return False


def _named(check: Callable[..., None], *arguments: Any) -> Callable[[], None]:
    bound = functools.partial(check, *arguments)
    functools.update_wrapper(bound, check)
    return bound


def _noise(n: int, seed: int = 7) -> Floats:
    return np.random.default_rng(seed).normal(100.0, 3.0, n)


def _started(make_bank: MakeBank, floor: float, step_ms: int = STEP_MS, rows: int = 1) -> ScoringBank:
    bank = make_bank(floor)
    for row in range(rows):
        bank.add(row, step_ms)
    return bank


def _feed(bank: ScoringBank, x: Floats, t_ms: npt.NDArray[np.int64] | None = None, row: int = 0) -> Scores:
    if t_ms is None:
        t_ms = MONDAY_MS + STEP_MS * np.arange(bank.learned(row), bank.learned(row) + len(x))
    return bank.observe(np.full(len(x), row), x, t_ms, np.zeros(len(x)), np.inf)[0]


def check_scores_lie_in_range(make_bank: MakeBank, floor: float) -> None:
    """Keep scores in [0, 1), while surprise is -log10(1 - score)."""
    rng = np.random.default_rng(3)
    x = np.concatenate([_noise(300), rng.standard_cauchy(300), -_noise(300) * 1e6, rng.integers(0, 2, 300)])
    found = _feed(_started(make_bank, floor), x)
    _require((found["score"] >= 0.0).all())
    _require((found["score"] < 1.0).all())
    _require(np.allclose(found["surprise"], -np.log10(1.0 - found["score"]), atol=1e-6))


def check_finite_in_finite_out(make_bank: MakeBank, floor: float) -> None:
    """Answer no inf and no nan, whatever the value."""
    bank = _started(make_bank, floor)
    odd = [0.0, 1e300, -1e300, 5e-324, 1e150, -0.0, np.nan, np.inf, -np.inf, 1.7e308, 1e-200]
    x = np.concatenate([odd, _noise(100), odd, np.zeros(100), odd, _noise(20) * 1e300])
    found = _feed(bank, x, MONDAY_MS + STEP_MS * np.arange(len(x)))
    for name in ("score", "surprise", "expected", "lower", "upper", "terms"):
        _require(np.isfinite(found[name]).all(), name)
    _require((found["lower"] <= found["upper"]).all())


def check_missing_values_change_nothing(make_bank: MakeBank, floor: float) -> None:
    """Take a value that is no number as missing: score 0, and what follows as if it were absent."""
    x = np.append(_noise(300), 1000.0)
    t_ms = MONDAY_MS + STEP_MS * np.arange(301)
    holed = x.copy()
    holed[[50, 150, 151]] = np.nan, np.inf, -np.inf
    whole = np.isfinite(holed)
    found = _feed(_started(make_bank, floor), holed, t_ms)
    without = _feed(_started(make_bank, floor), x[whole], t_ms[whole])
    _require((found["score"][~whole] == 0.0).all())
    _require((found[whole] == without).all())


def check_constant_scores_zero_and_a_step_scores(make_bank: MakeBank, floor: float) -> None:
    """Score a constant stream exactly 0, ignore a change below the floor, and fire on a step off it."""
    for value in (0.0, 5.0, -3.3, 1e9 + 0.1):
        bank = _started(make_bank, floor)
        _require((_feed(bank, np.full(500, value))["score"] == 0.0).all(), value)
        _require(_feed(bank, np.array([value * (1.0 + 2e-8)]))["surprise"][0] < ALERT, value)
        _require(_feed(bank, np.array([value * 10.0 + 1.0]))["surprise"][0] >= ALERT, value)


def check_unit_and_offset_do_not_matter(make_bank: MakeBank, floor: float) -> None:
    """Score x and a*x + b the same within 1e-9, with the floor off."""
    walk = np.cumsum(_noise(2000) - 100.0)
    spiky = _noise(2000)
    spiky[1500] += 40.0
    for x in (walk, spiky):
        plain = _feed(_started(make_bank, floor), x)
        for a, b in ((1000.0, 0.0), (0.37, 25.0), (1.0, -1000.0)):
            found = _feed(_started(make_bank, floor), a * x + b)
            _require(np.abs(found["score"] - plain["score"]).max() < 1e-9, (a, b))


def check_snapshot_continues_identically(make_bank: MakeBank, floor: float) -> None:
    """Go on after snapshot and restore as without them, to the last bit; so for a single row."""
    rows, bank = np.repeat([0, 1], 300), _started(make_bank, floor, rows=2)
    t_ms = MONDAY_MS + STEP_MS * np.tile(np.arange(300), 2)
    bank.observe(rows, _noise(600), t_ms, np.zeros(600), np.inf)
    blob, single = bank.snapshot([0, 1]), bank.state(1)
    copy = make_bank(floor)
    copy.restore(blob, [0, 1])
    third = _started(make_bank, floor)
    third.load_state(0, single)
    go_on = np.append(_noise(200, seed=8), 500.0)
    for row in (0, 1):
        expected = _feed(bank, go_on, row=row)
        _require((_feed(copy, go_on, row=row) == expected).all())
    _require((_feed(third, go_on) == expected).all())
    _require(copy.snapshot([1, 0]) == bank.snapshot([1, 0]))


def check_wrong_snapshots_are_refused(make_bank: MakeBank, floor: float) -> None:
    """Refuse a blob of another size with a ValueError."""
    bank = _started(make_bank, floor)
    _require(_refuses(bank.restore, b"x", [0]))
    _require(_refuses(bank.load_state, 0, b"x"))


def check_state_is_bounded(make_bank: MakeBank, floor: float) -> None:
    """Keep the size of a row, at most the size reported."""
    bank = _started(make_bank, floor)
    sizes = set()
    for _ in range(3):
        _feed(bank, _noise(500))
        sizes.add(len(bank.state(0)))
    _require(len(sizes) == 1)
    _require(sizes.pop() <= bank.bytes_per_signal)


def check_rows_do_not_matter_to_each_other(make_bank: MakeBank, floor: float) -> None:
    """Give the same numbers for a row alone, in company, and however the stream is cut into calls."""
    x, n = _noise(400), 400
    alone = _feed(_started(make_bank, floor), x)
    bank = _started(make_bank, floor, rows=3)
    rows = np.tile([2, 0, 1], n)
    values = np.stack([x, x * 7.0 - 2.0, np.full(n, 4.0)], axis=1).ravel()
    t_ms = MONDAY_MS + STEP_MS * np.repeat(np.arange(n), 3)
    parts = []
    for start, stop in ((0, 7), (7, 500), (500, 1200)):
        cut = slice(start, stop)
        found, _ = bank.observe(rows[cut], values[cut], t_ms[cut], np.zeros(stop - start), np.inf)
        parts.append(found)
    together = np.concatenate(parts)[rows == 2]
    _require((together == alone).all())


def check_new_level_is_learned(make_bank: MakeBank, floor: float) -> None:
    """Fire on a new level at once and find it ordinary NEW_LEVEL_WINDOWS windows later, for good."""
    bank = _started(make_bank, floor)
    found = _feed(bank, np.append(np.full(500, 100.0), np.full(1000, 110.0)))
    _require(found["surprise"][500:505].max() >= ALERT)
    _require(found["surprise"][500 + NEW_LEVEL_WINDOWS :].max() < ALERT)


def check_a_gap_is_no_anomaly(make_bank: MakeBank, floor: float) -> None:
    """Find nothing strange on return from twenty missing windows in plain noise."""
    t_ms = MONDAY_MS + STEP_MS * np.append(np.arange(500), np.arange(520, 620))
    for seed in range(5):
        found = _feed(_started(make_bank, floor), _noise(600, seed), t_ms)
        _require(found["surprise"][500:510].max() < ALERT, seed)


def check_a_gap_does_not_shift_the_season(make_bank: MakeBank, floor: float) -> None:
    """Forecast by the clock, not by the count of windows, after a gap of a quarter day."""
    half_hours = np.append(np.arange(48 * 10), np.arange(48 * 10 + 12, 48 * 12))
    x = 100.0 + 40.0 * np.sin(2.0 * np.pi * half_hours / 48.0) + 0.01 * _noise(len(half_hours))
    bank = _started(make_bank, floor, 1_800_000)
    found = _feed(bank, x, MONDAY_MS + 1_800_000 * half_hours)
    after = slice(480, 500)
    _require(np.abs(found["expected"][after] - x[after]).max() < 10.0)
    _require(found["surprise"][after].max() < ALERT)


def check_early_scores_are_cautious(make_bank: MakeBank, floor: float) -> None:
    """Raise no alert for a giant fifth value, and count `grace` down to 0."""
    for giant in (1e6, -1e6):
        found = _feed(_started(make_bank, floor), np.append(_noise(4), giant))
        _require(found["surprise"].max() < ALERT)
    found = _feed(_started(make_bank, floor), _noise(1000))
    _require(0 < found["grace"][0] <= GRACE)
    _require((np.diff(found["grace"]) <= 0).all())
    _require(found["grace"][-1] == 0)


def check_a_giant_among_noise_fires(make_bank: MakeBank, floor: float) -> None:
    """Fire on 1e6 after 500 values of N(100, 3)."""
    found = _feed(_started(make_bank, floor), np.concatenate([_noise(500), [1e6], _noise(1, seed=9)]))
    _require(found["surprise"][500] >= ALERT)


_WITH_FLOOR: tuple[Callable[[MakeBank, float], None], ...] = (
    check_scores_lie_in_range,
    check_finite_in_finite_out,
    check_missing_values_change_nothing,
    check_constant_scores_zero_and_a_step_scores,
    check_snapshot_continues_identically,
    check_wrong_snapshots_are_refused,
    check_state_is_bounded,
    check_rows_do_not_matter_to_each_other,
    check_new_level_is_learned,
    check_a_gap_is_no_anomaly,
    check_a_gap_does_not_shift_the_season,
    check_early_scores_are_cautious,
    check_a_giant_among_noise_fires,
)


def _remembered(estimator: Estimator) -> bytes:
    return b"".join(
        value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
        for _, value in sorted(vars(estimator).items())
    )


def check_score_one_changes_nothing(make: Callable[[], Estimator], feature: str) -> None:
    """Leave the state as it was, however often something is scored."""
    estimator = make()
    for value in _noise(200):
        estimator.learn_one({feature: float(value)})
    before = _remembered(estimator)
    scores = {estimator.score_one({feature: 1000.0}) for _ in range(3)}
    _require(len(scores) == 1)
    _require(_remembered(estimator) == before)


def check_score_one_in_range(make: Callable[[], Estimator], feature: str) -> None:
    """Keep scores in [0, 1), also before anything was learned."""
    estimator = make()
    for value in np.append(_noise(200), [1e300, -1e300, 0.0]):
        _require(0.0 <= estimator.score_one({feature: float(value)}) < 1.0)
        estimator.learn_one({feature: float(value)})
