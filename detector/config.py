"""Settings: one TOML file, DETECTOR_* in the environment, and what the command line says, in rising order."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from detector.errors import SettingsError
from detector.settings import PREFIX, SECRET, Settings

SCHEME = r"\s*[\w+.-]+://"
INJECTED = re.compile(PREFIX + r"(SERVICE_(HOST|PORT)(_.*)?|PORT(_\d+_(TCP|UDP)(_.*)?)?)")
"""What Kubernetes puts into the environment of every pod beside a Service called detector."""


@dataclass(frozen=True)
class Loaded:
    """Settings and, by dotted key, where each value came from."""

    settings: Settings
    origins: Mapping[str, str]

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield key, value as shown to people (without passwords), and origin."""
        for key, value in flatten(self.settings.model_dump(mode="json")):
            yield (
                key,
                without_password(str(value)) if key.endswith("url") else _shown(value),
                self.origins.get(key, "default"),
            )


def load(
    file: Path | None = None, flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> Loaded:
    """Read all settings.

    Parameters
    ----------
    file : Path, optional
        TOML.
    flags : mapping, optional
        By dotted key; None values are passed over.
    environment : mapping, optional
        ``DETECTOR_ALERTS__ON=3.5`` sets ``alerts.on``. The process' own by default.

    Raises
    ------
    SettingsError
        With every fault: key, where the value came from, what is wrong with it.

    Examples
    --------
    >>> load(environment={"DETECTOR_ALERTS__ON": "4"}).settings.alerts.on
    4.0
    """
    environment = os.environ if environment is None else environment
    layers = [
        (f"file {file}", _spelt_out(_read(file))),
        ("environment", _spelt_out(_environment(environment))),
        ("command line", _nest({k: v for k, v in (flags or {}).items() if v is not None})),
    ]
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        _merge(merged, layer)
        origins.update(dict.fromkeys((key for key, _ in flatten(layer)), origin))
    faults = [f"{name}: no such setting (environment)" for name in _unknown(environment)]
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        faults += [_fault(one, origins) for one in error.errors()]
    if faults:
        raise SettingsError("\n".join(["settings can't be used:", *(f"  {fault}" for fault in faults)]))
    return Loaded(settings, origins)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and values; lists count as values.

    Examples
    --------
    >>> list(flatten({"a": {"b": 1}, "c": []}))
    [('a.b', 1), ('c', [])]
    """
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def without_password(url: str) -> str:
    """Blank out the secret of a URL, or of several with commas between; what may belong to it goes with it.

    Examples
    --------
    >>> without_password("nats://ann:secret@host:4222,nats://other:4222")
    'nats://ann:***@host:4222,nats://other:4222'
    >>> without_password("postgresql://ann:s@e/c,ret@host/db?password=x")
    'postgresql://ann:***@host/db?***'
    >>> without_password("postgresql://ann:se?cret@host/db")
    'postgresql://***'
    >>> without_password("host=db user=ann password=secret")
    '***'
    """
    return "".join(_without_secret(part) for part in re.split(rf"(?<=,)(?={SCHEME})", url))


def _without_secret(url: str) -> str:
    found = re.match(SCHEME, url)
    if found is None:  # no URL: what of it is a secret, nobody knows
        return "***" if url else ""
    scheme = found.group()
    address, _, query = url[len(scheme) :].partition("?")
    if "@" in query:  # of a password that stands before the host or behind it
        return f"{scheme}***"
    userinfo, at, host = address.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    hidden = f"{user}:***@" if colon else "***@" if at else ""
    return f"{scheme}{hidden}{host}{'?***' if query else ''}"


def _read(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}; name a TOML file with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: not TOML: {error}") from None


def _spelt_out(layer: dict[str, Any]) -> dict[str, Any]:
    """Read ``[[limits]]`` as ``[[limits.forecast]]``."""
    limits = layer.get("limits")
    return {**layer, "limits": {"forecast": limits}} if isinstance(limits, list) else layer


def _environment(environment: Mapping[str, str]) -> dict[str, Any]:
    ours = {name.lower(): value for name, value in environment.items() if name.upper().startswith(PREFIX)}
    source = EnvSettingsSource(Settings, env_prefix=PREFIX, env_nested_delimiter="__")
    source.env_vars = ours
    try:
        return source()
    except ValueError as error:  # a value that must be JSON and is not
        raise SettingsError(f"settings can't be used:\n  environment: {error}: {error.__cause__}") from None


def _unknown(environment: Mapping[str, str]) -> list[str]:
    return sorted(
        name
        for name in environment
        if name.upper().startswith(PREFIX) and not INJECTED.fullmatch(name) and not _names_setting(name)
    )


def _names_setting(name: str) -> bool:
    section, *below = name[len(PREFIX) :].lower().split("__")
    field = Settings.model_fields.get(section)
    return field is not None and (not below or not isinstance(field.default, (str, Path)))  # they have no parts


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *path, last = key.split(".")
        branch = tree
        for name in path:
            branch = branch.setdefault(name, {})
        branch[last] = value
    return tree


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(below.get(key), dict):
            _merge(below[key], value)
        else:
            below[key] = dict(value) if isinstance(value, Mapping) else value


def _fault(error: Any, origins: Mapping[str, str]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    origin = origins.get(key) or next(
        (o for k, o in origins.items() if key and (k.startswith(key) or key.startswith(k))), "default"
    )
    unknown = error["type"] == "extra_forbidden"  # what stands there may be a secret that we can't tell from others
    whole = isinstance(error["input"], (dict, list, Settings))  # nor can we in a table or a list
    secretive = error["loc"][:1] in (("nats",), ("database",))
    given = "" if unknown or whole or secretive else f", got {_shown(error['input'])[:200]}"
    return f"{key}: {error['msg']}{given} ({origin})"


def _shown(value: Any) -> str:
    """Write a value for people, without what is or may be a secret in it."""
    return "" if value is None else str(_masked(value))


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _masked(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(one) for one in value]
    if not isinstance(value, str):
        return value
    return "***" if SECRET.search(value) else without_password(value) if re.search("://|@", value) else value
