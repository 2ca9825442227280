"""The bench agrees with the protocol that lies beside the data, runs, and its figures hold on a part of it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from models.load.layout import HORIZONS as BUCKETS_OF
from tests.forecast.ours import follow
from tests.forecast.protocol import Answer, Series, geometric_mean, measure, read_series
from tests.forecast.rivals import Timed, kept, seasonal_naive
from tests.shared import ROOT, shared


def protocol() -> ModuleType:
    spec = importlib.util.spec_from_file_location("forecast_protocol", shared("tools/forecast_protocol.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_series_origins_and_measures_are_those_of_the_protocol() -> None:
    theirs = {one["sid"]: one for one in protocol().load()}
    ours = list(read_series(shared("data/load")))
    assert [one.name for one in ours] == list(theirs)
    rng = np.random.default_rng(7)
    for one in ours:
        other = theirs[one.name]
        assert (one.group, one.m, one.burn_in, one.scale) == (other["g"], other["m"], other["B"], other["scale"])
        assert np.array_equal(one.y, other["y"], equal_nan=True)
        assert np.array_equal(one.filled(), other["yf"])
        assert np.array_equal(one.origins, other["org"])
        assert (one.t_ms.astype("M8[ms]") == other["ts"]).all()
        assert one.m in BUCKETS_OF
        shape = (len(one.origins), one.m)
        middle = rng.normal(np.nanmean(one.y), one.scale, shape)
        reach = rng.exponential(one.scale, shape)
        answer = Answer(middle, middle - reach, middle + reach)
        judged = (
            protocol().score([other], {one.name: (answer.expected, answer.lower, answer.upper)}, "x").set_index("h")
        )
        for horizon, found in measure(one, answer).items():
            expected = judged.loc[horizon, ["mase", "cov", "win"]].to_numpy(float)
            assert [found.mase, found.coverage, found.winkler] == pytest.approx(expected)


def test_answers_that_were_kept_are_not_asked_for_again(tmp_path: Path) -> None:
    one = next(iter(read_series(shared("data/load"))))
    asked = []

    def rival(series: Series) -> Timed:
        asked.append(series.name)
        middle = np.full((len(series.origins), series.m), 1 / 3)
        return Timed(Answer(middle, middle - 1.0, middle + 1.0), 0.5, 2e6)

    first = kept("slow", rival, tmp_path / "kept")(one)
    again = kept("slow", rival, tmp_path / "kept")(one)
    assert (again.learn_us, again.fit_us) == (first.learn_us, first.fit_us) == (0.5, 2e6)
    for there, before in zip(vars(again.answer).values(), vars(first.answer).values(), strict=True):
        assert np.array_equal(there, before)
    kept("slow", rival, tmp_path / "kept")(replace(one, origins=one.origins[:2]))
    kept("other", rival, tmp_path / "kept")(one)
    assert asked == [one.name] * 3


@pytest.mark.soak
def test_forecasts_of_an_hour_series_beat_yesterday_and_cover() -> None:
    """A third of the whole race; the floors leave room, the figures are in the README."""
    ratios, covered = [], []
    for one in read_series(shared("data/load")):
        if one.name in ("nasa_http_aug_1h", "bikeshare_uci_1h", "nyc_taxi"):
            mine = follow(one)
            naive = measure(one, seasonal_naive(one).answer)
            ratios += [found.mase / naive[horizon].mase for horizon, found in measure(one, mine.answer).items()]
            covered += list(mine.inside.values())
    assert geometric_mean(ratios) < 0.6
    assert min(covered) > 0.83
    assert max(covered) < 0.93


@pytest.mark.soak
def test_our_figures_hold_on_all_series() -> None:
    """The targets that need no rival: half of what yesterday would have had, 90 % within the interval."""
    ratios: list[float] = []
    covered: dict[tuple[str, str], list[float]] = {}
    for one in read_series(shared("data/load")):
        mine = follow(one)
        naive = measure(one, seasonal_naive(one).answer)
        ratios += [found.mase / naive[horizon].mase for horizon, found in measure(one, mine.answer).items()]
        for horizon, share in mine.inside.items():
            covered.setdefault((one.group, horizon), []).append(share)
        assert mine.learn_us < 60
    assert geometric_mean(ratios) <= 0.55
    for (group, horizon), shares in covered.items():
        least, most = (0.87, 0.93) if horizon == "season" else (0.885, 0.915)
        assert least <= np.mean(shares) <= most, (group, horizon, shares)


def test_refits_are_those_of_statsforecast() -> None:
    library = pytest.importorskip("statsforecast", reason="an extra of the bench: pip install detector[forecast-bench]")
    assert library is not None
    from tests.forecast.rivals import REFITTED, statsforecast

    one = next(one for one in read_series(shared("data/load")) if one.name == "nasa_http_jul_1h")
    one = replace(one, origins=one.origins[:1])
    for name in REFITTED[1:]:
        found = statsforecast(name)(one)
        assert found.fit_us > 0
        assert found.answer.expected.shape == (1, one.m)
        assert measure(one, found.answer)["season"].mase < 3


@pytest.mark.soak
def test_the_bench_fills_its_tables_and_draws_its_page(tmp_path: Path) -> None:
    shared("data/load")
    page = tmp_path / "page.png"
    command = [sys.executable, "-m", "tests.forecast", "--quick", "--markdown", "--groups", "nab_traffic"]
    if importlib.util.find_spec("matplotlib"):
        command += ["--plots", str(page)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr[-3000:]
    rows = [line.strip("| ").split(" | ") for line in ended.stdout.splitlines() if line.startswith("|")]
    assert [row[0] for row in rows if row[0] in ("Detector", "seasonal naive", "River SNARIMAX")]
    ours = next(row for row in rows if row[0] == "Detector")
    assert all(re.fullmatch(r"[\d,.]+", cell) for cell in ours[1:-1]), ours
    if importlib.util.find_spec("matplotlib"):
        assert page.stat().st_size > 10_000
