"""Whole blocks of series looked up at once: a collector names the same series in the same order every window."""

from __future__ import annotations

from detector.domain.arrays import Integers

Scope = tuple[int, str, str, bytes]
"""Row of the service, instance, metric, and the labels a block begins with."""


class BlockMemory:
    """The sources of the latest block of each scope, by the bytes that named them.

    Parameters
    ----------
    most : int
        Bytes of tokens and scopes to keep at most; beyond them everything is forgotten, and looked up once more.

    Attributes
    ----------
    held : int
        Bytes of tokens and scopes that are kept.

    Notes
    -----
    A look-up compares bytes: about a nanosecond for each label. A source that goes makes it forget
    everything, so that no row is used for what it was.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0
        self._latest: dict[Scope, tuple[bytes, Integers]] = {}

    def find(self, scope: Scope, token: bytes) -> Integers | None:
        """Return the sources of a block, None where it is not the latest of its scope."""
        known = self._latest.get(scope)
        return known[1] if known is not None and known[0] == token else None

    def keep(self, scope: Scope, token: bytes, sources: Integers) -> None:
        """Remember a block, all of whose sources are known."""
        before = self._latest.pop(scope, None)
        if before is not None:
            self.held -= _size(scope, before[0])
        size = _size(scope, token)
        if self.held + size > self._most:
            self.clear()
        if size <= self._most:
            self.held += size
            self._latest[scope] = (token, sources.copy())

    def clear(self) -> None:
        """Forget everything."""
        self._latest.clear()
        self.held = 0


def _size(scope: Scope, token: bytes) -> int:
    _, instance, metric, labels = scope
    return len(instance) + len(metric) + len(labels) + len(token)
