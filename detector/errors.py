"""One tree of errors: every one names the thing that is wrong and the remedy."""


class DetectorError(Exception):
    """Anything this project raises on purpose; the command line prints it without a traceback."""


class SettingsError(DetectorError):
    """Settings that can't be used: all faults at once, each with its key and its source."""


class FileError(DetectorError):
    """A file that can't be read or written as asked."""


class EmptyFileError(FileError):
    """A file that can be read and holds too few rows to tell anything."""


class UsageError(DetectorError):
    """An option of a command with a value that can't be."""


class BusError(DetectorError):
    """The broker is out of reach, refuses us, or holds a stream that is not ours."""


class StreamMismatch(BusError):
    """A stream whose partitioning differs from what this program was built for."""


class StoreError(DetectorError):
    """The database is out of reach, locked, or of another version."""


class Fenced(StoreError):
    """Somebody else owns the partition now; what was computed for it must be dropped."""


class CheckpointError(DetectorError):
    """A checkpoint that is damaged or of another version."""


class Undecodable(DetectorError):
    """A message that can't be read at all; `reason` is the counted name."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
