"""What a tenant's series come to, and what a recommendation for them goes by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Volume:
    """One histogram series as its partition sees it, or together the smaller ones of a metric.

    Attributes
    ----------
    metric : str
    labels : mapping or None
        None stands for series of the metric that are not told by themselves.
    unit : str
    step_s : float
        Seconds of the windows in which it is scored.
    instances : int
        That have reported lately.
    low, high : float
        Events a second, before sampling: the least and the most to be expected next.
    p50, p99 : float
    surprise : float
        Of the strangest of its signals in the last windows.
    of : int
        How many series it stands for: `low` and `high` are of all of them.
    """

    metric: str
    labels: Mapping[str, str] | None
    unit: str
    step_s: float
    instances: int
    low: float
    high: float
    p50: float
    p99: float
    surprise: float = 0.0
    of: int = 1


@dataclass(frozen=True, slots=True)
class ServiceVolume:
    """The largest series of one service, and what the others come to by metric."""

    tenant: str
    service: str
    series: tuple[Volume, ...]


@dataclass(frozen=True, slots=True)
class Ration:
    """How much a tenant may keep.

    Attributes
    ----------
    events_per_s : float
        Above 0, over all services.
    p_min : float
        In (0, 1].
    mode : str
        `strata` or `rate`.
    """

    events_per_s: float
    p_min: float = 0.001
    mode: str = "strata"


@dataclass(frozen=True, slots=True)
class Measured:
    """What a tenant's collectors did since the last recommendation: events a second kept, and signs of pressure."""

    kept: float | None = None
    dropped: int = 0
    queue: float = 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """What one series was recommended last.

    Attributes
    ----------
    p : float
        Without boost.
    moving : bool
        Whether that was one step on the way to somewhere.
    boost, rest : float
        Windows for which it is still boosted, and after that not to be boosted again.
    """

    p: float
    moving: bool = False
    boost: float = 0.0
    rest: float = 0.0


@dataclass(frozen=True, slots=True)
class Course:
    """What goes on from one recommendation to the next, for a tenant.

    Attributes
    ----------
    pressure : float
        Part of the budget that is used: less after drops, and slowly up again.
    gain : float
        Corrects what is kept beyond what was asked for, at most 1.
    asked : float
        The part of it that the last recommendation asked for; 1 where the budget was not short.
    paces : mapping
        By name of the series.
    """

    pressure: float = 1.0
    gain: float = 1.0
    asked: float = 1.0
    paces: Mapping[str, Pace] = field(default_factory=dict)
