"""Make keys for a nats-server: make_keys.py FOLDER [NAME...].

Makes a key for each NAME, and for each role of nats.conf that has none yet: NAME.seed (mode 0600), which its user
takes along, and in keys.conf, which the server includes, the public key in place of the one that NAME had before.
All other keys stay as they are. A seed that is there is never overwritten.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import nkeys

ROLES = ("service", "collector", "subscriber", "admin")


def make(folder: Path, names: list[str]) -> None:
    """Make the seeds that are asked for or needed, and `keys.conf` for all keys there are."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "keys.conf"
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    keys = dict(re.findall(r'^(\w+)_key: "(U\w+)"$', before, re.MULTILINE))
    missing = [role for role in ROLES if role not in keys]
    if not names and not missing:
        print(f"every role has its key in {file}, which stays; name those that are to have a new one")
    for name in dict.fromkeys([*missing, *names]):
        _make_seed(folder / f"{name}.seed")
    for path in folder.glob("*.seed"):
        keys[path.stem] = nkeys.from_seed(bytearray(path.read_bytes().strip())).public_key.decode()
    lines = ["# Public keys and inboxes, made by make_keys.py; the seeds belong to the users, not to the server."]
    for name, key in sorted(keys.items()):
        lines += [f'{name}_key: "{key}"', f'{name}_inbox: "_INBOX.{key}.>"']
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _make_seed(path: Path) -> None:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"{path} is there and stays")
        return
    with os.fdopen(file, "wb") as seed:
        seed.write(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER) + b"\n")
    print(f"{path} made")


if __name__ == "__main__":
    folder, *names = sys.argv[1:] or sys.exit(__doc__)
    if bad := [name for name in names if not re.fullmatch(r"[a-z][a-z0-9_]*", name)]:
        sys.exit(f"{', '.join(bad)}: a name is made of a-z, 0-9 and _")
    make(Path(folder), names)
