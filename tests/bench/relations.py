"""Whether the forest of a service earns its place: ``python -m tests.bench.relations``.

Both detectors see the same windows of simulated services: the highest surprise of any single signal, and the same or
that of the forest, whichever is higher. Each is cut at its own level, the one that clean windows of all services exceed
once in 1,000 (5,000); a fault is found where any of its windows, or of the three after it, lies above.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models import IsolationBank, KernelBank
from models.ensemble import Forest, fit, isolation, residuals
from tests.relations import CLEAN, FAULTY, KINDS, RELATION, SETTLED, STEP, TRAINED, Floats, Simulated, service

T0 = 1_764_000_000_000
RATES = (1000, 5000)
AFTER = 3
ROWS = 512

Scorer = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class Watched:
    """A service with the highest surprise of its signals, and its residuals."""

    simulated: Simulated
    single: Floats
    residuals: Floats


def watch(simulated: Simulated) -> Watched:
    """Let each signal's own model see it."""
    n, signals = simulated.values.shape
    bank = KernelBank()
    for row in range(signals):
        bank.add(row, STEP)
    t = T0 + np.arange(n) * STEP
    scores = [bank.observe(np.full(n, j), simulated.values[:, j], t, np.zeros(n), 99.0)[0] for j in range(signals)]
    surprise = np.column_stack([score["surprise"] for score in scores])
    found = np.column_stack([residuals(simulated.values[:, j], scores[j]) for j in range(signals)])
    return Watched(simulated, surprise.max(axis=1), found)


def rated(raw: Floats) -> Floats:
    """Surprises of raw scores by their own past, from the end of the training on; 0 before."""
    bank, n = IsolationBank(), len(raw) - TRAINED
    bank.add(0, STEP)
    scores, _ = bank.observe(np.zeros(n, int), raw[TRAINED:], np.arange(n), np.zeros(n), 99.0)
    return np.concatenate([np.zeros(TRAINED), scores["surprise"]])


def sampled(rows: Floats, seed: int) -> Floats:
    """A uniform sample of the training, without its first day, in which models still learn."""
    return rows[TRAINED // 3 : TRAINED][np.random.default_rng(seed).permutation(2 * TRAINED // 3)[:ROWS]]


def by_forest(rows: Floats, sample: Floats) -> Floats:
    return isolation(fit(sample, 7), rows)


def recall(watched: list[Watched], surprises: list[Floats], rate: int) -> dict[str, float]:
    """Share of the faults of each kind that stand out, at one false alarm in `rate` clean windows."""
    clean = np.sort(np.concatenate([s[SETTLED:CLEAN] for s in surprises]))
    level = clean[len(clean) - 1 - len(clean) // rate]
    found: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for one, surprise in zip(watched, surprises, strict=True):
        for fault in one.simulated.faults:
            found[fault.kind].append(bool((surprise[fault.first : fault.last + AFTER] > level).any()))
    return {kind: float(np.mean(hits)) for kind, hits in found.items()}


def compare(watched: list[Watched], scorers: dict[str, Scorer]) -> dict[int, dict[str, dict[str, float]]]:
    """Recall by rate, detector and kind; each scorer is joined with the single signals, as it would be in service."""
    surprises = {"single signals": [one.single for one in watched]}
    for name, scorer in scorers.items():
        alone = [rated(scorer(one.residuals, sampled(one.residuals, i))) for i, one in enumerate(watched)]
        surprises[f"{name} alone"] = alone
        surprises[f"with {name}"] = [np.maximum(one.single, own) for one, own in zip(watched, alone, strict=True)]
    return {rate: {name: recall(watched, found, rate) for name, found in surprises.items()} for rate in RATES}


def show(compared: dict[int, dict[str, dict[str, float]]]) -> None:
    for rate, detectors in compared.items():
        print(f"\nrecall at one false alarm in {rate:,} clean windows of a service")
        print(f"{'':16}" + "".join(f"{name:>16}" for name in detectors))
        for kind in KINDS:
            print(f"{kind:16}" + "".join(f"{found[kind]:16.2f}" for found in detectors.values()))
        for title, kinds in (("relation", RELATION), ("single", [k for k in KINDS if k not in RELATION])):
            means = (np.mean([found[kind] for kind in kinds]) for found in detectors.values())
            print(f"{'mean, ' + title:16}" + "".join(f"{mean:16.3f}" for mean in means))


def main(seeds: range) -> None:
    watched = [watch(service(seed)) for seed in seeds]
    print(f"{len(watched)} services, {sum(w.residuals.shape[1] for w in watched)} signals, {FAULTY:,} windows each")
    show(compare(watched, {"forest": by_forest}))
    one = watched[0]
    started = time.process_time()
    forest: Forest = fit(sampled(one.residuals, 0), 7)
    fitted = time.process_time() - started
    isolation(forest, one.residuals[:10])
    started = time.process_time()
    isolation(forest, one.residuals)
    each = (time.process_time() - started) / len(one.residuals)
    print(f"\nfit {fitted * 1e3:.0f} ms, {len(forest.nodes):,} nodes, {each * 1e6:.1f} µs a window of a service")


if __name__ == "__main__":
    first, many = (int(argument) for argument in [*sys.argv[1:], "1", "24"][:2])
    main(range(first, first + many))
