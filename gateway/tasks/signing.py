"""What signs a webhook: an owner's secrets, by generation, and signatures as Standard Webhooks has them.

A secret is derived whenever it is needed. The database knows which generations there are, and so cannot leak one.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from standardwebhooks import Webhook as Signer

from gateway.db.engine import Database
from gateway.db.tables import webhook_secrets
from gateway.errors import Conflict

OVERLAP_SECONDS: Final = 86400
"""How long the former secret goes on signing beside a new one."""
MAX_OVERLAP_SECONDS: Final = 7 * 86400
MOST_LIVE: Final = 5
"""Secrets of an owner that sign at once: who rotates faster than they expire loses the oldest."""

_owner, _generation, _expires_at = webhook_secrets.c.owner, webhook_secrets.c.generation, webhook_secrets.c.expires_at


@dataclass(frozen=True, slots=True)
class Secret:
    """One generation of an owner's secret."""

    value: str = field(repr=False)
    """`whsec_…`, as receivers configure it."""
    created_at: float
    expires_at: float | None
    """None: the newest."""


class Secrets:
    """All SQL about secrets, and what they are derived from."""

    def __init__(self, database: Database, root: bytes) -> None:
        self._database = database
        self._root = root

    async def live(self, owner: str) -> list[Secret]:
        """Those that sign now, the newest first. The first one is made when it is first asked for."""
        found = await self._live(owner)
        if found:
            return found
        with suppress(IntegrityError):  # another process made it at the same moment
            async with self._database.write() as connection:
                first = {"owner": owner, "generation": 1, "created_at": self._database.now()}
                await connection.execute(insert(webhook_secrets).values(first))
        return await self._live(owner)

    async def rotate(self, owner: str, overlap: float) -> list[Secret]:
        """Make a new one; the former signs beside it for `overlap` seconds. Raises Conflict."""
        now = self._database.now()
        newest = select(func.max(_generation)).where(_owner == owner)
        try:
            async with self._database.write() as connection:
                former = (await connection.execute(newest)).scalar() or 0
                added = {"owner": owner, "generation": former + 1, "created_at": now}
                await connection.execute(insert(webhook_secrets).values(added))
                ending = update(webhook_secrets).where(_owner == owner, _generation == former)
                await connection.execute(ending.values(expires_at=now + overlap))
                over = or_(_expires_at <= now, _generation <= former + 1 - MOST_LIVE)
                await connection.execute(delete(webhook_secrets).where(_owner == owner, over))
        except IntegrityError as exc:
            raise Conflict("the secret is being rotated by another request") from exc
        return await self.live(owner)

    async def _live(self, owner: str) -> list[Secret]:
        valid = or_(_expires_at.is_(None), _expires_at > self._database.now())
        query = select(webhook_secrets).where(_owner == owner, valid).order_by(_generation.desc())
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [Secret(self._derived(owner, row.generation), row.created_at, row.expires_at) for row in rows]

    def _derived(self, owner: str, generation: int) -> str:
        digest = hmac.digest(self._root, f"webhooks {owner} {generation}".encode(), hashlib.sha256)
        return f"whsec_{b64encode(digest).decode()}"


def signatures(secrets: Sequence[Secret], event_id: str, moment: int, body: bytes) -> str:
    """The header `webhook-signature`: one for each secret, so that a receiver with any of them finds its own."""
    at = datetime.fromtimestamp(moment, UTC)
    return " ".join(Signer(secret.value).sign(event_id, at, body.decode()) for secret in secrets)
