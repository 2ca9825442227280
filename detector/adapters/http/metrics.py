"""What Prometheus reads: names after its conventions, base units, bounded labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from detector.domain.budget import Held
from detector.domain.volume import Measured
from detector.pipeline.advise import Advice
from detector.ports import EndedRun

_FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
JOB_RESULTS = ("ok", "failed")
MISSED = ("late", "running", "database")
"""Why a job was not run when it was due: too late, the run before was under way here, no database."""
MOST_PRODUCERS = 1000
"""Services whose clock skew is shown; of more the rest is left out."""


class Metrics:
    """The instruments of one service, in a registry of their own.

    Aggregates, refusals and windows are counted in the state of the partitions, so that a restart goes on
    where the checkpoint and the replay led to, and each one counts once. They are shown as gauges of that
    count for this reason, and move with the partitions: their sum over all processes is the total. The
    others start at 0 with the process.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.aggregates = Gauge(
            "detector_aggregates", "Aggregates taken in since the first start, by result", ["result"], registry=r
        )
        self.refused = Gauge(
            "detector_refused",
            "Aggregates and messages refused since the first start, by reason",
            ["reason"],
            registry=r,
        )
        self.windows = Gauge("detector_windows_learned", "Windows scored and learned since the first start", registry=r)
        self.series = Gauge("detector_series", "Series known", registry=r)
        self.signals = Gauge("detector_signals", "Signals watched", registry=r)
        self.owned = Gauge("detector_partitions_owned", "Partitions this process works on", registry=r)
        self.workers = Gauge(
            "detector_workers", "Living processes that share the partitions, this one among them", registry=r
        )
        self.position = Gauge(
            "detector_position", "Stream sequence reached, by partition", ["partition", "kind"], registry=r
        )
        self.pending = Gauge(
            "detector_pending_messages", "Messages in the stream not read yet", ["partition"], registry=r
        )
        self.lag = Gauge(
            "detector_watermark_lag_seconds",
            "Clock minus event time, by partition; live tenants",
            ["partition"],
            registry=r,
        )
        self.silence = Gauge(
            "detector_consumer_silence_seconds", "Since the consumer last heard anything", ["partition"], registry=r
        )
        self.skew = Gauge(
            "detector_producer_skew_seconds",
            "Arrival minus end of window of the newest batch; far from 0 a clock is wrong or a queue is long",
            ["tenant", "service"],
            registry=r,
        )
        self.step_seconds = Histogram(
            "detector_scoring_seconds", "One step: decode, admit, score, decide", buckets=_FAST, registry=r
        )
        self.commit_seconds = Histogram(
            "detector_commit_seconds", "One transaction of effects", buckets=_FAST, registry=r
        )
        self.alerts = Counter("detector_alert_revisions", "Alert revisions written", ["state", "severity"], registry=r)
        self.drifts = Counter("detector_drifts", "Drifts of signals noticed", ["detector"], registry=r)
        self.restarts = Gauge(
            "detector_model_restarts",
            "Models started again since their partition was loaded: they failed, or did worse than a naive forecast",
            ["model"],
            registry=r,
        )
        self.forecast_signals = Gauge(
            "detector_forecast_signals", "Signals forecast, by status; no_room: left out so far", ["status"], registry=r
        )
        self.forecast_mase = Gauge(
            "detector_forecast_mase",
            "Mean absolute error an hour ahead, over the last day, by that of the value a season before",
            ["metric", "signal"],
            registry=r,
        )
        self.forecast_coverage = Gauge(
            "detector_forecast_coverage_ratio",
            "Share of the values of the last day that lay in the interval forecast an hour before",
            ["metric", "signal"],
            registry=r,
        )
        self.forecast_resets = Gauge(
            "detector_forecast_resets", "Parts of forecasters begun anew, as worse than a naive forecast", registry=r
        )
        self.outbox = Gauge("detector_outbox_depth", "Messages written but not published yet", registry=r)
        self.reloads = Counter(
            "detector_partition_reloads", "Partitions dropped and loaded anew", ["reason"], registry=r
        )
        self.broker = Gauge("detector_broker_events", "Disconnects, slow consumers and errors", ["kind"], registry=r)
        self.job_runs = Counter(
            "detector_job_runs", "Runs of jobs in this process, by result", ["job", "result"], registry=r
        )
        self.jobs_missed = Counter(
            "detector_job_missed", "Runs of jobs this process missed, by reason", ["job", "reason"], registry=r
        )
        self.job_ended = Gauge(
            "detector_job_last_end_timestamp_seconds", "End of the last run in any process", ["job"], registry=r
        )
        self.job_succeeded = Gauge(
            "detector_job_last_success_timestamp_seconds",
            "End of the last run in any process that went well",
            ["job"],
            registry=r,
        )
        self.job_seconds = Gauge(
            "detector_job_last_duration_seconds", "Length of the last run in any process", ["job"], registry=r
        )
        self.job_ok = Gauge("detector_job_last_ok", "Whether the last run went well: 1 or 0", ["job"], registry=r)
        self.level = Gauge("detector_alert_level", "Surprise at which alerts open, by budget", ["budget"], registry=r)
        self.expected = Gauge(
            "detector_alerts_expected_per_day",
            "Alerts a day to expect at this level, by budget",
            ["budget"],
            registry=r,
        )
        self.budgeted = Gauge(
            "detector_alerts_budget_per_day", "Alerts a day that the settings allow, by budget", ["budget"], registry=r
        )
        self.fired = Gauge(
            "detector_alerts_fired_last_day",
            "Alerts that fired in the 24 hours before, by budget",
            ["budget"],
            registry=r,
        )
        self.sampling = Gauge(
            "detector_sampling_events_per_second",
            "Events of the services collectors sample, at the last recommendation made here: seen and recommended to "
            "be kept by the traffic expected, kept as measured",
            ["tenant", "kind"],
            registry=r,
        )
        self.sampling_error = Gauge(
            "detector_sampling_error_ratio",
            "Error to expect, in times of the error allowed; above 1 the budget is too small",
            ["tenant"],
            registry=r,
        )
        self._producers: set[tuple[str, str]] = set()

    def forget_partition(self, number: int) -> None:
        """Take out what was shown of a partition that is another process' now."""
        for kind in ("applied", "effects", "checkpoint"):
            self.position.remove(number, kind)
        for gauge in (self.pending, self.silence, self.lag):
            gauge.remove(number)

    def know_job(self, name: str) -> None:
        """Show the counters of a job before there is anything to count."""
        for result in JOB_RESULTS:
            self.job_runs.labels(name, result)
        for reason in MISSED:
            self.jobs_missed.labels(name, reason)

    def show_job(self, name: str, last: EndedRun | None, well: EndedRun | None) -> None:
        """Show the last run of a job, and the last that went well, as far as there are any."""
        if last is not None:
            self.job_ended.labels(name).set(last.ended_at.timestamp())
            self.job_seconds.labels(name).set((last.ended_at - last.started_at).total_seconds())
            self.job_ok.labels(name).set(last.ok)
        if well is not None:
            self.job_succeeded.labels(name).set(well.ended_at.timestamp())

    def show_levels(self, held: Sequence[Held]) -> None:
        """Show how the alert budget is held, group by group."""
        for gauge in (self.level, self.expected, self.budgeted, self.fired):
            gauge.clear()
        for one in held:
            if one.level is not None:
                self.level.labels(one.budget).set(one.level)
            self.expected.labels(one.budget).set(one.expected)
            self.budgeted.labels(one.budget).set(one.per_day)
            self.fired.labels(one.budget).set(one.fired)

    def show_sampling(self, told: Mapping[str, tuple[Advice, Measured]]) -> None:
        """Show, by tenant, what is recommended, and what came of the recommendation before."""
        self.sampling.clear()
        self.sampling_error.clear()
        for tenant, (advice, measured) in told.items():
            self.sampling.labels(tenant, "seen").set(advice.seen)
            self.sampling.labels(tenant, "recommended").set(advice.kept)
            if measured.kept is not None:
                self.sampling.labels(tenant, "kept").set(measured.kept)
            self.sampling_error.labels(tenant).set(advice.kappa)

    def show_skew(self, tenant: str, service: str, seconds: float) -> None:
        """Show how far behind or ahead the newest batch of a service is."""
        if (tenant, service) not in self._producers:
            if len(self._producers) >= MOST_PRODUCERS:
                return
            self._producers.add((tenant, service))
        self.skew.labels(tenant, service).set(seconds)

    def keep_producers(self, held: Callable[[str, str], bool]) -> None:
        """Take out the skew of services, by tenant and name, that are another process' now."""
        for producer in [producer for producer in self._producers if not held(*producer)]:
            self.skew.remove(*producer)
            self._producers.remove(producer)
