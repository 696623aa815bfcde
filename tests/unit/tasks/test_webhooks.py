"""Webhooks as receivers get them: real ones on real sockets. Time passes by changing the rows."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest
from openai import InvalidWebhookSignatureError, OpenAI
from sqlalchemy import update
from standardwebhooks import Webhook as Verifier
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from gateway.db.engine import Database
from gateway.db.tables import deliveries, metadata, webhook_secrets
from gateway.errors import DatabaseUnavailable, InvalidRequest
from gateway.http import MAX_ACKNOWLEDGEMENT, Outbound, Timeouts
from gateway.tasks import sending
from gateway.tasks import webhooks as webhooks_module
from gateway.tasks.outbox import GONE, Delivery, Outbox, Result, announce
from gateway.tasks.receivers import FAULTS, HANDS
from gateway.tasks.sending import WAITS, next_wait
from gateway.tasks.webhooks import Webhooks
from gateway.types import TaskState, Webhook
from tests.emulators.serving import serve
from tests.unit.db.conftest import schema

pytestmark = pytest.mark.anyio

OWNER = "owner"
DAY = 86400.0
SOON = 5.0
"""Seconds that a round of the sender may take here."""

Say = Callable[[Scope, Send], Awaitable[None]]


def says(status: int = 200, body: bytes = b"", **headers: str) -> Say:
    async def answer(_: Scope, send: Send) -> None:
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})

    return answer


class Receiver:
    """Somebody's endpoint: remembers what it got, and answers each path as it is told."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: dict[str, Say] = {}
        self.now: Counter[str] = Counter()
        """Deliveries that are being answered, by id."""
        self.most = 0
        """The most there ever were at once."""
        self.twice = False
        self.url = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.got.append((scope["path"], headers, body))
        self.now[headers["webhook-id"]] += 1
        self.most = max(self.most, self.now.total())
        self.twice |= max(self.now.values()) > 1
        try:
            await self.answers.get(scope["path"], says())(scope, send)
        finally:
            self.now[headers["webhook-id"]] -= 1

    def ids(self, path: str = "/hook") -> list[str]:
        return [headers["webhook-id"] for at, headers, _ in self.got if at == path]

    @property
    def events(self) -> list[Any]:
        return [json.loads(body) for _, _, body in self.got]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    async with serve(made) as made.url:
        yield made


@pytest.fixture
async def http() -> AsyncIterator[Outbound]:
    made = Outbound(Timeouts(connect=2))
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def database(tmp_path: Any) -> AsyncIterator[Database]:
    async with opened(f"sqlite+aiosqlite:///{tmp_path / 'rows.db'}", new=True) as made:
        yield made


@asynccontextmanager
async def opened(url: str, *, new: bool) -> AsyncIterator[Database]:
    made = Database(url)
    await made.start()
    try:
        if new:
            async with made.write() as connection:
                await connection.run_sync(metadata.create_all)
        yield made
    finally:
        await made.close()


async def task_of(task_id: str, owner: str) -> dict[str, Any] | None:
    """What stands for the tasks themselves: they are shown with links that are new each time."""
    if task_id == "task_gone":
        return None
    return {"id": task_id, "object": "task", "owner": owner, "link": f"https://gateway.example/{next(LINKS)}"}


LINKS = itertools.count()


class House:
    """A sender, its outbox and somebody's tasks."""

    def __init__(self, http: Outbound, database: Database, *trusted: str, outbox: type[Outbox] = Outbox) -> None:
        self.database = database
        self.outbox = outbox(database)
        self.webhooks = Webhooks(self.outbox, http, database, b"k" * 32, task_of, trusted)

    async def told(self, url: str, state: TaskState = "succeeded", task_id: str = "task_1", owner: str = OWNER) -> str:
        """A task came to `state`. Returns the id of the delivery."""
        known = {one.id for one in await self.all(owner)}
        async with self.database.write() as connection:
            await announce(
                connection,
                task_id=task_id,
                owner=owner,
                webhook=Webhook(url),
                state=state,
                version=7,
                now=self.database.now(),
            )
        [made] = {one.id for one in await self.all(owner)} - known
        return made

    async def all(self, owner: str = OWNER) -> list[Delivery]:
        return (await self.outbox.page(owner, state=None, task_id=None, after_id=None, limit=1000))[0]

    async def of(self, delivery_id: str, owner: str = OWNER) -> Delivery:
        return await self.outbox.get(delivery_id, owner)

    async def round(self, seconds: float = SOON) -> int:
        return await self.webhooks.deliver_due(seconds)

    async def pass_time(self) -> None:
        """Until everything that waits is due."""
        async with self.database.write() as connection:
            await connection.execute(update(deliveries).values(next_at=1.0, lease_until=0.0))

    async def secret(self) -> str:
        return (await self.webhooks.secrets.live(OWNER))[0].value


@pytest.fixture
def house(http: Outbound, database: Database, receiver: Receiver) -> House:
    return House(http, database, receiver.url)


@asynccontextmanager
async def running(*houses: House) -> AsyncIterator[None]:
    work = [asyncio.create_task(house.webhooks.run()) for house in houses]
    try:
        yield
    finally:
        for one in work:
            one.cancel()
        await asyncio.gather(*work, return_exceptions=True)


async def until(true: Callable[[], bool | Awaitable[bool]], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            found = true()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)


# --- what a receiver gets ---


async def test_an_event_arrives_with_the_task_as_it_stands(house: House, receiver: Receiver) -> None:
    made = await house.told(f"{receiver.url}/hook?key=1")
    assert await house.round() == 1
    [(path, headers, body)] = receiver.got
    assert (path, headers["content-type"]) == ("/hook", "application/json")
    event = json.loads(body)
    link = event["data"].pop("link")
    assert event == {
        "id": made,
        "object": "event",
        "type": "task.succeeded",
        "created_at": int((await house.of(made)).created_at),
        "sequence": 7,
        "data": {"id": "task_1", "object": "task", "owner": OWNER},
    }
    assert link.startswith("https://")
    found = await house.of(made)
    assert (found.state, found.attempts, found.status, found.error) == ("delivered", 1, 200, None)
    assert await house.round() == 0


async def test_the_event_of_a_deleted_task_says_so(house: House, receiver: Receiver) -> None:
    await house.told(f"{receiver.url}/hook", task_id="task_gone")
    await house.round()
    assert receiver.events[0]["data"] == {"id": "task_gone", "object": "task", "deleted": True}


async def test_standard_webhooks_verifies_what_arrives_and_nothing_else(house: House, receiver: Receiver) -> None:
    made = await house.told(f"{receiver.url}/hook")
    await house.round()
    [(_, headers, body)] = receiver.got
    assert headers["webhook-id"] == made
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 5
    verifier = Verifier(await house.secret())
    assert verifier.verify(body, headers)["id"] == made
    for forged in (
        (body + b" ", headers),
        (body, headers | {"webhook-id": "evt_other"}),
        (body, headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)}),
    ):
        with pytest.raises(Exception, match="No matching signature"):
            verifier.verify(*forged)


async def test_openai_s_library_unwraps_what_arrives(house: House, receiver: Receiver) -> None:
    await house.told(f"{receiver.url}/hook", "failed")
    await house.round()
    [(_, headers, body)] = receiver.got
    client = OpenAI(api_key="none")
    event = client.webhooks.unwrap(body, headers, secret=await house.secret())
    assert event.type == "task.failed"  # type: ignore[comparison-overlap]
    assert event.data.id == "task_1"  # type: ignore[union-attr]
    with pytest.raises(InvalidWebhookSignatureError):
        client.webhooks.unwrap(body + b" ", headers, secret=await house.secret())


async def test_both_secrets_verify_during_the_overlap_of_a_rotation(house: House, receiver: Receiver) -> None:
    former = await house.secret()
    await house.webhooks.secrets.rotate(OWNER, DAY)
    newest = await house.secret()
    await house.told(f"{receiver.url}/hook")
    await house.round()
    async with house.database.write() as connection:
        await connection.execute(update(webhook_secrets).values(expires_at=webhook_secrets.c.expires_at - DAY - 1))
    await house.told(f"{receiver.url}/hook")
    await house.round()
    (_, during, first), (_, after, second) = receiver.got
    for secret in (former, newest):
        assert Verifier(secret).verify(first, during)
    assert Verifier(newest).verify(second, after)
    with pytest.raises(Exception, match="No matching signature"):
        Verifier(former).verify(second, after)


async def test_every_attempt_has_the_same_id_and_a_timestamp_of_its_own(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.answers["/hook"] = says(500)
    made = await house.told(f"{receiver.url}/hook")
    await house.round()
    an_hour_on = time.time() + 3600
    monkeypatch.setattr(sending, "time", SimpleNamespace(time=lambda: an_hour_on))
    await house.pass_time()
    await house.round()
    first, second = receiver.got
    assert receiver.ids() == [made, made]
    assert receiver.events[0]["created_at"] == receiver.events[1]["created_at"]
    assert receiver.events[0]["data"]["link"] != receiver.events[1]["data"]["link"]
    assert int(second[1]["webhook-timestamp"]) == int(an_hour_on)
    assert int(first[1]["webhook-timestamp"]) < an_hour_on - 3500
    assert (await house.of(made)).next_at < house.database.now() + 60  # by the database's clock, whatever this one says


# --- when it is tried again ---


def test_the_waits_grow_to_a_day_and_end_after_three() -> None:
    assert [next_wait(failures, None, 0.0) for failures in range(1, 12)] == [*WAITS, None]
    assert 60 * 3600 < sum(WAITS) < 72 * 3600
    for dice in (-1.0, 1.0):
        assert next_wait(1, None, dice) == pytest.approx(5.0 * (1 + dice / 10))
    assert next_wait(1, 7200.0, 1.0) == 7200.0
    assert next_wait(5, 60.0, -1.0) == pytest.approx(3240.0)
    assert next_wait(11, 60.0, 0.0) is None


async def test_a_receiver_that_is_down_for_days_is_tried_to_the_end_and_can_be_replayed(
    house: House, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = says(404)
    made = await house.told(f"{receiver.url}/hook")
    for failures, wait in enumerate([*WAITS, None], 1):
        await house.round()
        found = await house.of(made)
        assert (found.attempts, found.status, found.error) == (failures, 404, "it answered 404")
        if wait is not None:
            assert found.state == "pending"
            assert found.next_at - house.database.now() == pytest.approx(wait, rel=0.11, abs=2)
            assert await house.round() == 0
            await house.pass_time()
    assert (found.state, len(receiver.got)) == ("failed", 11)
    assert await house.round() == 0
    del receiver.answers["/hook"]
    await house.outbox.replay(made, OWNER)
    await house.round()
    assert ((await house.of(made)).state, set(receiver.ids())) == ("delivered", {made})


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308, 400, 401, 404, 429, 500, 503])
async def test_whatever_is_not_a_success_is_a_failure(house: House, receiver: Receiver, status: int) -> None:
    receiver.answers["/hook"] = says(status, b"<b>words of theirs</b>", location=f"{receiver.url}/elsewhere")
    made = await house.told(f"{receiver.url}/hook")
    await house.round()
    found = await house.of(made)
    assert (found.state, found.status, found.error) == ("pending", status, f"it answered {status}")
    assert [path for path, _, _ in receiver.got] == ["/hook"]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_success_is_one(house: House, receiver: Receiver, status: int) -> None:
    receiver.answers["/hook"] = says(status)
    made = await house.told(f"{receiver.url}/hook")
    await house.round()
    assert ((await house.of(made)).state, (await house.of(made)).status) == ("delivered", status)


@pytest.mark.parametrize(
    ("asked", "wait"),
    [("7200", 7200.0), ("1", 5.0), ("999999999", DAY), ("soon", 5.0), ("", 5.0), (None, 3600.0)],
)
async def test_a_receiver_that_says_when_is_not_tried_before(
    house: House, receiver: Receiver, asked: str | None, wait: float
) -> None:
    said = formatdate(time.time() + 3600, usegmt=True) if asked is None else asked
    receiver.answers["/hook"] = says(503, retry_after=said)
    made = await house.told(f"{receiver.url}/hook")
    await house.round()
    assert (await house.of(made)).next_at - house.database.now() == pytest.approx(wait, abs=2)


async def test_a_receiver_that_is_gone_is_told_nothing_more(house: House, receiver: Receiver) -> None:
    receiver.answers["/hook"] = says(410)
    first = await house.told(f"{receiver.url}/hook")
    await house.round()
    second, other = await house.told(f"{receiver.url}/hook"), await house.told(f"{receiver.url}/other")
    await house.pass_time()
    await house.round()
    assert [path for path, _, _ in receiver.got] == ["/hook", "/other"]
    for one in (first, second):
        assert ((await house.of(one)).state, (await house.of(one)).error) == ("disabled", GONE)
    assert (await house.of(other)).state == "delivered"


# --- receivers that behave badly ---


async def test_an_endless_answer_is_not_read_to_its_end(http: Outbound, database: Database) -> None:
    written = 0
    cut = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(OSError):
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
                written += 65536
        cut.set()

    async with spoken(endless) as url:
        house = House(http, database, url)
        made = await house.told(url)
        async with asyncio.timeout(3):
            await house.round()
            await cut.wait()
    assert (await house.of(made)).state == "delivered"
    assert written < MAX_ACKNOWLEDGEMENT + 16 * 1024 * 1024  # what fits into the buffers of sockets besides


@asynccontextmanager
async def spoken(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A receiver that decides over every byte."""
    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


async def test_an_answer_that_never_ends_is_taken_by_its_status(house: House, receiver: Receiver) -> None:
    async def stuck(_: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await asyncio.sleep(60)

    receiver.answers["/hook"] = stuck
    made = await house.told(f"{receiver.url}/hook")
    async with asyncio.timeout(4):
        await house.round()
    assert (await house.of(made)).state == "delivered"


async def test_a_receiver_that_does_not_answer_is_given_up_in_time(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks_module, "ATTEMPT_SECONDS", 1.0)
    receiver.answers["/hook"] = sleeps(60)
    made = await house.told(f"{receiver.url}/hook")
    async with asyncio.timeout(3):
        await house.round()
    found = await house.of(made)
    assert (found.state, found.attempts, found.status, found.error) == ("pending", 1, None, "no answer within 1 s")


def sleeps(seconds: float) -> Say:
    async def answer(scope: Scope, send: Send) -> None:
        await asyncio.sleep(seconds)
        await says()(scope, send)

    return answer


async def test_a_receiver_that_hangs_up_or_speaks_no_http_is_a_failure(house: House, receiver: Receiver) -> None:
    async def cut(scope: Scope, send: Send) -> None:
        scope["reset"]()

    receiver.answers["/hook"] = cut
    made = await house.told(f"{receiver.url}/hook")
    await house.round()
    assert (await house.of(made)).error == "it closed the connection without an answer"

    async def gibberish(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n\r\n")

    async with spoken(gibberish) as url:
        other = House(house.webhooks._sender._http, house.database, url)
        made = await other.told(url)
        await other.round()
    assert (await house.of(made)).error == "its answer is not HTTP"


async def test_what_is_wrong_with_tls_is_told_in_short(http: Outbound, database: Database, receiver: Receiver) -> None:
    secure = receiver.url.replace("http://", "https://")
    house = House(http, database, secure)
    made = await house.told(f"{secure}/hook")
    await house.round()
    found = await house.of(made)
    assert found.error == "no secure connection: its certificate or its TLS was not accepted"


async def test_a_private_address_is_never_dialled_and_told_like_one_where_nobody_is(
    http: Outbound, database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = receiver.url.rpartition(":")[2]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        closed = f"http://127.0.0.1:{probe.getsockname()[1]}"
    house = House(http, database, closed)

    def lookup(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        at = "127.0.0.1" if host == "127.0.0.1" else "10.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (at, port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    urls = [receiver.url, f"http://localhost:{port}", "http://127.0.0.1", "http://rebound.example/", closed]
    made = [await house.told(f"{url}/hook") for url in urls]
    await house.round()
    assert receiver.got == []
    found = [await house.of(one) for one in made]
    assert {(one.state, one.attempts, one.status) for one in found} == {("pending", 1, None)}
    assert {one.error for one in found} == {"no connection to it at a public address"}


async def test_a_port_that_is_not_of_the_web_is_not_dialled(http: Outbound) -> None:
    for url in ("http://8.8.8.8:8080/", "https://8.8.8.8:22/", "http://user@8.8.8.8/", "http://xn--a/"):
        with pytest.raises(InvalidRequest) as caught:
            await http.tell(url, b"{}", headers={}, trusted=frozenset(), seconds=1)
        assert caught.value.code == "invalid_url"


async def test_a_trusted_origin_is_that_port_and_no_other(
    http: Outbound, database: Database, receiver: Receiver
) -> None:
    house = House(http, database, "http://127.0.0.1:1", "http://LOCALHOST")
    made = await house.told(f"{receiver.url}/hook")
    await house.round()
    assert (await house.of(made)).state == "pending"
    assert receiver.got == []


async def test_neither_rows_nor_logs_tell_what_a_receiver_said_or_the_secrets_of_its_url(
    house: House, receiver: Receiver
) -> None:
    receiver.answers["/path-canary"] = says(500, b"body-canary", x_some="header-canary")
    made = await house.told(f"{receiver.url}/path-canary?key=query-canary")
    with capture_logs() as logs:
        await house.round()
    [line] = logs
    assert (line["to"], line["reason"], line["attempt"]) == (receiver.url, "it answered 500", 1)
    secret = await house.secret()
    assert "canary" not in str(logs)
    assert secret not in str(logs)
    assert "canary" not in str((await house.of(made)).error)


# --- one does not hold up the others ---


async def test_a_slow_receiver_holds_up_nobody_else(
    http: Outbound, database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Receiver()
    slow.answers["/hook"] = sleeps(60)
    async with serve(slow) as slow.url:
        house = House(http, database, receiver.url, slow.url)
        for _ in range(webhooks_module.AT_ONCE + 20):
            await house.told(f"{slow.url}/hook")
        async with running(house):
            await until(lambda: slow.most == HANDS)
            for _ in range(3):
                made = await house.told(f"{receiver.url}/hook")
                house.webhooks.wake()
                await until(lambda made=made: made in receiver.ids(), 1.5)  # type: ignore[misc]
        assert len(slow.got) == slow.most == HANDS
        held = [one for one in await house.all() if one.hold]
        assert len(held) == webhooks_module.AT_ONCE  # the first claim: nothing more is held for who has its hands full


async def test_one_receiver_of_many_events_gets_them_a_few_at_a_time_and_all_of_them(
    house: House, receiver: Receiver
) -> None:
    receiver.answers["/hook"] = sleeps(0.02)
    made = {await house.told(f"{receiver.url}/hook") for _ in range(150)}
    async with running(house):
        await until(lambda: len(receiver.got) >= 150, 20)
    assert set(receiver.ids()) == made
    assert len(receiver.got) == 150
    assert receiver.most == HANDS


async def test_a_dead_receiver_rests_and_its_deliveries_are_put_off_untried(
    http: Outbound, database: Database, receiver: Receiver
) -> None:
    dead = Receiver()
    dead.answers["/hook"] = says(503)
    async with serve(dead) as dead.url:
        house = House(http, database, receiver.url, dead.url)
        for _ in range(40):
            await house.told(f"{dead.url}/hook")
        await house.told(f"{receiver.url}/hook")
        await house.round()
    assert FAULTS <= len(dead.got) < FAULTS + HANDS
    assert len(receiver.got) == 1
    untried = [one for one in await house.all() if one.url.startswith(dead.url) and not one.attempts]
    assert len(untried) == 40 - len(dead.got)
    assert all(one.state == "pending" for one in untried)
    assert all(25 < one.next_at - database.now() <= 30 for one in untried)
    assert all(one.hold is None for one in await house.all())
    tried = len(dead.got)
    await house.pass_time()
    assert await house.round() > 0
    assert len(dead.got) == tried
    assert all(one.hold is None for one in await house.all())
    assert await house.round() == 0


async def test_paths_that_refuse_do_not_make_their_host_rest(house: House, receiver: Receiver) -> None:
    receiver.answers["/refuses"] = says(404)
    for _ in range(FAULTS * 3):
        await house.told(f"{receiver.url}/refuses")
    made = await house.told(f"{receiver.url}/hook")
    await house.round()
    assert (await house.of(made)).state == "delivered"
    assert len(receiver.got) == FAULTS * 3 + 1


# --- at least once, whatever stops ---


async def test_what_was_sent_and_not_written_down_is_sent_again_with_the_same_id(
    http: Outbound, database: Database, receiver: Receiver
) -> None:
    class Stops(Outbox):
        """Of a process that is gone before it can write."""

        async def write(self, delivery: Delivery, result: Result) -> bool:
            await asyncio.sleep(60)
            raise AssertionError

    gone = House(http, database, receiver.url, outbox=Stops)
    made = await gone.told(f"{receiver.url}/hook")
    async with running(gone):
        await until(lambda: receiver.ids() == [made])
    house = House(http, database, receiver.url)
    assert await house.round() == 0  # the hold of the one that is gone must end first
    await house.pass_time()
    assert await house.round() == 1
    assert receiver.ids() == [made, made]
    assert receiver.events[0]["created_at"] == receiver.events[1]["created_at"]
    assert (await house.of(made)).state == "delivered"


async def test_what_is_not_held_long_enough_any_more_is_left_to_the_next_claim(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await house.told(f"{receiver.url}/hook")
    monkeypatch.setattr("gateway.tasks.outbox.HOLD_SECONDS", webhooks_module.ATTEMPT_SECONDS)
    await house.round(1.2)
    assert receiver.got == []
    found = await house.of(made)
    assert (found.state, found.attempts, found.hold) == ("pending", 0, None)


async def test_a_result_is_written_when_the_database_is_back(
    http: Outbound, database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks_module, "WRITE_AGAIN_SECONDS", 0.01)

    class Away(Outbox):
        times = 3

        async def write(self, delivery: Delivery, result: Result) -> bool:
            self.times -= 1
            if self.times >= 0:
                raise DatabaseUnavailable
            return await super().write(delivery, result)

    house = House(http, database, receiver.url, outbox=Away)
    made = await house.told(f"{receiver.url}/hook")
    await house.round()
    assert ((await house.of(made)).state, len(receiver.got)) == ("delivered", 1)


async def test_an_event_that_cannot_be_made_ends_like_one_that_cannot_be_delivered(
    http: Outbound, database: Database, receiver: Receiver
) -> None:
    async def broken(task_id: str, owner: str) -> dict[str, Any] | None:
        raise ValueError("a bug")

    house = House(http, database, receiver.url)
    house.webhooks._sender._render = broken
    made = await house.told(f"{receiver.url}/hook")
    await house.round()
    found = await house.of(made)
    assert (found.state, found.attempts, found.error) == ("pending", 1, "the event could not be made")
    assert receiver.got == []


async def test_a_shutdown_lets_attempts_end_and_begins_none(house: House, receiver: Receiver) -> None:
    receiver.answers["/hook"] = sleeps(0.3)
    made = [await house.told(f"{receiver.url}/hook") for _ in range(HANDS + 3)]
    async with running(house):
        await until(lambda: receiver.most == HANDS)
        await house.webhooks.settle(5)
        found = [await house.of(one) for one in made]
    assert sum(one.state == "delivered" for one in found) == HANDS == len(receiver.got)
    assert all(one.hold is None for one in found)
    assert await House(house.webhooks._sender._http, house.database, receiver.url).round() == 3


async def test_a_new_event_does_not_wait_for_the_next_look(house: House, receiver: Receiver) -> None:
    async with running(house):
        await asyncio.sleep(0.2)  # it has looked, and sleeps
        made = await house.told(f"{receiver.url}/hook")
        house.webhooks.wake()
        await until(lambda: receiver.ids() == [made], 1.0)


async def test_a_tick_ends_in_its_time_and_leaves_the_rest_to_the_next(house: House, receiver: Receiver) -> None:
    receiver.answers["/hook"] = sleeps(0.8)
    for _ in range(HANDS * 4):
        await house.told(f"{receiver.url}/hook")
    began = time.monotonic()
    await house.round(2.0)
    assert time.monotonic() - began < 3.0
    assert 0 < len(receiver.got) < HANDS * 4
    receiver.answers["/hook"] = says()
    await house.round()
    assert len(set(receiver.ids())) == HANDS * 4
    assert {one.state for one in await house.all()} == {"delivered"}


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(webhooks_module, "IDLE_SECONDS", 0.05)
    yield


class Counting(Outbox):
    written = 0

    async def write(self, delivery: Delivery, result: Result) -> bool:
        self.written += 1
        return await super().write(delivery, result)


@pytest.mark.usefixtures("hurried")
async def test_two_processes_never_send_one_delivery_at_once(http: Outbound, receiver: Receiver) -> None:
    receiver.answers["/hook"] = sleeps(0.01)
    async with schema() as url, opened(url, new=True) as one, opened(url, new=False) as two:
        houses = [House(http, database, receiver.url, outbox=Counting) for database in (one, two)]
        made = {await houses[number % 2].told(f"{receiver.url}/hook") for number in range(120)}
        async with running(*houses):
            await until(lambda: len(receiver.got) >= 120, 20)
            await asyncio.sleep(0.2)
        assert not receiver.twice
        assert Counter(receiver.ids()) == dict.fromkeys(made, 1)
        assert all(house.outbox.written for house in houses)  # type: ignore[attr-defined]
