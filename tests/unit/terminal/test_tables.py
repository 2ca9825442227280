"""Tables of names and figures that are whole at any width, and shown as they are."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from detector.adapters.terminal.budget import table_of_levels
from detector.adapters.terminal.forecast import BAR, table_of_forecast
from detector.adapters.terminal.sampling import table_of_recommendations
from detector.adapters.terminal.tables import show
from detector.domain.budget import Evidence, Held, Stored
from detector.domain.recommendation import Issued, Recommendation

MIDNIGHT = 1_767_657_600_000
EXPECTED = np.linspace(1_239_123.0, 1_268_123.0, 30)
TOLD = Recommendation(
    "acme", "[/pay] [red]", 7, 1, MIDNIGHT, 120.0, 0, 5.0, 0.01, ("[/why] it is so [b]because[/b]",), ()
)
ISSUED = Issued(TOLD, True, 123_456.0, 100.0, 1.5, applied=12, clamped=3, rejected=4, measured_kept=98_765.0)


def _text(table: Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _forecast(width: int) -> str:
    times = MIDNIGHT + np.arange(30) * 300_000
    table = table_of_forecast("[/a] [red].csv", "UTC", times, EXPECTED, EXPECTED - 9e3, EXPECTED + 9e3, width)
    return _text(table, width)


def test_a_budget_is_named_as_it_is() -> None:
    held = Held("acme/http.[ab]*", 3.0, 2.9, 2.5, 1, 100, Evidence(1.0, (0.0,), {}))
    assert "acme/http.[ab]*" in _text(table_of_levels([Stored(held, 1, 0.0)]), 120)


@pytest.mark.parametrize(("width", "bar"), [(200, BAR), (80, 26), (62, 8), (61, 0)])
def test_a_forecast_draws_in_the_width_that_its_figures_leave(width: int, bar: int) -> None:
    title, head, first, *rows = _forecast(width).splitlines()
    assert (title.strip(), "interval" in head) == ("[/a] [red].csv", bar > 0)
    assert re.match(r"2026-01-06 00:00:00  1,239,123  1,230,123  1,248,123", first)
    assert len(rows) == 29
    assert max(len(line.rstrip()) for line in (first, *rows)) == 52 + (bar and 2 + bar)


@pytest.mark.parametrize("width", [20, 40])
def test_a_forecast_without_room_loses_no_digit(width: int) -> None:
    text = re.sub(r"\s", "", _forecast(width))
    assert [digit for digit in "0123456789" if text.count(digit) < _forecast(200).count(digit)] == []


@pytest.mark.parametrize("width", [40, 80])
def test_recommendations_are_whole_where_there_is_no_room(width: int) -> None:
    letters = sorted(re.sub(r"\s", "", _text(table_of_recommendations([ISSUED]), width)))
    assert letters == sorted(re.sub(r"\s", "", _text(table_of_recommendations([ISSUED]), 400)))


def test_what_is_no_terminal_gets_a_row_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show(table_of_recommendations([ISSUED]))
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "issued,"
    assert "acme/[/pay] [red]" in row
    assert "[/why] it is so [b]because[/b]" in row
    assert "12, 3 clamped, 4 rejected" in row
