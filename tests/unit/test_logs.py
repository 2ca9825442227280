"""What can't be logged ends nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import structlog

from detector.adapters.terminal.logs import set_up_logs


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_log_on_a_full_disk_costs_its_lines_only(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full").open("w", buffering=1)  # noqa: SIM115  closing it would raise what it holds back
    monkeypatch.setattr(sys, "stderr", full)
    try:
        set_up_logs("info", "auto")
        log = structlog.get_logger()
        log.error("lost")
        log.warning("lost too", partition=3)
        with pytest.raises(OSError, match="No space left"):
            print("not ours", file=full, flush=True)
    finally:
        structlog.reset_defaults()
        with pytest.raises(OSError, match="No space left"):
            full.close()
