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
        Bytes of tokens to keep at most; beyond them everything is forgotten, and looked up once more.

    Notes
    -----
    A look-up compares bytes: about a nanosecond for each label. A source that goes makes it forget
    everything, so that no row is used for what it was.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._latest: dict[Scope, tuple[bytes, Integers]] = {}

    def find(self, scope: Scope, token: bytes) -> Integers | None:
        """Return the sources of a block, None where it is not the latest of its scope."""
        known = self._latest.get(scope)
        return known[1] if known is not None and known[0] == token else None

    def keep(self, scope: Scope, token: bytes, sources: Integers) -> None:
        """Remember a block, all of whose sources are known."""
        before = self._latest.get(scope)
        self._held += len(token) - (len(before[0]) if before is not None else 0)
        if self._held > self._most:
            self.clear()
            self._held = len(token)
        self._latest[scope] = (token, sources.copy())

    def clear(self) -> None:
        """Forget everything."""
        self._latest.clear()
        self._held = 0
