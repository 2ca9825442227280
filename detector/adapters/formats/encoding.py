"""Batches to bytes: what a collector needs of wire contract version 1, and no more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

JSON = "application/json"
MSGPACK = "application/msgpack"
COLUMNS = "application/vnd.detector.columns+msgpack"
VERSION = 1
FIGURES = ("value", "count", "sum", "min", "max", "seen", "errors")
"""Columns of a block, all of them optional."""
SKETCH_FIGURES = ("scale", "zero", "offset", "length", "counts")
"""Columns of the sketches of a block, one entry a label but for `counts`, which holds `length` entries for each."""


def encode(
    content_type: str,
    instance: str,
    start: int,
    seconds: float,
    aggregates: Iterable[dict[str, Any]],
    sampling: tuple[int, int] | None = None,
) -> bytes:
    """Encode one message as JSON or MessagePack; `sampling` is the recommendation obeyed (epoch, version).

    Examples
    --------
    >>> encode(JSON, "a", 0, 10, [])
    b'{"v":1,"instance":"a","start":0,"seconds":10,"aggregates":[]}'
    """
    message = {**_envelope(instance, start, seconds), "aggregates": list(aggregates)}
    if sampling is not None:
        message["sampling"] = {"epoch": sampling[0], "version": sampling[1]}
    return msgspec.json.encode(message) if content_type == JSON else msgspec.msgpack.encode(message)


def encode_columns(instance: str, start: int, seconds: float, blocks: Iterable[dict[str, Any]]) -> bytes:
    """Encode one message as columns.

    Parameters
    ----------
    blocks : iterable of dict
        Each with ``metric``, ``labels`` (list of JSON objects as bytes), perhaps ``kind`` and ``unit``, and
        figures (sequences of numbers) as long as the labels. Histograms have a ``sketch``: a dict of
        `SKETCH_FIGURES`.

    Examples
    --------
    >>> block = {"metric": "cpu", "labels": [b'{"core":"0"}', b'{"core":"1"}'], "value": [0.5, 0.25]}
    >>> len(encode_columns("a", 0, 10, [block]))
    121
    """
    written = [_figures_to_bytes(block) for block in blocks]
    return msgspec.msgpack.encode({**_envelope(instance, start, seconds), "blocks": written})


def _figures_to_bytes(block: dict[str, Any]) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for name, held in block.items():
        if name == "sketch":
            written[name] = _figures_to_bytes(held)
        else:
            figures = name in FIGURES or name in SKETCH_FIGURES
            written[name] = np.asarray(held, "<f8").tobytes() if figures else held
    return written


def _envelope(instance: str, start: int, seconds: float) -> dict[str, Any]:
    return {"v": VERSION, "instance": instance, "start": start, "seconds": seconds}
