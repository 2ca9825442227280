"""What proves who we are to a broker, and whom we take for the broker: files, read where they are used."""

from __future__ import annotations

import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detector.errors import BusError


@dataclass(frozen=True, slots=True)
class Credentials:
    """Files that hold keys and certificates; each may be absent.

    Attributes
    ----------
    nkey_seed_file : Path
        Seed of the user's nkey (``SU…``).
    tls_ca : Path
        Certificates (PEM) of who may vouch for the broker, instead of the system's. Where it is given,
        a broker without TLS is refused, whatever the URL says.
    tls_cert, tls_key : Path
        Our own certificate and its key, for a broker that asks for one.
    """

    nkey_seed_file: Path | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @property
    def demand_tls(self) -> bool:
        """Whether a broker without TLS must be refused."""
        return self.tls_ca is not None or self.tls_cert is not None

    def faults(self) -> list[str]:
        """Name every file that can't be used, by its setting, with the remedy; contents are not shown."""
        found = []
        if (self.tls_cert is None) != (self.tls_key is None):
            found.append("nats.tls_cert and nats.tls_key go together: set both or none")
        for read in (self._seed, self._context):
            try:
                read()
            except BusError as error:
                found.append(str(error))
        return found

    def options(self) -> dict[str, Any]:
        """Read the files into what nats-py's ``connect`` takes. Blocks for as long as the files do.

        With an nkey, inboxes lie below ``_INBOX.<public key>``, so that a broker can keep each user's
        replies to that user.

        Raises
        ------
        BusError
            With every fault.
        """
        if faults := self.faults():
            raise BusError("; ".join(faults))
        chosen: dict[str, Any] = {"tls": self._context()}
        if seed := self._seed():
            import nkeys  # here, so that a collector without a key starts without it

            key = nkeys.from_seed(bytearray(seed)).public_key.decode()
            chosen |= {"nkeys_seed_str": seed.decode(), "inbox_prefix": f"_INBOX.{key}"}
        return chosen

    def _seed(self) -> bytes:
        if self.nkey_seed_file is None:
            return b""
        seed = _read_secret("nats.nkey_seed_file", self.nkey_seed_file).strip()
        if not _is_seed_of_user(seed):
            raise BusError(
                f"nats.nkey_seed_file: {self.nkey_seed_file} holds no seed of a user (SU…) or a damaged one; "
                "deploy/nats/make_keys.py makes one"
            )
        return seed

    def _context(self) -> ssl.SSLContext:
        """Verify the broker's certificate and name, with TLS 1.2 at least."""
        if self.tls_ca is not None:
            _read("nats.tls_ca", self.tls_ca)
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
        except ssl.SSLError as error:
            raise BusError(f"nats.tls_ca: {self.tls_ca} holds no certificates in PEM: {error.reason}") from None
        if self.tls_cert is None or self.tls_key is None:
            return context
        _read("nats.tls_cert", self.tls_cert)
        _read_secret("nats.tls_key", self.tls_key)
        try:
            # A password, even a wrong one, keeps OpenSSL from asking for one on the terminal.
            context.load_cert_chain(self.tls_cert, self.tls_key, password="")
        except ssl.SSLError as error:
            raise BusError(
                f"nats.tls_cert, nats.tls_key: {self.tls_cert} and {self.tls_key} are no certificate and its key in "
                f"PEM, without a password: {error.reason or 'not readable'}"
            ) from None
        return context


def _is_seed_of_user(seed: bytes) -> bool:
    import nkeys

    try:
        kind, raw = nkeys.decode_seed(bytearray(seed))
        written = nkeys.encode_seed(bytes(raw), kind)  # decoding doesn't look at the checksum
    except (nkeys.NkeysError, ValueError):
        return False
    return bool(kind == nkeys.PREFIX_BYTE_USER and written == seed)


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BusError(
            f"{setting}: {path}: {error.strerror}; name a file that this user may read, or make it"
        ) from None


def _read_secret(setting: str, path: Path) -> bytes:
    """Read what strangers must not: group may read (as mounted secrets are often shared), others nothing."""
    content = _read(setting, path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o027:
        raise BusError(f"{setting}: {path} is open to others (mode {mode:04o}): chmod 600 {path}")
    return content
