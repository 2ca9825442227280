"""Copies of checkpoints in a folder: two a partition, the newest and the one before it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from detector.errors import FileError

_NAME = re.compile(r"partition-(\d+)(\.previous)?\.checkpoint")


class Copy(msgspec.Struct, frozen=True, tag="detector-checkpoint-1"):
    """What a file holds, as MessagePack: a checkpoint as it lies in the database, and what it is of."""

    partition: int
    sequence: int
    blob: bytes


def write(folder: Path, copy: Copy) -> bool:
    """Write a copy so that at every moment, also of a power cut, a whole one is there; only its owner can read it.

    Returns
    -------
    bool
        False where the newest copy is the same already.

    Raises
    ------
    FileError
    """
    newest, previous = _places(folder, copy.partition)
    new = newest.with_suffix(".new")
    content = msgspec.msgpack.encode(copy)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if newest.exists() and newest.read_bytes() == content:
            return False
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if newest.exists():
            newest.replace(previous)
        new.replace(newest)
        _sync(folder)
    except OSError as error:
        raise FileError(f"backup.folder {folder}: {error.strerror}; make room or let this user write there") from None
    return True


def _sync(folder: Path) -> None:
    """Make the new names last; Windows neither can nor need do that."""
    if os.name == "posix":
        entry = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(entry)
        finally:
            os.close(entry)


def partitions(folder: Path) -> list[int]:
    """List the partitions that a folder holds copies of."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise FileError(f"{folder}: {error.strerror}; name a folder of copies") from None
    return sorted({int(found[1]) for name in names if (found := _NAME.fullmatch(name))})


def paths(folder: Path, partition: int) -> list[Path]:
    """List the copies of a partition, the newest first."""
    return [path for path in _places(folder, partition) if path.exists()]


def read(path: Path) -> Copy:
    """Read a copy.

    Raises
    ------
    FileError
    """
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Copy)
    except OSError as error:
        raise FileError(f"{error.strerror}") from None
    except (msgspec.MsgspecError, ValueError):
        raise FileError("not a copy of a checkpoint, or cut off") from None


def _places(folder: Path, partition: int) -> tuple[Path, Path]:
    name = f"partition-{partition:02}"
    return folder / f"{name}.checkpoint", folder / f"{name}.previous.checkpoint"
