"""Which files to read and where to write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from detector.errors import FileError

SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")


def input_files(inputs: Iterable[str | Path]) -> list[Path]:
    """Files as given, folders replaced by what is below them; each file once.

    Of a folder those that end in one of `SUFFIXES` are taken, sorted, without hidden ones.

    Raises
    ------
    FileError
        A name that is not there, or a folder without such files.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, inputs):
        if not path.exists():
            raise FileError(f"{path}: there is no such file or folder")
        for file in _below(path) if path.is_dir() else [path]:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def output_paths(inputs: Iterable[str | Path], out: str | Path) -> list[tuple[Path, Path]]:
    """Pair every input file with ``out/<name>.csv``.

    Parameters
    ----------
    inputs : iterable of str or Path
        Files and folders, see `input_files`.
    out : str or Path
        A folder, there or not.

    Returns
    -------
    list of (Path, Path)
        Input and output.

    Raises
    ------
    FileError
        As `input_files`; two inputs with one name; an output that is itself an input; `out` is a file.
    """
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder}: it is no folder; name a folder to write to")
    files = input_files(inputs)
    sources = {file.resolve() for file in files}
    taken: dict[Path, Path] = {}
    for file in files:
        target = folder / f"{file.stem}.csv"
        if target in taken:
            raise FileError(f"{taken[target]} and {file} would both be written to {target}; rename one of them")
        if target.resolve() in sources:
            raise FileError(f"{target} would overwrite an input; name another folder to write to")
        taken[target] = file
    return [(file, target) for target, file in taken.items()]


def _below(folder: Path) -> list[Path]:
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
    if not files:
        raise FileError(f"{folder}: holds no file that ends in {', '.join(SUFFIXES)}")
    return files
