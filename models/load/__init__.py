"""Load forecasters: what a signal will do in the next hours, online, with intervals of any coverage."""

from models.load.bank import LoadBank, warm
from models.load.calendar import Calendar
from models.load.contract import STATUSES, ForecastBank, Forecasts
from models.load.forecaster import Forecast, LoadForecaster

__all__ = [
    "STATUSES",
    "Calendar",
    "Forecast",
    "ForecastBank",
    "Forecasts",
    "LoadBank",
    "LoadForecaster",
    "warm",
]
