"""Secrets of owners: derived, rotated, told apart; on both databases."""

import asyncio
import time

import pytest
from sqlalchemy import select, update
from standardwebhooks import Webhook, WebhookVerificationError

from gateway.db.engine import Database
from gateway.db.tables import webhook_secrets
from gateway.errors import Conflict
from gateway.tasks.signing import MOST_LIVE, OVERLAP_SECONDS, Secrets, signatures

pytestmark = pytest.mark.anyio

ROOT = b"r" * 32
BODY = '{"a":"ü \u2028"}'.encode()


@pytest.fixture
def secrets(database: Database) -> Secrets:
    return Secrets(database, ROOT)


async def values(secrets: Secrets, owner: str = "owner") -> list[str]:
    return [one.value for one in await secrets.live(owner)]


async def pass_time(database: Database, seconds: float) -> None:
    async with database.write() as connection:
        moved = {"expires_at": webhook_secrets.c.expires_at - seconds}
        await connection.execute(update(webhook_secrets).values(moved))


def verified(secret: str, header: str) -> bool:
    sent = {"webhook-id": "evt_1", "webhook-timestamp": str(int(time.time())), "webhook-signature": header}
    try:
        Webhook(secret).verify(BODY, sent)
    except WebhookVerificationError:
        return False
    return True


async def test_a_secret_is_made_once_and_stays(secrets: Secrets, database: Database) -> None:
    [one] = await secrets.live("owner")
    assert one.value.startswith("whsec_")
    assert one.expires_at is None
    assert await secrets.live("owner") == [one]
    assert await Secrets(database, ROOT).live("owner") == [one]


async def test_the_first_secret_is_one_whoever_asks_at_once(secrets: Secrets) -> None:
    found = await asyncio.gather(*(values(secrets) for _ in range(8)))
    assert {tuple(one) for one in found} == {tuple(found[0])}
    assert len(found[0]) == 1


async def test_secrets_differ_by_owner_generation_and_root(secrets: Secrets, database: Database) -> None:
    await secrets.live("owner")
    await secrets.rotate("owner", 60)
    seen = [*await values(secrets), *await values(secrets, "other"), *await values(Secrets(database, b"s" * 32))]
    assert len(set(seen)) == len(seen) == 5


async def test_no_secret_is_in_the_database_or_in_a_repr(secrets: Secrets, database: Database) -> None:
    [one] = await secrets.live("owner")
    async with database.read() as connection:
        [row] = (await connection.execute(select(webhook_secrets))).all()
    assert set(row._mapping) == {"owner", "generation", "created_at", "expires_at"}
    assert one.value not in repr(one)


async def test_the_former_secret_signs_on_until_its_overlap_is_over(secrets: Secrets, database: Database) -> None:
    [former] = await values(secrets)
    newest, expiring = await secrets.rotate("owner", OVERLAP_SECONDS)
    assert (newest.expires_at, expiring.value) == (None, former)
    assert expiring.expires_at == pytest.approx(database.now() + 86400, abs=5)
    header = signatures([newest, expiring], "evt_1", int(time.time()), BODY)
    assert len(header.split(" ")) == 2
    assert verified(newest.value, header)
    assert verified(former, header)
    await pass_time(database, OVERLAP_SECONDS + 1)
    assert await values(secrets) == [newest.value]
    header = signatures(await secrets.live("owner"), "evt_1", int(time.time()), BODY)
    assert verified(newest.value, header)
    assert not verified(former, header)


async def test_without_an_overlap_the_former_secret_ends_at_once(secrets: Secrets) -> None:
    [former] = await values(secrets)
    [newest] = await secrets.rotate("owner", 0)
    assert newest.value != former


async def test_a_secret_that_nobody_ever_saw_can_be_rotated(secrets: Secrets) -> None:
    assert len(await secrets.rotate("owner", 60)) == 1


async def test_rotating_often_does_not_make_signatures_without_end(secrets: Secrets, database: Database) -> None:
    kept = [(await secrets.rotate("owner", 3600))[0].value for _ in range(MOST_LIVE + 4)]
    assert await values(secrets) == kept[: -MOST_LIVE - 1 : -1]
    await pass_time(database, 7200)
    newest = (await secrets.rotate("owner", 3600))[0].value
    assert newest not in kept
    async with database.read() as connection:
        assert len((await connection.execute(select(webhook_secrets))).all()) == 2


async def test_one_owner_s_rotation_is_not_another_s(secrets: Secrets) -> None:
    before = await values(secrets, "other")
    await secrets.rotate("owner", 0)
    assert await values(secrets, "other") == before


async def test_rotations_at_once_are_all_done_or_refused(secrets: Secrets) -> None:
    await secrets.live("owner")
    ended = await asyncio.gather(*(secrets.rotate("owner", 3600) for _ in range(4)), return_exceptions=True)
    done = [one for one in ended if isinstance(one, list)]
    assert all(isinstance(one, list | Conflict) for one in ended)
    assert done
    assert len(await secrets.live("owner")) == 1 + len(done)
