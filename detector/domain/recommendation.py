"""What a service is recommended to sample, and what its collectors answer: frozen values of the sampling contract."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

LADDER = (5, 15, 60, 300)
"""Lengths of windows in seconds that may be recommended beside a series' own step."""
STRATA, RATE, SKETCH, FULL = "strata", "rate", "sketch", "full"
MODES = (STRATA, RATE, SKETCH, FULL)
APPLIED, CLAMPED, REJECTED = "applied", "clamped", "rejected"
RESULTS = (APPLIED, CLAMPED, REJECTED)
Order = tuple[int, int]
"""Epoch and version: of two recommendations the greater is newer."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """Events of one range of values: above the `lt` before, up to this `lt` (None for the last).

    Attributes
    ----------
    lt : float or None
    p : float
        Probability with which each is kept, in (0, 1].
    n_target : float
        Events that one instance then keeps in a window.
    """

    lt: float | None
    p: float
    n_target: float


@dataclass(frozen=True, slots=True)
class Entry:
    """What is recommended for one series, or for all series of a metric that have no entry of their own.

    Attributes
    ----------
    metric : str
    labels : mapping or None
        None stands for the rest of the metric.
    unit : str
    mode : str
        One of `MODES`.
    window_s : float
        Length of the windows in which it is to be sent.
    strata : tuple of Stratum
        By rising `lt`; one for mode `rate`, none for modes that keep everything.
    error_keep : float
        Share of failed events whose evidence is kept by collectors that ship events. Counts of errors are exact in
        any case.
    cap_eps : float
        Events a second that one instance keeps at most of each series.
    expected_rse : float
        Relative standard error to be expected of the p99.
    kappa : float
        Times the error that is allowed; above 1 the budget is missed.
    """

    metric: str
    labels: Mapping[str, str] | None
    unit: str
    mode: str
    window_s: float
    strata: tuple[Stratum, ...]
    error_keep: float
    cap_eps: float
    expected_rse: float
    kappa: float


@dataclass(frozen=True, slots=True)
class Recommendation:
    """How much one service should sample, until when, and why.

    Attributes
    ----------
    tenant, service : str
    epoch : int
        When whoever recommends took the lease: milliseconds of the database.
    version : int
        Grows within an epoch.
    issued_at : int
        Unix milliseconds.
    valid_for_s : float
        Seconds on the collector's monotonic clock.
    effective_window : int
        Start, in Unix milliseconds, of the first window for which it is reckoned with.
    safe : float
        Events a second that one instance may go on to keep once nobody recommends any more.
    p_min : float
        No event is kept with less probability, but for the cap.
    reason : tuple of str
    entries : tuple of Entry
    """

    tenant: str
    service: str
    epoch: int
    version: int
    issued_at: int
    valid_for_s: float
    effective_window: int
    safe: float
    p_min: float
    reason: tuple[str, ...]
    entries: tuple[Entry, ...]

    @property
    def order(self) -> Order:
        """Epoch and version."""
        return self.epoch, self.version

    def fault(self) -> str:
        """Say why it can't be obeyed; empty where it can.

        Examples
        --------
        >>> Recommendation("acme", "shop", 1, 1, 0, 120.0, 0, 0.0, 0.001, (), ()).fault()
        ''
        """
        if min(self.epoch, self.version) < 1:
            return "epoch and version begin at 1"
        if not (0.0 < self.valid_for_s <= 86_400.0 and 0.0 <= self.safe < math.inf and 0.0 < self.p_min <= 1.0):
            return "valid_for_s, safe or p_min is out of range"
        return next((fault for entry in self.entries if (fault := _fault(entry, self.p_min))), "")


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What one instance made of a recommendation, and what it did since the one before.

    Attributes
    ----------
    tenant, service, instance : str
    epoch, version : int
        Of the recommendation.
    result : str
        One of `RESULTS`.
    detail : str
        What was clamped to which value, or why it was rejected.
    seconds : float
        Since the last acknowledgement (or the start).
    seen, kept, capped, dropped : int
        Events meanwhile: before sampling, after it, kept back by a cap, and lost in full buffers.
    queue : float
        How full the fullest buffer is, 0 to 1.
    """

    tenant: str
    service: str
    instance: str
    epoch: int
    version: int
    result: str
    detail: str = ""
    seconds: float = 0.0
    seen: int = 0
    kept: int = 0
    capped: int = 0
    dropped: int = 0
    queue: float = 0.0


@dataclass(frozen=True, slots=True)
class Issued:
    """A recommendation as it is stored, and what became of it.

    Attributes
    ----------
    recommendation : Recommendation
        Of older ones the entries are gone.
    published : bool
        False where it was only shown.
    seen, kept : float
        Events a second that were expected, and of them to be kept.
    kappa : float
    applied, clamped, rejected : int
        Instances that answered so.
    measured_seen, measured_kept : float
        Events a second of these instances, between this recommendation and the one before.
    """

    recommendation: Recommendation
    published: bool
    seen: float
    kept: float
    kappa: float
    applied: int = 0
    clamped: int = 0
    rejected: int = 0
    measured_seen: float = 0.0
    measured_kept: float = 0.0


def _fault(entry: Entry, p_min: float) -> str:
    if entry.mode not in MODES:
        return f"mode {entry.mode!r} is unknown"
    if not 0.0 < entry.window_s <= 86_400.0:
        return f"window of {entry.window_s} s"
    if not 0.0 <= entry.cap_eps < math.inf:
        return f"cap of {entry.cap_eps} events a second"
    if bool(entry.strata) != (entry.mode in (STRATA, RATE)) or (entry.mode == RATE and len(entry.strata) > 1):
        return f"{len(entry.strata)} strata for mode {entry.mode}"
    cuts = [stratum.lt for stratum in entry.strata]
    if cuts and (cuts[-1] is not None or not _rise([math.nan if cut is None else cut for cut in cuts[:-1]])):
        return f"strata of {entry.metric} do not rise"
    if any(not p_min <= stratum.p <= 1.0 for stratum in entry.strata):
        return f"{entry.metric} is to be kept with less than p_min, or more than all"
    return ""


def _rise(cuts: list[float]) -> bool:
    return all(math.isfinite(cut) for cut in cuts) and all(a < b for a, b in pairwise(cuts))
