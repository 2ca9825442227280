"""Levels of the alert budget as the body of a tick, so that a partition hears of them in its stream."""

from __future__ import annotations

import msgspec

from detector.domain.budget import LONGEST_NAME, MOST_BUDGETS, Notice
from detector.errors import Undecodable
from detector.pipeline.budget import EDGES

VERSION = 1
LATEST = 2**63 - 1


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    v: int
    version: int
    levels: dict[str, float]


def encode_levels(notice: Notice) -> bytes:
    """Write levels as JSON.

    Examples
    --------
    >>> encode_levels(Notice(7, {"*/*": 4.5}))
    b'{"v":1,"version":7,"levels":{"*/*":4.5}}'
    """
    return msgspec.json.encode(_Body(VERSION, notice.version, dict(notice.levels)))


def decode_levels(body: bytes) -> Notice:
    """Read levels.

    Raises
    ------
    Undecodable
        ``bad_levels`` where it is anything but what `encode_levels` writes.
    """
    try:
        read = msgspec.json.decode(body, type=_Body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Undecodable("bad_levels", f"no levels of the alert budget: {error}") from None
    if read.v != VERSION or not 0 < read.version <= LATEST or len(read.levels) > MOST_BUDGETS:
        raise Undecodable("bad_levels", f"v {read.v}, version {read.version}, {len(read.levels)} levels")
    for name, level in read.levels.items():
        if len(name) > LONGEST_NAME or not EDGES[0] <= level <= EDGES[-1]:
            raise Undecodable("bad_levels", f"level {level} of {name[:200]!r} is not in {EDGES[0]} to {EDGES[-1]}")
    return Notice(read.version, read.levels)
