"""Who a caller is, by API key.

Keys are known by their SHA-256 only. A header is looked up by what it hashes to, so that nothing branches on a secret;
what a header once proved is remembered, so that a request of a known caller hashes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Final, Literal, Self

from gateway.errors import ConfigError, Unauthorized
from gateway.types import Principal, Webhook

Role = Literal["admin", "developer", "viewer"]

LONGEST_HEADER: Final = 512
"""Bytes of an Authorization header that is looked at."""
LONGEST_KEY: Final = LONGEST_HEADER - len("Bearer ")
MOST_REMEMBERED: Final = 10_000
"""Headers whose principal is remembered. Only headers with a valid key are."""

MISSING: Final = "no API key: send 'Authorization: Bearer <key>'"
WRONG: Final = "this API key is not valid here: send 'Authorization: Bearer <key>' with a key of this gateway"

_NO_KEY: Final = (b"\0" * 32, None)


@dataclass(frozen=True, slots=True)
class KeySpec:
    """A key that is let in, without the key."""

    name: str
    secret_sha256: bytes = field(repr=False)
    role: Role = "developer"
    webhook: Webhook | None = None
    account_tags: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        name: str,
        key: str,
        role: Role = "developer",
        webhook: Webhook | None = None,
        account_tags: Iterable[str] = (),
    ) -> Self:
        """From the key itself. Raises ConfigError for a key that no header could ever carry."""
        secret = key.encode()
        if not secret or len(secret) > LONGEST_KEY or not key.isprintable() or " " in key:
            raise ConfigError(
                f"API key {name!r}: must be 1 to {LONGEST_KEY} bytes without spaces or control characters"
            )
        return cls(name, hashlib.sha256(secret).digest(), role, webhook, frozenset(account_tags))

    @property
    def principal(self) -> Principal:
        """Its id stays the same over restarts and renamings, and tells nothing about the key."""
        owner = hashlib.sha256(b"mediagate principal\0" + self.secret_sha256).hexdigest()[:16]
        return Principal(owner, self.name, self.role, self.webhook, self.account_tags)


class Keyring:
    """The keys that are let in. It never changes: other keys make another one, which knows nothing of these."""

    __slots__ = ("_known", "_remembered")

    def __init__(self, keys: Iterable[KeySpec] = ()) -> None:
        """Raises ConfigError where one key is given two roles."""
        self._known: dict[bytes, tuple[bytes, Principal]] = {}
        self._remembered: dict[bytes, Principal] = {}
        for key in keys:
            _, first = self._known.setdefault(key.secret_sha256, (key.secret_sha256, key.principal))
            if first.role != key.role:
                raise ConfigError(
                    f"API keys {first.name!r} and {key.name!r} are one key with two roles; keep one of them"
                )

    @property
    def empty(self) -> bool:
        """Whether nobody has a key: then only this machine is let in (`access.loopback`)."""
        return not self._known

    def principal(self, authorization: bytes | None) -> Principal:
        """Who an Authorization header, as sent, proves its sender to be. Raises Unauthorized, echoing nothing."""
        if not authorization:
            raise Unauthorized(MISSING)
        if len(authorization) > LONGEST_HEADER:
            raise Unauthorized(WRONG)
        if (known := self._remembered.get(authorization)) is not None:
            return known
        principal = self._look_up(authorization)
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[authorization] = principal
        return principal

    def _look_up(self, authorization: bytes) -> Principal:
        scheme, _, key = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise Unauthorized(WRONG)
        if not key:
            raise Unauthorized(MISSING)
        digest = hashlib.sha256(key).digest()
        expected, principal = self._known.get(digest, _NO_KEY)
        if not compare_digest(expected, digest) or principal is None:
            raise Unauthorized(WRONG)
        return principal
