"""Real files for tests; they lie beside the checkout and are not part of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def shared(path: str) -> Path:
    """Return a shared file; without it skip, or fail where CI says that it must be there."""
    found = SHARED / path
    if not found.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{found} is missing, and CI must have it")
        pytest.skip(f"real data is not here: {path}")
    return found
