"""Objects of any age in a local store, and rows that name them."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Table, insert, select, update

from gateway.assets.references import References
from gateway.db.engine import Database
from gateway.db.tables import assets, collection_assets, collections, files, requests, settings, tasks
from gateway.storage import Folder, ObjectInfo, Storage, object_key

HOUR = 3600.0
DAY = 24 * HOUR


def new_key(folder: str = "images", extension: str = "png") -> str:
    return object_key(cast("Folder", folder), "model-1", 1_767_607_810, secrets.token_hex(16), extension)


class Skewed(Storage):
    """A store whose clock is wrong by `offset` seconds."""

    offset = 0.0

    def _seen(self, info: ObjectInfo) -> ObjectInfo:
        return replace(info, modified=info.modified + timedelta(seconds=self.offset))

    async def head(self, key: str) -> ObjectInfo | None:
        info = await super().head(key)
        return info and self._seen(info)

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncGenerator[list[ObjectInfo]]:
        async for page in super().list(prefix, after=after):
            yield [self._seen(info) for info in page]


class Shelf:
    def __init__(self, database: Database, place: Path) -> None:
        self.database = database
        self.place = place
        local = Storage.open(place.as_uri())
        self.storage = Skewed(local._store, local._root)
        self.references = References(database, self.storage)

    # --- objects ---

    async def put(self, key: str, *, age: float = 2 * DAY, data: bytes = b"some bytes") -> str:
        """An object that was written `age` seconds ago."""
        await self.storage.put(key, data, mime="image/png")
        self.age(key, age)
        return key

    def age(self, key: str, age: float) -> None:
        moment = time.time() - age
        os.utime(self.place / key, (moment, moment))

    @property
    def keys(self) -> set[str]:
        """Of all objects, the gateway's own ones left out."""
        found = {str(path.relative_to(self.place)) for path in self.place.rglob("*") if path.is_file()}
        return {key for key in found if not key.startswith("health/")}

    # --- rows ---

    async def asset(self, key: str, *, age: float = 2 * DAY, **values: Any) -> str:
        row = {
            "id": f"asset_{secrets.token_hex(16)}",
            "owner": "somebody",
            "family": "image",
            "mime": "image/png",
            "size": 10,
            "sha256": "",
            "filename": "",
            "prompt": "",
            "model": "",
            "upstream": "",
            "kind": "t2i",
            "source_module": "api",
            "metadata": "{}",
            "created_at": self.database.now() - age,
        }
        return await self._row(assets, {**row, "key": key, **values})

    async def file(self, key: str, *, age: float = 2 * DAY, **values: Any) -> str:
        row = {
            "id": f"file_{secrets.token_hex(16)}",
            "owner": "somebody",
            "name": "a.png",
            "mime": "image/png",
            "size": 10,
            "sha256": "",
            "created_at": self.database.now() - age,
        }
        return await self._row(files, {**row, "key": key, **values})

    async def answer(self, key: str) -> None:
        row = {"owner": "somebody", "key": key, "fingerprint": "", "state": "done", "created_at": 0, "expires_at": 0}
        async with self.database.write() as connection:
            await connection.execute(insert(requests).values(**row, body_key=key))

    async def task(self, request: str, state: str = "queued") -> str:
        row: dict[str, Any] = dict.fromkeys(("owner", "kind", "model", "upstream", "native"), "")
        row |= {"params": "{}", "attempts": "[]", "progress": 0, "created_at": 0, "deadline": 0, "next_poll_at": 0}
        row |= {"id": f"task_{secrets.token_hex(16)}", "state": state, "request": request}
        return await self._row(tasks, row)

    async def end(self, task_id: str) -> None:
        async with self.database.write() as connection:
            await connection.execute(update(tasks).where(tasks.c.id == task_id).values(state="succeeded"))

    async def collection(self, *asset_ids: str) -> str:
        now = self.database.now()
        row = {"id": secrets.token_hex(8), "owner": "somebody", "name": "c", "created_at": now, "updated_at": now}
        made = await self._row(collections, row)
        async with self.database.write() as connection:
            for position, asset_id in enumerate(asset_ids):
                entry = {"collection_id": made, "asset_id": asset_id, "position": position, "added_at": now}
                await connection.execute(insert(collection_assets).values(entry))
        return made

    async def rows(self, table: Table) -> dict[str, Any]:
        async with self.database.read() as connection:
            return {row.id: row for row in await connection.execute(select(table))}

    async def settings(self) -> dict[str, str]:
        async with self.database.read() as connection:
            return {row.key: row.value for row in await connection.execute(select(settings))}

    async def _row(self, table: Table, row: dict[str, Any]) -> str:
        async with self.database.write() as connection:
            await connection.execute(insert(table).values(row))
        return str(row["id"])


async def no_pause() -> None:
    """What a run calls between its steps, where nothing is to happen."""
