"""A suspected incident: held in view while it lasts, accepted as the new level when it stays.

What lies outside of where values were expected when the suspicion arose stays suspicious, although the views
that raised it have grown used to it. That ends when values have returned, or after a bounded quarantine, when
the new level is accepted. Learning goes on meanwhile: every update is bounded by what was usual before, so that
an incident can't spoil the model, and a level that stays needs no second learning.
"""

from models.compiled import jit
from models.state import Row

__all__ = ["QUARANTINE", "STILL", "SUSPECTED_FROM", "follow", "outside"]

SUSPECTED_FROM = 2.5
"""Surprise that begins a suspicion."""
STILL = 1.9
"""Least surprise while it lasts: under that of any alert, above that of its end."""
QUARANTINE = 60
"""Windows after which the new level is accepted."""
RETURNED = 3
"""Windows in a row where they were expected that end a suspicion."""


@jit
def outside(s: Row, v: float) -> bool:
    """Tell whether there is a suspicion and `v`, less the origin, lies outside of what was expected as it arose."""
    return bool(s.suspected > 0 and not s.usual_low <= v <= s.usual_high)


@jit
def follow(s: Row, v: float, surprise: float, low: float, high: float) -> tuple[float, bool]:
    """Follow the suspicion of a signal by one observation.

    Parameters
    ----------
    s
        State; changed.
    v
        The observation less the origin, in units of x.
    surprise
        Of the views.
    low, high
        The interval forecast for `v`, less the origin too.

    Returns
    -------
    tuple of float and bool
        The surprise, held up while the incident lasts; whether a new level was accepted with this observation.
    """
    if s.suspected == 0:
        if surprise >= SUSPECTED_FROM:
            s.suspected = 1
            s.returned = 0
            s.usual_low = low
            s.usual_high = high
        return surprise, False
    inside = not outside(s, v)
    s.returned = s.returned + 1 if inside else 0
    if s.returned >= RETURNED:
        s.suspected = 0
        return surprise, False
    s.suspected += 1
    if s.suspected > QUARANTINE:
        s.suspected = 0
        s.runs = 0  # else a new level that stands still would be told a second time
        return surprise, True
    if not inside:
        surprise = max(surprise, STILL)
    return surprise, False
