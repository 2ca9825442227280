"""How a contestant's process answers the bench: one word in, one line of JSON out."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any


async def answer(answers: Mapping[str, Callable[[], Any]]) -> None:
    """Answer until standard input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(json.dumps(answers[line.decode().strip()]()), flush=True)
