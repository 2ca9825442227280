"""The grid under stamps that jitter, and what it makes of real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detector.adapters.files import NO_TIME, input_files, read_series
from detector.adapters.files.grid import step_of, window_starts
from tests.shared import shared


def nab(*names: str) -> list[Path]:
    files = input_files([shared("data/nab/data")])
    return [file for file in files if file.name in names] if names else files


def test_step_is_the_median_of_distinct_times_in_whatever_order() -> None:
    assert step_of(np.array([0, 300, 600, 300, NO_TIME, 600, 600, 900, 5000])) == 300
    assert step_of(np.array([0, 300, 900])) == 300
    days = np.arange(0, 5 * 86_400, 300).reshape(5, -1)
    assert step_of(days.ravel()[::-1]) == step_of(days[:, ::-1].ravel()) == 300
    assert step_of(np.array([5, NO_TIME, 5])) is None
    assert step_of(np.array([], dtype=np.int64)) is None


@pytest.mark.parametrize("phase", [0, 1, 149, 150, 151, 240, 299])
def test_a_phase_is_rounded_down(phase: int) -> None:
    grid = np.arange(10_000, 10_050) * 300
    assert window_starts(grid + phase, 300).tolist() == grid.tolist()
    rng = np.random.default_rng(7)
    late = grid + phase + rng.integers(-60, 61, len(grid)) * (rng.random(len(grid)) < 0.4)
    assert window_starts(late, 300).tolist() == grid.tolist()


def test_no_other_cut_shares_fewer_windows() -> None:
    rng = np.random.default_rng(11)
    for _ in range(200):
        step = int(rng.integers(2, 40))
        times = rng.permutation(rng.integers(-5 * step, 20 * step, 30))
        distinct = np.unique(times)
        least = min(len(distinct) - len(np.unique((distinct - cut) // step)) for cut in range(step))
        starts = window_starts(times, step)
        assert len(distinct) - len(np.unique(starts)) == least
        assert (starts % step == 0).all()
        assert (np.abs(starts - times) < 2 * step).all()
        assert (np.diff(starts[np.argsort(times)]) >= 0).all()


def test_rows_without_time_stay_without() -> None:
    assert window_starts(np.array([NO_TIME, 300, NO_TIME, 600]), 300).tolist() == [NO_TIME, 300, NO_TIME, 600]
    assert window_starts(np.array([NO_TIME, NO_TIME]), 300).tolist() == [NO_TIME, NO_TIME]


def test_ser_05_time_running_backwards() -> None:
    (path,) = nab("machine_temperature_system_failure.csv")
    series = read_series(path)
    windows = series.windows()
    assert (len(series), series.step_ms) == (22_695, 300_000)
    assert len(windows) - len(np.unique(windows)) == 12
    assert np.count_nonzero(np.diff(series.times) < 0) == 1
    assert windows.tolist() == series.times.tolist()


def test_real_files_share_few_windows() -> None:
    files = nab()
    collisions = {}
    for path in files:
        series = read_series(path)
        assert (series.unreadable, series.value_column, series.unit_of_time) == (0, "value", "date")
        collisions[path.stem] = len(np.unique(series.times)) - len(np.unique(series.windows()))
    assert len(files) == 31
    assert {name: count for name, count in collisions.items() if count} == {
        "TravelTime_387": 21, "occupancy_6005": 5, "speed_6005": 5, "speed_t4013": 6,
    }  # fmt: skip


def test_real_traces() -> None:
    code = read_series(shared("data/traces/azure_llm_code.csv"))
    assert (len(code), code.value_column, code.times[0]) == (8819, "ContextTokens", 1_700_158_623_979)
    hourly = read_series(shared("data/traces/hourly_requests.json"))
    assert (hourly.step_ms, hourly.values[0]) == (3_600_000, 7290.0979278853)
    disk = read_series(shared("data/traces/sar_device_await.csv"))
    assert (disk.step_ms, disk.time_column, len(disk)) == (2000, "1", 7200)
