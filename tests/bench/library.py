"""How long lists and searches take in a library of 100,000 assets, on each database.

Milliseconds: the median of the processor's time (of this process and the database's together: what a machine with
nothing else to do would take), then the median and 95th percentile by the clock.

python tests/bench/library.py
python tests/bench/library.py --only sqlite --rounds 30 --assets 20000
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import insert, text

sys.path.insert(0, str(Path(__file__).parents[2]))

from gateway.assets.asset import Asset, Changes, row_of
from gateway.assets.library import Library
from gateway.assets.references import References
from gateway.assets.search import Filters, Search
from gateway.assets.words import tag_of
from gateway.db.engine import Database
from gateway.db.migrate import migrate
from gateway.db.tables import asset_tags, assets, collection_assets, collections
from gateway.storage import Storage
from tests.bench import shelf as the

POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgresql://root@127.0.0.1:5432/test")
AT_ONCE = 2_000
Figures = dict[str, tuple[float, ...]]
"""Median of the processor's time, median and 95th percentile by the clock, in milliseconds, by what was done."""


def asks(search: Search) -> dict[str, Callable[[], Awaitable[Any]]]:
    def page(filters: Filters, owner: str = the.THE_BIG, **how: Any) -> Callable[[], Awaitable[Any]]:
        return lambda: search.page(owner, filters, **how)

    start, days = the.START, 86_400
    return {
        "first page": page(Filters()),
        "first page of 100": page(Filters(), limit=100),
        "first page, small owner": page(Filters(), "owner-07"),
        "offset 50,000": page(Filters(), offset=50_000),
        "oldest first": page(Filters(), order="created_at"),
        "largest first": page(Filters(), order="-size"),
        "most used first": page(Filters(), order="-use_count"),
        "changed last first": page(Filters(), order="-updated_at"),
        "by family": page(Filters(family="image")),
        "by rare family": page(Filters(family="text")),
        "by model": page(Filters(model="model-2")),
        "by model, kind, provider": page(Filters(model="model-2", kind="t2i", provider="upstream-2")),
        "by a week": page(Filters(since=start + 90 * days, until=start + 97 * days)),
        "by rare tag": page(Filters(tags=(the.RARE_TAG,))),
        "by common tag": page(Filters(tags=(the.COMMON_TAG,))),
        "by common tag, offset 10,000": page(Filters(tags=(the.COMMON_TAG,)), offset=10_000),
        "by two tags": page(Filters(tags=(the.COMMON_TAG, "tag-7"))),
        "favourites": page(Filters(favorites_only=True)),
        "collection of 1,800": page(Filters(collection=f"col-{the.THE_BIG}-0")),
        "search, rare word": page(Filters(search=the.RARE)),
        "search, common word": page(Filters(search=the.COMMON)),
        "search, common word, offset 10,000": page(Filters(search=the.COMMON), offset=10_000),
        "search, common word, small owner": page(Filters(search=the.COMMON), "owner-07"),
        "search, two common words": page(Filters(search=f"{the.COMMON} ba")),
        "search, prefix": page(Filters(search=the.PREFIX)),
        "search, three letters": page(Filters(search="bac")),
        "search, phrase": page(Filters(search=the.PHRASE)),
        "search, Chinese": page(Filters(search=the.CHINESE)),
        "search, rare Chinese": page(Filters(search=the.RARE_CHINESE)),
        "search, one Chinese character": page(Filters(search="海")),
        "search and family": page(Filters(search=the.COMMON, family="video")),
        "search and common tag": page(Filters(search=the.COMMON, tags=(the.COMMON_TAG,))),
        "search, largest first": page(Filters(search=the.COMMON), order="-size"),
        "search that finds nothing": page(Filters(search="nowhereatall")),
        "statistics": lambda: search.stats(the.THE_BIG, Filters()),
        "statistics of a search": lambda: search.stats(the.THE_BIG, Filters(search=the.COMMON)),
        "facets": lambda: search.facets(the.THE_BIG),
    }


def changes(library: Library, some: list[Asset]) -> dict[str, Callable[[], Awaitable[Any]]]:
    fresh = iter(range(1_000_000))

    async def enter() -> None:
        number = next(fresh)
        made = some[number % len(some)]
        key = f"{made.key}-{number}"
        await library.add(replace(made, id=f"asset_new{number}", key=key, created_at=the.END + number))

    async def many() -> None:
        await asyncio.gather(*(enter() for _ in range(50)))

    async def tagged() -> None:
        told = Changes(tags=("final", f"tag-{next(fresh)}"), given=frozenset({"tags"}))
        await library.change(some[next(fresh) % len(some)].id, the.THE_BIG, told)

    def of_some(act: Callable[[str], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        return lambda: act(some[next(fresh) % len(some)].id)

    return {
        "enter one": enter,
        "enter 50 at once": many,
        "change tags": tagged,
        "favourite": of_some(lambda asset_id: library.toggle(asset_id, the.THE_BIG)),
        "count a use": of_some(lambda asset_id: library.count(asset_id, the.THE_BIG, "use")),
        "remove one": of_some(lambda asset_id: library.remove([asset_id], the.THE_BIG)),
    }


async def measured(database: Database, shelf: the.Shelf, rounds: int) -> Figures:
    search, library = Search(database), Library(database, References(database, Storage.open("memory://")))
    some = [asset for asset in shelf.assets if asset.owner == the.THE_BIG][:2_000]
    figures: Figures = {}
    for name, act in (asks(search) | changes(library, some)).items():
        worked, taken = [], []
        for number in range(rounds + 2):
            servers = await backends(database)
            began, work = time.perf_counter(), cpu(servers)
            await act()
            if number >= 2:  # the first ones build statements and fill caches
                taken.append((time.perf_counter() - began) * 1000)
                worked.append((cpu(servers) - work) * 1000)
        figures[name] = (
            statistics.median(worked),
            statistics.median(taken),
            statistics.quantiles(taken, n=20)[-1],
        )
    return figures


async def backends(database: Database) -> list[Path]:
    """Where Linux tells of the processes that PostgreSQL has for us."""
    if database.url.get_backend_name() == "sqlite":
        return []
    async with database.look() as connection:
        mine = text("SELECT pid FROM pg_stat_activity WHERE application_name = current_setting('application_name')")
        pids = await connection.execute(mine)
        return [file for pid in pids.scalars() if (file := Path(f"/proc/{pid}/schedstat")).exists()]


def cpu(servers: list[Path]) -> float:
    """Seconds that a processor worked for us, ever."""
    theirs = sum(int(file.read_text().split()[0]) for file in servers if file.exists())
    return time.process_time() + theirs / 1e9


async def load(database: Database, shelf: the.Shelf) -> None:
    for at in range(0, len(shelf.assets), AT_ONCE):
        some = shelf.assets[at : at + AT_ONCE]
        tags = [
            {"asset_id": asset.id, "tag": tag, "owner": asset.owner}
            for asset in some
            for tag in {tag_of(tag) for tag in asset.tags}
        ]
        async with database.write() as connection:
            await connection.execute(insert(assets), [row_of(asset) for asset in some])
            await connection.execute(insert(asset_tags), tags)
    for collection, (owner, held) in shelf.collections.items():
        row = {"id": collection, "owner": owner, "name": collection, "created_at": the.START, "updated_at": the.START}
        places = [
            {"collection_id": collection, "asset_id": asset_id, "position": position, "added_at": the.START}
            for position, asset_id in enumerate(held)
        ]
        async with database.write() as connection:
            await connection.execute(insert(collections), row)
            await connection.execute(insert(collection_assets), places)


@asynccontextmanager
async def sqlite() -> AsyncGenerator[str]:
    with tempfile.TemporaryDirectory(prefix="library-bench-") as folder:
        yield f"sqlite+aiosqlite:///{folder}/library.db"


@asynccontextmanager
async def postgresql() -> AsyncGenerator[str]:
    name = f"library_bench_{uuid.uuid4().hex[:8]}"
    admin = await asyncpg.connect(POSTGRES, timeout=5)
    try:
        await admin.execute(f"CREATE SCHEMA {name}")
        separator = "&" if "?" in POSTGRES else "?"
        yield f"{POSTGRES.replace('://', '+asyncpg://', 1)}{separator}search_path={name}&application_name={name}"
    finally:
        await admin.execute(f"DROP SCHEMA {name} CASCADE")
        await admin.close()


DATABASES = {"sqlite": sqlite, "postgresql": postgresql}


async def bench(kind: str, shelf: the.Shelf, rounds: int) -> Figures:
    async with DATABASES[kind]() as url:
        await migrate(url)
        database = Database(url)
        await database.start()
        try:
            began = time.perf_counter()
            await load(database, shelf)
            print(f"{kind}: loaded in {time.perf_counter() - began:.0f} s", file=sys.stderr)
            if kind == "postgresql":
                await settled(url)
            return await measured(database, shelf, rounds)
        finally:
            await database.close()


async def settled(url: str) -> None:
    """What autovacuum does within minutes of so many new rows."""
    plain = url.replace("+asyncpg", "", 1)
    connection = await asyncpg.connect(plain)
    try:
        for table in (assets, asset_tags, collection_assets):
            await connection.execute(f"VACUUM ANALYZE {table.name}", timeout=300)
    finally:
        await connection.close()


def table(figures: dict[str, Figures]) -> str:
    lines = ["| | " + " | ".join(f"{kind}: CPU | median | p95" for kind in figures) + " |"]
    lines += ["|---|" + "--:|--:|--:|" * len(figures)]
    for name in next(iter(figures.values())):
        cells = [f"{value:.1f}" for kind in figures for value in figures[kind][name]]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=DATABASES, action="append")
    parser.add_argument("--assets", type=int, default=the.ASSETS)
    parser.add_argument("--rounds", type=int, default=15)
    told = parser.parse_args()
    shelf = the.shelf(told.assets)
    figures = {kind: asyncio.run(bench(kind, shelf, told.rounds)) for kind in told.only or DATABASES}
    print(table(figures))


if __name__ == "__main__":
    main()
