"""Whether an address is this machine."""

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
