"""The last wall: a message that brings a fault of ours to light is set aside, and nothing else is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import structlog

from detector.domain.aggregate import Head, Refusal
from detector.errors import DetectorError
from detector.ports import Message

_log = structlog.get_logger()
MOST_SUSPECTS = 1000


class Poisoned(DetectorError):
    """A run of messages raised what nobody foresaw; the state of their partition is not to be trusted."""

    def __init__(self, partition: int, first: int, last: int, cause: BaseException) -> None:
        super().__init__(f"partition {partition}, messages {first} to {last}: {type(cause).__name__}: {cause}")
        self.partition = partition
        self.first = first
        self.last = last


class Quarantine:
    """Finds the one message: after a fault the partition goes on message by message until it is past the run.

    A message that fails alone is refused from then on, with the reason ``internal_error``. Where even that
    fails, because the fault lies in what its time sets off, it is passed over, and readiness says so. At most
    `MOST_SUSPECTS` are refused; the process forgets them when it ends, and finds them again on replay.
    """

    def __init__(self) -> None:
        self._careful: dict[int, int] = {}
        self._bad: dict[tuple[int, int], str] = {}
        self._skip: set[tuple[int, int]] = set()

    @property
    def skipped(self) -> int:
        """Messages passed over because even their refusal failed."""
        return len(self._skip)

    def skips(self, partition: int, sequence: int) -> bool:
        """Whether a message is passed over altogether, its time included."""
        return (partition, sequence) in self._skip

    def most(self, partition: int, position: int, limit: int) -> int:
        """How many messages to take at once."""
        if position >= self._careful.get(partition, -1):
            self._careful.pop(partition, None)
            return limit
        return 1

    def refuse(self, partition: int, head: Head) -> Head:
        """Mark a head whose message is known to fail."""
        fault = self._bad.get((partition, head.position))
        if fault is None:
            return head
        refusal = Refusal(None, "internal_error", f"a fault of the service, please report it: {fault}")
        return replace(head, refused=(refusal,))

    def note(self, error: Poisoned) -> None:
        """Remember what failed."""
        if error.first < error.last:
            self._careful[error.partition] = max(error.last, self._careful.get(error.partition, -1))
            return
        message = (error.partition, error.first)
        if message in self._bad or len(self._bad) >= MOST_SUSPECTS:
            self._skip.add(message)
        else:
            self._bad[message] = str(error.__cause__)[:200]

    @contextlib.contextmanager
    def watch(self, partition: int, messages: Sequence[Message]) -> Iterator[None]:
        """Turn whatever a run of messages raises into `Poisoned`; panics of Rust parts are no Exceptions."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # what a Rust part raises is no Exception
            _log.exception("a message brought a fault to light", partition=partition)
            raise Poisoned(partition, messages[0].sequence, messages[-1].sequence, error) from error
