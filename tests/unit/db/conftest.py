import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgresql://root@127.0.0.1:5432/test")
"""A PostgreSQL to test with. Each test gets a schema of its own in it."""


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'data' / 'gateway.db'}"


@asynccontextmanager
async def schema() -> AsyncIterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    try:
        admin = await asyncpg.connect(POSTGRES, timeout=5)
    except OSError:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no PostgreSQL at {POSTGRES}: set TEST_POSTGRES_URL to test with one")
    try:
        await admin.execute("SET synchronous_commit = off")
        await admin.execute(f"CREATE SCHEMA {name}")
        separator = "&" if "?" in POSTGRES else "?"
        # What a crash of the server would take is nothing to a test, and waiting for its disk takes most of its time.
        settings = f"synchronous_commit=off&search_path={name}"
        yield f"{POSTGRES.replace('://', '+asyncpg://', 1)}{separator}{settings}"
        await admin.execute(f"DROP SCHEMA {name} CASCADE")
    finally:
        await admin.close()


@pytest.fixture
async def postgres_url(anyio_backend: str) -> AsyncIterator[str]:
    async with schema() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, anyio_backend: str, sqlite_url: str) -> AsyncIterator[str]:
    if request.param == "sqlite":
        yield sqlite_url
        return
    async with schema() as url:
        yield url
