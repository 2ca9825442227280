"""How good forecasts have been, as it is shown."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from detector.adapters.http.metrics import Metrics
from detector.domain.forecast import Selection
from detector.jobs.realised import Realised
from detector.pipeline.forecasters import ForecastPlan
from detector.pipeline.state import PartitionState
from tests.synth import Run, gauge, message, plan


class Held:
    """A partition, as far as what is shown goes."""

    def __init__(self, metrics: list[str]) -> None:
        settings = plan(forecasts=ForecastPlan([Selection("*", "mean")], most=4))
        self.state: PartitionState = Run(settings).take([message(0, [gauge(1.0, name) for name in metrics])]).state


def shown(metrics: Metrics, name: str, *labels: str) -> float:
    return float(cast("Any", getattr(metrics, name)).labels(*labels)._value.get())


def test_rows_are_summed_by_metric_and_a_row_without_a_place_has_learned_nothing() -> None:
    held, metrics = [Held(["a", "b"]), Held(["a", "c", "d", "e", "f"])], Metrics()
    for one, error in zip(held, (1.0, 4.0), strict=True):
        table = one.state.forecasters.table
        table["windows"][:, 0], table["naive"][:, 0], table["error"][:, 0], table["inside"][:, 0] = 10, 10.0, error, 5
    held[0].state.forecasters.table["naive"][1] = 0.0  # nothing to compare with
    bank = held[1].state.forecasters.banks[0]
    bank._states["learned"][:2] = bank.season
    bank._states["resets"][1] = 3
    held[1].state.forecasters.table["place"][3] = 1000  # the thread that scores is about to add it
    Realised(metrics).show(cast("Any", held), 0.0)
    assert shown(metrics, "forecast_mase", "a", "mean") == pytest.approx(0.25)
    assert shown(metrics, "forecast_coverage", "c", "mean") == pytest.approx(0.5)
    assert {key[0] for key in metrics.forecast_mase._metrics} == {"a", "c", "d", "e"}
    assert [shown(metrics, "forecast_signals", name) for name in ("ready", "warming_up", "no_room")] == [2, 4, 1]
    assert metrics.forecast_resets._value.get() == 3
    assert np.isfinite(shown(metrics, "forecast_mase", "e", "mean"))
