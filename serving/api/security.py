"""Who may ask: API keys, compared in constant time, and the names that a request may be addressed to."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from pathlib import Path

from icd10cm.errors import ConfigError
from serving.api.settings import ApiSettings

KEYS_VARIABLE, KEYS_FILE_VARIABLE = "ICDTUNE_API_KEYS", "ICDTUNE_API_KEYS_FILE"
LOCAL = "local"
"""Name of whoever asks where no keys are wanted."""

_SHORTEST_KEY = 16
_NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class KeyRing:
    """The keys by name; only their hashes stay in memory."""

    def __init__(self, keys: Mapping[str, str]):
        self._hashes = {name: hashlib.sha256(key.encode()).digest() for name, key in keys.items()}

    def __len__(self) -> int:
        return len(self._hashes)

    def find_name(self, authorization: str) -> str | None:
        """Return the name of the key in `Bearer KEY`, None where there is none; takes as long for every key."""
        scheme, _, key = authorization.strip().partition(" ")
        given = hashlib.sha256(key.strip().encode(errors="surrogateescape")).digest()
        found = None
        for name, known in self._hashes.items():
            if hmac.compare_digest(given, known):
                found = name
        return found if scheme.lower() == "bearer" else None


def load_keys(settings: ApiSettings) -> KeyRing:
    """Return the keys that the environment names: `ICDTUNE_API_KEYS` (`NAME=KEY,…`, or a file) or `ICDTUNE_API_KEYS_FILE`.

    Raises:
        ConfigError: a key is too short, a name is given twice, a file cannot be read, or the API can be reached from other
            machines and there is no key.
    """
    value, file = os.environ.get(KEYS_VARIABLE, "").strip(), os.environ.get(KEYS_FILE_VARIABLE, "").strip()
    if value and file:
        raise ConfigError(f"{KEYS_VARIABLE} and {KEYS_FILE_VARIABLE} are both set; unset one of them")
    if value and "=" not in value:
        file, value = value, ""
    keys: dict[str, str] = {}
    for place, line in _list_lines(value, file):
        name, separator, key = (part.strip() for part in line.partition("="))
        if not separator or not _NAME.fullmatch(name):
            raise ConfigError(f"{place}: write NAME=KEY; a name has 1 to 64 letters, digits, dots, hyphens")
        if len(key) < _SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError(
                f"{place}: the key of {name} needs at least {_SHORTEST_KEY} ASCII characters, such as: openssl rand -hex 24"
            )
        if name in keys:
            raise ConfigError(f"{place}: the name {name} is given twice")
        keys[name] = key
    if (value or file) and not keys:
        raise ConfigError(f"{file or KEYS_VARIABLE}: holds no key; write NAME=KEY, one per line")
    if not keys and not settings.is_local:
        raise ConfigError(
            f"'host' {settings.host} can be reached from other machines, so API keys are needed: set {KEYS_VARIABLE}=NAME=KEY "
            f"or {KEYS_FILE_VARIABLE}=FILE (a line NAME=KEY each), or listen on 127.0.0.1"
        )
    return KeyRing(keys)


def _list_lines(value: str, file: str) -> list[tuple[str, str]]:
    if value:
        lines = value.replace("\n", ",").split(",")
        return [(f"{KEYS_VARIABLE}, key {number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    if not file:
        return []
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: the file of API keys cannot be read ({getattr(error, 'strerror', 'not UTF-8')})") from None
    lines = text.splitlines()
    return [(f"{file}, line {n}", line) for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]


class HostGuard:
    """Which `Host` headers are answered.

    Without keys, a page from elsewhere could make a browser on this machine ask here under a name of its own that it points
    at 127.0.0.1 (DNS rebinding); so only names of this machine are answered then.
    """

    def __init__(self, settings: ApiSettings, keys: KeyRing):
        names = [name.lower() for name in settings.allowed_hosts]
        self._names = {*names, *_LOCAL_NAMES} if names or (settings.is_local and not keys) else None

    def allows(self, host: str) -> bool:
        """Whether a request with this header is answered; the port does not matter."""
        return self._names is None or re.sub(r":\d*$", "", host.strip().lower()) in self._names
