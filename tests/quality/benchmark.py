"""The fault benchmark: real and synthetic load, half of it to choose on and half held out, with faults and without."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tests.quality.faults import KINDS, Site, inject
from tests.quality.nab import read_corpus
from tests.quality.signals import DAY, SIGNALS, STEP_MS
from tests.quality.streams import DEV, TEST, Fault, Floats, Stream, Times, in_memory

SEED = 11
T0_MS = 1_704_067_200_000
"""1 January 2024, a Monday."""
LONGEST = 4_500
"""Rows that are cut from a long series for one stream; at most two such pieces, as later ones tell nothing new."""
SHORTEST = 600
PRESENT = 0.8
"""Share of the rows of a piece that must not be missing."""
BACK_MS = 807_494_400_000
"""4 August 1995: NASA's web server had been shut down for a hurricane since the 1st, and that is no normal load."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How many streams a split has."""

    clean: int = 50
    faulty: int = 150


@dataclass(frozen=True, eq=False)
class Base:
    """A piece of real load outside of what is known to be wrong with it."""

    name: str
    kind: str
    split: str
    times: Times
    values: Floats


def build(data: Path | None, amount: Amount, seed: int = SEED) -> list[Stream]:
    """Build the benchmark.

    Parameters
    ----------
    data : Path or None
        Folder with `load` and `nab`; None: from synthetic signals alone.
    amount : Amount
    seed : int
        Another gives other faults, at other places, in other synthetic signals.
    """
    bases = real_bases(data) if data else []
    streams = []
    for split in (DEV, TEST):
        real = [base for base in bases if base.split == split]
        used: Counter[str] = Counter()
        for number in range(amount.clean + amount.faulty):
            rng = np.random.default_rng([seed, split == TEST, number])
            stream = _normal(real, split, number, rng)
            streams.append(stream if number < amount.clean else _with_faults(stream, rng, used))
    return streams


def _normal(real: list[Base], split: str, number: int, rng: np.random.Generator) -> Stream:
    """Real load and synthetic signals take turns."""
    if real and number % 2 == 0:
        base = real[number // 2 % len(real)]
        name, kind, times, values = base.name, base.kind, base.times, base.values
    else:
        kind = list(SIGNALS)[(number // 2 if real else number) % len(SIGNALS)]
        name = f"{kind}, {split}"
        n = int(rng.integers(14 * DAY, 17 * DAY))
        times = T0_MS + int(rng.integers(0, 7 * DAY)) * STEP_MS + np.arange(n) * STEP_MS
        values = SIGNALS[kind].make(rng, n)
    file = in_memory(f"{split} {number:03} {name}", times, values)
    day = 86_400_000 // file.step_ms
    warm = int(min(max(0.25 * len(file), 2 * day), 0.5 * len(file)))
    return Stream(file.path.name, kind, name, split, file, warm)


def _with_faults(stream: Stream, rng: np.random.Generator, used: Counter[str]) -> Stream:
    """Put one to three faults behind the warm-up, each within a part of its own, of the kinds used least so far."""
    site = Site.of(stream.file.values, 86_400_000 // stream.file.step_ms)
    values = stream.file.values.copy()
    parts = 1 if len(stream) < 1_500 else int(rng.integers(1, 4))
    faults: list[Fault] = []
    for begin, end in zip(*_cuts(stream.warm, len(stream), parts), strict=True):
        for kind in sorted(KINDS, key=lambda kind: used[kind] + 5.0 * rng.random()):
            first = int(begin + (end - begin) * rng.uniform(0.1, 0.5))
            part = replace(site, values=site.values[:end])
            fault = inject(values[:end], part, kind, rng, first)
            if fault is not None:
                faults.append(fault)
                used[kind] += 1
                break
    file = in_memory(stream.file.path.name, stream.file.times, values)
    return replace(stream, file=file, faults=tuple(faults))


def _cuts(first: int, last: int, parts: int) -> tuple[list[int], list[int]]:
    cuts = np.linspace(first, last, parts + 1).astype(int).tolist()
    return cuts[:-1], cuts[1:]


def real_bases(data: Path) -> list[Base]:
    """Cut pieces from every load series; what stems from one source is all of one split."""
    corpus = {Path(stream.name).stem: stream for stream in read_corpus(data / "nab")}
    bases: list[Base] = []
    for path in sorted((data / "load").glob("*.csv")):
        if path.name == "index.csv":
            continue
        table = pd.read_csv(path, parse_dates=["timestamp"])
        for name, rows in table.groupby("series_id", sort=True):
            times = rows["timestamp"].to_numpy().astype("datetime64[ms]").astype(np.int64)
            values = rows["value"].to_numpy(float)
            labelled = corpus.get(str(name))
            if labelled is not None:
                times, values = _free_run(times, values, labelled)
            elif "aug" in str(name):
                times, values = times[times >= BACK_MS], values[times >= BACK_MS]
            split = labelled.split if labelled else _split_of(str(name))
            bases.extend(_pieces(str(name), path.stem, split, times, values))
    return bases


def _split_of(name: str) -> str:
    """By source, so that July and August of one server, or CPU and memory of one cluster, stay together."""
    source = name.partition("_")[0]
    return {"nasa": DEV, "google2019": TEST, "azure": DEV, "bikeshare": TEST, "waterflow": DEV}[source]


def _free_run(times: Times, values: Floats, labelled: Stream) -> tuple[Times, Floats]:
    """Keep the longest run of rows that lies outside of every labelled window."""
    ends = [(labelled.file.times[fault.first], labelled.file.times[fault.last]) for fault in labelled.faults]
    normal = np.ones(len(times), bool)
    for begin, end in ends:
        normal &= (times < begin) | (times > end)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], normal.astype(int), [0]])))
    runs = edges.reshape(-1, 2)
    first, last = runs[np.argmax(runs[:, 1] - runs[:, 0])]
    return times[first:last], values[first:last]


def _pieces(name: str, kind: str, split: str, times: Times, values: Floats) -> Iterator[Base]:
    for number in range(min(max(len(values) // LONGEST, 1), 2)):
        rows = slice(number * LONGEST, (number + 1) * LONGEST)
        present = np.isfinite(values[rows])
        if len(present) >= SHORTEST and present.mean() >= PRESENT and np.nanstd(values[rows]) > 0.0:
            yield Base(f"{name} {number + 1}", kind, split, times[rows], values[rows])


def outline(streams: list[Stream]) -> str:
    """Return what is in the benchmark, for a checksum: the same seed gives the same."""
    content = [
        (s.name, s.warm, [(f.kind, f.first, f.last) for f in s.faults], float(np.nansum(s.file.values)))
        for s in streams
    ]
    return f"{zlib.crc32(json.dumps(content).encode()):08x}"
