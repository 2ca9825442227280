"""What of a directory outlives the process: everything but the look-ups that rebuild themselves."""

from __future__ import annotations

from dataclasses import dataclass

from detector.domain.series import Series, Signal
from detector.pipeline.pairing import Ratio


@dataclass
class Roster:
    """Names and raw tables of a `Directory`, ready to be written.

    Attributes
    ----------
    services : list of (tenant, service)
    names : list of Series or None
    signals : list of Signal or None
    instances : list of str
        By row of the sources.
    series, sources, signal_of : bytes
    spreads : bytes, bytes, bytes
        The tables as they lie in memory, little-endian.
    free_series, free_sources, free_signals : list of int
        Rows to use again.
    came : list of int
        Series in the order in which they came: what limits go by.
    fresh : list of (int, int)
    ratios : list of Ratio
        That the settings named.
    """

    services: list[tuple[str, str]]
    names: list[Series | None]
    signals: list[Signal | None]
    instances: list[str]
    series: bytes
    sources: bytes
    spreads: tuple[bytes, ...]
    signal_of: bytes
    free_series: list[int]
    free_sources: list[int]
    free_signals: list[int]
    came: list[int]
    fresh: list[tuple[int, int]]
    ratios: list[Ratio]
