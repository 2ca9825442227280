"""What a model says about one observation."""

import numpy as np

from models.state import VIEWS

__all__ = ["N_TERMS", "REASONS", "SCORE"]

N_TERMS = len(VIEWS)
REASONS: tuple[str, ...] = (
    "",
    "spike",
    "dip",
    "level_shift",
    "variance",
    "flatline",
    "pattern",
    "new_value",
    "missing",
    "forecast_breach",
)
"""Names of the reason codes; the code is the index."""

SCORE = np.dtype(
    [
        ("score", "f8"),  # [0, 1), share of normal observations less strange than this one
        ("surprise", "f8"),  # -log10(1 - score)
        ("expected", "f8"),  # one-step forecast made before the observation was seen
        ("lower", "f8"),  # interval of coverage .99 around it
        ("upper", "f8"),
        ("reason", "u1"),  # index into REASONS
        ("grace", "i4"),  # observations left until full confidence
        ("terms", "f8", (N_TERMS,)),  # surprise of each view by itself
        ("accepted", "u1"),  # 1 on the window with which a new level is accepted after quarantine
    ],
    align=True,
)
"""What is said about one observation."""
