"""Forests and samples of services to bytes and back: raw arrays in MessagePack. Nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from detector.errors import Undecodable
from detector.pipeline.ensembles import ROWS, Ensemble, Fitted
from detector.pipeline.gathering import OPEN
from detector.pipeline.state import PartitionState
from models.ensemble import NODE, Forest

FOREST = "application/vnd.detector.forest+msgpack"
"""Content type of a tick that carries one."""
_LITTLE = {"center": "<f4", "turning": "<f4", "roots": "<i4", "sample": "<f2"}


class ForestBody(msgspec.Struct):
    """A forest as it travels and is stored; arrays little-endian."""

    v: int
    tenant: str
    service: str
    version: int
    signals: list[str]
    rows: int
    center: bytes
    turning: bytes
    nodes: bytes
    roots: bytes


class EnsembleBody(msgspec.Struct):
    """What a checkpoint keeps of one service."""

    number: int
    service: int
    tenant: str
    name: str
    step: int
    signals: list[int]
    names: list[str]
    sample: bytes
    offered: int
    first: int
    last: int
    columns: list[int]
    row: int
    fitted: bytes


class EnsemblesBody(msgspec.Struct):
    """What a checkpoint keeps of all services."""

    open: bytes
    ensembles: list[EnsembleBody]


@dataclass(frozen=True)
class Sample:
    """What a forest is fitted to.

    Attributes
    ----------
    tenant, service : str
    signals : tuple of str
        By column, empty for a column without a signal.
    residuals : float16[rows, columns]
        NaN where there was none.
    offered, first, last : int
        Windows the sample stands for, and the starts of the oldest and newest, Unix milliseconds.
    version : int
        Of the forest there is, -1 for none.
    """

    tenant: str
    service: str
    signals: tuple[str, ...]
    residuals: npt.NDArray[np.float16]
    offered: int
    first: int
    last: int
    version: int


def encode_forest(fitted: Fitted) -> bytes:
    """Write a forest, about 100 KiB."""
    forest = fitted.forest
    body = ForestBody(
        v=1,
        tenant=fitted.tenant,
        service=fitted.service,
        version=fitted.version,
        signals=list(fitted.signals),
        rows=forest.rows,
        center=_bytes("center", forest.center),
        turning=_bytes("turning", forest.turning),
        nodes=forest.nodes.astype(NODE.newbyteorder("<")).tobytes(),
        roots=_bytes("roots", forest.roots),
    )
    return msgspec.msgpack.encode(body)


def decode_forest(body: bytes) -> Fitted:
    """Read a forest.

    Raises
    ------
    Undecodable
        ``bad_forest``: cut off, of another version, or with arrays that don't fit each other.
    """
    try:
        read = msgspec.msgpack.decode(body, type=ForestBody)
        center = _array("center", read.center).astype(np.float32)
        forest = Forest(
            center=center,
            turning=_array("turning", read.turning).astype(np.float32).reshape(-1, max(len(center), 1)),
            nodes=np.frombuffer(read.nodes, NODE.newbyteorder("<")).astype(NODE),
            roots=_array("roots", read.roots).astype(np.int64),
            rows=read.rows,
        )
    except (msgspec.MsgspecError, ValueError) as error:
        raise Undecodable("bad_forest", str(error)) from None
    if read.v != 1 or len(read.signals) != len(center):
        raise Undecodable("bad_forest", f"version {read.v}, {len(read.signals)} signals for {len(center)} columns")
    return Fitted(read.tenant, read.service, read.version, tuple(read.signals), forest)


def pack(state: PartitionState) -> bytes:
    """Write the ensembles of a partition, where it has them: about 1 KiB a signal and 100 KiB a forest."""
    ensembles = state.ensembles
    if ensembles is None:
        return b""
    kept = [_kept(state, number, one) for number, one in enumerate(ensembles.all) if one is not None]
    return msgspec.msgpack.encode(EnsemblesBody(ensembles.open[: len(ensembles.all)].tobytes(), kept))


def unpack(state: PartitionState, blob: bytes) -> None:
    """Give a partition the ensembles that `pack` wrote.

    Raises
    ------
    ValueError, msgspec.MsgspecError
        Where they can't be read.
    """
    if state.ensembles is None:
        return
    read = msgspec.msgpack.decode(blob, type=EnsemblesBody)
    open_windows = np.frombuffer(read.open, OPEN).copy()
    ensembles: list[Ensemble | None] = [None] * len(open_windows)
    for one in read.ensembles:
        try:
            fitted = decode_forest(one.fitted) if one.fitted else None
        except Undecodable as error:
            raise ValueError(str(error)) from None
        ensembles[one.number] = Ensemble(
            one.service,
            one.step,
            one.signals,
            _sample(one).copy(),
            one.offered,
            one.first,
            one.last,
            fitted,
            one.columns,
            one.row,
        )
    state.ensembles.load(ensembles, open_windows)


def samples(blob: bytes) -> Iterator[Sample]:
    """Yield the samples of what `pack` wrote.

    Raises
    ------
    ValueError, msgspec.MsgspecError
    """
    if not blob:
        return
    for one in msgspec.msgpack.decode(blob, type=EnsemblesBody).ensembles:
        yield Sample(
            tenant=one.tenant,
            service=one.name,
            signals=tuple(one.names),
            residuals=_sample(one)[: min(one.offered, ROWS)],
            offered=one.offered,
            first=one.first,
            last=one.last,
            version=decode_forest(one.fitted).version if one.fitted else -1,
        )


def _kept(state: PartitionState, number: int, one: Ensemble) -> EnsembleBody:
    tenant, service = state.directory.services[one.service]
    named = state.directory.signals
    return EnsembleBody(
        number=number,
        service=one.service,
        tenant=tenant,
        name=service,
        step=one.step,
        signals=one.signals,
        names=[str(named.used(signal)) if signal >= 0 else "" for signal in one.signals],
        sample=_bytes("sample", one.sample),
        offered=one.offered,
        first=one.first,
        last=one.last,
        columns=one.columns,
        row=one.row,
        fitted=encode_forest(one.fitted) if one.fitted is not None else b"",
    )


def _sample(one: EnsembleBody) -> npt.NDArray[np.float16]:
    return _array("sample", one.sample).astype(np.float16).reshape(ROWS, len(one.signals))


def _bytes(name: str, array: npt.NDArray[np.generic]) -> bytes:
    return array.astype(_LITTLE[name]).tobytes()


def _array(name: str, raw: bytes) -> npt.NDArray[np.generic]:
    return np.frombuffer(raw, _LITTLE[name])
