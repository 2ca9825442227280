"""What is forecast, what is said, and the limits that a forecast must not pass."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from detector.domain.arrays import Floats
from detector.domain.series import Signal

DAY, HOUR, QUARTER = 86_400_000, 3_600_000, 900_000
DIGITS = 6
"""That are told of a figure."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Signals to forecast: a pattern of metrics (shell style) and one statistic."""

    metric: str = "*"
    statistic: str = "rate"

    def fits(self, signal: Signal) -> bool:
        """Whether the signal is one of them."""
        return signal.statistic == self.statistic and fnmatchcase(signal.series.metric, self.metric)


@dataclass(frozen=True, slots=True)
class Limit:
    """What the signals that fit must not pass.

    Attributes
    ----------
    where : Selection
    above : bool
        Whether values above `value` are beyond the limit, otherwise those below.
    value : float
        Unit of the signal.
    probability : float
        How probable the passing must be to be told, .51 to .999.
    lead : int
        How long before it is told at most, milliseconds.
    """

    where: Selection
    above: bool
    value: float
    probability: float
    lead: int

    @property
    def name(self) -> str:
        """What tells it from the other limits of a signal."""
        return f"{'above' if self.above else 'below'}:{self.value!r}:{self.probability!r}:{self.lead}"

    def passed(self, value: float) -> bool:
        """Whether a value lies beyond."""
        return value > self.value if self.above else value < self.value


@dataclass(frozen=True, slots=True)
class Path:
    """A forecast window by window.

    Attributes
    ----------
    step, start : int
        Length of the windows and start of the first one, milliseconds.
    expected, lower, upper : tuple of float
    """

    step: int
    start: int
    expected: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is forecast of a signal at one moment.

    Attributes
    ----------
    position : int
        Stream sequence of the message that brought it about.
    signal : Signal
    model : str
    issued_at : int
        End of the last window it knows, Unix milliseconds UTC.
    coverage : float
        Share of the values to come that the intervals are to hold.
    paths : tuple of Path
        The next hour in short windows, the next day in longer ones.
    judged : int
        Forecasts an hour ahead that could be judged within the last day.
    mase : float
        Their mean absolute error by that of "as a season before"; NaN where there was none.
    inside : float
        Share of the values that their intervals held; NaN where there was none.
    """

    position: int
    signal: Signal
    model: str
    issued_at: int
    coverage: float
    paths: tuple[Path, ...]
    judged: int
    mase: float
    inside: float

    @property
    def message_id(self) -> str:
        """What deduplicates it everywhere: in SQL, in the outbox and as ``Nats-Msg-Id``."""
        return f"forecast:{self.signal.id}:{self.issued_at}"


def paths_of(issued_at: int, step: int, ends: Floats) -> tuple[Path, ...]:
    """Cut a forecast of a day into the next hour as it is, and the whole in windows of at least a quarter of an hour.

    The interval of a longer window has the means of its parts' ends, as if their errors were all alike: it holds
    rather more than it should. Where windows are no shorter than a quarter of an hour there is one path. Six digits of
    each figure are kept.

    Parameters
    ----------
    issued_at, step : int
        Milliseconds.
    ends : float64[3, windows]
        Expected, lower, upper.

    Examples
    --------
    >>> import numpy as np
    >>> short, long = paths_of(0, 300_000, np.ones((3, 288)))
    >>> (len(short.expected), short.step), (len(long.expected), long.step)
    ((12, 300000), (96, 900000))
    """
    merged = -(-QUARTER // step)
    if merged <= 1:
        return (_path(issued_at, step, ends),)
    whole = ends.shape[1] // merged * merged
    means = ends[:, :whole].reshape(len(ends), -1, merged).mean(axis=2)
    return _path(issued_at, step, ends[:, : HOUR // step]), _path(issued_at, step * merged, means)


def _path(start: int, step: int, ends: Floats) -> Path:
    expected, lower, upper = (tuple(row) for row in _rounded(ends).tolist())
    return Path(step, start, expected, lower, upper)


def _rounded(values: Floats) -> Floats:
    size = np.floor(np.log10(np.maximum(np.abs(values), 1e-300)))
    unit = 10.0 ** (DIGITS - 1 - size)
    return np.asarray(np.round(values * unit) / unit)
