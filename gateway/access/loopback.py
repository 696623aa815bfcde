"""The gateway without keys: for this machine alone.

The address of the client is not enough. A web page from anywhere can make a browser on this machine send requests
here: under its own name, which DNS rebinding points at 127.0.0.1 (told by `Host`), or across sites (told by `Origin`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final

from gateway.errors import Forbidden
from gateway.types import Principal

LOCAL: Final = Principal("local", "local", "admin")
"""Who everybody on this machine is while there are no keys."""

_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:.%]+\]|[^:\[\]/@\s]+)(?::[0-9]{1,5})?", re.IGNORECASE)
_ORIGIN: Final = re.compile(rf"[a-z][a-z0-9+.-]*://{_AUTHORITY.pattern}", re.IGNORECASE)


def is_loopback(host: str) -> bool:
    """Whether a host name or address, with or without brackets, can only be this machine."""
    if host in ("127.0.0.1", "localhost", "::1") or host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def check_local(scope: Mapping[str, Any]) -> None:
    """Let an HTTP request in that this machine sent for itself. Raises Forbidden for any other."""
    client = scope.get("client")
    if not client or not is_loopback(client[0]):
        raise _forbidden("only this machine may use this gateway")
    hosts = 0
    for name, value in scope["headers"]:
        if name == b"host":
            hosts += 1
            if not _names_loopback(_AUTHORITY, value):
                raise _forbidden("this gateway must be called as localhost or 127.0.0.1")
        elif name == b"origin" and not _names_loopback(_ORIGIN, value):
            raise _forbidden("only web pages of this machine may use this gateway")
    if hosts != 1:
        raise _forbidden("a request must name its host, once")


def _names_loopback(form: re.Pattern[str], value: bytes) -> bool:
    match = form.fullmatch(value.decode("latin-1"))
    return match is not None and is_loopback(match[1])


def _forbidden(why: str) -> Forbidden:
    return Forbidden(f"no API keys are set, so {why}: set API_KEYS to let others in")
