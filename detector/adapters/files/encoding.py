"""What kind of file lies there, judged by its bytes and not by its name."""

from __future__ import annotations

import codecs
import re
import shlex
from pathlib import Path

from detector.errors import EmptyFileError, FileError

MAX_BYTES = 2**30
"""Longest file read; delimited text is streamed, so this bounds time and the longest line, not memory."""

_CHUNK = 2**20
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x19]")
_PACKED = {
    b"\x1f\x8b": "gzip data; unpack it with: gunzip -k",
    b"PK\x03\x04": "a zip archive or a spreadsheet; unpack it, or save the sheet as CSV:",
    b"BZh": "bzip2 data; unpack it with: bunzip2 -k",
    b"\xfd7zXZ": "xz data; unpack it with: unxz -k",
    b"\x28\xb5\x2f\xfd": "zstd data; unpack it with: unzstd",
}


def kind_of(path: Path) -> tuple[str, str]:
    """Tell what to read a file as.

    Returns
    -------
    kind : str
        ``delimited``, ``json`` or ``parquet``.
    encoding : str
        ``utf-8-sig``, or ``cp1252`` where the bytes are not UTF-8; ``""`` for Parquet.

    Raises
    ------
    FileError
        Missing, a folder, no regular file, empty, above `MAX_BYTES`, packed, UTF-16 or otherwise binary.

    Notes
    -----
    Reads the file once, in pieces of 1 MiB.
    """
    if path.is_dir():
        raise FileError("it is a folder; name a file in it")
    if not path.exists():
        raise FileError("there is no such file")
    if not path.is_file():
        raise FileError("it is no regular file; write what it gives into one first")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise FileError(f"it is longer than {MAX_BYTES:,} bytes; cut it into parts, for example by month")
    with path.open("rb") as file:
        head = file.read(4096).removeprefix(codecs.BOM_UTF8)
    if not head.strip():
        raise EmptyFileError("it is empty")
    if head.startswith(b"PAR1"):
        return "parquet", ""
    _refuse_foreign(path, head)
    encoding = _encoding(path)
    is_json = path.suffix.lower() in (".json", ".jsonl") or head.lstrip().startswith((b"[", b"{"))
    return "json" if is_json else "delimited", encoding


def _refuse_foreign(path: Path, head: bytes) -> None:
    name = shlex.quote(str(path))
    for magic, remedy in _PACKED.items():
        if head.startswith(magic):
            raise FileError(f"it is {remedy} {name}")
    if utf16 := _utf16(head):
        raise FileError(f"it is UTF-16; convert it with: iconv -f {utf16} -t UTF-8 {name} > utf8.csv")
    if _CONTROL.search(head):
        raise FileError("it is binary; give CSV, JSON or Parquet")


def _utf16(head: bytes) -> str | None:
    """Name it as iconv does; told by its byte order mark, or by a zero in every other byte."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) * 4 > len(head) and min(even, odd) * 16 < len(head):
        return "UTF-16LE" if odd > even else "UTF-16BE"
    return None


def _encoding(path: Path) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")()
    encoding = "utf-8-sig"
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if b"\0" in chunk:
                raise FileError("it holds zero bytes, as after a crash; remove them with: tr -d '\\0'")
            if encoding == "utf-8-sig":
                try:
                    decoder.decode(chunk, final=len(chunk) < _CHUNK)
                except UnicodeDecodeError:
                    encoding = "cp1252"
    return encoding
