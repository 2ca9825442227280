"""Alarms, and two more figures for labelled windows: event F1 and the volume under the PR surface."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tests.quality.streams import Floats, Stream

HOLD = 36
"""Rows behind an alarm that belong to it."""
_CANDIDATES, _MOST_ALARMS = 120, 20_000
_BUFFERS = (0, 20, 40, 60, 80, 100)
_LEVELS = 200


def alarms(score: Floats, level: float, warm: int) -> npt.NDArray[np.int64]:
    """Return the rows from `warm` on that open an alarm: at `level` or more, with none in the `HOLD` rows before."""
    rows = np.flatnonzero(score[warm:] >= level) + warm
    opening = []
    at = 0
    while at < len(rows):
        opening.append(rows[at])
        at = int(np.searchsorted(rows, rows[at] + HOLD, side="right"))
    return np.array(opening, np.int64)


def event_f1(streams: Sequence[Stream], scores: Sequence[Floats]) -> float:
    """Return the best F1 that one level for all streams reaches.

    Recall is the share of windows with an alarm in them, precision the share of alarms that lie in a window.
    """
    ranked = np.sort(np.concatenate([score[stream.warm :] for stream, score in zip(streams, scores, strict=True)]))[
        ::-1
    ]
    places = np.geomspace(1, min(len(ranked), _MOST_ALARMS), _CANDIDATES).astype(int) - 1
    return max(_f1_at(streams, scores, level) for level in np.unique(ranked[places]))


def _f1_at(streams: Sequence[Stream], scores: Sequence[Floats], level: float) -> float:
    raised = right = found = 0
    for stream, score in zip(streams, scores, strict=True):
        rows = alarms(score, level, stream.warm)
        hit = np.array([(fault.first <= rows) & (rows <= fault.last) for fault in stream.faults]).reshape(
            len(stream.faults), len(rows)
        )
        raised += len(rows)
        right += int(hit.any(axis=0).sum())
        found += int(hit.any(axis=1).sum())
    windows = sum(len(stream.faults) for stream in streams)
    return 2.0 * right / raised * found / windows / (right / raised + found / windows) if right else 0.0


def vus_pr(streams: Sequence[Stream], scores: Sequence[Floats]) -> float:
    """Return the mean volume under the range-PR surface over the streams that have windows.

    Source: J. Paparrizos et al., "Volume Under the Surface", VLDB 2022: windows fade out over a buffer on both
    sides, recall counts for the share of windows that were touched, and lengths of the buffer are averaged.
    """
    volumes = []
    for stream, score in zip(streams, scores, strict=True):
        spans = [(max(f.first - stream.warm, 0), f.last - stream.warm) for f in stream.faults if f.last >= stream.warm]
        if spans:
            judged = score[stream.warm :]
            volumes.append(np.mean([_area(judged, spans, buffer) for buffer in _BUFFERS]))
    return float(np.mean(volumes))


def _area(score: Floats, spans: Sequence[tuple[int, int]], buffer: int) -> float:
    rows = np.arange(len(score))
    hard, soft = np.zeros(len(score)), np.zeros(len(score))
    reach = buffer // 2
    touched = []
    for first, last in spans:
        away = np.maximum(first - rows, rows - last).clip(min=0)
        fading = np.sqrt(1.0 - np.minimum(away / max(buffer, 1), 1.0))
        soft = np.maximum(soft, np.where(away <= reach, fading, 0.0))
        hard[first : last + 1] = 1.0
        touched.append(score[max(first - reach, 0) : last + reach + 1].max())
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    if len(ends) > _LEVELS:
        ends = ends[np.unique(np.linspace(0, len(ends) - 1, _LEVELS).astype(int))]
    true = np.cumsum(soft[order])[ends]
    existing = (np.array(touched)[None, :] >= ranked[ends][:, None]).mean(axis=1)
    recall = np.minimum(true / ((hard.sum() + soft.sum()) / 2.0), 1.0) * existing
    return float(np.sum(np.diff(recall, prepend=0.0) * true / (ends + 1.0)))
