"""Detector as it runs by default, in a process of its own that also answers the bench."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from detector.adapters.formats import checkpoints
from detector.adapters.terminal.logs import set_up_logs
from detector.app import Service, running
from detector.config import load
from tests.bench.answers import answer


async def serve(nats_url: str, folder: Path) -> None:
    flags = {
        "folder": str(folder),
        "nats.url": nats_url,
        "database.url": f"sqlite:///{folder / 'detector.db'}",
        "http.port": 0,
        "log.level": "warning",
    }
    settings = load(flags=flags, environment={}).settings
    set_up_logs(settings.log.level, settings.log.format)
    async with running(settings) as service:
        await answer(
            {
                "ready": lambda: not service.faults(),
                "applied": lambda: _applied(service),
                "state": lambda: _state_bytes(service),
            }
        )


def _applied(service: Service) -> int:
    return sum(held.state.counts["accepted"] for held in service.worker.ownership.held.values())


def _state_bytes(service: Service) -> float:
    """Bytes of a checkpoint, a signal."""
    states = [held.state for held in service.worker.ownership.held.values() if held.state.directory.signals.watched]
    return sum(len(checkpoints.encode(state)) for state in states) / sum(s.directory.signals.watched for s in states)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("nats_url")
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args()
    asyncio.run(serve(chosen.nats_url, chosen.folder))
