"""Signed links to stored files: `/files/{token}/{key}`, short-lived, without a query string, the extension at the end.

The token is base64url of 5 bytes of expiry (Unix seconds) and 16 bytes of HMAC-SHA256 over expiry and key.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Sequence

from gateway.errors import Forbidden

MAX_TTL = 24 * 3600
SECRET_BYTES = 16
"""A shorter secret could be guessed."""

_EXPIRY, _MAC = 5, 16
_TOKEN = (_EXPIRY + _MAC) * 4 // 3
"""Characters. 21 bytes fill 28 characters exactly: no padding, and no unused bits that could be flipped."""
_PURPOSE = b"mediagate file link\0"


class Links:
    """Makes and verifies links that live `ttl` seconds. The first secret signs, all verify: so they can be rotated."""

    def __init__(self, secrets: Sequence[bytes], ttl: int) -> None:
        if not secrets or any(len(secret) < SECRET_BYTES for secret in secrets):
            raise ValueError(f"links need at least one secret, each of {SECRET_BYTES} bytes or more")
        if not 0 < ttl <= MAX_TTL:
            raise ValueError(f"links live between 1 and {MAX_TTL} seconds, not {ttl}")
        self._secrets = tuple(secrets)
        self._ttl = ttl

    def path(self, key: str, now: float) -> str:
        """The path of a link to the object at `key`."""
        expiry = (int(now) + self._ttl).to_bytes(_EXPIRY, "big")
        token = urlsafe_b64encode(expiry + _mac(self._secrets[0], expiry, key))
        return f"/files/{token.decode()}/{key}"

    def verify(self, token: str, key: str, now: float) -> None:
        """Forbidden if the link was altered or is over."""
        raw = _decoded(token)
        expiry, mac = raw[:_EXPIRY], raw[_EXPIRY:]
        # Every secret is tried, so that the time tells nothing of which one fits.
        matches = [hmac.compare_digest(_mac(secret, expiry, key), mac) for secret in self._secrets]
        if not any(matches):
            raise Forbidden("This link is not valid.", code="invalid_link")
        if now >= int.from_bytes(expiry, "big"):
            raise Forbidden(
                "This link is over.", code="expired_link", advice="Ask for the file again to get a new one."
            )

    def seconds_left(self, token: str, now: float) -> int:
        """How long a verified link lives on: as long as its answer may be kept in a private cache."""
        return max(0, int.from_bytes(_decoded(token)[:_EXPIRY], "big") - int(now))


def _mac(secret: bytes, expiry: bytes, key: str) -> bytes:
    return hmac.digest(secret, _PURPOSE + expiry + key.encode("utf-8", "surrogatepass"), hashlib.sha256)[:_MAC]


def _decoded(token: str) -> bytes:
    """The token's bytes. Only the one spelling that `path` writes is taken: two spellings would be two links."""
    try:
        raw = a2b_base64(token.translate(_FROM_URL).encode("ascii"), strict_mode=True)
    except (NotBase64, UnicodeEncodeError) as exc:
        raise Forbidden("This link is not valid.", code="invalid_link") from exc
    if len(token) != _TOKEN or urlsafe_b64encode(raw).decode() != token:
        raise Forbidden("This link is not valid.", code="invalid_link")
    return raw


_FROM_URL = str.maketrans("-_+/", "+/!!")
