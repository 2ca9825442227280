"""Writing scored rows, and which files belong to which."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from detector.adapters.files import ScoredRows, input_files, output_paths, read_series, write_scores
from detector.errors import FileError

NOTHING = np.full(3, np.nan)


def rows(**columns: object) -> ScoredRows:
    figures = dict.fromkeys(("values", "expected", "lower", "upper", "score", "surprise"), NOTHING)
    texts = {"stamps": ["a", "b", "c"], "alert": [""] * 3, "reason": [""] * 3}
    return ScoredRows(**{**figures, **texts, **columns})  # type: ignore[arg-type]  # columns of two types


def test_rows_as_text() -> None:
    stream = io.StringIO()
    score = np.array([np.nan, 0.1 + 0.2, 1e-300])
    write_scores(stream, rows(stamps=["1,5", "größe", ""], score=score, alert=["", "firing", "open"]))
    assert stream.getvalue().split("\n") == [
        "timestamp,value,expected,lower,upper,score,surprise,alert,reason",
        '"1,5",,,,,,,,',
        "größe,,,,,0.30000000000000004,,firing,",
        ",,,,,1e-300,,open,",
        "",
    ]


def test_no_rows_give_a_header() -> None:
    stream = io.StringIO()
    none = np.array([])
    write_scores(stream, ScoredRows([], none, none, none, none, none, none, [], []))
    assert stream.getvalue().count("\n") == 1


def test_columns_of_different_lengths_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="different lengths"):
        rows(alert=["", ""])


def test_a_path_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "größe 1.csv"
    write_scores(target, rows())
    before = target.read_text()
    assert len(before.splitlines()) == 4
    with pytest.raises(TypeError):
        write_scores(target, rows(score=["a", "b", "c"]))
    assert target.read_text() == before
    assert list(target.parent.iterdir()) == [target]
    link = tmp_path / "link.csv"
    link.symlink_to(target)
    write_scores(link, rows(alert=["firing", "", ""]))
    assert link.is_symlink()
    assert "firing" in target.read_text()


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is a folder"):
        write_scores(tmp_path, rows())
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match=r"file/a\.csv: can't be written"):
        write_scores(tmp_path / "file" / "a.csv", rows())
    write_scores("/dev/null", rows())
    assert not Path("/dev/null").is_file()


def test_scores_of_a_file_can_be_read_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("t;v\n2026-01-01;1,5\n2026-01-02;\n2026-01-03;0,1\n")
    series = read_series(tmp_path / "in.csv")
    write_scores(tmp_path / "out.csv", rows(stamps=series.stamps, values=series.values))
    again = read_series(tmp_path / "out.csv")
    assert again.stamps == series.stamps
    np.testing.assert_array_equal(again.values, series.values)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b/2.csv", "b/温 度.JSON", "a/1.parquet", "a/x.txt", "c.jsonl", ".git/0.csv", "b/.~2.csv"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    return tmp_path / "in"


def test_folders_are_searched(tree: Path) -> None:
    assert [str(file.relative_to(tree)) for file in input_files([tree])] == [
        "a/1.parquet", "b/2.csv", "b/温 度.JSON", "c.jsonl",
    ]  # fmt: skip
    given = [tree / "b" / "2.csv", tree, tree / "a" / ".." / "c.jsonl", tree / "a" / "x.txt"]
    assert [file.name for file in input_files(given)] == ["2.csv", "1.parquet", "温 度.JSON", "c.jsonl", "x.txt"]


def test_lab_03_outputs_keep_the_names(tree: Path) -> None:
    pairs = output_paths([tree], tree.parent / "out")
    assert [target.name for _, target in pairs] == ["1.csv", "2.csv", "温 度.csv", "c.csv"]
    assert {target.parent for _, target in pairs} == {tree.parent / "out"}


def test_inputs_and_outputs_that_cannot_be(tree: Path) -> None:
    with pytest.raises(FileError, match="no such file or folder"):
        input_files([tree / "none"])
    (tree / "empty").mkdir()
    with pytest.raises(FileError, match="holds no file that ends in"):
        input_files([tree / "empty"])
    with pytest.raises(FileError, match="no folder"):
        output_paths([tree], tree / "c.jsonl")
    with pytest.raises(FileError, match="overwrite an input"):
        output_paths([tree / "b" / "2.csv"], tree / "b")
    (tree / "a" / "2.json").touch()
    with pytest.raises(FileError, match=r"a/2\.json and .*b/2\.csv would both be written to"):
        output_paths([tree], tree.parent / "out")
