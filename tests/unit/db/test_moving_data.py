"""Migrations on real data: what the first release left behind, brought forward and back."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from sqlalchemy import insert, text

from gateway.assets.search import Filters, Search
from gateway.db.migrate import HEAD, MIGRATIONS, REVISIONS, downgrade, lock_out_others, migrate, upgrade
from gateway.db.tables import usage
from gateway.db.words import index_text
from gateway.errors import ConfigError
from gateway.tasks.store import Store
from tests.unit.db.data.spine import SCHEMA, load
from tests.unit.db.looks import (
    Rows,
    execute,
    found_by_words,
    kept_words,
    look,
    opened,
    revision,
    rows,
    shape,
    wipe,
)

pytestmark = pytest.mark.anyio

ADDED: dict[str, dict[str, Any]] = {
    "tasks": {
        **dict.fromkeys(("answer", "metadata", "webhook", "cost", "currency", "parameters", "adjustments", "batch_id")),
        **dict.fromkeys(("version", "skipped"), 0),
    },
    "assets": {
        **dict.fromkeys(("request_id", "title", "description", "cost", "currency", "generation_time")),
        **dict.fromkeys(("thumbnail_key", "poster_key", "waveform", "previewed_at", "missing_since", "updated_at")),
        **dict.fromkeys(("is_favorite", "use_count", "download_count", "share_count", "view_count"), 0),
        **dict.fromkeys(("tags", "parents"), "[]"),
    },
    "files": {
        **dict.fromkeys(("expires_at", "width", "height", "seconds", "missing_since")),
        "purpose": "upload",
    },
    "usage": {
        **dict.fromkeys(("cached_tokens", "characters", "estimated"), 0),
        **dict.fromkeys(("cost", "currency")),
        "key": "",
    },
}
"""Columns that came since, and what they say of rows that were there before. Assets have `words` as well."""
STATES = {"queued": 1, "submitting": 2, "running": 2, "succeeded": 4, "failed": 3, "cancelled": 1, "expired": 1}


@pytest.fixture
async def old_url(database_url: str) -> AsyncIterator[str]:
    """A database as the first release left it."""
    await load(database_url)
    yield database_url


def grown(old: Rows) -> Rows:
    return {table: [grown_row(table, row) for row in kept] for table, kept in old.items()}


def grown_row(table: str, row: dict[str, Any]) -> dict[str, Any]:
    words = {"words": index_text(row["owner"], [row["prompt"]])} if table == "assets" else {}
    return {**row, **ADDED.get(table, {}), **words}


def in_order(found: Rows) -> Rows:
    """Rows and columns in an order that does not depend on when a column came."""
    return {
        table: sorted((dict(sorted(row.items())) for row in kept), key=lambda row: repr([str(v) for v in row.values()]))
        for table, kept in found.items()
    }


async def moved(url: str) -> None:
    """Forward, and everything is still there."""
    before = await look(url, rows)
    await migrate(url)
    after = await look(url, rows)
    assert in_order({table: after.pop(table) for table in before}) == in_order(grown(before))
    indexed = after.pop("asset_index", before["assets"])
    assert sorted(row["id"] for row in indexed) == sorted(row["id"] for row in before["assets"])
    assert not any(after.values()), "new tables are empty"
    assert await look(url, found_by_words) == await look(url, kept_words)


# --- the data themselves ---


async def test_the_data_are_of_every_sort(old_url: str) -> None:
    found = await look(old_url, rows)
    assert all(found.values()), "every table has rows"
    states = [row["state"] for row in found["tasks"]]
    assert {state: states.count(state) for state in states} == STATES
    assert {bool(row["cancel_requested"]) for row in found["tasks"] if row["state"] == "submitting"} == {True, False}
    assert len({row["owner"] for row in found["tasks"]}) == 2


async def test_the_first_migration_makes_what_the_first_release_made(old_url: str) -> None:
    made = await look(old_url, shape)
    await wipe(old_url)
    await upgrade(old_url, SCHEMA)
    assert await look(old_url, shape) == made


# --- forward ---


async def test_every_row_is_brought_forward(old_url: str) -> None:
    await moved(old_url)
    assert await look(old_url, revision) == [HEAD]


async def test_a_database_brought_forward_has_the_shape_of_a_new_one(old_url: str) -> None:
    await migrate(old_url)
    brought = await look(old_url, shape)
    await wipe(old_url)
    await migrate(old_url)
    assert await look(old_url, shape) == brought


async def test_old_tasks_are_read_by_this_version(old_url: str) -> None:
    before = await look(old_url, rows)
    await migrate(old_url)
    async with opened(old_url) as database:
        store = Store(database)
        for row in before["tasks"]:
            task = await store.get(row["id"])
            request = msgspec.json.decode(msgspec.json.encode(task.request))
            assert request == request | msgspec.json.decode(row["request"])
            assert msgspec.to_builtins(task.job) == (msgspec.json.decode(row["job"]) if row["job"] else None)
            assert task.error == (msgspec.json.decode(row["error"]) if row["error"] else None)
            for same in ("owner", "kind", "model", "upstream", "state", "chat_id", "created_at", "finished_at"):
                assert getattr(task, same) == row[same], same
            made = [output["asset_id"] for output in before["outputs"] if output["task_id"] == task.id]
            assert [output.asset_id for output in task.outputs] == made
            assert all(output.key for output in task.outputs)
            assert bool(made) == (task.state == "succeeded")


async def test_old_tasks_can_be_taken_in_hand(old_url: str) -> None:
    """All that have no end, and nothing else; `polls` goes on from what it was."""
    before = await look(old_url, rows)
    await migrate(old_url)
    async with opened(old_url) as database:
        store = Store(database)
        await store.free_holds()
        taken = [task for lane in ("make", "poll") for task in await store.claim(lane, 100)]
        final = {"succeeded", "failed", "cancelled", "expired"}
        assert {task.id for task in taken} == {row["id"] for row in before["tasks"] if row["state"] not in final}


async def test_rows_can_be_added_after_old_ones(old_url: str) -> None:
    """Numbers that the database gives go on after those that were given."""
    await migrate(old_url)
    async with opened(old_url) as database, database.write() as connection:
        used = dict.fromkeys(usage.columns.keys(), 0) | {"request_id": "r", "owner": "o", "kind": "t2t", "code": "ok"}
        used |= {"model": "m", "upstream": "u", "account_id": "a", "task_id": None, "key": "", "currency": None}
        await connection.execute(insert(usage).values({name: value for name, value in used.items() if name != "id"}))
    found = await look(old_url, lambda c: c.execute(text("SELECT max(id), count(*) FROM usage")).one())
    assert found[0] == found[1]


async def test_replicas_that_find_an_old_schema_move_it_once(postgres_url: str) -> None:
    await load(postgres_url)
    before = await look(postgres_url, rows)
    await asyncio.gather(*(migrate(postgres_url) for _ in range(3)))
    assert (await look(postgres_url, rows))["outputs"] == before["outputs"]
    assert await look(postgres_url, revision) == [HEAD]


async def test_a_replica_waits_for_another_longer_than_for_a_statement(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load(postgres_url)
    monkeypatch.setattr("gateway.db.engine.POSTGRES_STATEMENT_SECONDS", 0.3)
    async with opened(postgres_url) as database:
        async with database.write() as connection:
            await lock_out_others(connection)
            waiting = asyncio.create_task(upgrade(postgres_url))
            await asyncio.wait({waiting}, timeout=1)
            assert not waiting.done()
        await waiting
    assert await look(postgres_url, revision) == [HEAD]


# --- back ---


async def test_every_row_is_brought_back_and_forward_again(old_url: str) -> None:
    before = await look(old_url, rows)
    await moved(old_url)
    await migrate(old_url, SCHEMA)
    assert await look(old_url, rows) == before
    assert await look(old_url, revision) == [SCHEMA]
    await moved(old_url)


async def test_the_older_schema_is_exactly_the_older_schema_again(old_url: str) -> None:
    before = await look(old_url, shape)
    await upgrade(old_url)
    assert await look(old_url, shape) != before
    await downgrade(old_url, SCHEMA)
    assert await look(old_url, shape) == before


VIDEO = "'u', 'm', '{\"type\":\"video\"}', '{}', 0, '[]', 1, 9, 1, ''"
NEWER = (
    "INSERT INTO tasks (id, kind, state, job, owner, upstream, model, request, params, progress, attempts, "
    "created_at, deadline, next_poll_at, native) VALUES "
    f"('picture', 't2i', 'succeeded', NULL, 'ada', {VIDEO}), ('text', 't2t', 'running', NULL, 'ada', {VIDEO}), "
    f"('lost', 't2v', 'submit_unknown', NULL, 'ada', {VIDEO}), ('made', 'i2v', 'running', NULL, 'ada', {VIDEO}), "
    f"('half', 't2v', 'running', '{{}}', 'ada', {VIDEO}), ('done', 'ref2v', 'succeeded', '{{}}', 'ada', {VIDEO})",
    "INSERT INTO outputs (id, task_id, position, state) VALUES "
    "('o1', 'picture', 0, 'succeeded'), ('o2', 'half', 0, 'succeeded'), ('o3', 'done', 0, 'succeeded')",
    "INSERT INTO requests (owner, key, fingerprint, state, created_at, expires_at) VALUES "
    "('ada', 'k', 'f', 'done', 1, 2)",
    "INSERT INTO deliveries (id, owner, task_id, type, url, sequence, state, next_at, created_at) VALUES "
    "('d', 'ada', 'done', 'task.succeeded', 'https://a.example', 1, 'pending', 1, 1)",
    "INSERT INTO destinations (id, owner, url, created_at) VALUES ('e', 'ada', 'https://a.example', 1)",
    "INSERT INTO webhook_secrets (owner, generation, created_at) VALUES ('ada', 2, 1)",
    "INSERT INTO assets (id, owner, family, key, mime, size, sha256, filename, prompt, model, upstream, kind, "
    "source_module, created_at, metadata, title, tags, words, is_favorite, cost, currency) VALUES ('new', 'ada', "
    "'image', 'k', 'm', 1, 's', 'f', 'p', 'm', 'u', '', 'mine', 1, '{}', 't', '[\"x\"]', 'qwada p', true, 0.5, 'USD')",
    "INSERT INTO asset_tags (asset_id, tag, owner) VALUES ('new', 'x', 'ada')",
    "INSERT INTO asset_parents (asset_id, position, parent_id) VALUES ('new', 0, 'none')",
    "INSERT INTO collections (id, owner, name, created_at, updated_at) VALUES ('c', 'ada', 'n', 1, 1)",
    "INSERT INTO collection_assets (collection_id, asset_id, position, added_at) VALUES ('c', 'new', 0, 1)",
)
"""What only this version writes."""


async def test_the_older_version_finds_nothing_that_it_would_misread(old_url: str) -> None:
    """It takes every task for a video, asks for those without a job unless `submitting`, and enters all outputs."""
    before = await look(old_url, rows)
    await upgrade(old_url)
    await execute(old_url, *NEWER)
    await downgrade(old_url, SCHEMA)
    after = await look(old_url, rows)
    new = {row["id"]: row["state"] for row in after["tasks"] if row not in before["tasks"]}
    assert new == {"lost": "submitting", "made": "submitting", "half": "running", "done": "succeeded"}
    assert [row["id"] for row in after["outputs"] if row not in before["outputs"]] == ["o3"]
    assert all(row in after[table] for table in before for row in before[table])
    await moved(old_url)


TIMES_ASSETS = 200
MANY_ASSETS = f"""
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {TIMES_ASSETS})
INSERT INTO assets SELECT id || '-' || i, {{columns}} FROM assets, n
"""


async def test_every_old_asset_is_found_by_its_words(old_url: str) -> None:
    """More than are looked at at a time."""
    found = await look(old_url, rows)
    columns = ", ".join(name for name in found["assets"][0] if name != "id")
    await execute(old_url, MANY_ASSETS.format(columns=columns))
    await migrate(old_url)
    by_word = await look(old_url, found_by_words)
    assert len(by_word["fox"]) == sum("fox" in row["prompt"] for row in found["assets"]) * (TIMES_ASSETS + 1) > 0
    assert by_word == await look(old_url, kept_words)
    async with opened(old_url) as database:
        owner = next(row["owner"] for row in found["assets"] if "fox" in row["prompt"])
        page = await Search(database).page(owner, Filters(search="red fox"))
        assert page.total == len([row for row in found["assets"] if "fox" in row["prompt"]]) * (TIMES_ASSETS + 1)


@pytest.mark.parametrize("nowhere", ["0000_before", "base", "", "-1", "0001", "9999_future"])
async def test_a_schema_that_never_was_is_refused(old_url: str, nowhere: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no schema '{nowhere}'.* {', '.join(REVISIONS)}"):
        await migrate(old_url, nowhere)
    assert await look(old_url, revision) == [SCHEMA]


async def test_a_schema_newer_than_this_version_is_not_brought_back(old_url: str) -> None:
    await execute(old_url, "UPDATE alembic_version SET version_num = '9999_future'")
    with pytest.raises(ConfigError, match="'9999_future' is newer than this mediagate"):
        await migrate(old_url, SCHEMA)


async def test_moving_to_where_it_is_changes_nothing(old_url: str) -> None:
    before = await look(old_url, rows)
    await migrate(old_url, SCHEMA)
    assert await look(old_url, rows) == before


async def test_a_file_that_a_gateway_holds_is_not_moved(sqlite_url: str) -> None:
    await load(sqlite_url)
    async with opened(sqlite_url):
        for to in REVISIONS:
            with pytest.raises(ConfigError, match="another process already uses"):
                await migrate(sqlite_url, to)
    assert await look(sqlite_url, revision) == [SCHEMA]


async def test_a_row_that_would_refer_to_nothing_stops_a_move(sqlite_url: str) -> None:
    """SQLite does not watch over references while tables are changed, so they are looked at before the commit."""
    await load(sqlite_url)
    file = sqlite_url.partition(":///")[2]
    subprocess.run([sys.executable, "-c", ORPHAN, file], check=True)
    with pytest.raises(ConfigError, match="a row of outputs would refer to one of tasks that is not there"):
        await migrate(sqlite_url)
    assert await look(sqlite_url, revision) == [SCHEMA]


COPY = """
from alembic import op

revision = "0003_copy"
down_revision = "{head}"


def upgrade() -> None:
    with op.batch_alter_table("tasks") as tasks:
        tasks.alter_column("native", nullable=True)
"""


async def test_a_table_that_a_migration_copies_takes_no_rows_along(
    old_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SQLite must for most changes: to drop the old one would drop what refers to it."""
    await migrate(old_url)
    before = await look(old_url, rows)
    shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    (tmp_path / "migrations/versions/0003_copy.py").write_text(COPY.format(head=HEAD))
    monkeypatch.setattr("gateway.db.migrate.MIGRATIONS", tmp_path / "migrations")
    await upgrade(old_url, "0003_copy")
    assert await look(old_url, revision) == ["0003_copy"]
    assert await look(old_url, rows) == before


ORPHAN = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as connection:
    connection.execute("INSERT INTO outputs VALUES ('o', 'nobody', 0, 'succeeded', NULL, NULL)")
"""


# --- kill -9 ---

DIE = """
import asyncio, os, signal, sys
from sqlalchemy import Engine, event
from gateway.db import migrate

url, way, to, moment = sys.argv[1:]
changes = 0

def die():
    os.kill(os.getpid(), signal.SIGKILL)

@event.listens_for(Engine, "after_cursor_execute")
def executed(connection, cursor, statement, *rest):
    global changes
    changes += statement.strip().split()[0] in ("ALTER", "CREATE", "DROP", "INSERT", "UPDATE", "DELETE")
    if str(changes) == moment:
        die()

@event.listens_for(Engine, "commit")
def committing(connection):
    if changes and moment == "commit":
        die()

asyncio.run(getattr(migrate, way)(url, to))
"""


@pytest.mark.parametrize("moment", ["6", "commit"])
@pytest.mark.parametrize("way", ["upgrade", "downgrade"])
async def test_kill_in_the_middle_of_a_move_leaves_the_schema_that_was(old_url: str, way: str, moment: str) -> None:
    """After its sixth change, or after all of them."""
    start, end = (SCHEMA, HEAD) if way == "upgrade" else (HEAD, SCHEMA)
    await migrate(old_url, start)
    before, kept = await look(old_url, shape), await look(old_url, rows)
    killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", DIE, old_url, way, end, moment])
    assert killed.returncode == -9
    assert await look(old_url, revision) == [start]
    assert await look(old_url, shape) == before
    assert await look(old_url, rows) == kept
    await migrate(old_url, end)
    assert await look(old_url, revision) == [end]


MIGRATE = "import asyncio, sys; from gateway.db.migrate import migrate; asyncio.run(migrate(sys.argv[1]))"


async def test_what_a_killed_gateway_began_does_not_go_on_without_it(old_url: str) -> None:
    """Or it would change a database that the next gateway already uses."""
    gateway = psutil.Popen([sys.executable, "-c", MIGRATE, old_url])
    while not (tools := gateway.children()):
        assert gateway.poll() is None
        await asyncio.sleep(0.01)
    gateway.kill()
    gateway.wait()
    [tool] = tools
    await asyncio.to_thread(tool.wait, 20)
    assert await look(old_url, revision) == [SCHEMA]
    await moved(old_url)


# --- many ---

TIMES = 7200
MANY = f"""
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {TIMES})
INSERT INTO tasks SELECT id || '-' || i, {{columns}} FROM tasks, n
"""
MEASURE = """
import asyncio, sys
from pathlib import Path
from gateway.db import migrate

url, way, to = sys.argv[1:]
asyncio.run(getattr(migrate, way)(url, to))
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) // 1024)
"""
MOST_MEGABYTES = 200


@pytest.mark.skipif(sys.platform != "linux", reason="memory is looked up in /proc")
async def test_a_hundred_thousand_tasks_are_moved_in_bounded_memory(old_url: str) -> None:
    found = await look(old_url, rows)
    columns = ", ".join(name for name in found["tasks"][0] if name != "id")
    await execute(old_url, MANY.format(columns=columns))
    for way, to in (("upgrade", HEAD), ("downgrade", SCHEMA)):
        command = [sys.executable, "-c", MEASURE, old_url, way, to]
        done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
        assert int(done.stdout) < MOST_MEGABYTES
        assert await look(old_url, revision) == [to]
    kept = await look(old_url, lambda c: c.execute(text("SELECT count(*) FROM tasks")).scalar_one())
    assert kept == len(found["tasks"]) * (TIMES + 1) > 100_000
