"""What is remembered of requests that may come again, on both databases."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.db.engine import Database
from gateway.db.tables import requests
from gateway.errors import StorageUnavailable
from gateway.storage import Storage, valid_key
from gateway.tasks import idempotency as module
from gateway.tasks.idempotency import (
    KEEP_AUTO_SECONDS,
    KEEP_SECONDS,
    LEASE_SECONDS,
    ROW_BYTES,
    Claim,
    Idempotency,
    InProgress,
    Kept,
    KeyReused,
    Once,
    claim_for_task,
    forget_task,
)

pytestmark = pytest.mark.anyio

ONCE = Once.by_key("ada", "key-1", "said")
OTHER = Once.by_key("ada", "key-1", "said something else")
FIRST = Once.by_itself("ada", "said", retry=False)
AGAIN = Once.by_itself("ada", "said", retry=True)
HEADERS = [(b"content-type", b"application/json"), (b"x-odd", "ü".encode("latin-1"))]
LARGE = b"x" * (ROW_BYTES + 1)


class Clock:
    """The database's, moved by hand."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        real = database.now
        monkeypatch.setattr(database, "now", lambda: real() + self.ahead)


@pytest.fixture
def clock(database: Database, monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(database, monkeypatch)


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def memory(database: Database, objects: Path) -> Idempotency:
    return Idempotency(database, Storage.open(objects.as_uri()))


def stored(objects: Path) -> list[str]:
    """The keys of the answers in storage."""
    return sorted(path.relative_to(objects).as_posix() for path in objects.rglob("*.bin"))


async def rows(database: Database) -> list[Any]:
    async with database.read() as connection:
        return list((await connection.execute(select(requests))).all())


async def claimed(memory: Idempotency, once: Once = ONCE) -> Claim:
    found = await memory.claim(once)
    assert isinstance(found, Claim)
    return found


async def answered(memory: Idempotency, once: Once = ONCE, body: bytes = b"{}") -> None:
    await memory.keep(await claimed(memory, once), 200, HEADERS, body)


async def task_of(database: Database, once: Once, task_id: str) -> str | None:
    async with database.write() as connection:
        return await claim_for_task(connection, once, task_id, database.now())


# --- keys ---


def test_keys_that_look_alike_are_not_the_same() -> None:
    long = "k" * 254
    names = [("ada", "key"), ("ada", "Key"), ("ada", "key "), ("ad", "akey"), ("ada", ""), ("adakey", "")]
    names += [("ada", long), ("ada", long + "a"), ("ada", long + "b"), ("", "adakey")]
    kept = {Once.by_key(owner, key, "").key for owner, key in names}
    assert len(kept) == len(names)


def test_a_caller_s_key_is_kept_as_a_hash_and_never_is_what_a_request_says() -> None:
    once = Once.by_key("ada", "auto:said", "said")
    assert once.key != FIRST.key
    assert "auto:said" not in once.key
    assert len(once.key.rpartition(":")[2]) == 64


async def test_the_keys_of_two_callers_are_two(memory: Idempotency) -> None:
    await answered(memory)
    bob = Once.by_key("bob", "key-1", "said")
    assert await memory.look(bob) is None
    await claimed(memory, bob)
    assert isinstance(await memory.look(ONCE), Kept)
    shared = replace(ONCE, owner="bob")  # even one hash for both would not be one key
    assert await memory.look(shared) is None


# --- one answer ---


async def test_the_first_makes_the_answer_and_those_after_it_get_it(memory: Idempotency) -> None:
    assert await memory.look(ONCE) is None
    claim = await claimed(memory)
    for ask in (memory.look, memory.claim):
        with pytest.raises(InProgress) as told:
            await ask(ONCE)
        assert (told.value.status, told.value.retry_after, told.value.resend_helps) == (409, 1.0, True)
    await memory.keep(claim, 201, HEADERS, b"\0made")
    expected = Kept(201, tuple(HEADERS), b"\0made")
    assert (await memory.look(ONCE), await memory.claim(ONCE)) == (expected, expected)


async def test_another_request_with_the_key_is_refused_whatever_became_of_the_first(
    database: Database, memory: Idempotency, clock: Clock
) -> None:
    async def refused() -> None:
        for ask in (memory.look, memory.claim):
            with pytest.raises(KeyReused) as told:
                await ask(OTHER)
            assert (told.value.status, told.value.code, told.value.resend_helps) == (
                422,
                "idempotency_key_reuse",
                False,
            )
        with pytest.raises(KeyReused):
            await task_of(database, OTHER, "task_2")

    claim = await claimed(memory)
    await refused()
    clock.ahead = LEASE_SECONDS + 1
    await refused()
    await memory.keep(claim, 200, HEADERS, b"{}")
    await refused()
    clock.ahead = KEEP_SECONDS + LEASE_SECONDS + 10
    assert await task_of(database, OTHER, "task_2") is None


@pytest.mark.parametrize("once", [ONCE, AGAIN], ids=["key", "no key"])
async def test_of_many_at_once_one_makes_the_answer(
    either_url: str, database: Database, tmp_path: Path, once: Once
) -> None:
    storage = Storage.open((tmp_path / "objects").as_uri())
    second = database if "sqlite" in either_url else Database(either_url)
    if second is not database:
        await second.start()
    try:
        replicas = Idempotency(database, storage), Idempotency(second, storage)
        asked = [replicas[at % 2].claim(once) for at in range(30)]
        found = await asyncio.gather(*asked, return_exceptions=True)
    finally:
        if second is not database:
            await second.close()
    assert sorted(type(one).__name__ for one in found) == ["Claim"] + ["InProgress"] * 29


async def test_an_answer_is_forgotten_after_its_time(memory: Idempotency, clock: Clock) -> None:
    await answered(memory)
    clock.ahead = KEEP_SECONDS - 5
    assert isinstance(await memory.look(ONCE), Kept)
    clock.ahead = KEEP_SECONDS + 5
    assert await memory.look(OTHER) is None
    await claimed(memory, OTHER)


async def test_a_request_that_was_released_never_was(database: Database, memory: Idempotency) -> None:
    await memory.release(await claimed(memory))
    assert await rows(database) == []
    await claimed(memory, OTHER)


# --- leases ---


async def test_what_a_crash_left_is_taken_over_when_its_lease_ends(
    database: Database, memory: Idempotency, clock: Clock
) -> None:
    crashed = await claimed(memory)
    clock.ahead = LEASE_SECONDS - 5
    with pytest.raises(InProgress):
        await memory.claim(ONCE)
    clock.ahead = LEASE_SECONDS + 5
    assert await memory.look(ONCE) is None
    claim = await claimed(memory)
    assert claim.lease != crashed.lease
    with pytest.raises(InProgress):
        await memory.claim(ONCE)
    assert len(await rows(database)) == 1


async def test_who_lost_a_claim_changes_nothing(memory: Idempotency, clock: Clock, objects: Path) -> None:
    lost = await claimed(memory)
    clock.ahead = LEASE_SECONDS + 1
    claim = await claimed(memory)
    await memory.release(lost)
    await memory.keep(lost, 200, HEADERS, b"late")
    await memory.keep(lost, 200, HEADERS, LARGE)
    with pytest.raises(InProgress):
        await memory.look(ONCE)
    assert stored(objects) == []
    await memory.keep(claim, 200, HEADERS, b"in time")
    kept = await memory.look(ONCE)
    assert kept is not None
    assert kept.body == b"in time"


async def test_a_claim_lost_while_its_answer_is_stored_leaves_no_object(
    memory: Idempotency, clock: Clock, objects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = await claimed(memory)
    put = memory._storage.put

    async def slow(*args: Any, **fields: Any) -> Any:
        result = await put(*args, **fields)
        clock.ahead = LEASE_SECONDS + 1
        await claimed(memory)
        assert len(stored(objects)) == 1
        return result

    monkeypatch.setattr(memory._storage, "put", slow)
    await memory.keep(lost, 200, HEADERS, LARGE)
    assert stored(objects) == []


async def test_the_lease_of_an_answer_that_takes_long_is_renewed(
    database: Database, memory: Idempotency, clock: Clock
) -> None:
    await claimed(memory)
    clock.ahead = LEASE_SECONDS - 5
    await memory.renew()
    clock.ahead = 2 * LEASE_SECONDS - 10
    with pytest.raises(InProgress):
        await memory.claim(ONCE)
    [row] = await rows(database)
    assert row.lease_until > database.now()


async def test_leases_are_renewed_by_themselves_while_there_are_any(
    database: Database, memory: Idempotency, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.02)
    claim = await claimed(memory)
    seen: set[float] = set()
    async with asyncio.timeout(10):
        while len(seen) < 3:
            seen |= {row.lease_until for row in await rows(database)}
    await memory.release(claim)
    async with asyncio.timeout(10):
        while memory._timer is not None:
            await asyncio.sleep(0.01)


async def test_a_request_cancelled_at_any_moment_of_its_claim_holds_nothing(memory: Idempotency) -> None:
    for ticks in range(0, 60, 2):
        asked = asyncio.create_task(memory.claim(ONCE))
        for _ in range(ticks):
            await asyncio.sleep(0)
        asked.cancel()
        [found] = await asyncio.gather(asked, return_exceptions=True)
        if isinstance(found, Claim):
            await memory.release(found)
        else:
            assert isinstance(found, asyncio.CancelledError)
        await memory.release(await claimed(memory))
    assert memory._claims == set()


async def test_an_answer_that_is_there_is_kept_though_its_request_is_cancelled(memory: Idempotency) -> None:
    claim = await claimed(memory)
    keeping = asyncio.create_task(memory.keep(claim, 200, HEADERS, LARGE))
    await asyncio.sleep(0)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    kept = await memory.look(ONCE)
    assert kept is not None
    assert kept.body == LARGE


# --- without a key ---


async def test_the_same_words_are_asked_for_twice_on_purpose(memory: Idempotency) -> None:
    claim = await claimed(memory, FIRST)
    newer = await claimed(memory, FIRST)
    await memory.keep(claim, 200, HEADERS, b"first")
    with pytest.raises(InProgress):
        await memory.claim(AGAIN)
    await memory.keep(newer, 200, HEADERS, b"second")
    kept = await memory.claim(AGAIN)
    assert isinstance(kept, Kept)
    assert kept.body == b"second"
    await claimed(memory, FIRST)


async def test_a_sender_that_tries_again_after_ten_minutes_is_the_first(memory: Idempotency, clock: Clock) -> None:
    await answered(memory, FIRST)
    clock.ahead = KEEP_AUTO_SECONDS - 5
    assert isinstance(await memory.look(AGAIN), Kept)
    clock.ahead = KEEP_AUTO_SECONDS + 5
    await claimed(memory, AGAIN)


async def test_a_registration_lives_as_long_as_its_answer_is_being_made(memory: Idempotency, clock: Clock) -> None:
    claim = await claimed(memory, FIRST)
    for ahead in range(0, 700, 50):
        clock.ahead = float(ahead)
        await memory.renew()
        await memory.sweep()
    with pytest.raises(InProgress):
        await memory.claim(AGAIN)
    await memory.keep(claim, 200, HEADERS, b"late, but there")
    assert isinstance(await memory.claim(AGAIN), Kept)


# --- large answers ---


@pytest.mark.parametrize(("size", "elsewhere"), [(ROW_BYTES, 0), (ROW_BYTES + 1, 1)])
async def test_large_answers_are_kept_in_storage(
    database: Database, memory: Idempotency, objects: Path, size: int, elsewhere: int
) -> None:
    await answered(memory, body=b"x" * size)
    keys = stored(objects)
    assert len(keys) == elsewhere
    assert all(valid_key(key) and key.startswith("answers/2") for key in keys)
    [row] = await rows(database)
    assert [row.body_key] == (keys or [None])
    kept = await memory.look(ONCE)
    assert kept is not None
    assert len(kept.body) == size


async def test_an_answer_beyond_all_measure_is_not_kept(
    database: Database, memory: Idempotency, monkeypatch: pytest.MonkeyPatch, objects: Path
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", ROW_BYTES + 5)
    await answered(memory, body=b"x" * (ROW_BYTES + 6))
    assert await rows(database) == []
    assert stored(objects) == []


async def test_an_answer_is_given_though_it_cannot_be_kept(
    database: Database, memory: Idempotency, objects: Path
) -> None:
    (objects / "answers").write_text("in the way")
    await answered(memory, body=LARGE)
    assert await memory.look(ONCE) is None
    claim = await claimed(memory)
    with pytest.raises(StorageUnavailable):
        await memory.sweep()
    (objects / "answers").unlink()
    assert await memory.sweep() == 1
    assert len(await rows(database)) == 1
    await database.close()
    await memory.keep(claim, 200, HEADERS, b"{}")
    await memory.release(claim)


# --- sweeping ---


async def test_what_is_past_its_time_is_swept_with_all_it_kept(
    database: Database, memory: Idempotency, clock: Clock, objects: Path
) -> None:
    await answered(memory, Once.by_key("ada", "small", ""))
    await answered(memory, Once.by_key("ada", "large", ""), LARGE)
    await answered(memory, FIRST, LARGE)
    await task_of(database, Once.by_key("ada", "task", ""), "task_1")
    await claimed(memory, Once.by_key("ada", "crashed", ""))
    assert await memory.sweep() == 0
    assert (len(await rows(database)), len(stored(objects))) == (5, 2)
    clock.ahead = KEEP_AUTO_SECONDS + 1
    assert await memory.sweep() == 1
    assert (len(await rows(database)), len(stored(objects))) == (4, 1)
    clock.ahead = KEEP_SECONDS + 1
    assert await memory.sweep() == 4
    assert (await rows(database), stored(objects)) == ([], [])


async def test_an_answer_that_was_replaced_is_swept_at_once(
    database: Database, memory: Idempotency, objects: Path
) -> None:
    await answered(memory, FIRST, LARGE)
    assert await task_of(database, FIRST, "task_1") is None
    assert len(stored(objects)) == 1
    assert await memory.sweep() == 1
    assert stored(objects) == []
    assert [row.task_id for row in await rows(database)] == ["task_1"]


async def test_a_crash_while_an_answer_is_stored_leaves_no_object_for_ever(
    database: Database, memory: Idempotency, clock: Clock, objects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = await claimed(memory)
    change, writes = memory._change, 0

    async def dies(claim: Claim, values: dict[str, Any]) -> bool:
        nonlocal writes
        writes += 1
        if writes == 2:
            raise RuntimeError("killed")
        return await change(claim, values)

    monkeypatch.setattr(memory, "_change", dies)
    with pytest.raises(RuntimeError):
        await memory.keep(claim, 200, HEADERS, LARGE)
    assert len(stored(objects)) == 1
    clock.ahead = LEASE_SECONDS + 1
    await claimed(memory)
    assert await memory.sweep() == 1
    assert stored(objects) == []


async def test_much_is_swept_in_pieces(
    database: Database, memory: Idempotency, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWEPT_ROWS", 10)
    monkeypatch.setattr(module, "SWEPT_BODIES", 2)
    monkeypatch.setattr(module, "SWEEPS", 3)
    async with database.write() as connection:
        for at in range(45):
            assert await claim_for_task(connection, Once.by_key("ada", str(at), ""), "task_1", database.now()) is None
    for at in range(7):
        await answered(memory, Once.by_key("bob", str(at), ""), LARGE)
    clock.ahead = KEEP_SECONDS + 1
    assert [await memory.sweep() for _ in range(3)] == [36, 16, 0]


# --- requests that make tasks ---


async def test_the_same_request_is_the_same_task(database: Database, memory: Idempotency) -> None:
    assert await task_of(database, ONCE, "task_1") is None
    assert await task_of(database, ONCE, "task_2") == "task_1"
    assert await memory.look(ONCE) is None, "the task is the answer"
    [row] = await rows(database)
    assert (row.state, row.task_id, row.fingerprint) == ("done", "task_1", "said")


async def test_of_many_tasks_at_once_one_is_made(either_url: str, database: Database) -> None:
    second = database if "sqlite" in either_url else Database(either_url)
    if second is not database:
        await second.start()
    try:
        asked = [task_of((database, second)[at % 2], ONCE, f"task_{at}") for at in range(30)]
        found = await asyncio.gather(*asked)
    finally:
        if second is not database:
            await second.close()
    [first] = [at for at, one in enumerate(found) if one is None]
    assert {one for one in found if one is not None} == {f"task_{first}"}


async def test_a_task_that_was_rolled_back_leaves_the_key_to_the_next(database: Database) -> None:
    begun = asyncio.Event()

    async def fails() -> None:
        async with database.write() as connection:
            assert await claim_for_task(connection, ONCE, "task_1", database.now()) is None
            begun.set()
            await connection.execute(select(1))
            raise RuntimeError("the task's row could not be written")

    failing = asyncio.create_task(fails())
    await begun.wait()
    assert await task_of(database, ONCE, "task_2") is None
    with pytest.raises(RuntimeError):
        await failing


async def test_another_request_in_the_group_is_not_hurt_by_a_key_that_is_taken(database: Database) -> None:
    await task_of(database, ONCE, "task_1")
    async with database.write() as connection:
        assert await claim_for_task(connection, ONCE, "task_2", database.now()) == "task_1"
        assert await claim_for_task(connection, Once.by_key("ada", "2", ""), "task_3", database.now()) is None
    assert {row.task_id for row in await rows(database)} == {"task_1", "task_3"}


async def test_a_task_without_a_key_is_joined_by_who_tries_again(database: Database, clock: Clock) -> None:
    assert await task_of(database, FIRST, "task_1") is None
    assert await task_of(database, AGAIN, "task_2") == "task_1"
    assert await task_of(database, FIRST, "task_3") is None
    assert await task_of(database, AGAIN, "task_4") == "task_3"
    clock.ahead = KEEP_AUTO_SECONDS + 1
    assert await task_of(database, AGAIN, "task_5") is None


async def test_a_task_is_not_made_of_what_is_being_answered(database: Database, memory: Idempotency) -> None:
    claim = await claimed(memory)
    with pytest.raises(InProgress):
        await task_of(database, ONCE, "task_1")
    await memory.release(claim)
    assert await task_of(database, ONCE, "task_1") is None
    with pytest.raises(KeyReused):
        await memory.claim(ONCE)


async def test_a_task_that_came_to_nothing_frees_its_key(database: Database) -> None:
    async def forget(connection: AsyncConnection, task_id: str) -> None:
        await forget_task(connection, ONCE, task_id)

    await task_of(database, ONCE, "task_1")
    async with database.write() as connection:
        await forget(connection, "task_2")
    assert await task_of(database, ONCE, "task_3") == "task_1"
    async with database.write() as connection:
        await forget(connection, "task_1")
    assert await task_of(database, OTHER, "task_4") is None


async def test_a_row_of_an_earlier_release_is_no_riddle(database: Database, memory: Idempotency) -> None:
    """Whoever wrote the row, what counts is what it says."""
    named = {"owner": ONCE.owner, "key": ONCE.key, "fingerprint": ONCE.fingerprint, "state": "done", "status": 200}
    times = {"created_at": database.now(), "expires_at": database.now() + 60}
    async with database.write() as connection:
        await connection.execute(insert(requests).values(**named, **times, headers="[]", body=b"kept"))
    assert await memory.look(ONCE) == Kept(200, (), b"kept")
