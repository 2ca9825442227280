"""Everything one partition knows, and the settings its decisions follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from detector.domain.alert import Alert
from detector.pipeline.crowd import Limits
from detector.pipeline.directory import Directory, Labels
from detector.pipeline.pairing import Ratio
from models import DriftWatch, ScoringBank


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
    """

    on: float = 2.9
    off: float = 1.5
    critical: float = 4.0
    min_windows: int = 1
    keep_windows: int = 20
    missing_windows: int = 10


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


@dataclass
class Finding:
    """A run of strange windows of one signal, before and while it is an alert."""

    started_at: int
    above: int
    below: int
    windows: list[tuple[int, float]]
    state: bytes
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
    counts : Counter
        Aggregates by result, refusals by ``malformed:<reason>``, windows learned.
    watches : dict of int to DriftWatch or None
        By signal, filled as windows come; not saved, so that drift detectors restart cold.
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
    counts: Counter[str] = field(default_factory=Counter)
    watches: dict[int, DriftWatch | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory = Directory(self.plan.limits, self.plan.min_step, self.plan.ratios)
        self.banks = [make() for _, make in self.plan.banks]

    def bank_for(self, metric: str) -> int:
        """Index of the bank that watches a metric; the last pattern must fit everything."""
        return next(i for i, (pattern, _) in enumerate(self.plan.banks) if fnmatchcase(metric, pattern))

    def drift_watch(self, metric: str) -> DriftWatch | None:
        """Make a drift detector for a signal of this metric, None where the plan names none."""
        return next((make() for pattern, make in self.plan.drift if fnmatchcase(metric, pattern)), None)
