"""The bench itself: peers answer every row and know no future, tables are full, pictures are drawn."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detector.pipeline.state import Levels
from tests.quality.calibration import clean_streams
from tests.quality.detectors import OURS, SLOW, detectors, score
from tests.quality.drawing import picture
from tests.quality.report import Table, show
from tests.quality.run import nab_of_scores, subset
from tests.quality.streams import Fault, Stream, in_memory
from tests.shared import ROOT


def strange_at(row: int, n: int = 700) -> Stream:
    values = np.random.default_rng(3).normal(100.0, 3.0, n)
    values[row] = 200.0
    values[50:60] = np.nan
    file = in_memory("made", np.arange(n) * 300_000, values)
    return Stream("made", "made", "made", "test", file, 350, (Fault("anomaly", row, row + 30),))


@pytest.mark.parametrize("name", detectors())
def test_every_detector_sees_the_obvious_and_nothing_that_comes_later(name: str) -> None:
    stream = strange_at(600)
    found = detectors()[name](stream.file)
    assert found.shape == (700,)
    assert not np.isnan(found).any()
    assert np.all(found[50:60] == -np.inf), "a missing value is not scored"
    assert found[600] > np.quantile(found[stream.warm : 600], 0.99)
    cut = replace(
        stream.file, stamps=stream.file.stamps[:650], times=stream.file.times[:650], values=stream.file.values[:650]
    )
    np.testing.assert_array_equal(detectors()[name](cut)[200:], found[200:650])


def test_every_peer_is_installed_here() -> None:
    assert len(detectors()) == 9
    assert set(SLOW) < set(detectors())
    assert next(iter(detectors())) == OURS


def test_a_row_counts_where_it_tops_those_before_it() -> None:
    stream = strange_at(600)
    early, late = np.zeros(700), np.zeros(700)
    early[600:605] = [5.0, 5.0, 4.0, 5.0, 3.0]
    late[400:460] = 6.0
    assert nab_of_scores([stream], {"made": early}) == pytest.approx(100.0)
    assert nab_of_scores([stream], {"made": early + late}) == pytest.approx(100.0 - 100 * 0.11 * 2 / 2, abs=6)


def test_peers_get_the_same_streams_of_every_sort() -> None:
    streams = clean_streams(5_000)
    chosen = subset([*streams, *(replace(one, split="dev") for one in streams)], clean=2, faulty=1)
    assert [one.split for one in chosen] == ["test", "test", "dev", "dev"]


def test_a_stream_is_drawn_with_its_faults_and_alerts() -> None:
    stream = strange_at(600)
    rows = score(stream.file)
    assert "firing" in rows.alert
    figure = picture(stream, rows, Levels())
    values, surprise = figure.axes
    assert values.get_title(loc="left").startswith("made    anomaly")
    assert surprise.get_ylim()[1] >= Levels().critical


def test_tables_are_markdown_for_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    show([Table("a title", ["kind", "recall"], [["spike", ".5"]])], markdown=True)
    assert capsys.readouterr().out == "| kind | recall |\n| --- | ---: |\n| spike | .5 |\n\n"


@pytest.mark.soak
def test_quick_bench_fills_every_table_and_the_page(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.quality", "--quick", "--no-peers", "--markdown", "--out", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    for row in ("event F1", "drop to zero", "median delay, rows", "heavy-tailed"):
        assert f"| {row} |" in ended.stdout, row
    assert "nan" not in ended.stdout
    page = (tmp_path / "quality.html").read_text()
    assert page.count("<figure>") >= 6
    assert "://" not in page, "a page fetches nothing"
    assert "missed" in (tmp_path / "streams.csv").read_text()
