"""Any series in any dialect reads back the same, and scores read back to the last bit."""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.adapters.files import NO_TIME, ScoredRows, read_series, write_scores
from detector.errors import FileError

FIRST, LAST = 631_152_000_000, 4_102_444_799_999  # 1990 to 2100: what is taken for a Unix stamp unasked
FIGURES = st.floats(allow_infinity=False)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Series = list[tuple[int, float]]


@st.composite
def series(draw: st.DrawFn) -> Series:
    """Distinct times in any order, at least one figure."""
    times = draw(st.lists(st.integers(FIRST, LAST), min_size=2, max_size=30, unique=True))
    times[:2] = sorted(times[:2])
    values = [draw(FIGURES) for _ in times]
    values[draw(st.integers(0, len(values) - 1))] = draw(st.floats(allow_nan=False, allow_infinity=False))
    return list(zip(times, values, strict=True))


def iso(time: int, separator: str, digits: int, hours: int | None) -> str:
    moment = EPOCH + timedelta(milliseconds=time, hours=hours or 0)
    fraction = f"{time % 1000:03}{'4567899'[: digits - 3]}"
    zone = "" if hours is None else "Z" if hours == 0 else f"{hours:+03}:00"
    return f"{moment:%Y-%m-%d{separator}%H:%M:%S}.{fraction}{zone}"


STAMPS: dict[str, st.SearchStrategy[Any]] = {
    "ms": st.just(str),
    "us": st.integers(0, 999).map(lambda rest: lambda time: str(time * 1000 + rest)),
    "ns": st.integers(0, 999_999).map(lambda rest: lambda time: str(time * 1_000_000 + rest)),
    "s": st.just(lambda time: f"{time // 1000}.{time % 1000:03}"),
    "date": st.builds(
        lambda separator, digits, hours: lambda time: iso(time, separator, digits, hours),
        st.sampled_from("T "),
        st.sampled_from([3, 6, 7, 9]),
        st.sampled_from([None, 0, 2, -11]),
    ),
}


def number(value: float, missing: str, comma: bool) -> str:
    if math.isnan(value):
        return missing
    return repr(value).replace(".", ",") if comma else repr(value)


def same(path: Path, expected: Series, unit: str, stamps: list[str]) -> None:
    found = read_series(path)
    assert found.unit_of_time == unit
    assert found.stamps == stamps
    assert found.times.tolist() == [time for time, _ in expected]
    np.testing.assert_array_equal(found.values, [value for _, value in expected])
    assert found.unreadable == 0
    windows = found.windows()
    assert (windows % found.step_ms == 0).all()


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    rows=series(),
    unit=st.sampled_from(sorted(STAMPS)),
    delimiter=st.sampled_from(",;\t|"),
    comma=st.booleans(),
    missing=st.sampled_from(["", "nan", "NULL", "NA", "-"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    header=st.booleans(),
    before=st.sampled_from(["", "\ufeff"]),
    comment=st.sampled_from(["", "# made by hand; 1,5|x\t"]),
    after=st.sampled_from(["", "\n", "\r\n \r\n"]),
    note=st.text("ab ,;|\t\"'#", max_size=5).map(lambda text: f"x{text}"),
    data=st.data(),
)
def test_delimited_round_trip(
    rows: Series, unit: str, delimiter: str, comma: bool, missing: str, quoting: Any, ending: str, header: bool,
    before: str, comment: str, after: str, note: str, data: st.DataObject,
) -> None:  # fmt: skip
    text = io.StringIO()
    stamp = data.draw(STAMPS[unit])
    stamps = [stamp(time) for time, _ in rows]
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=ending)
    if header:
        writer.writerow(["note", "timestamp", "value"])
    for one, (_, value) in zip(stamps, rows, strict=True):
        writer.writerow([note, one, number(value, missing, comma and delimiter == ";")])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.csv")
        path.write_bytes((before + (comment + ending if comment else "") + text.getvalue() + after).encode())
        same(path, rows, unit, stamps)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(rows=series(), shape=st.sampled_from(["objects", "columns", "lines", "parquet"]))
def test_structured_round_trip(rows: Series, shape: str) -> None:
    times = [time for time, _ in rows]
    values = [None if math.isnan(value) else value for _, value in rows]
    columns = {"at": times, "load": values}
    objects = [{"at": time, "load": value} for time, value in zip(times, values, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a")
        if shape == "parquet":
            pq.write_table(pa.table(columns), path)
        elif shape == "lines":
            path.write_text("\n".join(map(json.dumps, objects)))
        else:
            path.write_text(json.dumps(objects if shape == "objects" else columns))
        same(path, rows, "ms", [str(time) for time in times])


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=12)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(rows=st.lists(st.tuples(TEXTS, *[FIGURES] * 6, TEXTS), min_size=1, max_size=20))
def test_scores_read_back_to_the_last_bit(rows: list[Any]) -> None:
    stamps, values, expected, lower, upper, score, surprise, alert = (
        list(column) for column in zip(*rows, strict=True)
    )
    figures = [np.array(column, float) for column in (values, expected, lower, upper, score, surprise)]
    stream = io.StringIO()
    write_scores(stream, ScoredRows(stamps, *figures, alert, alert))  # type: ignore[call-arg,arg-type]  # columns by place
    header, *back = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    assert len(header) == 9
    assert [row[0] for row in back] == stamps
    assert [row[7] for row in back] == [row[8] for row in back] == alert
    for position, column in enumerate(figures, 1):
        again = np.array([float(row[position] or "nan") for row in back])
        np.testing.assert_array_equal(again, column)
        np.testing.assert_array_equal(np.signbit(again), np.signbit(np.where(np.isnan(column), np.nan, column)))


@settings(deadline=None, derandomize=True, max_examples=200)
@given(content=st.binary(max_size=300) | st.text(max_size=200).map(str.encode) | st.text('0123456789-:,;\n"#.eT {}[]'))
def test_any_bytes_give_a_series_or_a_named_fault(content: bytes | str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.csv")
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        try:
            found = read_series(path)
        except FileError as error:
            assert str(path) in str(error)  # noqa: PT017  either outcome is right
            return
        assert len(found.stamps) == len(found.times) == len(found.values) == len(found.windows())
        assert not np.isinf(found.values).any()
        assert (found.times != NO_TIME).any()
