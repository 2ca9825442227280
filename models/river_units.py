"""Units in which a signal is shown to a model that knows none: set once by its first values, then kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["FARTHEST", "FIRST_WINDOWS", "Units"]

FIRST_WINDOWS = 30
"""Fewest values that units are taken from."""
FARTHEST = 20.0
"""Units from the centre beyond which a first value is cut off, so that one wild value can't set the centre."""


@dataclass(frozen=True, slots=True)
class Units:
    """An affine map: `centre` becomes 0, and `spread` above it 1.

    Examples
    --------
    >>> units = Units.of([9.0, 10.0, 11.0, 10.0, 9.0, 11.0])
    >>> units.into(12.0), units.back(2.0)
    (2.0, 12.0)
    """

    centre: float
    spread: float

    @classmethod
    def of(cls, first: Sequence[float], season: int = 0) -> "Units":
        """Take units from the first values.

        Parameters
        ----------
        first
            At least one, finite.
        season
            The centre is the mean of so many of them, 0: of all.

        Returns
        -------
        Units
            The spread is the median distance from the median; where most values are equal the mean one; where all
            are, their size.
        """
        values = np.asarray(first, np.float64)
        middle = float(np.median(values))
        distance = np.abs(values - middle)
        spread = float(np.median(distance)) or float(distance.mean()) or abs(middle) or 1.0
        near = np.clip(values, middle - FARTHEST * spread, middle + FARTHEST * spread)
        return cls(float(near[: season or None].mean()), spread)

    def into(self, x: float) -> float:
        """Return where `x` lies in these units."""
        return (x - self.centre) / self.spread

    def back(self, place: float) -> float:
        """Return the value that lies there."""
        return self.centre + self.spread * place
