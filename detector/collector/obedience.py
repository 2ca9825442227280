"""Which recommendation a collector obeys, for how long, and what it does without one. Pure: time is an argument.

A recommendation is taken only while its epoch lives, which heartbeats show, and only if it is newer than the one in
force; it is in force for `valid_for_s` on the monotonic clock, as long as its epoch or a newer one lives. So a value
that was left behind, an older service beside a newer one, or a database that was lost and counts from the start again
can do no harm: an epoch without
heartbeats is forgotten, and with it how far its versions went.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from detector.domain.recommendation import (
    APPLIED,
    CLAMPED,
    FULL,
    RATE,
    REJECTED,
    SKETCH,
    STRATA,
    Entry,
    Order,
    Recommendation,
    Stratum,
)

EPOCH_SECONDS = 30.0
"""An epoch lives so long after a heartbeat; the service sends one every five seconds."""
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """What is in force; without entries the collector keeps what it is used to, and no more.

    Attributes
    ----------
    order : (int, int) or None
        Epoch and version of the recommendation; None where none is in force.
    safe : float
        Events a second that may be kept where none is.
    """

    order: Order | None
    safe: float
    entries: Mapping[tuple[str, Labels | None], Entry]

    def entry(self, metric: str, labels: Labels) -> Entry | None:
        """Find what is recommended for a series, by itself or as one of its metric."""
        return self.entries.get((metric, labels)) or self.entries.get((metric, None))


class Obedience:
    """The collector's side of the contract.

    Parameters
    ----------
    mode : str
        What the collector can do: `strata` does what it is told, `rate` knows one probability a series, `sketch` and
        `full` keep every event and go by recommended windows only.
    safe : float
        Events a second to keep as long as nobody has recommended anything.
    """

    def __init__(self, mode: str, safe: float) -> None:
        self._mode = mode
        self._safe = safe
        self._epoch = 0
        self._heard_at = 0.0
        self._taken: Recommendation | None = None
        self._taken_at = 0.0
        self._policy = Policy(None, safe, {})

    def heard(self, epoch: int, now: float) -> None:
        """Note a heartbeat at monotonic time `now`; an older epoch counts for nothing while a newer one lives."""
        if epoch < self._epoch and self._lives(now):
            return
        self._epoch, self._heard_at = epoch, now

    def wants(self, now: float) -> bool:
        """Whether it is worth looking for a recommendation: an epoch lives, and nothing of it is in force."""
        taken = self._in_force(now)
        return self._lives(now) and (taken is None or taken.epoch != self._epoch)

    def wants_order(self, order: Order, now: float) -> bool:
        """Whether a recommendation of this epoch and version would be news."""
        taken = self._in_force(now)
        return taken is None or order > taken.order

    def offered(self, found: Recommendation, now: float) -> tuple[str, str] | None:
        """Take a recommendation, or not.

        Returns
        -------
        (str, str) or None
            Result and detail to acknowledge; None where there is nothing to say: it is not newer, or its epoch does not
            live (yet).
        """
        if not self._lives(now) or found.epoch != self._epoch:
            return None
        self._in_force(now)
        taken = self._taken
        if taken is not None and found.epoch == taken.epoch and found.version <= taken.version:
            return None
        if fault := found.fault():
            return REJECTED, fault
        entries, clamped = self._can_do(found)
        self._taken, self._taken_at = found, now
        self._safe = found.safe
        self._policy = Policy(found.order, found.safe, entries)
        return (CLAMPED, "; ".join(clamped)[:500]) if clamped else (APPLIED, "")

    def policy(self, now: float) -> Policy:
        """Return what is in force at monotonic time `now`."""
        return self._policy if self._in_force(now) is not None else Policy(None, self._safe, {})

    def _lives(self, now: float) -> bool:
        return self._epoch > 0 and now - self._heard_at <= EPOCH_SECONDS

    def _in_force(self, now: float) -> Recommendation | None:
        taken = self._taken
        if taken is None:
            return None
        if not self._lives(now) or taken.epoch > self._epoch:
            self._taken = None  # forgotten, and with it how far its versions went
            return None
        return taken if now - self._taken_at <= taken.valid_for_s else None

    def _can_do(self, found: Recommendation) -> tuple[dict[tuple[str, Labels | None], Entry], list[str]]:
        entries, clamped = {}, []
        for entry in found.entries:
            done = entry
            if self._mode in (SKETCH, FULL) and entry.mode != self._mode:
                done = replace(entry, mode=self._mode, strata=())
                clamped.append(f"{entry.metric}: mode {self._mode}")
            elif self._mode == RATE and entry.mode == STRATA:
                p, target = _overall(entry.strata)
                done = replace(entry, mode=RATE, strata=(Stratum(None, p, target),))
                clamped.append(f"{entry.metric}: mode rate, p {p:.4g}")
            labels = None if entry.labels is None else tuple(sorted(entry.labels.items()))
            entries[entry.metric, labels] = done
        return entries, clamped


def _overall(strata: tuple[Stratum, ...]) -> tuple[float, float]:
    """Return the probability that keeps as many events without strata, and how many these are."""
    target = sum(stratum.n_target for stratum in strata)
    events = sum(stratum.n_target / stratum.p for stratum in strata)
    return (target / events if events > 0.0 else min(stratum.p for stratum in strata)), target
