"""Values that all who share a database go by, each under a name."""

from __future__ import annotations

from sqlalchemy import delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from gateway.db.engine import Database
from gateway.db.tables import settings


class Settings:
    """The rows of `settings`. All raise DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: str) -> str | None:
        async with self._database.read() as connection:
            query = select(settings.c.value).where(settings.c.key == key)
            found: str | None = (await connection.execute(query)).scalar()
        return found

    async def first(self, key: str, value: str) -> str:
        """The value, which is this one unless it has another already."""
        await self.swap(key, None, value)
        return await self.get(key) or value

    async def put(self, key: str, value: str) -> None:
        async with self._database.write() as connection:
            made = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
            new = made(settings).values(key=key, value=value)
            await connection.execute(new.on_conflict_do_update(index_elements=["key"], set_={"value": value}))

    async def swap(self, key: str, before: str | None, after: str | None) -> bool:
        """Change a value from `before` to `after`; None: there is none. False where it is another one by now."""
        here = (settings.c.key == key) & (settings.c.value == before)
        try:
            async with self._database.write() as connection:
                if before is None:
                    await connection.execute(insert(settings).values(key=key, value=after))
                    return True
                change = delete(settings) if after is None else update(settings).values(value=after)
                return bool((await connection.execute(change.where(here))).rowcount)
        except IntegrityError:
            return False
