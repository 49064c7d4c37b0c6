"""The key that hides requests in the log: without it a short phrase could be guessed from its hash."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import Any

from icd10cm.errors import ConfigError
from serving.audit.records import write_canonical

_BYTES = 32


def load_secret(folder: Path) -> bytes:
    """Return the key in `audit.key`, made where there is none. Raises `ConfigError` where others may read it."""
    path = folder / "audit.key"
    with contextlib.suppress(FileExistsError):
        # made whole beside it first: another process must not read half of it
        scratch = folder / f".audit.key.{secrets.token_hex(8)}"
        file = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(file, secrets.token_hex(_BYTES).encode())
            os.fsync(file)
        finally:
            os.close(file)
        try:
            os.link(scratch, path)
        finally:
            scratch.unlink()
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path}: others may read this key; chmod 600 {path}")
    key = path.read_text(encoding="ascii", errors="replace").strip()
    if len(key) < 2 * _BYTES:
        raise ConfigError(f"{path}: holds no key of {2 * _BYTES} characters; restore it, or move it away for a new one")
    return key.encode()


def hash_request(secret: bytes, request: Any) -> str:
    """Return the HMAC-SHA256 of a request's canonical JSON: the same request has the same hash, and no hash says which."""
    return hmac.new(secret, write_canonical(request), hashlib.sha256).hexdigest()
