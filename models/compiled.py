"""Ahead of everything numba: one decorator, and a cache folder that no stale machine code survives in.

Numba's own cache looks at the file of the decorated function only, so that an edit in a file it calls into
goes unnoticed. Here the folder's name holds a hash of every source that may be compiled together.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar, cast

import numba

__all__ = ["cache_folder", "jit", "source_key"]

F = TypeVar("F", bound=Callable[..., object])

_HERE = Path(__file__).resolve().parent
_COMPILED_TOGETHER = (
    _HERE,
    _HERE / "load",
    _HERE.parent / "detector" / "pipeline",
    _HERE.parent / "detector" / "domain",
)


def source_key(folders: Iterable[Path] = _COMPILED_TOGETHER) -> str:
    """Hash of the names and contents of all Python files in `folders`.

    Parameters
    ----------
    folders
        Folders to read, not recursively. A missing folder counts as empty.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.glob("*.py")):
            content = path.read_bytes()
            digest.update(f"{folder.name}/{path.name}:{len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Where compiled code is kept: below `NUMBA_CACHE_DIR`, else below the user's cache folder.

    Falls back to a private folder below the temporary one where the home folder can't be written, as in a
    read-only container.
    """
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return Path(chosen) / source_key()
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "detector" / "numba"
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError:
        base = Path(tempfile.mkdtemp(prefix="detector-numba-"))
    if not os.access(base, os.W_OK):
        base = Path(tempfile.mkdtemp(prefix="detector-numba-"))
    return base / source_key()


_FOLDER = cache_folder()


def jit(function: F) -> F:
    """Compile `function` with numba, cached in `cache_folder`, without interpreter lock and fastmath.

    Division by zero follows IEEE 754 (inf, nan) instead of raising.

    Examples
    --------
    >>> @jit
    ... def double(x):
    ...     return 2.0 * x
    >>> double(1.5)
    3.0
    """
    # The folder is read when the function is decorated; other users of numba in this process keep their own.
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(_FOLDER)
    try:
        compiled = numba.njit(nogil=True, error_model="numpy")(function)
        with contextlib.suppress(RuntimeError):  # typed at a prompt or zipped: no file to cache for
            compiled.enable_caching()
        return cast("F", compiled)
    finally:
        numba.config.CACHE_DIR = before
