"""Reading: dialects, kinds of files, and what is refused with which words."""

from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from detector.adapters.files import NO_TIME, SeriesFile, read_series
from detector.errors import FileError

MIDNIGHT = 1_767_225_600_000  # 2026-01-01 UTC
TIMES = [MIDNIGHT, MIDNIGHT + 300_000, MIDNIGHT + 600_000]


def written(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def check(series: SeriesFile, values: list[float], times: list[int] = TIMES) -> None:
    assert series.times.tolist() == times
    np.testing.assert_array_equal(series.values, values)


PLAIN = "timestamp,value\n2026-01-01 00:00:00,1.5\n2026-01-01 00:05:00,\n2026-01-01 00:10:00,-3e2\n"
NOTES = "".join(
    f'{host},{stamp},"a; ""b""\nc",{value}\n'
    for host, stamp, value in [
        ("host", "timestamp", "value"),
        ("h1", "2026-01-01 00:00:00", "1.5"),
        ("h2", "2026-01-01 00:05:00", "NULL"),
        ("h3", "2026-01-01 00:10:00", "-300"),
    ]
)
FRACTIONS = (
    "timestamp;log;value\n2026-01-01 00:00:00,000;x,y;1,5\n2026-01-01 00:05:00,000;x,y;-\n2026-01-01 00:10:00,0;;-300"
)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.rstrip("\n"),
        PLAIN + "\n\n  \n\r\n",
        "# exported by hand\n" + PLAIN.replace("\n2026-01-01 00:05", "\n#a, b, c\n2026-01-01 00:05"),
        PLAIN.split("\n", 1)[1],
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", ";").replace("1.5", "1,5"),
        PLAIN.replace(",", " , "),
        PLAIN.replace("timestamp,value", '"time, UTC","value"').replace("1.5", '"1.5"'),
        PLAIN.replace("00:00:00,1.5", "00:00:00,1.5,a stray cell,another"),
        PLAIN.replace("00:05:00,", "00:05:00"),
        NOTES,
        ",timestamp,load\n0,2026-01-01,1.5\n1,2026-01-01 00:05,nan\n2,2026-01-01T00:10Z,-300\n",
        FRACTIONS,
    ],
)  # fmt: skip
def test_dialects(tmp_path: Path, text: str) -> None:
    series = read_series(written(tmp_path, text))
    check(series, [1.5, np.nan, -300.0])
    assert (series.step_ms, series.unit_of_time, series.unreadable, len(series)) == (300_000, "date", 0, 3)


def test_stamps_keep_their_text(tmp_path: Path) -> None:
    series = read_series(written(tmp_path, "t,v\n2026-01-01T00:00:00.1234567+01:00,1\n2026/1/1 0:05,2\n"))
    assert series.stamps == ["2026-01-01T00:00:00.1234567+01:00", "2026/1/1 0:05"]
    assert series.times.tolist() == [MIDNIGHT - 3_600_000 + 123, MIDNIGHT + 300_000]


@pytest.mark.parametrize("mark", ["", "nan", "NaN", "NULL", "null", "NA", "n/a", "-", "None", "inf", "-Infinity"])
def test_marks_of_missing_values(tmp_path: Path, mark: str) -> None:
    series = read_series(written(tmp_path, PLAIN.replace("00:05:00,", f"00:05:00,{mark}")))
    check(series, [1.5, np.nan, -300.0])
    assert series.unreadable == 0


def test_a_row_that_cannot_be_read_stays_in_place(tmp_path: Path) -> None:
    text = "timestamp,value\n2026-01-01 00:00,1\nyesterday,2\n2026-01-01 25:00,3\n2026-01-01 00:05,n.d.\n2026-02-30,4\n"
    text += "".join(f"2026-01-01 00:{minute},5\n" for minute in (10, 15, 20))
    series = read_series(written(tmp_path, text))
    assert series.stamps[1] == "yesterday"
    assert np.flatnonzero(series.times == NO_TIME).tolist() == [1, 2, 4]
    assert np.flatnonzero(series.windows() == NO_TIME).tolist() == [1, 2, 4]
    assert np.flatnonzero(np.isnan(series.values)).tolist() == [3]
    assert series.unreadable == 4


def test_columns_are_found_among_thousands(tmp_path: Path) -> None:
    names = ["host", "when", *(f"c{i}" for i in range(5000))]
    rows = [["web", str(t // 1000), *["x"] * 4321, *["0.25"] * 679] for t in TIMES]
    path = written(tmp_path, "\n".join(",".join(row) for row in [names, *rows]))
    series = read_series(path)
    assert (series.time_column, series.value_column, series.unit_of_time) == ("when", "c4321", "s")
    check(read_series(path, value_column="c4999"), [0.25] * 3)


def test_columns_as_told(tmp_path: Path) -> None:
    path = written(tmp_path, "made,seen,a,b\n" + "".join(f"2020-01-01,2026-01-01 00:0{i},1,{i}\n" for i in range(3)))
    series = read_series(path, time_column="seen", value_column="b")
    check(series, [0, 1, 2], [MIDNIGHT + minute * 60_000 for minute in range(3)])
    bare = written(tmp_path, "1767225600,7,1\n1767225660,8,2\n", "bare.csv")
    assert read_series(bare, time_column="1", value_column="3").values.tolist() == [1.0, 2.0]
    relative = written(tmp_path, "time,value\n0,5\n300,6\n", "relative.csv")
    assert read_series(relative).times.tolist() == [0, 300_000]
    numbered = written(tmp_path, "time,1,2\n1767225600,7,1\n1767225660,8,2\n", "numbered.csv")
    assert read_series(numbered).value_column == "1"


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    text = PLAIN.replace("value", "größe")
    assert read_series(written(tmp_path, text)).value_column == "größe"
    assert read_series(written(tmp_path, text.encode("cp1252"), "b.csv")).value_column == "größe"


def test_lab_03_names_with_spaces_and_beyond_ascii(tmp_path: Path) -> None:
    for name in ("cpu load.csv", "größe.csv", "温度.csv", "a.b*>.csv"):
        series = read_series(written(tmp_path, PLAIN.replace("value", name), name))
        assert (series.path.name, series.value_column) == (name, name)
        with pytest.raises(FileError, match="no column is named") as caught:
            read_series(series.path, value_column="温")
        assert name in str(caught.value)


RECORDS = [
    {"timestamp": t, "value": v, "tags": ["a"], "up": True} for t, v in zip(TIMES, (1.5, None, -300), strict=True)
]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(RECORDS),
        "\ufeff" + json.dumps(RECORDS, indent=1),
        "\n".join(map(json.dumps, RECORDS)) + "\n\n",
        json.dumps({"timestamp": TIMES, "value": [1.5, None, -300]}),
        json.dumps({"timestamp": dict(enumerate(TIMES)), "value": {"0": 1.5, "1": None, "2": -300}}),
        json.dumps({"period": 24, "series": RECORDS}),
        json.dumps(RECORDS).replace("null", "NaN"),
        json.dumps([{"value": r["value"], "t": str(r["timestamp"])} for r in RECORDS]),
    ],
)  # fmt: skip
def test_json(tmp_path: Path, text: str) -> None:
    for name in ("a.json", "a.jsonl", "a.txt"):
        series = read_series(written(tmp_path, text, name))
        check(series, [1.5, np.nan, -300.0])
        assert series.stamps == [str(t) for t in TIMES]


def test_json_columns_that_only_later_rows_have(tmp_path: Path) -> None:
    rows = [{"t": t, "v": 1} for t in range(0, 200_000, 1000)] + [{"t": 200_000, "late": 2}]
    path = written(tmp_path, json.dumps(rows))
    series = read_series(path)
    assert series.value_column == "v"
    assert np.isnan(series.values[-1])
    with pytest.raises(FileError, match="'late' holds no numbers"):
        read_series(written(tmp_path, json.dumps([*rows[:-1], {"t": 200_000, "late": "x"}])), value_column="late")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_parquet(tmp_path: Path, unit: str, zone: str | None) -> None:
    stamps = pa.array(np.array(TIMES, "datetime64[ms]")).cast(pa.timestamp(unit)).cast(pa.timestamp(unit, zone))
    table = pa.table({"tags": [["a"], [], None], "load": pa.array([0.1 + 0.2, None, 5e-324]), "at": stamps})
    pq.write_table(table, tmp_path / "a")
    series = read_series(tmp_path / "a")
    assert (series.time_column, series.value_column) == ("at", "load")
    check(series, [0.1 + 0.2, np.nan, 5e-324])


def test_parquet_of_integers(tmp_path: Path) -> None:
    table = pa.table({"ts": [t * 1_000_000 for t in TIMES], "value": pa.array(["1", "2", "3"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "a.parquet")
    series = read_series(tmp_path / "a.parquet")
    check(series, [1, 2, 3])
    assert series.unit_of_time == "ns"


REFUSED = [
    ("", "empty"),
    (" \n\n", "empty"),
    ("\ufeff", "empty"),
    ("# nothing yet\n", "no rows"),
    ("timestamp,value\n", "a header and no rows"),
    ("timestamp,value\n2026-01-01,1\n", "at least two rows"),
    ("timestamp,value\n2026-01-01,1\n2026-01-01,2\n", "at least two rows"),
    ("name,city\nAnna,Rome\nBo,Oslo\n", r"time stamps.*--time-column.*'name', 'city'"),
    ("timestamp,city\n2026-01-01,Rome\n2026-01-02,Oslo\n", r"numbers.*--value-column.*'timestamp', 'city'"),
    ("value\n1\n2\n", "time stamps"),
    ("timestamp,value\n2026-01-01,1\n2026-01-02,2\n2026-01-03,\"3\n2026-01-04,4\n", "near line 5.*quote"),
    ("timestamp,value\n2026-01-01,1\nx,1\ny,2\nz,3\n", "time stamps"),
    (PLAIN.encode("utf-16"), "UTF-16; convert it with: iconv -f UTF-16 -t UTF-8"),
    (PLAIN.encode("utf-16-le"), "iconv -f UTF-16LE -t UTF-8"),
    (PLAIN.encode("utf-16-be"), "iconv -f UTF-16BE -t UTF-8"),
    (PLAIN.encode() + bytes(4096 * 2), "zero bytes|binary"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary"),
    (b"PAR1 but no more", "Parquet"),
    (gzip.compress(PLAIN.encode(), mtime=0), "gunzip"),
    (b"PK\x03\x04...", "spreadsheet"),
    ("[1, 2]", "another shape"),
    ("{", "not JSON in line 1"),
    ('{"t": [1767225600, 1767225660], "value": [1]}', "2 entries"),
    ("[" * 200_000, "nested too deeply"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "words"), REFUSED)
def test_refused(tmp_path: Path, content: str | bytes, words: str) -> None:
    path = written(tmp_path, content, "my file.csv")
    with pytest.raises(FileError, match=words) as caught:
        read_series(path)
    assert str(path) in str(caught.value)


def test_refused_by_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="it is a folder"):
        read_series(tmp_path)
    with pytest.raises(FileError, match="no such file"):
        read_series(tmp_path / "none.csv")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="no regular file"):
        read_series(tmp_path / "pipe")


def test_more_than_half_unread_names_the_first(tmp_path: Path) -> None:
    good = "".join(f"2026-01-01 00:{i:02},1\n" for i in range(60))
    with pytest.raises(FileError, match=r"61 of 121 .* first 'soon' in row 61"):
        read_series(written(tmp_path, "t,v\n" + good + "soon,2\n" * 61))
    with pytest.raises(FileError, match=r"column 'v' holds no numbers"):
        read_series(written(tmp_path, "t,v\n" + good.replace(",1\n", ",x\n")), value_column="v")


def test_too_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detector.adapters.files.columns.MAX_ROWS", 2)
    for text in (PLAIN, json.dumps(RECORDS)):
        with pytest.raises(FileError, match="more than 2 rows"):
            read_series(written(tmp_path, text))


def test_twenty_thousand_rows_take_no_time(tmp_path: Path) -> None:
    rows = "".join(f"{np.datetime64(MIDNIGHT + 300_000 * i, 'ms')},{i / 7}\n" for i in range(22_695))
    path = written(tmp_path, "timestamp,value\n" + rows)
    took = []
    for _ in range(3):
        begin = time.process_time()
        read_series(path)
        took.append(time.process_time() - begin)
    assert min(took) < 0.3
