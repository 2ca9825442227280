"""Traffic is a function of seed, run and window, and has what it says."""

from __future__ import annotations

import numpy as np
import pytest

from detector.simulation.traffic import CAPPED, CLEAN, ERRORS, ILL, LATENCY, PARETO, TAIL, Size, Traffic, Window

SIZE = Size(series=40, windows=120, warm=20, events=600)


def of_series(window: Window, i: int) -> np.ndarray:
    return window.values[window.offsets[i] : window.offsets[i + 1]]


def test_a_window_does_not_depend_on_what_was_drawn_before_it() -> None:
    one, other = Traffic(3, SIZE), Traffic(3, SIZE)
    for t in range(5):
        other.window(t)
    assert one.window(7).values.tolist() == other.window(7).values.tolist()
    assert one.window(7).values.tolist() != Traffic(4, SIZE).window(7).values.tolist()
    assert one.window(7).values.tolist() != Traffic(3, SIZE, ILL).window(7).values.tolist()


def test_sizes_follow_zipf_and_loads_a_day() -> None:
    traffic = Traffic(3, Size(series=120, windows=288))
    loads = np.array([traffic.load(t) for t in range(288)])
    average = np.sort(np.median(loads[:, traffic.begins == 0], axis=0))[::-1]
    assert 4 < average[0] / average[9] < 16
    assert 4 < average[4] / average[49] < 16
    assert loads.sum(axis=1).max() > 1.5 * loads.sum(axis=1).min()
    assert np.diff(np.median(loads, axis=1)[::12]).std() > 0
    assert (loads > 3 * np.median(loads, axis=0)).any()  # bursts
    assert (traffic.begins > 0).any()
    assert all(not loads[: traffic.begins[i], i].any() for i in range(120))


def test_latencies_rise_within_a_series_and_have_their_kinds() -> None:
    traffic = Traffic(5, SIZE)
    window = traffic.window(60)
    assert all((np.diff(of_series(window, i)) >= 0).all() for i in range(40))
    capped = [of_series(window, i) for i in np.flatnonzero((traffic.kind == CAPPED) & (window.seen > 150)).tolist()]
    assert any((values == values[-1]).sum() > 3 for values in capped)
    heavy = [of_series(window, i) for i in np.flatnonzero((traffic.kind == PARETO) & (window.seen > 500)).tolist()]
    assert min(np.quantile(values, 0.5) / values[0] for values in heavy) < 1.4  # a least value, and a tail above it
    assert 0.001 < window.failed.mean() < 0.01


def test_an_ill_run_is_ill_where_it_says() -> None:
    ill, calm = Traffic(5, SIZE, ILL), Traffic(5, SIZE, ILL)
    calm.anomalies = []
    kinds = {anomaly.kind for anomaly in ill.anomalies}
    assert kinds == {LATENCY, TAIL, ERRORS}
    for anomaly in ill.anomalies:
        assert SIZE.warm <= anomaly.first < anomaly.last < SIZE.windows
        sick, well = ill.window(anomaly.first), calm.window(anomaly.first)
        if sick.seen[anomaly.series] < 500:
            continue
        a, b = of_series(sick, anomaly.series), of_series(well, anomaly.series)
        if anomaly.kind == LATENCY:
            assert np.median(a) > 1.1 * np.median(b)
        elif anomaly.kind == TAIL:
            assert a.mean() > 1.02 * b.mean()
        else:
            span = slice(sick.offsets[anomaly.series], sick.offsets[anomaly.series + 1])
            assert sick.failed[span].mean() > 0.5 * anomaly.size
    assert Traffic(5, SIZE, CLEAN).anomalies == []


def test_a_surge_multiplies_the_load_from_its_window_on() -> None:
    calm, surging = Traffic(5, SIZE), Traffic(5, SIZE, surge_from=50)
    assert surging.load(49).tolist() == calm.load(49).tolist()
    assert surging.load(50) == pytest.approx(5 * calm.load(50))
