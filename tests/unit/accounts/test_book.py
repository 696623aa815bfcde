"""Accounts in the database: kept whole, sealed, and never lost for a key that is."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from structlog.testing import capture_logs

from gateway.access.sealing import Sealer
from gateway.accounts.affinity import Held, held_by
from gateway.accounts.book import Book, Entry
from gateway.config import AccountConfig
from gateway.db.engine import Database
from gateway.db.tables import accounts, chats, file_copies, standings, tasks, turns
from gateway.errors import Conflict, NoMasterKey, NotFound

pytestmark = pytest.mark.anyio

FIRST = "the master key of the tests, long enough"
SECOND = "another master key of the tests, as long"
CREDENTIAL = "sk-canary-0123456789"
PROXY = "http://somebody:canary-word@127.0.0.1:8080"


def config(name: str = "a", **keys: Any) -> AccountConfig:
    return AccountConfig.model_validate({"name": name, "api_key": CREDENTIAL, **keys})


def book(database: Database, master: str | None = FIRST, previous: Sequence[str] = ()) -> Book:
    return Book(database, Sealer(master, previous))


async def only(kept: Book) -> Entry:
    [entry] = await kept.all()
    return entry


async def rows(database: Database) -> dict[str, Any]:
    async with database.read() as connection:
        return {row.id: row for row in await connection.execute(select(accounts))}


def credential(entry: Entry | None) -> str | None:
    assert entry is not None
    return entry.account.api_key.get_secret_value() if entry.account.api_key else None


# --- kept ---


async def test_an_account_is_kept_as_it_was_given(database: Database) -> None:
    given = config(
        proxy=PROXY, base_url="https://far.example/v1", tags=["paid", "eu"], label='"mine"\0', weight=2,
        daily_quota={"text_to_video": 3}, not_models=["m"], enabled=False, priority=-1, a_type_s_own={"key": [1, None]},
    )  # fmt: skip
    await book(database).add("up", given)
    entry = await only(book(database))
    assert entry.account == given
    assert entry.account.model_fields_set == given.model_fields_set
    assert (entry.id, entry.upstream, entry.problem, entry.closed) == ("up/a", "up", None, frozenset())
    assert (entry.type, entry.base_url) == (None, None)
    assert entry.created_at == entry.updated_at == pytest.approx(database.now(), abs=60)


async def test_an_account_may_bring_its_upstream(database: Database) -> None:
    await book(database).add("up", config(), type="cloud", base_url="https://cloud.example")
    entry = await only(book(database))
    assert (entry.type, entry.base_url, entry.account.base_url) == ("cloud", "https://cloud.example", None)


async def test_nothing_secret_is_readable_in_the_database_nor_in_what_is_printed(database: Database) -> None:
    await book(database).add("up", config(proxy=PROXY))
    [row] = (await rows(database)).values()
    assert "canary" not in repr(row)
    assert set(json.loads(row.settings)["account"]) == set()
    assert "canary" not in repr(await only(book(database)))


async def test_the_oldest_come_first(database: Database) -> None:
    kept = book(database)
    for name in "cab":
        await kept.add("up", config(name))
    assert [entry.account.name for entry in await kept.all()] == ["c", "a", "b"]


async def test_a_name_is_taken_once_in_an_upstream(database: Database) -> None:
    kept = book(database)
    await kept.add("up", config(label="first"))
    await kept.add("other", config())
    with pytest.raises(Conflict, match=r"'up/a' already") as told:
        await kept.add("up", config(label="second"))
    assert told.value.code == "account_exists"
    found = await kept.find("up/a")
    assert found is not None
    assert found.account.label == "first"
    assert await kept.find("up/b") is None


async def test_what_holds_no_secret_needs_no_master_key(database: Database) -> None:
    kept = book(database, None)
    await kept.add("up", AccountConfig(name="open"))
    entry = await only(kept)
    assert (entry.account, entry.account.api_key) == (AccountConfig(name="open"), None)
    for secret in (config(), AccountConfig(name="b", proxy="http://127.0.0.1:1")):
        with pytest.raises(NoMasterKey, match="set GATEWAY_MASTER_KEY"):
            await kept.add("up", secret)
    assert list(await rows(database)) == ["up/open"]


# --- changed ---


async def test_a_change_takes_the_place_of_what_was(database: Database) -> None:
    kept = book(database)
    await kept.add("up", config(proxy=PROXY, label="old"), type="cloud", base_url="https://cloud.example")
    before = await only(kept)
    await kept.change(before, config(api_key="sk-other", tags=["eu"]))
    after = await only(kept)
    assert after.account == config(api_key="sk-other", tags=["eu"])
    assert (after.type, after.base_url) == ("cloud", "https://cloud.example")
    assert after.created_at == before.created_at
    assert after.updated_at > before.updated_at


async def test_of_two_who_change_the_same_the_second_is_told(database: Database) -> None:
    kept = book(database)
    await kept.add("up", config())
    seen = await only(kept)
    await kept.change(seen, config(label="first"))
    with pytest.raises(Conflict, match="by somebody else meanwhile"):
        await kept.change(seen, config(label="second"))
    assert (await only(kept)).account.label == "first"


async def test_who_is_removed_leaves_nothing_to_a_namesake(database: Database) -> None:
    kept = book(database)
    await kept.add("up", config())
    await kept.add("up", config("b"))
    fact = {"fact": "rejected", "until": 1.0, "reason": "", "count": 0, "updated_at": 1.0}
    async with database.write() as connection:
        for account_id in ("up/a", "up/b"):
            await connection.execute(
                insert(file_copies).values(sha256="1", account_id=account_id, ref="{}", created_at=1.0)
            )
            await connection.execute(insert(standings).values(account_id=account_id, **fact))
    await kept.remove("up/a")
    assert [entry.id for entry in await kept.all()] == ["up/b"]
    async with database.read() as connection:
        assert (await connection.execute(select(file_copies.c.account_id))).scalars().all() == ["up/b"]
        assert (await connection.execute(select(standings.c.account_id))).scalars().all() == ["up/b"]
    with pytest.raises(NotFound):
        await kept.remove("up/a")
    await kept.remove("up/b", shadowed=True)
    async with database.read() as connection:
        assert (await connection.execute(select(file_copies.c.account_id))).scalars().all() == ["up/b"]
        assert (await connection.execute(select(standings.c.account_id))).scalars().all() == ["up/b"]


# --- keys that change ---


async def test_a_wrong_master_key_hides_nothing_and_loses_nothing(database: Database) -> None:
    await book(database).add("up", config(proxy=PROXY, label="mine"))
    await book(database).add("up", AccountConfig(name="open"))
    wrong = book(database, SECOND)
    closed, open_one = await wrong.all()
    assert (closed.id, closed.account.label) == ("up/a", "mine")
    assert (credential(closed), closed.account.proxy) == (None, None)
    assert closed.closed == {"credential", "proxy"}
    assert closed.problem is not None
    assert "its credential cannot be opened" in closed.problem
    assert "GATEWAY_MASTER_KEY" in closed.problem
    assert open_one.account == AccountConfig(name="open")
    await wrong.change(closed, AccountConfig(name="a", label="still mine"))
    again = await book(database).find("up/a")
    assert again is not None
    assert (again.account, again.problem) == (config(proxy=PROXY, label="still mine"), None)


async def test_what_is_closed_can_be_given_anew(database: Database) -> None:
    await book(database).add("up", config(proxy=PROXY))
    wrong = book(database, SECOND)
    await wrong.change(await only(wrong), config(api_key="sk-new"))
    half = await only(wrong)
    assert (credential(half), half.closed, bool(half.problem)) == ("sk-new", {"proxy"}, True)
    await wrong.change(half, config(api_key="sk-new", proxy="http://127.0.0.1:9"))
    whole = await only(wrong)
    assert (whole.account, whole.problem) == (config(api_key="sk-new", proxy="http://127.0.0.1:9"), None)


@pytest.mark.parametrize(
    ("target", "values"),
    [
        ("up/b", lambda of: {"credential": of["up/a"].credential}),
        ("up/b", lambda of: {"proxy": of["up/a"].proxy}),
        ("up/a", lambda of: {"credential": of["up/a"].proxy}),
        ("up/a", lambda of: {"proxy": of["up/a"].credential}),
    ],
)
async def test_a_sealed_value_opens_where_it_was_sealed_for_alone(database: Database, target: str, values: Any) -> None:
    kept = book(database)
    await kept.add("up", config(proxy=PROXY))
    await kept.add("up", config("b", api_key="sk-of-b", proxy="http://127.0.0.1:9"))
    moved = values(await rows(database))
    async with database.write() as connection:
        await connection.execute(update(accounts).where(accounts.c.id == target).values(moved))
    entry = await kept.find(target)
    assert entry is not None
    assert entry.closed == set(moved)
    assert entry.problem is not None
    assert "sealed for another account" in entry.problem
    assert (credential(entry) is None, entry.account.proxy is None) == ("credential" in moved, "proxy" in moved)
    assert await book(database, SECOND, [FIRST]).reseal() == 2
    entry = await book(database, SECOND).find(target)
    assert entry is not None
    assert entry.closed == set(moved)


async def test_the_newest_key_seals_anew_what_a_previous_one_sealed(database: Database) -> None:
    await book(database).add("up", config(proxy=PROXY))
    await book(database, SECOND).add("up", config("b"))
    await book(database).add("up", AccountConfig(name="open"))
    before = await rows(database)
    rotated = book(database, SECOND, [FIRST])
    assert await rotated.reseal() == 1
    after = await rows(database)
    assert after["up/b"] == before["up/b"]
    assert after["up/a"].updated_at == before["up/a"].updated_at
    entry = await book(database, SECOND).find("up/a")
    assert entry is not None
    assert entry.account == config(proxy=PROXY)
    assert await rotated.reseal() == 0
    assert await rows(database) == after


@pytest.mark.parametrize("master", [None, SECOND])
async def test_accounts_that_no_key_opens_are_named_in_the_log(database: Database, master: str | None) -> None:
    await book(database).add("up", config(proxy=PROXY))
    await book(database).add("up", AccountConfig(name="open"))
    before = await rows(database)
    with capture_logs() as told:
        assert await book(database, master).reseal() == 0
    [line] = told
    assert (line["log_level"], line["accounts"]) == ("error", ["up/a"])
    assert "GATEWAY_MASTER_KEY" in line["reason"]
    assert "canary" not in repr(line)
    assert await rows(database) == before


async def test_without_a_master_key_what_a_previous_one_sealed_serves_on(database: Database) -> None:
    await book(database).add("up", config())
    kept = book(database, None, [FIRST])
    assert await kept.reseal() == 0
    assert credential(await only(kept)) == CREDENTIAL


async def test_settings_that_no_longer_fit_are_told_and_break_nothing(database: Database) -> None:
    kept = book(database)
    await kept.add("up", config())
    await kept.add("up", config("b"))
    settings = json.dumps({"account": {"max_concurrency": "many"}})
    async with database.write() as connection:
        await connection.execute(update(accounts).where(accounts.c.id == "up/a").values(settings=settings))
    first, second = await kept.all()
    assert (first.id, first.account, first.legible) == ("up/a", AccountConfig(name="a"), False)
    assert first.problem == 'its max_concurrency must be a whole number of at least 1 (got "many")'
    assert (second.account, second.legible) == (config("b"), True)


# --- what an account holds ---


@pytest.fixture
async def holding(database: Database) -> AsyncIterator[Database]:
    task = {
        "owner": "o", "kind": "t2v", "model": "m", "upstream": "up", "request": "{}", "params": "{}", "progress": 0.0,
        "attempts": "[]", "created_at": 1.0, "deadline": 1.0, "next_poll_at": 1.0, "native": "",
    }  # fmt: skip
    states = ["submitting", "submit_unknown", "queued", "running", "succeeded", "failed", "cancelled", "expired"]
    turn = {"owner": "o", "messages": "[]", "answer": "", "model": "m", "upstream": "up", "created_at": 1.0}
    chat = {"owner": "o", "name": "", "model": "m", "kind": "t2t", "created_at": 1.0, "updated_at": 1.0}
    async with database.write() as connection:
        for account in ("up/a", "up/b"):
            for state in states[: None if account == "up/a" else 1]:
                await connection.execute(
                    insert(tasks).values(id=f"{account} {state}", account_id=account, state=state, **task)
                )
        for chat_id, by in {"1": ["up/a", "up/a", "up/b"], "2": ["up/a"], "3": [None]}.items():
            await connection.execute(insert(chats).values(id=chat_id, **chat))
            for at, account in enumerate(by):
                await connection.execute(
                    insert(turns).values(id=f"{chat_id}.{at}", chat_id=chat_id, account_id=account, **turn)
                )
        for sha256 in "123":
            await connection.execute(
                insert(file_copies).values(sha256=sha256, account_id="up/a", ref="{}", created_at=1.0)
            )
    yield database


async def test_what_an_account_holds_is_counted(holding: Database) -> None:
    assert await held_by(holding, "up/a") == Held(tasks=4, chats=2, files=3)
    assert await held_by(holding, "up/b") == Held(tasks=1, chats=1, files=0)
    assert await held_by(holding, "up/c") == Held(0, 0, 0)
