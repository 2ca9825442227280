"""Where a partition goes on in a stream that may not be the one it knew."""

from __future__ import annotations

import pytest

from detector.adapters.nats.streams import StreamInfo
from detector.jobs.ownership import judge
from detector.pipeline.state import PartitionState
from detector.ports import Lease
from tests.synth import plan

OLD, NEW = 1_000, 2_000


def judged(checkpoint: tuple[int, int], effects: tuple[int, int], stream: StreamInfo) -> tuple[int, int]:
    """Position and effects after a load; both are given with the stream they were written for."""
    state = PartitionState(plan())
    state.position, state.stream = checkpoint
    lease = Lease(3, "me", 1, effects[0], checkpoint[0], effects[1])
    lease = judge(lease, state, stream)
    assert state.stream == stream.created
    assert lease.checkpoint_seq == state.position  # so that whatever comes next is worth a checkpoint
    return state.position, lease.effects_seq


@pytest.mark.parametrize(
    ("checkpoint", "effects", "stream", "wanted"),
    [
        ((100, OLD), (150, OLD), (OLD, 1, 200), (100, 150)),  # nothing happened
        ((-1, 0), (-1, 0), (OLD, 1, 200), (-1, -1)),  # nobody has worked on it yet
        ((-1, 0), (150, OLD), (OLD, 1, 200), (-1, 150)),  # no checkpoint can be read: all again, effects dropped
        ((100, OLD), (150, OLD), (NEW, 1, 5000), (0, 0)),  # replaced, both of before
        ((100_000, OLD), (500, NEW), (NEW, 1, 600), (0, 500)),  # replaced, effects of the new one committed since
        ((100, OLD), (40, NEW), (NEW, 1, 5000), (0, 40)),
        ((100, OLD), (150, OLD), (NEW, 7, 6), (6, 6)),  # the new one is empty and begins at 7
        ((1000, OLD), (1000, OLD), (OLD, 1, 900), (900, 900)),  # it has lost its end
        ((1000, OLD), (900, OLD), (OLD, 1, 900), (900, 900)),
        ((100, OLD), (150, OLD), (OLD, 120, 200), (100, 150)),  # its beginning expired: a gap, no more
    ],
)
def test_ns_01_positions_fit_the_stream(
    checkpoint: tuple[int, int], effects: tuple[int, int], stream: tuple[int, int, int], wanted: tuple[int, int]
) -> None:
    assert judged(checkpoint, effects, StreamInfo("METRICS", *stream)) == wanted
