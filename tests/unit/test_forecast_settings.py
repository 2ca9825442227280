"""Settings of forecasts and limits: what they come to, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.config import load
from detector.deployment import plan_of
from detector.domain.forecast import HOUR, Limit, Selection
from detector.errors import SettingsError

LIMITS = """
[[{}]]
metric = "disk.*"
above = 95.0
[[{}]]
metric = "requests"
signal = "rate"
below = 1
probability = 0.99
lead_hours = 2.5
"""


def test_by_default_every_rate_is_forecast() -> None:
    found = plan_of(load(environment={}).settings).forecasts
    assert (found.signals, found.limits, found.calendar.zone) == ([Selection("*", "rate")], [], "UTC")


@pytest.mark.parametrize("key", ["limits", "limits.forecast"])
def test_limits_stand_in_a_list_of_tables(tmp_path: Path, key: str) -> None:
    file = tmp_path / "detector.toml"
    file.write_text(LIMITS.format(key, key))
    settings = load(file, environment={"DETECTOR_LIMITS__SERIES_PER_METRIC": "7"}).settings
    plan = plan_of(settings)
    assert plan.limits.series_per_metric == 7
    assert plan.forecasts.limits == [
        Limit(Selection("disk.*", "mean"), True, 95.0, 0.9, 24 * HOUR),
        Limit(Selection("requests", "rate"), False, 1.0, 0.99, round(2.5 * HOUR)),
    ]
    other = tmp_path / "other.toml"
    other.write_text(LIMITS.format(key, key).replace("95", "96"))
    assert plan_of(load(other, environment={}).settings).config_hash != plan.config_hash


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[[limits]]\nmetric = "disk"', "limits.forecast.0: .*one of above and below"),
        ('[[limits]]\nmetric = "disk"\nabove = 1\nbelow = 2', "one of above and below"),
        ('[[limits]]\nmetric = "disk"\nabove = nan', "limits.forecast.0.above"),
        ('[[limits]]\nmetric = "disk"\nabove = 1\nprobability = 1.0', "limits.forecast.0.probability"),
        ('[[limits]]\nmetric = "disk"\nabove = 1\nsignal = "p98"', "limits.forecast.0.signal"),
        ('[[limits]]\nmetric = "disk"\nabove = 1\nlead_hours = 1000', "limits.forecast.0.lead_hours"),
        ('[forecasts]\nzone = "Mars/Olympus"', "forecasts: .*'Mars/Olympus' isn't known"),
        ('[forecasts]\ncountry = "XX"', "forecasts: .*'XX' aren't known"),
        ('[forecasts]\ncountry = "utils"', "forecasts: .*'utils' aren't known"),
        ("[forecasts]\ncoverage = 1.0", "forecasts.coverage"),
        ("[forecasts]\nsignals_per_partition = 0", "forecasts.signals_per_partition"),
        ("[retention]\nforecasts_days = 0", "retention.forecasts_days"),
    ],
)
def test_what_can_not_be_is_refused_by_its_key(tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "detector.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=fault):
        load(file, environment={})
