"""Who is who: from (metric, label bytes) as sent to rows of the tables, within fixed limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from detector.domain.aggregate import Kind
from detector.domain.series import Series, canonical_labels
from detector.errors import Undecodable
from detector.pipeline.blocks import BlockMemory
from detector.pipeline.crowd import Crowd, Limits
from detector.pipeline.pairing import Pairing, Ratio
from detector.pipeline.roster import Roster
from detector.pipeline.signals import Signals
from detector.pipeline.spreads import compacted, give_back, no_spreads, spreads_from
from detector.pipeline.tables import (
    ERROR_RATIO,
    ISOLATION,
    LIVE_WINDOWS,
    MEAN,
    MOST_PER_STEP,
    P50,
    P99,
    RATE,
    RATIO,
    SERIES,
    SOURCE,
    STATISTICS,
    start_series,
    start_source,
)
from models.rows import grown

LONGEST_METRIC, LONGEST_LABELS = 512, 8192
MOST_ALIASES = 8
"""Ways of writing the labels of one source that are remembered; more of them are decoded each time."""
STATISTICS_OF = {
    Kind.GAUGE: (MEAN,),
    Kind.SUM: (RATE,),
    Kind.CUMULATIVE: (RATE,),
    Kind.HISTOGRAM: (RATE, P50, P99),
    Kind.RATIO: (RATIO,),
    Kind.ISOLATION: (ISOLATION,),
}
"""By kind, what every series of it closes with; the ratio of errors comes with the first errors counted."""
REPLAY_PREFIX = "replay-"

LABEL_BYTES = 512
"""Memory for blocks of labels and their scopes, a series."""

Key = tuple[str, bytes]
Labels = Callable[[bytes], dict[str, object]]


class Directory:
    """The names behind the rows of one partition.

    Attributes
    ----------
    series : SERIES[...]
    sources : SOURCE[...]
    spreads : Spreads
        Distributions of open windows.
    names : list of Series or None
        By row of `series`.
    signals : Signals
    blocks : BlockMemory
        The look-up of whole blocks.
    pairing : Pairing
        Which series are divided by which.
    """

    def __init__(self, limits: Limits, min_step: int, ratios: Sequence[Ratio] = ()) -> None:
        self.limits = limits
        self.min_step = min_step
        self.services: list[tuple[str, str]] = []
        self.series = np.zeros(0, SERIES)
        self.sources = np.zeros(0, SOURCE)
        self.spreads = no_spreads()
        self.names: list[Series | None] = []
        self.instances: list[str] = []
        self.signals = Signals()
        self._service_rows: dict[tuple[str, str], int] = {}
        self._series_rows: dict[tuple[int, str, tuple[tuple[str, str], ...]], int] = {}
        self._source_rows: dict[tuple[int, str], int] = {}
        self._aliases: dict[tuple[int, str], dict[Key, int]] = {}
        self._aliases_of: dict[int, list[tuple[tuple[int, str], Key]]] = {}
        self.blocks = BlockMemory(LABEL_BYTES * limits.series)
        self._free_series: list[int] = []
        self._free_sources: list[int] = []
        self.pairing = Pairing(ratios)
        self._crowd = Crowd(limits)

    def __len__(self) -> int:
        return len(self._series_rows)

    def service(self, tenant: str, service: str) -> int:
        """Row of a service.

        Raises
        ------
        Undecodable
            ``too_many_services``: as many as series may be are known already.
        """
        key = (tenant, service)
        row = self._service_rows.get(key)
        if row is None:
            if len(self.services) >= self.limits.series:
                raise Undecodable("too_many_services", "raise limits.series_per_partition")
            row = self._service_rows[key] = len(self.services)
            self.services.append(key)
        return row

    def known_service(self, tenant: str, service: str) -> int | None:
        """Row of a service, None where nothing of it was taken in."""
        return self._service_rows.get((tenant, service))

    def aliases(self, service: int, instance: str) -> dict[Key, int]:
        """Return the sources of one instance by metric and label bytes as sent: the look-up of the hot path."""
        return self._aliases.get((service, instance), {})

    def source(
        self,
        service: int,
        instance: str,
        key: Key,
        kind: Kind,
        unit: str,
        head: tuple[int, int, int],
        labels: Labels,
    ) -> int:
        """Find or make the source that an alias was missing for.

        Parameters
        ----------
        head : (int, int, int)
            Start and length of its first window, milliseconds, and the stream sequence of its message.
        labels : callable
            Decodes the label bytes.

        Raises
        ------
        Undecodable
            ``bad_name``, ``bad_labels``, ``reserved_label``, ``too_many_series`` or ``too_many_sources``.
        """
        metric, raw = key
        if not 0 < len(metric) <= LONGEST_METRIC or len(unit) > LONGEST_METRIC or len(raw) > LONGEST_LABELS:
            raise Undecodable(
                "bad_name",
                f"a metric has 1 to {LONGEST_METRIC} signs, a unit no more, labels up to {LONGEST_LABELS} bytes",
            )
        if "\0" in metric or "\0" in unit:
            raise Undecodable("bad_name", "a metric or unit holds NUL, which no PostgreSQL text can")
        pairs = canonical_labels(labels(raw))
        row = self._series_rows.get((service, metric, pairs))
        if row is None:
            row = self._add_series(service, metric, pairs, kind, unit, head[:2])
            self._pair(service, metric, pairs, row, head)
        source = self._source_rows.get((row, instance))
        if source is None:
            source = self._add_source(row, instance)
        scope = (service, instance)
        if key not in self.aliases(*scope) and len(self._aliases_of[source]) < MOST_ALIASES:
            self._aliases.setdefault(scope, {})[key] = source
            self._aliases_of[source].append((scope, key))
        return source

    def crowded(self) -> Iterator[int]:
        """Name, one by one, the series that must go until the limits hold again; the caller removes each."""
        return self._crowd.excess(self.series)

    def forget_departed(self) -> None:
        """Forget sources that are live no more, once half of the room is taken: instances come and go.

        A series that nobody sends any more closes no windows: those that sent it go by when something last arrived.
        """
        if 2 * len(self._source_rows) <= self.limits.sources:
            return
        table, series = self.sources[: len(self.instances)], self.series[: len(self.names)]
        silent = series["last_arrival"] + (LIVE_WINDOWS + 2) * series["step"] < series["last_arrival"].max()
        old = table["newest"] < (series["closed_until"] - LIVE_WINDOWS * series["step"])[table["series"]]
        departed = old | silent[table["series"]] | (table["window"] == 0)  # or all that it ever sent came too late
        departed[self._free_sources] = False
        for row in np.unique(table["series"][departed]):
            sources = self._sources_of(int(row))
            kept = [source for source in sources if not departed[source]]
            self.series[row]["first_source"] = kept[0] if kept else -1
            self.sources["next"][kept] = [*kept[1:], -1][: len(kept)]
            for source in sources:
                if departed[source]:
                    self._drop_source(int(row), source)

    def roster(self) -> Roster:
        """Return what has to be kept of this directory."""
        used, sources = len(self.names), len(self.instances)
        series, spreads = compacted(self.series[:used], self.spreads)
        return Roster(
            services=self.services,
            names=self.names,
            signals=self.signals.named,
            instances=self.instances,
            series=series.tobytes(),
            sources=self.sources[:sources].tobytes(),
            spreads=tuple(table.tobytes() for table in spreads),
            signal_of=self.signals.of[:used].tobytes(),
            free_series=self._free_series,
            free_sources=self._free_sources,
            free_signals=self.signals.free,
            came=list(self._crowd.all),
            fresh=self.signals.fresh,
            ratios=list(self.pairing.ratios),
        )

    def load(self, roster: Roster) -> None:
        """Become what `roster` was made from. Raises ValueError where its tables have another layout."""
        self.services, self.names, self.instances = roster.services, roster.names, roster.instances
        self.series = np.frombuffer(roster.series, SERIES).copy()
        self.sources = np.frombuffer(roster.sources, SOURCE).copy()
        self.spreads = spreads_from(roster.spreads)
        watched = np.frombuffer(roster.signal_of, np.int32).reshape(-1, len(STATISTICS)).copy()
        self.signals = Signals(roster.signals, watched, roster.fresh, roster.free_signals)
        self._free_series, self._free_sources = roster.free_series, roster.free_sources
        self._service_rows = {key: row for row, key in enumerate(self.services)}
        for row in roster.came:
            named = self.names[row]
            if named is not None:
                service = int(self.series[row]["service"])
                self._series_rows[service, named.metric, named.labels] = row
                self._crowd.add(row, (service, named.metric))
        for row in roster.came:
            named = self.names[row]
            if named is not None:
                self._pair_again(row, named)
        known = frozenset(roster.ratios)
        for row in () if known.issuperset(self.pairing.ratios) else roster.came:
            named = self.names[row]
            if named is not None:
                state = self.series[row]
                head = (int(state["closed_until"]), int(state["step"]), -1)
                self._pair(int(state["service"]), named.metric, named.labels, row, head, known)
        free = set(self._free_sources)
        for source, instance in enumerate(self.instances):
            if source not in free:
                self._source_rows[int(self.sources[source]["series"]), instance] = source
                self._aliases_of[source] = []

    def _add_series(
        self,
        service: int,
        metric: str,
        pairs: tuple[tuple[str, str], ...],
        kind: Kind,
        unit: str,
        head: tuple[int, int],
    ) -> int:
        if self._crowd.full((service, metric)):
            raise Undecodable("too_many_series", f"of {metric}; does a label hold an id?")
        row = self._free_series.pop() if self._free_series else len(self.names)
        self.series = grown(self.series, row + 1)
        self.signals.make_room(len(self.series))
        tenant, name = self.services[service]
        named = Series(tenant, name, metric, pairs)
        self.names[row : row + 1] = [named]
        self._series_rows[service, metric, pairs] = row
        self._crowd.add(row, (service, metric))
        start, window = head
        replayed = tenant.startswith(REPLAY_PREFIX)
        step = window if replayed else window * min(MOST_PER_STEP, max(1, -(-self.min_step // window)))
        start_series(self.series, row, service, int(kind), replayed, step, start - start % step)
        for statistic in STATISTICS_OF[kind]:
            self.signals.watch(row, named, statistic, _unit(unit, kind, statistic))
        return row

    def _pair(
        self,
        service: int,
        metric: str,
        pairs: tuple[tuple[str, str], ...],
        row: int,
        head: tuple[int, int, int],
        known: frozenset[Ratio] = frozenset(),
    ) -> None:
        """Make the ratios that a series completes but those known; of windows that differ in length it makes none."""
        for ratio, other in self.pairing.wanted(metric):
            partner = self._series_rows.get((service, other, pairs))
            if ratio in known or partner is None or self.series[partner]["step"] != self.series[row]["step"]:
                continue
            made = self._series_rows.get((service, ratio.name, pairs))
            if made is None and not self._crowd.full((service, ratio.name)):
                made = self._add_series(service, ratio.name, pairs, Kind.RATIO, "1", head[:2])
                self.series["last_arrival"][made] = head[0] + head[1]
            paired = made in self.pairing.since
            if made is not None and not paired and self.series[made]["kind"] == Kind.RATIO:
                self.pairing.add(*((row, partner) if metric == ratio.numerator else (partner, row)), made, head[2])

    def _pair_again(self, row: int, named: Series) -> None:
        ratio = self.pairing.named(named.metric)
        if ratio is None or self.series[row]["kind"] != Kind.RATIO:
            return
        service = int(self.series[row]["service"])
        members = [
            self._series_rows.get((service, metric, named.labels)) for metric in (ratio.numerator, ratio.denominator)
        ]
        if members[0] is None or members[1] is None:
            return
        if self.series[members[0]]["step"] == self.series[members[1]]["step"]:
            self.pairing.add(members[0], members[1], row, -1)

    def made(self, service: int, metric: str, kind: Kind, start: int, step: int) -> int | None:
        """Row of a series that nobody sends; None where there is no room, or somebody does send its name."""
        row = self._series_rows.get((service, metric, ()))
        if row is None and not self._crowd.full((service, metric)):
            row = self._add_series(service, metric, (), kind, "1", (start, step))
            self.series["last_arrival"][row] = start + step
        return row if row is not None and self.series[row]["kind"] == kind else None

    def watch_errors(self, source: int) -> None:
        """Give the series of a source the signal of its error ratio, where it has none yet."""
        row = int(self.sources[source]["series"])
        named = self.names[row]
        if named is not None and self.signals.of[row, ERROR_RATIO] < 0 and self.series[row]["kind"] == Kind.HISTOGRAM:
            self.signals.watch(row, named, ERROR_RATIO, "1")

    def _add_source(self, row: int, instance: str) -> int:
        if len(self._source_rows) >= self.limits.sources:
            raise Undecodable("too_many_sources", "raise limits.series_per_partition, or merge instances upstream")
        source = self._free_sources.pop() if self._free_sources else len(self.instances)
        self.sources = grown(self.sources, source + 1)
        self.instances[source : source + 1] = [instance]
        self._source_rows[row, instance] = source
        self._aliases_of[source] = []
        start_source(self.sources, source, row, int(self.series[row]["first_source"]))
        self.series[row]["first_source"] = source
        return source

    def _sources_of(self, row: int) -> list[int]:
        sources = []
        source = int(self.series[row]["first_source"])
        while source >= 0:
            sources.append(source)
            source = int(self.sources[source]["next"])
        return sources

    def _drop_source(self, row: int, source: int) -> None:
        for scope, key in self._aliases_of.pop(source):
            del self._aliases[scope][key]
            if not self._aliases[scope]:
                del self._aliases[scope]
        del self._source_rows[row, self.instances[source]]
        self.blocks.clear()
        self.sources[source]["window"] = 0
        self._free_sources.append(source)

    def remove(self, row: int) -> None:
        """Forget a series, its sources and its signals."""
        named = self.names[row]
        if named is None:
            return
        service = int(self.series[row]["service"])
        for source in self._sources_of(row):
            self._drop_source(row, source)
        self.signals.forget(row)
        state = self.series[row]
        for spread in state["spread"][: state["open"]]:
            if spread >= 0:
                give_back(self.spreads, int(spread))
        self.pairing.remove(row)
        del self._series_rows[service, named.metric, named.labels]
        self._crowd.remove(row, (service, named.metric))
        self.names[row] = None
        self.series[row]["active"] = False
        self._free_series.append(row)


def _unit(unit: str, kind: Kind, statistic: int) -> str:
    if statistic != RATE:
        return unit
    return "1/s" if kind == Kind.HISTOGRAM else f"{unit or '1'}/s"
