from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.db.engine import Database
from gateway.db.tables import metadata
from tests.unit.db.conftest import schema


@pytest.fixture(params=["sqlite", "postgresql"])
async def either_url(request: pytest.FixtureRequest, anyio_backend: str, tmp_path: Path) -> AsyncIterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'either.db'}"
        return
    async with schema() as url:
        yield url


@pytest.fixture
async def database(either_url: str) -> AsyncIterator[Database]:
    """The same, open and with its tables."""
    opened = Database(either_url)
    await opened.start()
    try:
        async with opened.write() as connection:
            await connection.run_sync(metadata.create_all)
        yield opened
    finally:
        await opened.close()
