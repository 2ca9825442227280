"""What no single signal of a service shows: an isolation forest over the residuals of its signals.

A window of a service is a row of residuals, one a signal, each in half intervals of its own forecast. The rows of a
bounded sample say how the signals move together. In batches a forest is fitted to them, scikit-learn's, and taken
apart into plain arrays, which are stored without pickle and scored one row at a time.

A forest cuts along one feature at a time and so hardly sees that two signals, each within its usual range, have
parted. Therefore the rows are first turned and stretched until what they have in common is round: what usually goes
together becomes a direction of small spread, and parting stands out. Of all such turnings the symmetric one keeps
each feature nearest to a signal: to what the others leave unexplained of it.

Works where signals of one service share a cause (load, a queue, a dependency) and the sample shows it; where they
don't, it finds what their own models find. A window in which a signal is missing is not judged: nothing can be said
of how it goes with the others.

Sources: Liu, Ting, Zhou, "Isolation forest" (ICDM 2008); Ledoit, Wolf, "A well-conditioned estimator for
large-dimensional covariance matrices" (2004) and Kessy, Lewin, Strimmer, "Optimal whitening and decorrelation" (2018)
for the turning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import jit

__all__ = [
    "FARTHEST",
    "MOST_SIGNALS",
    "NODE",
    "SUBSAMPLE",
    "TREES",
    "Forest",
    "fit",
    "isolation",
    "residual",
    "residuals",
    "warm",
]

MOST_SIGNALS = 64
FARTHEST = 10.0
"""Residuals are cut off there."""
TREES = 100
SUBSAMPLE = 256
"""Rows a tree is grown from."""
LEAST_ROWS = 128
"""Rows a forest is fitted to at least."""

NODE = np.dtype(
    [
        ("feature", "i2"),  # -1: a leaf
        ("child", "u2"),  # the lower child, counted from the root, the upper one follows; of a leaf: its rows
        ("threshold", "f4"),  # rows up to it go to the lower child
    ]
)
"""A node of a tree; the nodes of a tree lie together, its root first, children behind their parents."""

Matrix = npt.NDArray[np.float32]
Nodes = npt.NDArray[np.void]


def _average_paths(most: int) -> npt.NDArray[np.float64]:
    """Return, by rows 0 to `most`, the mean length of an unsuccessful search in a tree of so many."""
    n = np.arange(most + 1, dtype=np.float64)
    paths = np.zeros(most + 1)
    paths[2] = 1.0
    paths[3:] = 2.0 * (np.log(n[3:] - 1.0) + np.euler_gamma) - 2.0 * (n[3:] - 1.0) / n[3:]
    return paths


_PATHS = _average_paths(SUBSAMPLE)


@dataclass(frozen=True)
class Forest:
    """A fitted forest as plain arrays.

    Attributes
    ----------
    center : float32[k]
        What is usual of the residuals of `k` signals.
    turning : float32[m, k]
        Residuals less `center` to features.
    nodes : NODE[...]
        All trees, one behind the other.
    roots : int64[trees]
        Where each tree begins in `nodes`.
    rows : int
        Rows each tree was grown from, 2 to `SUBSAMPLE`.
    """

    center: Matrix
    turning: Matrix
    nodes: Nodes
    roots: npt.NDArray[np.int64]
    rows: int

    def __post_init__(self) -> None:
        """Refuse arrays that a walk through the trees would leave, or never end in.

        Raises
        ------
        ValueError
        """
        k, m = len(self.center), len(self.turning)
        if not 0 < k <= MOST_SIGNALS or self.turning.shape != (m, k) or not 2 <= self.rows <= SUBSAMPLE:
            raise ValueError(f"no forest has {self.center.shape}, {self.turning.shape} and {self.rows} rows a tree")
        if not (np.isfinite(self.center).all() and np.isfinite(self.turning).all()):
            raise ValueError("a forest's center and turning are finite")
        starts = np.append(self.roots, len(self.nodes))
        if len(self.roots) == 0 or self.roots[0] != 0 or (np.diff(starts) < 1).any():
            raise ValueError("a forest's trees lie one behind the other, the first at 0")
        sizes = np.diff(starts)
        place = np.arange(len(self.nodes)) - np.repeat(self.roots, sizes)
        inner = self.nodes["feature"] >= 0
        child, feature = self.nodes["child"].astype(np.int64), self.nodes["feature"]
        behind = (child > place) & (child + 1 < np.repeat(sizes, sizes))
        if not np.where(inner, behind & (feature < m), child <= SUBSAMPLE).all():
            raise ValueError("a node of a forest points out of its tree, back, or to a feature there is not")

    def features(self, residuals: npt.ArrayLike) -> Matrix:
        """Turn rows of residuals, shape (n, k), into the features the trees were grown from, shape (n, m)."""
        return turned(np.asarray(residuals, np.float32), self.center, self.turning)


@jit
def residual(observed: float, expected: float, lower: float, upper: float) -> float:
    """Return how far an observation lies from its forecast, in half intervals, within `FARTHEST` either way."""
    half = 0.5 * (upper - lower)
    error = observed - expected
    if error == 0.0:
        return 0.0
    if not half > abs(error) / FARTHEST:
        return FARTHEST if error > 0.0 else -FARTHEST
    return error / half


def residuals(observed: npt.ArrayLike, scores: Nodes) -> npt.NDArray[np.float64]:
    """Return `residual` of each observation; `scores` are of dtype SCORE."""
    x = np.asarray(observed, np.float64)
    columns = zip(x, scores["expected"], scores["lower"], scores["upper"], strict=True)
    return np.array([residual(*row) for row in columns])


@jit
def _turn(x: Matrix, center: Matrix, turning: Matrix, out: Matrix) -> None:
    """Turn one row; sums go in a fixed order, so that the same row is the same features everywhere."""
    for i in range(len(turning)):
        total = 0.0
        for j in range(len(center)):
            total += float(turning[i, j]) * (float(x[j]) - float(center[j]))
        out[i] = total


@jit
def turned(rows: Matrix, center: Matrix, turning: Matrix) -> Matrix:
    """Turn rows of residuals into features."""
    out = np.empty((len(rows), len(turning)), np.float32)
    for i in range(len(rows)):
        _turn(rows[i], center, turning, out[i])
    return out


@jit
def walk(nodes: Nodes, roots: npt.NDArray[np.int64], rows: int, x: Matrix) -> float:
    """Return how isolated a row of features is: 2^(-mean path / usual path), as scikit-learn defines it."""
    total = 0.0
    for t in range(len(roots)):
        root = roots[t]
        node = nodes[root]
        steps = 0.0
        while node.feature >= 0:
            above = 1 if x[node.feature] > node.threshold else 0
            node = nodes[root + node.child + above]
            steps += 1.0
        total += steps + _PATHS[node.child]
    return float(2.0 ** (-total / (len(roots) * _PATHS[rows])))


def isolation(forest: Forest, residuals: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Say how isolated windows are.

    Parameters
    ----------
    forest : Forest
    residuals : float32[n, k]
        In half intervals, finite.

    Returns
    -------
    float64[n]
        In (0, 1), high where a window is strange; about .4 to .5 where it is not. Equal to what scikit-learn's
        `score_samples` gives for the same features, with the other sign.

    Notes
    -----
    About 5 microseconds a window with 100 trees.
    """
    features = forest.features(residuals)
    return np.array([walk(forest.nodes, forest.roots, forest.rows, row) for row in features])


def warm() -> None:
    """Compile what judges a window, or load it from the cache, so that nobody waits for it at the first forest."""
    leaf = np.array([(-1, 2, 0.0)], NODE)
    one = np.zeros(1, np.float32)
    isolation(Forest(one, one[None, :], leaf, np.zeros(1, np.int64), 2), one[None, :])


def fit(sample: npt.ArrayLike, seed: int) -> Forest:
    """Fit a forest to a sample of windows.

    Parameters
    ----------
    sample : float32[n, k]
        Residuals of `k` signals in `n` windows, at least `LEAST_ROWS`.
    seed : int
        0 or more. The same sample and seed give the same forest, with the same version of scikit-learn.

    Returns
    -------
    Forest

    Raises
    ------
    ValueError
        Where there are too few windows or signals, or too many.

    Notes
    -----
    About 200 ms, whatever the sample: each tree sees `SUBSAMPLE` of its rows.
    """
    rows = np.asarray(sample, np.float32)
    if rows.ndim != 2 or len(rows) < LEAST_ROWS or not 2 <= rows.shape[1] <= MOST_SIGNALS:
        raise ValueError(f"a sample of shape {rows.shape} is not {LEAST_ROWS} windows of 2 to {MOST_SIGNALS} signals")
    center, turning = rounding(rows)
    nodes, roots = flattened(grown(turned(rows, center, turning), seed))
    return Forest(center, turning, nodes, roots, min(SUBSAMPLE, len(rows)))


def rounding(rows: Matrix) -> tuple[Matrix, Matrix]:
    """Return the center and the turning that make the usual rows of a sample round, with spread 1 everywhere."""
    from sklearn.covariance import ledoit_wolf  # here, because it takes a second to load and only fits need it

    center = np.median(rows, axis=0)
    covariance, _ = ledoit_wolf(np.clip(rows - center, -3.0, 3.0).astype(np.float64), assume_centered=True)
    spreads, directions = np.linalg.eigh(covariance)
    least = max(spreads[-1] * 1e-6, 1e-12)
    turning = (directions / np.sqrt(np.maximum(spreads, least))) @ directions.T  # the symmetric one: column j is near j
    return center, np.ascontiguousarray(turning.astype(np.float32))


def grown(features: Matrix, seed: int) -> Any:
    """Grow scikit-learn's forest."""
    from sklearn.ensemble import IsolationForest

    return IsolationForest(n_estimators=TREES, max_samples=min(SUBSAMPLE, len(features)), random_state=seed).fit(
        features
    )


def flattened(forest: Any) -> tuple[Nodes, npt.NDArray[np.int64]]:
    """Take scikit-learn's forest apart: nodes of all trees, and where each begins."""
    trees = [_flat_tree(estimator.tree_) for estimator in forest.estimators_]
    roots = np.cumsum([0, *(len(tree) for tree in trees[:-1])])
    return np.concatenate(trees), roots.astype(np.int64)


def _flat_tree(tree: Any) -> Nodes:
    """Lay out one tree so that siblings are neighbours and children lie behind their parents."""
    order, child = [0], []
    for node in order:  # grows meanwhile
        left = int(tree.children_left[node])
        child.append(len(order) if left >= 0 else int(tree.n_node_samples[node]))
        if left >= 0:
            order += [left, int(tree.children_right[node])]
    nodes = np.zeros(len(order), NODE)
    inner = tree.children_left[order] >= 0
    nodes["feature"] = np.where(inner, tree.feature[order], -1)
    nodes["child"] = child
    nodes["threshold"] = np.where(inner, _rounded_down(tree.threshold[order]), 0.0)
    return nodes


def _rounded_down(thresholds: npt.NDArray[np.float64]) -> Matrix:
    """Return the largest float32 up to each: a float32 feature lies on the same side of both."""
    near = thresholds.astype(np.float32)
    return np.where(near.astype(np.float64) > thresholds, np.nextafter(near, np.float32(-np.inf)), near)
