"""Names the reason for a surprise."""

from models.compiled import jit
from models.state import AWAY_DOWN, AWAY_UP, DRIFT_DOWN, DRIFT_UP, SPREAD, STUCK, TURBULENCE, VALUE, Row

__all__ = ["reason_of"]

_SPIKE, _DIP, _LEVEL_SHIFT, _VARIANCE, _FLATLINE, _NEW_VALUE = 1, 2, 3, 4, 5, 7  # indices into REASONS


@jit
def reason_of(s: Row, view: int, x: float, out: Row) -> int:
    """Return the reason code where `view` is the strangest of observation `x`.

    A spread that is new because of a value outside of its forecast interval is the value's doing.
    """
    outside = x < out.lower or x > out.upper
    if view == STUCK:
        return _FLATLINE
    if view in (DRIFT_UP, DRIFT_DOWN, AWAY_UP, AWAY_DOWN):
        return _LEVEL_SHIFT
    if view == TURBULENCE or (view == SPREAD and not outside):
        return _VARIANCE
    if view == VALUE:
        g = s.generation
        last = s.value_used[g] - 1
        if last > 0 and s.value_low[g, 0] < x - s.origin < s.value_high[g, last]:
            return _NEW_VALUE
    return _SPIKE if x > out.expected else _DIP
