"""Whose the objects in a store are: an object of its own says so, and nobody collects in a store that is another's.

Its name holds who shares a database (the settings row `installation`), its content what the last collection left
there, which the database remembers too. So two databases on one store are told apart even where one is a copy of the
other, or was brought back from a backup: the copy does not know what was written since. Neither may decide by itself
what is nobody's, because each takes for that what only the other knows.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from typing import Final

from gateway.db.engine import Database
from gateway.db.settings import Settings
from gateway.errors import Conflict, NotFound, StorageUnavailable
from gateway.storage import Storage

HEALTH: Final = "health"
"""The folder of what is no media: it belongs to the gateway."""
PREFIX: Final = f"{HEALTH}/installation-"
CLOCK: Final = f"{HEALTH}/clock"
INSTALLATION: Final = "installation"
ROW: Final = "collection_marker"
"""The last two contents of the marker. It has the older one where a crash came in between."""
TRIES: Final = 5
MOST_BYTES: Final = 64


class Shared(Conflict):
    """Another installation keeps its objects in this storage."""

    code = "storage_shared"


class Marker:
    def __init__(self, database: Database, storage: Storage) -> None:
        self._storage = storage
        self._settings = Settings(database)

    async def claim(self, *, renew: bool = False) -> None:
        """Say that this is our storage; `renew`: leave a new content, as every collection does.

        Raises Shared where it is another's as well, StorageUnavailable, DatabaseUnavailable.
        """
        mine = await self._key()
        await self._nobody_else(mine)
        for _ in range(TRIES):
            row = await self._settings.get(ROW)
            known = (row or "").split()
            found = await self._content(mine)
            if found is not None and found not in known:
                raise Shared(
                    "another database with the same beginnings uses this storage, or this one is an older state of it",
                    advice=f"Look which one is right. If it is this one, delete the object {mine!r} and collect again",
                )
            if found is not None and not renew:
                return
            last = [found] if found is not None else known[-1:]
            fresh = secrets.token_hex(8)
            if await self._settings.swap(ROW, row, " ".join([*last, fresh])):
                await self._storage.put(mine, fresh.encode(), mime="text/plain")
                return
        raise Conflict("other processes look after this storage just now", code="collection_running", retry_after=60.0)

    async def now(self) -> datetime:
        """The store's own time: when it says that an object which is written now was written."""
        await self._storage.put(CLOCK, secrets.token_hex(8).encode(), mime="text/plain")
        info = await self._storage.head(CLOCK)
        if info is None:
            raise StorageUnavailable("The object storage did not keep what it was sent.")
        return info.modified

    async def _key(self) -> str:
        installation = await self._settings.first(INSTALLATION, secrets.token_hex(8))
        return PREFIX + hashlib.sha256(f"mediagate {installation}".encode()).hexdigest()[:24]

    async def _nobody_else(self, mine: str) -> None:
        async for page in self._storage.list(HEALTH):
            for info in page:
                if info.key.startswith(PREFIX) and info.key != mine:
                    raise Shared(
                        "another installation keeps its objects in this storage: what is nobody's here may be its own",
                        advice="Give each a prefix of its own in storage.url; if the other one is gone for good, "
                        f"delete the object {info.key!r}",
                    )

    async def _content(self, key: str) -> str | None:
        try:
            found = b"".join([chunk async for chunk in self._storage.get(key, end=MOST_BYTES)])
        except NotFound:
            return None
        return found.decode("ascii", "replace")
