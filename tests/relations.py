"""Services whose signals go together, and faults that part them while each stays within its usual range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

STEP = 60_000
DAY = 1440
TRAINED, SETTLED, CLEAN, FAULTY = 3 * DAY, 4 * DAY, 9 * DAY, 13 * DAY
"""Where training, settling, clean windows and windows with faults end."""
EVERY, LONG = 120, 12
"""Windows from fault to fault, and how long one lasts."""


@dataclass(frozen=True)
class Fault:
    """A fault over windows [first, last); `signals` are the ones it changes."""

    kind: str
    first: int
    last: int
    signals: tuple[int, ...]


@dataclass(frozen=True)
class Simulated:
    """Values of a service, shape (windows, signals), with faults from `CLEAN` on."""

    names: tuple[str, ...]
    values: Floats
    faults: tuple[Fault, ...]


class Load:
    """Load over time: a day's curve, wandering, and fluctuation from window to window."""

    def __init__(self, rng: np.random.Generator, n: int) -> None:
        hours = np.arange(n) / DAY
        self.rng = rng
        self.curve = 1.0 + 0.45 * np.sin(2 * np.pi * (hours - rng.uniform(0, 1))) + 0.1 * np.sin(4 * np.pi * hours)
        self.moves = self.fluctuation()
        self.level = self.curve * np.exp(self.moves)

    def fluctuation(self) -> Floats:
        """Another course of what moves the load."""
        n = len(self.curve)
        return wandering(self.rng, n, 0.9, 0.04) + wandering(self.rng, n, 0.5, 0.05)


def wandering(rng: np.random.Generator, n: int, stay: float, spread: float) -> Floats:
    """First-order autoregressive noise of standard deviation `spread`."""
    from scipy.signal import lfilter

    return np.asarray(lfilter([1.0], [1.0, -stay], rng.normal(0, spread * np.sqrt(1 - stay**2), n)))


def signals_of(load: Load, level: Floats, n: int, rng: np.random.Generator) -> list[tuple[str, Floats]]:
    """What a service shows under a load; noise of its own on each."""
    noise: Callable[[float], Floats] = lambda spread: np.exp(wandering(rng, n, 0.3, spread))  # noqa: E731
    rate = 200.0 * level * noise(0.01)
    busy = np.clip(0.28 * level, 0.0, 0.93)
    p50 = 0.02 * (1 + busy / (1 - busy)) * noise(0.03)
    p99 = 5 * p50 * noise(0.10)
    return [
        ("rate", rate),
        ("cpu", 100 * (0.03 + busy) * noise(0.02)),
        ("p50", p50),
        ("p99", p99),
        ("error ratio", rng.poisson(rate * 60 * 0.002) / (rate * 60)),
        ("queue", rng.poisson(np.minimum(60 * busy**2 / (1 - busy), 1e4)) / 10.0),
        ("database calls", 3.2 * rate * noise(0.015)),
        ("cache hits", 0.8 * rate * noise(0.02)),
        ("active requests", rate * p50 * noise(0.03)),
        ("bytes out", 14e3 * rate * noise(0.04)),
        ("memory", 2e9 * (1 + 0.08 * level) * np.exp(wandering(rng, n, 0.98, 0.02))),
        ("collector pause", 0.004 * level * noise(0.15)),
        ("threads", np.round(20 + 40 * busy * noise(0.05))),
        ("database p99", 0.03 * (1 + 0.5 * busy) * noise(0.12)),
        ("disk writes", 50 * np.exp(wandering(rng, n, 0.8, 0.2))),
        ("message rate", 40 * level * noise(0.05)),
    ]


LED = (0, 1, 6, 7, 8, 9, 15)
"""Signals that follow the load closely."""


def service(seed: int, faults: bool = True) -> Simulated:
    """Simulate a service of 8 to 16 signals over `FAULTY` windows."""
    rng = np.random.default_rng(seed)
    load = Load(rng, FAULTY)
    shown = signals_of(load, load.level, FAULTY, rng)
    other = signals_of(load, load.curve * np.exp(load.fluctuation()), FAULTY, rng)
    mirror = signals_of(load, load.curve * np.exp(-load.moves), FAULTY, rng)
    chosen = sorted({0, 1, 2, 4, 6, *rng.permutation(16)[: int(rng.integers(6, 13))].tolist()})
    values = np.column_stack([shown[i][1] for i in chosen])
    elsewhere = {
        "other": np.column_stack([other[i][1] for i in chosen]),
        "mirror": np.column_stack([mirror[i][1] for i in chosen]),
    }
    led = [place for place, i in enumerate(chosen) if i in LED]
    slow = [place for place, i in enumerate(chosen) if i in (2, 3, 4, 5, 8, 13)]
    usual = np.abs(np.diff(values[:CLEAN], axis=0)).mean(axis=0)
    found: list[Fault] = []
    for number, first in enumerate(range(CLEAN + EVERY // 2, FAULTY - LONG, EVERY) if faults else ()):
        kind = KINDS[(number + seed) % len(KINDS)]
        span = slice(first, first + LONG)
        hit = FAULTS[kind](values, elsewhere, span, led, slow, usual, rng)
        found.append(Fault(kind, first, first + LONG, tuple(hit)))
    return Simulated(tuple(shown[i][0] for i in chosen), values, tuple(found))


Make = Callable[[Floats, dict[str, Floats], slice, list[int], list[int], Floats, np.random.Generator], list[int]]


def _decoupled(v: Floats, e: dict[str, Floats], s: slice, led: list[int], *_: object) -> list[int]:
    """One signal follows another load of the same day: a host that serves somebody else."""
    v[s, led[1]] = e["other"][s, led[1]]
    return [led[1]]


def _half_parted(v: Floats, e: dict[str, Floats], s: slice, led: list[int], *_: object) -> list[int]:
    """Half of the signals follow another load: two halves of a service that don't see each other."""
    hit = led[::2]
    v[s, hit] = e["other"][s][:, hit]
    return hit


def _mirrored(v: Floats, e: dict[str, Floats], s: slice, led: list[int], *_: object) -> list[int]:
    """One signal falls when the others rise: retries, or a queue that fills while nobody works."""
    v[s, led[0]] = e["mirror"][s, led[0]]
    return [led[0]]


def _slips(v: Floats, e: dict[str, Floats], s: slice, led: list[int], *_: object) -> list[int]:
    """The rate slips to three quarters over the fault while the rest stays."""
    v[s, led[0]] *= np.linspace(1.0, 0.75, s.stop - s.start)
    return [led[0]]


def _more_work(v: Floats, e: dict[str, Floats], s: slice, led: list[int], *_: object) -> list[int]:
    """An eighth more calls a request, from one window to the next."""
    v[s, led[2]] *= 1.125
    return [led[2]]


def _lagging(v: Floats, e: dict[str, Floats], s: slice, led: list[int], *_: object) -> list[int]:
    """One signal shows what was five windows ago: a buffer in between."""
    v[s, led[1]] = v[s.start - 5 : s.stop - 5, led[1]].copy()
    return [led[1]]


def _together(
    v: Floats, e: dict[str, Floats], s: slice, led: list[int], slow: list[int], u: Floats, rng: np.random.Generator
) -> list[int]:
    """Errors and latencies rise by one and a half usual moves each; the load doesn't."""
    v[s, slow] += 1.5 * u[slow]
    return slow


def _spike(
    v: Floats, e: dict[str, Floats], s: slice, led: list[int], slow: list[int], u: Floats, rng: np.random.Generator
) -> list[int]:
    place = int(rng.integers(v.shape[1]))
    v[s.start, place] += 12 * u[place]
    return [place]


def _shift(
    v: Floats, e: dict[str, Floats], s: slice, led: list[int], slow: list[int], u: Floats, rng: np.random.Generator
) -> list[int]:
    place = int(rng.integers(v.shape[1]))
    v[s, place] += 6 * u[place]
    return [place]


def _drop(
    v: Floats, e: dict[str, Floats], s: slice, led: list[int], slow: list[int], u: Floats, rng: np.random.Generator
) -> list[int]:
    place = int(rng.integers(v.shape[1]))
    v[s, place] = 0.0
    return [place]


def _noisy(
    v: Floats, e: dict[str, Floats], s: slice, led: list[int], slow: list[int], u: Floats, rng: np.random.Generator
) -> list[int]:
    place = int(rng.integers(v.shape[1]))
    v[s, place] += rng.normal(0, 4 * u[place], s.stop - s.start)
    return [place]


RELATION = ("decoupled", "half parted", "mirrored", "slips", "more work", "lagging", "together")
SINGLE = ("spike", "shift", "drop", "noisy")
KINDS = RELATION + SINGLE
FAULTS: dict[str, Make] = {
    "decoupled": _decoupled,
    "half parted": _half_parted,
    "mirrored": _mirrored,
    "slips": _slips,
    "more work": _more_work,
    "lagging": _lagging,
    "together": _together,
    "spike": _spike,
    "shift": _shift,
    "drop": _drop,
    "noisy": _noisy,
}
