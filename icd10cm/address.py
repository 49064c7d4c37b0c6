"""Addresses of servers: whether one is this machine, whether one is an address at all."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_this_machine(url: str) -> bool:
    """Whether `url` is a loopback address. The machine's own name and its addresses in a network do not count.

    >>> [is_this_machine(f"http://{host}/v1") for host in ("127.0.0.1:8000", "[::1]:80", "localhost", "10.0.0.5")]
    [True, True, True, False]
    """
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(url: str) -> str:
    """Return the address of an API without its last slash. Raises `ValueError` where it is none, or holds a password.

    >>> check_address("http://127.0.0.1:8000/v1/")
    'http://127.0.0.1:8000/v1'
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not an address such as http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise ValueError("an address holds no password; the key comes from the environment variable OPENAI_API_KEY")
    return url.rstrip("/")
