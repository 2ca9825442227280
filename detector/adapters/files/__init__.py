"""Files of measurements in, files of scores and plots out: delimited text, JSON and Parquet.

`input_files` and `output_paths` say which files to read and where to write, `read_series` reads one of them,
`write_scores` writes the scored rows.
"""

from detector.adapters.files.paths import input_files, output_paths
from detector.adapters.files.scores import COLUMNS, ScoredRows, write_scores
from detector.adapters.files.series import SeriesFile, read_series
from detector.adapters.files.stamps import NO_TIME, shown_by_calendars

__all__ = [
    "COLUMNS",
    "NO_TIME",
    "ScoredRows",
    "SeriesFile",
    "input_files",
    "output_paths",
    "read_series",
    "shown_by_calendars",
    "write_scores",
]
