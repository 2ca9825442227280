"""Slow twins of the load forecaster's parts: plain numpy, written for reading, to compare the fast ones with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Ridge:
    """Recursive least squares with a full covariance matrix, leaking towards a prior."""

    def __init__(self, prior: Floats, stiffness: float) -> None:
        self.prior, self.stiffness = prior, stiffness
        self.theta = prior.copy()
        self.covariance = stiffness * np.eye(len(prior))

    def learn(self, x: Floats, z: float, usual: float, h: int, forget: float) -> None:
        error = z - self.theta @ x
        noise = 1.5 * (1 + 0.3 * (h - 1)) * usual * max(float(abs(error)), usual)
        direction = self.covariance @ x
        total = noise + x @ direction
        moved = self.theta + direction * error / total
        self.theta = self.prior + np.sqrt(forget) * (moved - self.prior)
        left = self.covariance - np.outer(direction, direction) / total
        self.covariance = forget * left + (1 - forget) * self.stiffness * np.eye(len(x))


def mix(losses: Floats, forecasts: Floats) -> float:
    """Weighted mean, weights falling exponentially with the loss in units of the least."""
    weights = np.exp(-20 * (losses / losses.min() - 1))
    return float(weights @ forecasts / weights.sum())


def lower_quantile(entries: Floats, share: float) -> float:
    """What a share of all entries lies below."""
    return float(np.quantile(entries, share))


def profile(values: Floats, m: int, rate: float) -> Floats:
    """Mean by slot of the day: plain over the first visits, then smoothed."""
    found = np.full(m, np.nan)
    for start in range(0, len(values), m):
        day = values[start : start + m]
        visits = start // m
        step = 1.0 if visits == 0 else max(rate, 1.0 / (visits + 1))
        known = np.nan_to_num(found[: len(day)])
        found[: len(day)] = known + step * (day - known)
    return found
