"""Load forecasters: what a signal will do in the next hours, online, with intervals of any coverage.

`models.load.forecaster.LoadForecaster` is the River face; it is not imported here, for River takes two seconds.
"""

from models.load.bank import LoadBank, warm
from models.load.calendar import Calendar
from models.load.contract import STATUSES, ForecastBank, Forecasts

__all__ = [
    "STATUSES",
    "Calendar",
    "ForecastBank",
    "Forecasts",
    "LoadBank",
    "warm",
]
