"""What a process frees goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import numpy as np
import psutil
from detector.jobs.memory import give_back

if sys.argv[1] == "given back":
    assert give_back()
np.ones(4_000_000)  # freed at once: for glibc by itself the sign to keep blocks of up to this size
large, small = [], []
before = psutil.Process().memory_info().rss
for i in range(16):
    large.append(np.ones(550_000 + 8_192 * i))
    small.append(np.ones(12_000))  # beside it, not into a hole elsewhere
del large
print(psutil.Process().memory_info().rss - before)
"""


def left(how: str) -> float:
    """MiB that stay after 16 blocks of 4 MiB or more were freed, small ones between them."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(done.stdout) / 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these parameters")
def test_large_blocks_go_back_when_they_are_freed() -> None:
    assert left("given back") < 8.0
    assert left("kept") > 32.0
