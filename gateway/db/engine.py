"""One database, one way in: `async with database.write() as connection`.

SQLite has **one** connection that writes, guarded by a lock, and a lock file keeps other gateways out. So no two
connections of ours ever write and checkpoint at once, which is what the WAL-reset bug of SQLite 3.7.0 to 3.51.2 needs
to do damage: these versions need no warning here. A second connection only reads (`look`): it can neither write nor
checkpoint, is opened after the first and closed before it. `synchronous=FULL`: a task row is a promise about money,
and a commit that a power cut takes back would break it; the database is not on the path of a chat, so nobody waits
for it.
Network file systems do not lock as SQLite needs it: there, use PostgreSQL.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import URL, ColumnElement, Connection, event, exc, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from gateway.db.clock import Clock, server_time, told_time
from gateway.db.lockfile import LockFile
from gateway.db.writes import Writes
from gateway.errors import ConfigError, DatabaseUnavailable

WAIT_SECONDS: Final = 5.0
"""How long a transaction may wait to begin, its turn and other programs' locks together."""
WAIT_STEP_SECONDS: Final = 0.25
POSTGRES_CONNECTIONS: Final = 10
POSTGRES_WAIT_SECONDS: Final = 2.0
"""How long a transaction may wait for one of them."""
POSTGRES_STATEMENT_SECONDS: Final = 30.0
POSTGRES_RECYCLE_SECONDS: Final = 1800

SQLITE_PRAGMAS: Final = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
SQLITE_LOOKING_PRAGMAS: Final = ("query_only=ON", "wal_autocheckpoint=0")

THE_STATEMENT: Final = (exc.IntegrityError, exc.ProgrammingError, exc.DataError, exc.NotSupportedError)
"""Errors that a statement is to blame for. Whatever else a driver raises means: not now."""

Result = TypeVar("Result")


class Database:
    """The database behind a URL: `sqlite+aiosqlite:///<file>` or `postgresql+asyncpg://…`."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self._file = sqlite_file(self.url)
        self._lock_file = LockFile(self._file) if self._file else None
        self._door = _Door(one_at_a_time=self._file is not None)
        self._window = _Door(one_at_a_time=True) if self._file else self._door
        """The door of those who only look."""
        self._clock = Clock()
        self.writes = Writes(self)
        """For changes that come in numbers: those that come at once share a transaction."""

    def now(self) -> float:
        """Unix seconds by the database's clock."""
        return self._clock.now()

    def now_sql(self) -> ColumnElement[float]:
        """The same inside a statement. Where it decides who holds what, return it too and call `now_seen` with it."""
        return told_time(self.now()) if self._file else server_time()

    @property
    def now_sql_is_its_own(self) -> bool:
        """Whether that is read by the database itself."""
        return self._file is None

    def now_seen(self, moment: float) -> None:
        """Go by what the database told of its clock."""
        if not self._file:
            self._clock.seen(moment)

    async def start(self) -> None:
        """Open it. Raises ConfigError where that cannot work as configured, DatabaseUnavailable where it may later."""
        if self._file and self._lock_file:
            _make_room(self._file)
            self._lock_file.acquire()
        self._door.engine = open_engine(self.url)
        if self._file:
            self._window.engine = _sqlite_engine(self.url, SQLITE_LOOKING_PRAGMAS)  # connects when somebody looks
        try:
            async with self.read() as connection:
                self.now_seen((await connection.execute(select(self.now_sql()))).scalar_one())
        except DatabaseUnavailable as error:
            await self.close()
            if self._file:
                raise ConfigError(f"database_url: cannot use {self._file}: {error.detail}") from error
            place = self.url.set(query={}).render_as_string(hide_password=True)
            raise DatabaseUnavailable(f"cannot use {place}: {error.detail}", detail=error.detail) from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Give everything back. Safe to call at any time."""
        try:
            await self._window.close()
        finally:
            try:
                await self._door.close()
            finally:
                if self._lock_file:
                    self._lock_file.release()

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """One transaction: committed at the end of the block, rolled back if the block raises or is cancelled.

        On SQLite the write lock is taken first, so no statement fails for having read before it. A commit under way
        is waited for even when cancelled. Await nothing but the database inside: on SQLite everyone else waits for it.
        Raises DatabaseUnavailable; integrity errors come as SQLAlchemy's own.
        """
        async with self._door.transaction("BEGIN IMMEDIATE") as connection:
            yield connection
            with _translated():
                await to_the_end(connection.commit())

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """One transaction that is never committed. Raises DatabaseUnavailable."""
        async with self._door.transaction("BEGIN") as connection:
            yield connection

    @asynccontextmanager
    async def look(self) -> AsyncGenerator[AsyncConnection]:
        """As `read`, for what takes long: on SQLite nobody who writes waits for it, only others who look.

        It sees everything that was committed before its first statement, and nothing later. It can write nothing.
        """
        async with self._window.transaction("BEGIN") as connection:
            yield connection


class _Door:
    """The way to the connections of one engine, on SQLite for one transaction at a time."""

    def __init__(self, *, one_at_a_time: bool) -> None:
        self.engine: AsyncEngine | None = None
        self._turn = asyncio.Lock() if one_at_a_time else None
        self._holder: asyncio.Task[Any] | None = None

    async def close(self) -> None:
        engine, self.engine = self.engine, None
        if engine is not None:
            async with self._last():
                await to_the_end(engine.dispose())

    @asynccontextmanager
    async def transaction(self, begin: str) -> AsyncGenerator[AsyncConnection]:
        """What is not committed when the block ends is rolled back by giving the connection back."""
        if self.engine is None:
            raise DatabaseUnavailable(detail="not open")
        over = asyncio.get_running_loop().time() + WAIT_SECONDS
        async with self._one_at_a_time(over):
            if (engine := self.engine) is None:
                raise DatabaseUnavailable(detail="closed")
            connection = engine.connect()
            try:
                with _translated(OSError, TimeoutError):
                    await connection.start()
                    await connection.execution_options(begin=begin, over=over)
                    await connection.begin()
                with _translated():
                    yield connection
            finally:
                if connection.sync_connection is not None:
                    await to_the_end(connection.close())

    @asynccontextmanager
    async def _last(self) -> AsyncGenerator[None]:
        """After the transaction that is under way, if it ends in time."""
        if self._turn is None or self._holder is asyncio.current_task():
            yield
            return
        ours = False
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                ours = await self._turn.acquire()
        try:
            yield
        finally:
            if ours:
                self._turn.release()

    @asynccontextmanager
    async def _one_at_a_time(self, over: float) -> AsyncGenerator[None]:
        """The turn of this task, on SQLite. PostgreSQL sees to it itself."""
        if self._turn is None:
            yield
            return
        me = asyncio.current_task()
        if self._holder is me:
            raise RuntimeError("a transaction inside a transaction would wait for itself")
        try:
            async with asyncio.timeout_at(over):
                await self._turn.acquire()
        except TimeoutError:
            raise DatabaseUnavailable(detail="other transactions hold the database") from None
        self._holder = me
        try:
            yield
        finally:
            self._holder = None
            self._turn.release()


def open_engine(url: URL, *, statement_seconds: float = POSTGRES_STATEMENT_SECONDS) -> AsyncEngine:
    """An engine for one of the two databases; nothing is connected yet."""
    return _sqlite_engine(url, SQLITE_PRAGMAS) if sqlite_file(url) else _postgres_engine(url, statement_seconds)


def sqlite_file(url: URL) -> Path | None:
    """The file of a SQLite URL; None for PostgreSQL."""
    if url.get_backend_name() != "sqlite":
        return None
    if url.database in (None, "", ":memory:"):
        raise ConfigError("database_url: must name a file, as in sqlite:///var/mediagate.db")
    return Path(str(url.database))


async def to_the_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Await something that must not stop half-way: a cancellation waits until it is done, and is raised then."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # seen, or asyncio would complain: the cancellation says more
    raise cancelled


@contextmanager
def _translated(*more: type[Exception]) -> Iterator[None]:
    not_now: tuple[type[Exception], ...] = (exc.DBAPIError, exc.TimeoutError, *more)
    try:
        yield
    except THE_STATEMENT:
        raise
    except not_now as error:
        cause = getattr(error, "orig", None) or error
        raise DatabaseUnavailable(detail=str(cause) or type(cause).__name__) from error


def _make_room(file: Path) -> None:
    """The file, empty if it is new, readable by nobody else: it holds prompts and sealed credentials."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
    except OSError as error:
        raise ConfigError(f"database_url: cannot make {file}: {error.strerror}") from error


class _SqliteConnection(sqlite3.Connection):
    """Closing ends its transaction at once, even while a cancelled statement's cursor keeps the connection alive."""

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self.rollback()
        super().close()


def _sqlite_engine(url: URL, pragmas: Sequence[str]) -> AsyncEngine:
    engine = create_async_engine(
        url, connect_args={"factory": _SqliteConnection}, pool_size=1, max_overflow=0, pool_timeout=WAIT_SECONDS
    )

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the driver's own BEGIN is deferred, and leaves out DDL
        record.info["patience"] = _milliseconds(WAIT_SECONDS)
        cursor = connection.cursor()
        for pragma in (f"busy_timeout={record.info['patience']}", *pragmas):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        options = connection.get_execution_options()
        patience = options.get("over", math.inf) - asyncio.get_running_loop().time()
        _be_patient(connection, _milliseconds(min(patience, WAIT_SECONDS)))
        connection.exec_driver_sql(options.get("begin", "BEGIN IMMEDIATE"))

    return engine


def _be_patient(connection: Connection, milliseconds: int) -> None:
    """Wait only so long for other programs' locks: whoever waited for a turn has less patience left."""
    if connection.info["patience"] != milliseconds:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={milliseconds}")
        connection.info["patience"] = milliseconds


def _milliseconds(seconds: float) -> int:
    """In steps, so that a transaction which did not have to wait changes nothing."""
    return round(max(0, math.ceil(seconds / WAIT_STEP_SECONDS)) * WAIT_STEP_SECONDS * 1000)


def _postgres_engine(url: URL, statement_seconds: float) -> AsyncEngine:
    import asyncpg  # type: ignore[import-untyped]  # not needed, and its memory not taken, on SQLite

    # The driver reads the whole URL itself, as libpq would: sslmode, search_path and other settings work in it.
    plain = url.set(drivername="postgresql").difference_update_query(["channel_binding"])
    dsn = plain.render_as_string(hide_password=False)

    async def connect() -> Any:
        return await asyncpg.connect(dsn, timeout=WAIT_SECONDS, command_timeout=statement_seconds)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=POSTGRES_CONNECTIONS,
        max_overflow=0,
        pool_timeout=POSTGRES_WAIT_SECONDS,
        pool_recycle=POSTGRES_RECYCLE_SECONDS,
        pool_pre_ping=True,
    )
