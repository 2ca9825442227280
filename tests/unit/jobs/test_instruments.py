"""What a process shows of its partitions goes with them."""

from __future__ import annotations

from detector.adapters.http.metrics import Metrics
from detector.jobs.instruments import Instruments
from detector.jobs.quarantine import Quarantine
from tests.synth import T0, Run, gauge, message, plan
from tests.unit.pipeline.test_partition import partition


async def test_refusals_and_skews_move_with_their_partition() -> None:
    run = Run(plan()).take([message(T0, [gauge(1.0)]), message(T0 + 1234, [gauge(1.0)])])
    held = partition(run.state, Quarantine())
    metrics = Metrics()
    instruments = Instruments(metrics)
    metrics.show_skew("acme", "shop", 1.0)
    instruments.show([held], 0.0)
    shown = [
        ("detector_refused", {"reason": "bad_timestamp"}),
        ("detector_producer_skew_seconds", {"tenant": "acme", "service": "shop"}),
    ]
    assert [metrics.registry.get_sample_value(*one) for one in shown] == [1.0, 1.0]
    instruments.show([], 1.0)
    assert [metrics.registry.get_sample_value(*one) for one in shown] == [None, None]
