"""Labels of one aggregate, as bytes of either encoding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from detector.errors import Undecodable


def decode_labels(raw: bytes) -> dict[str, object]:
    """Read the labels of an aggregate as they were sent, in either encoding.

    Raises
    ------
    Undecodable
        ``bad_labels``.

    Examples
    --------
    >>> decode_labels(b'{"route": "/pay"}')
    {'route': '/pay'}
    """
    if not raw:
        return {}
    decoder: Callable[..., Any] = msgspec.json.decode if raw[:1] in b"{n" else msgspec.msgpack.decode
    try:
        labels = decoder(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Undecodable("bad_labels", str(error)[:200]) from None
    if labels is None:
        return {}
    if not isinstance(labels, dict) or not all(isinstance(name, str) for name in labels):
        raise Undecodable("bad_labels", "labels are not an object of names and values")
    return labels
