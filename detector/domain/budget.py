"""The alert budget: how many alerts a day a group of signals may open, and the level that holds them to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

PERIODS = {"hour": 24.0, "day": 1.0, "week": 1 / 7}
_BUDGET = re.compile(r"(\d+(?:\.\d+)?) ?/ ?(hour|day|week)")
MOST_BUDGETS = 100
LONGEST_NAME = 2000


@dataclass(frozen=True, slots=True)
class Budget:
    """How many alerts a day the signals that fit two patterns (shell style) may open.

    Attributes
    ----------
    per_day : float
        Above 0.
    tenant, metric : str
    """

    per_day: float
    tenant: str = "*"
    metric: str = "*"

    @property
    def name(self) -> str:
        """What its group is called in messages and tables."""
        return f"{self.tenant}/{self.metric}"


@dataclass(frozen=True, slots=True)
class Notice:
    """Levels as they are told to a partition, by the name of their budget; a higher version is newer."""

    version: int
    levels: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Tally:
    """What one partition has seen of one group.

    Attributes
    ----------
    partition : int
    budget : str
        Name of the budget.
    live : int
        Signals with a window lately.
    pace : float
        Windows that these have in a day.
    counts : tuple of int
        Windows since the partition began, and for each of `detector.pipeline.budget.EDGES` the alerts that it would
        have opened as a level. None of them ever falls, unless the partition starts cold.
    """

    partition: int
    budget: str
    live: int
    pace: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What all partitions have seen of one group; older things count for less.

    Attributes
    ----------
    windows : float
    above : tuple of float
        Alerts that each of the edges would have opened as a level, but for bursts.
    seen : mapping
        By partition, the counts that are in here already.
    """

    windows: float
    above: tuple[float, ...]
    seen: Mapping[int, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Held:
    """The level that holds one group to its budget, and how it does.

    Attributes
    ----------
    budget : str
        Name of the budget.
    per_day : float
    level : float or None
        Surprise; None as long as the group has no signal.
    expected : float
        Alerts a day at this level.
    fired : int
        Alerts that fired within the last 24 hours.
    live : int
        Signals with a window lately.
    evidence : Evidence
    """

    budget: str
    per_day: float
    level: float | None
    expected: float
    fired: int
    live: int
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Stored:
    """The newest level of a group, its version, and its age in seconds on the database's clock."""

    held: Held
    version: int
    age: float


def per_day(text: str) -> float:
    """Read a budget.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> per_day("2/day"), per_day("0.5/hour")
    (2.0, 12.0)
    """
    found = _BUDGET.fullmatch(text.strip())
    if found is None or float(found[1]) == 0.0:
        raise ValueError(f"{text!r} is no budget; write alerts a period, such as 2/day, 1/hour or 5/week")
    return float(found[1]) * PERIODS[found[2]]


def group_of(budgets: Sequence[Budget], tenant: str, metric: str) -> int:
    """Which budget a metric falls under: the first that fits, -1 for none."""
    fitting = (i for i, b in enumerate(budgets) if fnmatchcase(tenant, b.tenant) and fnmatchcase(metric, b.metric))
    return next(fitting, -1)
