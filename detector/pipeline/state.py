"""Everything one partition knows, and the settings its decisions follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np

from detector.domain.alert import Alert
from detector.domain.budget import Budget, Notice, group_of
from detector.domain.series import Series
from detector.pipeline.budget import EDGES
from detector.pipeline.crowd import Limits
from detector.pipeline.directory import REPLAY_PREFIX, Directory, Labels
from detector.pipeline.ensembles import Ensembles
from detector.pipeline.forecasters import Forecasters, ForecastPlan
from detector.pipeline.pairing import Ratio
from models import DriftWatch, ScoringBank
from models.rows import grown


@dataclass(frozen=True, slots=True)
class Levels:
    """When an alert opens, worsens and resolves. All surprises: -log10 of the share of normal windows above.

    Attributes
    ----------
    on, off, critical : float
        Opens at `on` or more, is critical from `critical`, and windows below `off` count towards its end.
    min_windows : int
        Windows in a row at `on` or more before it fires.
    keep_windows : int
        Windows in a row below `off` before it resolves.
    missing_windows : int
        Windows of silence, beyond twice the longest silence so far, before a series is missing.
    rearm_windows : int
        Windows after a firing in which the same signal fires again only at a surprise that lies in a higher step,
        of half a unit above `on`, than any since.
    """

    on: float = 2.9
    off: float = 1.5
    critical: float = 4.0
    min_windows: int = 1
    keep_windows: int = 20
    missing_windows: int = 10
    rearm_windows: int = 0

    def at(self, on: float) -> Levels:
        """Return the levels with another `on`; the distance to `critical` stays, and so does `off`."""
        return replace(self, on=on, critical=on + self.critical - self.on)


RECENT = np.dtype(
    [
        ("step", "i8"),  # milliseconds
        # of the tallies of the budget: the strange stretch under way, and the last that counted as a start
        ("peak", "f8"),
        ("peak_until", "i8"),
        ("start", "f8"),
        ("start_until", "i8"),
        # of the last alert: the surprise it reached, and until when that must be exceeded
        ("reached", "f8"),
        ("rearmed_at", "i8"),
    ]
)
"""What is remembered of the strange windows of a signal; zeros at first, but for the step."""


@dataclass(frozen=True)
class Plan:
    """What a partition is run with.

    Attributes
    ----------
    levels : Levels
    limits : Limits
    min_step : int
        Shortest step at which a series is scored, milliseconds; tenants that are replayed have none.
    retention : int
        Oldest time stamp that is taken, milliseconds before the message was stored.
    banks : sequence of (pattern of metrics, maker of a bank)
        The first pattern (shell style) that fits a metric names its models.
    config_hash : str
        Stands in the evidence of alerts.
    labels : callable
        Decodes label bytes as sent.
    ratios : sequence of Ratio
        Of two metrics of a service, watched like other signals.
    drift : sequence of (pattern of metrics, maker of a drift detector)
        The first pattern that fits a metric names the detector of its signals; others have none.
    budgets : sequence of Budget
        The first that fits a signal decides at which level its alerts open; where none fits `levels.on` does.
    forecasts : ForecastPlan
        By default nothing is forecast.
    ensembles : bool
        Whether the signals of each service are watched together.
    least_events : float
        Quantiles and error ratios of windows with fewer events are no values: nothing is scored or learned.
    volumes : bool
        Whether to tell what series come to, for recommendations to sample.
    """

    banks: Sequence[tuple[str, Callable[[], ScoringBank]]]
    labels: Labels
    levels: Levels = field(default_factory=Levels)
    limits: Limits = field(default_factory=Limits)
    min_step: int = 10_000
    retention: int = 86_400_000
    config_hash: str = ""
    ratios: Sequence[Ratio] = ()
    drift: Sequence[tuple[str, Callable[[], DriftWatch]]] = ()
    budgets: Sequence[Budget] = ()
    forecasts: ForecastPlan = field(default_factory=ForecastPlan)
    ensembles: bool = False
    least_events: float = 0.0
    volumes: bool = False


@dataclass
class Finding:
    """A run of strange windows of one signal, before and while it is an alert.

    Attributes
    ----------
    started_at : int
    above, below : int
        Windows in a row.
    windows : list of (int, float, float)
        Start, value, and the variance that sampling added to it.
    state : bytes
        Of the model before the first of them.
    alert : Alert or None
    """

    started_at: int
    above: int
    below: int
    windows: list[tuple[int, float, float]]
    state: bytes
    alert: Alert | None = None


@dataclass
class Breach:
    """How often in a row a limit was to be passed and was not, before and while that is an alert."""

    above: int = 0
    below: int = 0
    alert: Alert | None = None


@dataclass
class PartitionState:
    """State of one partition; `step` changes it and nothing else does.

    Attributes
    ----------
    position : int
        Stream sequence of the last message applied, -1 before the first.
    stream : int
        When the stream that `position` belongs to was created, Unix milliseconds; 0 where unknown.
    clock : int
        Event time of all tenants that are not replayed, whole seconds in milliseconds.
    clocks : dict
        Event time of each service that is replayed.
    banks : list of ScoringBank
        As in `Plan.banks`; the row of a signal's model is the signal.
    bank_of : list of int
        Bank of each signal.
    findings : dict of int to Finding
        By signal.
    missing : dict of int to Alert
        By row of the series.
    halves : dict of int to dict of int to (bool, float)
        By ratio and start of the window: a value that waits for its other half, and whether it is the numerator.
    ensembles : Ensembles or None
        None where the plan does without.
    counts : Counter
        Aggregates by result, refusals by ``malformed:<reason>``, windows learned.
    watches : dict of int to DriftWatch or None
        By signal, filled as windows come; not saved, so that drift detectors restart cold.
    notice : Notice
        The newest levels that were told.
    groups : list of Levels
        In force: of each of `Plan.budgets`, and last of the signals under none.
    group_of : int64[...]
        Budget of each signal, -1 for none.
    recent : RECENT[...]
        By signal.
    tallies : int64[len(Plan.budgets), 1 + len(EDGES)]
        See `detector.domain.budget.Tally`.
    forecasters : Forecasters
    breaches : dict of int to dict of str to Breach
        By signal and name of the limit.
    """

    plan: Plan
    position: int = -1
    stream: int = 0
    clock: int = 0
    clocks: dict[int, int] = field(default_factory=dict)
    directory: Directory = field(init=False)
    banks: list[ScoringBank] = field(init=False)
    bank_of: list[int] = field(default_factory=list)
    findings: dict[int, Finding] = field(default_factory=dict)
    missing: dict[int, Alert] = field(default_factory=dict)
    halves: dict[int, dict[int, tuple[bool, float]]] = field(default_factory=dict)
    ensembles: Ensembles | None = field(init=False)
    counts: Counter[str] = field(default_factory=Counter)
    watches: dict[int, DriftWatch | None] = field(default_factory=dict)
    notice: Notice = field(default_factory=lambda: Notice(0, {}))
    groups: list[Levels] = field(init=False)
    group_of: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    recent: np.ndarray = field(default_factory=lambda: np.zeros(0, RECENT))
    tallies: np.ndarray = field(init=False)
    forecasters: Forecasters = field(init=False)
    breaches: dict[int, dict[str, Breach]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory = Directory(self.plan.limits, self.plan.min_step, self.plan.ratios)
        self.ensembles = Ensembles() if self.plan.ensembles else None
        self.banks = [make() for _, make in self.plan.banks]
        self.tallies = np.zeros((len(self.plan.budgets), 1 + len(EDGES)), np.int64)
        self.forecasters = Forecasters(self.plan.forecasts)
        self.obey(self.notice)

    def obey(self, notice: Notice) -> None:
        """Put levels in force; a budget they don't name goes by `Plan.levels`, as if it were none."""
        self.notice = notice
        levels, told = self.plan.levels, notice.levels
        self.groups = [levels.at(told[b.name]) if b.name in told else levels for b in self.plan.budgets]
        self.groups.append(levels)

    def levels_of(self, signal: int) -> Levels:
        """Return the levels in force for a signal."""
        return self.groups[int(self.group_of[signal])]

    def version_of(self, signal: int) -> int:
        """Return the version of the level of a signal, 0 where it goes by `Plan.levels`."""
        group = int(self.group_of[signal])
        told = group >= 0 and self.plan.budgets[group].name in self.notice.levels
        return self.notice.version if told else 0

    def step_of(self, signal: int) -> int:
        """Return the length of the windows of a signal, milliseconds."""
        return int(self.recent["step"][signal])

    def enlist(self, signal: int, series: Series) -> None:
        """Find the budget of a signal. Replayed tenants have none: their days may last seconds."""
        replayed = series.tenant.startswith(REPLAY_PREFIX)
        self.group_of = grown(self.group_of, signal + 1)
        self.group_of[signal] = -1 if replayed else group_of(self.plan.budgets, series.tenant, series.metric)

    def foresee(self, signal: int, row: int) -> None:
        """Forecast a signal of the series in `row`, where the plan says so."""
        named = self.directory.signals.used(signal)
        replayed = named.series.tenant.startswith(REPLAY_PREFIX)
        self.forecasters.enlist(signal, named, row, self.step_of(signal), replayed)

    def bank_for(self, metric: str) -> int:
        """Index of the bank that watches a metric; the last pattern must fit everything."""
        return next(i for i, (pattern, _) in enumerate(self.plan.banks) if fnmatchcase(metric, pattern))

    def drift_watch(self, metric: str) -> DriftWatch | None:
        """Make a drift detector for a signal of this metric, None where the plan names none."""
        return next((make() for pattern, make in self.plan.drift if fnmatchcase(metric, pattern)), None)
