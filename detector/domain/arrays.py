"""Names for the arrays that everything is made of."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
A = TypeVar("A", bound=np.ndarray)


def frozen(array: A) -> A:
    """Return a read-only view, as what was read from bytes is, so that one compiled loop serves both."""
    view = array.view()
    view.flags.writeable = False
    return view
