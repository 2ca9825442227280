"""Time stamps: units, zones, orders of day and month."""

from __future__ import annotations

import pytest

from detector.adapters.files.stamps import NO_TIME, read_times
from detector.errors import FileError

MOMENT = 1_391_144_400_000  # 2014-01-31 05:00 UTC


@pytest.mark.parametrize(("unit", "scale"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("year", [1975, 2014, 2026, 2200])
def test_tim_01_unit_by_magnitude(unit: str, scale: int, year: int) -> None:
    seconds = (year - 1970) * 31_556_952
    texts = [str((seconds + minute * 60) * scale) for minute in range(5)]
    times, found = read_times(texts, "x")
    assert found == unit
    assert times.tolist() == [(seconds + minute * 60) * 1000 for minute in range(5)]


def test_tim_01_a_stamp_of_another_unit_is_unreadable() -> None:
    times, unit = read_times(["1391144400", "1391144400000", "1391144460", "1391144520"], "x")
    assert unit == "s"
    assert times.tolist() == [MOMENT, NO_TIME, MOMENT + 60_000, MOMENT + 120_000]
    assert read_times(["0", "1391144400000", "1391144400001"], "x")[0][0] == NO_TIME


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1700000000.123", 1_700_000_000_123),
        ("1700000000.9999999", 1_700_000_000_999),
        ("1700000000,5", 1_700_000_000_500),
        ("1.7000000005e9", 1_700_000_000_500),
        ("1700000000123.9", 1_700_000_000_123),
        ("1700000000123456789", 1_700_000_000_123),
        ("-0.0001", -1),
        ("-1", -1000),
    ],
)
def test_unix_fractions_are_rounded_down(text: str, milliseconds: int) -> None:
    assert read_times([text], "x")[0].tolist() == [milliseconds]


@pytest.mark.parametrize(
    "text",
    [
        "2014-01-31 05:00:00", "2014-01-31T05:00", "2014-01-31 05:00:00Z", "2014-01-31T05:00:00z",
        "2014-01-31 05:00:00 UTC", "2014-01-31 06:30:00+01:30", "2014-01-31 00:00:00-0500",
        "2014-01-31 06:00:00.0004567 +01", "2014-01-31 05:00:00.000999999", "2014-01-31 05:00:00,000",
        "2014/1/31 5:00", "2014.01.31 05:00", "20140131T050000Z", "20140131050000", "201401310500",
        "31/01/2014 05:00", "1/31/2014 5:00:00 AM", "31.01.2014 05:00", "31-Jan-2014 05:00", "31 January 2014 05:00",
        "31/Jan/2014:05:00:00 +0000", "Fri, 31 Jan 2014 05:00:00 GMT", "01/31/2014, 05:00",
    ],
)  # fmt: skip
def test_one_moment_in_many_forms(text: str) -> None:
    assert read_times([text], "x")[0].tolist() == [MOMENT]


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2014-01-31", MOMENT - 5 * 3_600_000),
        ("20140131", MOMENT - 5 * 3_600_000),
        ("1969-12-31 23:59:59.9999", -1),
        ("2016-12-31 23:59:60", 1_483_228_800_000),
        ("1/31/2014 12:00:00 PM", MOMENT + 7 * 3_600_000),
        ("1/31/2014 12:00:00 AM", MOMENT - 5 * 3_600_000),
        ("0001-01-01 00:00:00", -62_135_596_800_000),
        ("9999-12-31 23:59:59.999", 253_402_300_799_999),
    ],
)
def test_single_moments(text: str, milliseconds: int) -> None:
    assert read_times([text], "x")[0].tolist() == [milliseconds]


@pytest.mark.parametrize(
    "text", ["", "now", "2014-02-30", "2014-01-31 24:01", "2014-13-01", "31 Foo 2014", "1e30", "12:30"]
)
def test_no_moment(text: str) -> None:
    times, _ = read_times([text, "2014-01-31", "2014-02-01"], "x")
    assert times[0] == NO_TIME


def test_tim_03_naive_and_aware_mixed_naive_is_utc() -> None:
    times, unit = read_times(["2014-01-31 05:00:00", "2014-01-31 06:05:00+01:00", "2014-01-31T05:10:00Z"], "x")
    assert unit == "date"
    assert times.tolist() == [MOMENT, MOMENT + 300_000, MOMENT + 600_000]


def test_day_and_month_are_told_apart_by_the_column() -> None:
    first, _ = read_times(["02/01/2014", "13/01/2014"], "x")
    assert first[1] - first[0] == 11 * 86_400_000
    first, _ = read_times(["01/02/2014", "01/13/2014"], "x")
    assert first[1] - first[0] == 11 * 86_400_000
    first, _ = read_times(["01.02.2014", "01.03.2014"], "x")
    assert first[1] - first[0] == 28 * 86_400_000
    assert read_times(["01/01/2014 10:00", "01/01/2014 11:00"], "x")[0].tolist()[0] == 1_388_570_400_000


@pytest.mark.parametrize("dates", [["01/02/2014", "01/03/2014"], ["13/01/2014", "01/13/2014"]])
def test_ambiguous_dates_are_refused(dates: list[str]) -> None:
    with pytest.raises(FileError, match=r"a.csv: nothing tells day from month.*write the year first"):
        read_times(dates, "a.csv")
