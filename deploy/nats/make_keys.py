"""Make keys for a nats-server: make_keys.py FOLDER [NAME...].

Writes NAME.seed (mode 0600), which its user keeps, where there is none yet, and keys.conf, which the
server includes, from all seeds in FOLDER. A seed that is there is never overwritten.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import nkeys

ROLES = ("service", "collector", "subscriber", "admin")


def make(folder: Path, names: list[str]) -> None:
    """Make the seeds that are missing, and `keys.conf` for all that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = folder / f"{name}.seed"
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            print(f"{path} is there and stays")
            continue
        with os.fdopen(file, "wb") as seed:
            seed.write(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER) + b"\n")
        print(f"{path} made")
    lines = ["# Public keys and inboxes, made by make_keys.py; the seeds belong to the users, not to the server."]
    for path in sorted(folder.glob("*.seed")):
        key = nkeys.from_seed(bytearray(path.read_bytes().strip())).public_key.decode()
        lines += [f'{path.stem}_key: "{key}"', f'{path.stem}_inbox: "_INBOX.{key}.>"']
    (folder / "keys.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    folder, *names = sys.argv[1:] or sys.exit(__doc__)
    if bad := [name for name in names if not re.fullmatch(r"[a-z][a-z0-9_]*", name)]:
        sys.exit(f"{', '.join(bad)}: a name is made of a-z, 0-9 and _")
    make(Path(folder), names or list(ROLES))
