"""Bring the instruments up to date: what the partitions of this process have counted, and how far they are."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import structlog

from detector.adapters.http.metrics import Metrics
from detector.domain.aggregate import RESULT_NAMES
from detector.jobs.partition import Partition
from detector.jobs.realised import Realised
from detector.pipeline.drift import Drift
from models import RiverBank

SAY_REFUSALS_SECONDS = 60.0
MOST_DRIFTS_SAID = 10
"""Drifts of one transaction that are logged each; of more the rest is counted."""

_log = structlog.get_logger()


class Instruments:
    """What the partitions held add up to.

    Attributes
    ----------
    totals : Counter
        By result, what the partitions held now have counted since they exist.
    series, signals : int
    """

    def __init__(self, metrics: Metrics) -> None:
        self.totals: Counter[str] = Counter()
        self.series = self.signals = 0
        self._metrics = metrics
        self._shown: set[int] = set()
        self._refusals_said: dict[int, dict[str, int]] = {}
        self._refusals_due = 0.0
        self._restarts_said: Counter[str] = Counter()
        self._realised = Realised(metrics)

    def show(self, held: Iterable[Partition], now: float) -> None:
        """Show the partitions held at monotonic time `now`, and forget what was shown of others."""
        m, held = self._metrics, list(held)
        totals: Counter[str] = Counter()
        for p in held:
            totals.update(dict(p.state.counts))  # a copy in one go: the scoring thread adds keys
            for kind, value in (("applied", p.state.position), ("effects", p.committed), ("checkpoint", p.saved)):
                m.position.labels(p.number, kind).set(value)
            m.pending.labels(p.number).set(p.reader.pending)
            m.silence.labels(p.number).set(p.silence(now))
            if p.state.clock:
                m.lag.labels(p.number).set(max(0.0, time.time() - p.state.clock / 1000))
        numbers = {p.number for p in held}
        gone = self._shown - numbers
        for number in gone:
            m.forget_partition(number)
        if gone:
            m.keep_producers(lambda *service: any(p.state.directory.known_service(*service) is not None for p in held))
        self._shown = numbers
        self.totals = totals
        self.series = sum(len(p.state.directory) for p in held)
        self.signals = sum(p.state.directory.signals.watched for p in held)
        for name in RESULT_NAMES:
            m.aggregates.labels(name).set(totals[name])
        m.refused.clear()  # a reason that only a partition had which moved away is told where that is now
        for name, count in totals.items():
            if name.startswith("malformed:"):
                m.refused.labels(name.partition(":")[2]).set(count)
        self._say_refused(held, now)
        self._show_restarts(held)
        self._realised.show(held, now)
        m.windows.set(totals["learned"])
        m.series.set(self.series)
        m.signals.set(self.signals)
        m.owned.set(len(held))

    def _say_refused(self, held: list[Partition], now: float) -> None:
        """Log what is refused, by reason, once a minute at most; what came with a partition is no news."""
        if now < self._refusals_due:
            return
        counts, grown = {p.number: dict(p.state.counts) for p in held}, Counter[str]()
        for p in held:
            grown.update(counts[p.number])
            grown.subtract(self._refusals_said.get(p.number, p.counts_before))
        refused = {name: n for name, n in grown.items() if n > 0 and name.startswith(("late", "evicted", "malformed:"))}
        if refused:
            _log.warning("aggregates refused", **refused)
            self._refusals_due = now + SAY_REFUSALS_SECONDS
        self._refusals_said = counts

    def _show_restarts(self, held: list[Partition]) -> None:
        """Show how often models were started again, and log it where there are more than before."""
        restarts: Counter[str] = Counter()
        for bank in (bank for p in held for bank in p.state.banks if isinstance(bank, RiverBank)):
            restarts[bank.name] += bank.restarts
        self._metrics.restarts.clear()
        for model, count in restarts.items():
            self._metrics.restarts.labels(model).set(count)
            if count > self._restarts_said[model]:
                _log.warning("models started again", model=model, restarts=count - self._restarts_said[model])
        self._restarts_said = restarts

    def count_drifts(self, drifts: Sequence[Drift]) -> None:
        """Count drifts, and log the first of them with series and signal."""
        for drift in drifts:
            self._metrics.drifts.labels(drift.detector).inc()
        for drift in drifts[:MOST_DRIFTS_SAID]:
            series, start = drift.signal.series, datetime.fromtimestamp(drift.start / 1000, UTC)
            _log.info(
                "drift",
                signal=str(drift.signal),
                service=series.service,
                tenant=series.tenant,
                window_start=start.isoformat(),
                detector=drift.detector,
            )
        if len(drifts) > MOST_DRIFTS_SAID:
            _log.info("more drifts", count=len(drifts) - MOST_DRIFTS_SAID)
