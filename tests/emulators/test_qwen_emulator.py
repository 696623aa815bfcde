"""The emulator keeps the site's rules; its storage is proven with the vendor's own SDK."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import oss2
import pytest

from tests.emulators.qwen import BUCKET, Fault, QwenSite, jwt
from tests.emulators.serving import serve

pytestmark = pytest.mark.anyio

A, B = jwt("a"), jwt("b")
SITE_HEADERS = {"version": "0.2.66", "source": "web"}


class Client:
    def __init__(self, http: httpx.AsyncClient, token: str = A) -> None:
        self.http = http
        self.headers = {**SITE_HEADERS, "Authorization": f"Bearer {token}", "Cookie": f"token={token}"}

    async def post(self, path: str, body: Any, **headers: str) -> Any:
        answer = await self.http.post(path, json=body, headers={**self.headers, **headers})
        return answer.json() if "json" in answer.headers["content-type"] else answer.text

    async def get(self, path: str) -> Any:
        return (await self.http.get(path, headers=self.headers)).json()

    async def new(self, chat_type: str = "t2t") -> str:
        body = {
            "title": "New Chat",
            "models": ["qwen3-max"],
            "chat_mode": "normal",
            "chat_type": chat_type,
            "timestamp": 1_790_000_000_000,
            "project_id": "",
        }
        return str((await self.post("/api/v2/chats/new", body))["data"]["id"])

    async def complete(self, body: dict[str, Any]) -> Any:
        return await self.post(f"/api/v2/chat/completions?chat_id={body['chat_id']}", body)


@pytest.fixture
async def site() -> AsyncIterator[tuple[QwenSite, httpx.AsyncClient, str]]:
    emulated = QwenSite((A, B))
    async with serve(emulated) as base_url, httpx.AsyncClient(base_url=base_url, trust_env=False) as http:
        yield emulated, http, base_url


def turn(chat_id: str, kind: str = "t2t", **changes: Any) -> dict[str, Any]:
    import time

    now = int(time.time())
    size = {} if kind == "t2t" else {"size": "16:9"}
    message = {
        "fid": "f",
        "parentId": None,
        "parent_id": None,
        "childrenIds": [],
        "role": "user",
        "content": "hi",
        "user_action": "chat",
        "files": [],
        "timestamp": now,
        "models": ["qwen3-max"],
        "chat_type": kind,
        "sub_chat_type": kind,
        "feature_config": {"output_schema": "phase"},
        "extra": {"meta": {"subChatType": kind, **size}},
    }
    body = {
        "stream": kind not in ("t2v", "i2v"),
        "chat_id": chat_id,
        "chat_mode": "normal",
        "model": "qwen3-max",
        "parent_id": None,
        "messages": [message],
        "timestamp": now,
        "incremental_output": True,
        **size,
    }
    for path, value in changes.items():
        at: Any = body
        *way, last = path.split("__")
        for step in way:
            at = at[int(step)] if step.isdigit() else at[step]
        at[last] = value
    return body


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("t2t", {"messages": []}),
        ("t2t", {"messages__0__content": "x" * 131_073}),
        ("t2t", {"messages__0__sub_chat_type": "t2i"}),
        ("t2t", {"messages__0__extra__meta": {"subChatType": "search"}}),
        ("t2t", {"stream": False}),
        ("t2t", {"timestamp": 1_790_000_000_000}),
        ("t2t", {"model": "no-such-model"}),
        ("t2t", {"parent_id": "nobody"}),
        ("t2t", {"chat_mode": "odd"}),
        ("t2i", {"size": "1024*1024"}),
        ("t2i", {"size": "3:2", "messages__0__extra__meta__size": "3:2"}),
        ("t2i", {"size": "1:1"}),
        ("image_edit", {}),
        ("t2v", {"stream": True}),
    ],
)
async def test_a_wrong_payload_is_a_bad_request_with_status_200(site: Any, kind: str, changes: dict[str, Any]) -> None:
    client = Client(site[1])
    answer = await client.complete(turn(await client.new(kind), kind, **changes))
    assert answer["success"] is False
    assert answer["data"]["code"] == "Bad_Request"


async def test_two_messages_are_refused(site: Any) -> None:
    client = Client(site[1])
    body = turn(await client.new())
    body["messages"] *= 2
    assert "exactly one" in (await client.complete(body))["data"]["details"]


async def test_a_write_without_a_version_is_refused(site: Any) -> None:
    client = Client(site[1])
    assert (await client.post("/api/v2/files/parse", {}, version=""))["data"]["code"] == "Bad_Request"


async def test_what_belongs_to_another_account_is_not_found(site: Any) -> None:
    mine, other = Client(site[1], A), Client(site[1], B)
    chat_id = await mine.new("t2v")
    made = await mine.complete(turn(chat_id, "t2v"))
    task_id = made["data"]["messages"][0]["extra"]["wanx"]["task_id"]
    assert (await other.complete(turn(chat_id)))["data"]["code"] == "Not_Found"
    assert (await other.get(f"/api/v1/tasks/status/{task_id}"))["data"]["code"] == "Not_Found"
    assert (await mine.get(f"/api/v1/tasks/status/{task_id}"))["task_status"] == "pending"
    assert (await mine.get(f"/api/v2/task/status/{task_id}"))["data"]["task_status"] == "running"


async def test_a_video_needs_the_cookie_and_quota(site: Any) -> None:
    client = Client(site[1])
    site[0].people[A].videos_left = 1
    body = turn(await client.new("t2v"), "t2v")
    path = f"/api/v2/chat/completions?chat_id={body['chat_id']}"
    assert (await client.post(path, body, Cookie=""))["data"]["code"] == "Unauthorized"
    assert (await client.post(path, body))["success"] is True
    again = await client.complete(turn(await client.new("t2v"), "t2v"))
    assert (again["data"]["code"], again["data"]["num"]) == ("RateLimited", 9)


async def test_a_chat_is_made_even_for_an_expired_token(site: Any) -> None:
    client = Client(site[1])
    site[0].people[A].expired = True
    chat_id = await client.new()
    assert (await client.complete(turn(chat_id)))["data"]["details"] == "Token has expired"
    assert (await client.get("/api/v2/chats/?page=1"))["data"]["code"] == "Unauthorized"


async def test_phases_are_told_only_where_the_schema_was_asked_for(site: Any) -> None:
    client = Client(site[1])
    with_schema = await client.complete(turn(await client.new()))
    without = await client.complete(turn(await client.new(), messages__0__feature_config={}))
    assert '"phase": "answer"' in with_schema
    assert '"phase"' not in without


async def test_a_second_answer_in_a_busy_chat_is_refused(site: Any) -> None:
    client = Client(site[1])
    chat_id = await client.new()
    site[0].people[A].chats[chat_id].busy = True
    assert (await client.complete(turn(chat_id)))["data"]["details"] == "The chat is in progress!"


async def test_a_fault_happens_once(site: Any) -> None:
    client = Client(site[1])
    site[0].fail("chats", Fault.html(), Fault.throttled())
    page = await client.http.get("/api/v2/chats/?page=1", headers=client.headers)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    limited = await client.http.get("/api/v2/chats/?page=1", headers=client.headers)
    assert (limited.status_code, limited.headers["x-actual-status-code"]) == (429, "429")
    assert (await client.get("/api/v2/chats/?page=1"))["success"] is True


# --- the storage, through oss2 ---


async def ticket_for(client: Client, size: int, name: str = "π cat.png") -> dict[str, Any]:
    wanted = {"filename": name, "filesize": size, "filetype": "image"}
    ticket: dict[str, Any] = await client.post("/api/v1/files/getstsToken", wanted)
    return ticket


def bucket(base_url: str, ticket: dict[str, Any], secret: str | None = None) -> oss2.Bucket:
    auth = oss2.StsAuth(ticket["access_key_id"], secret or ticket["access_key_secret"], ticket["security_token"])
    return oss2.Bucket(auth, base_url, BUCKET, is_path_style=True)


async def test_the_vendors_sdk_can_put_an_object(site: Any) -> None:
    emulated, http, base_url = site
    ticket = await ticket_for(Client(http), 4)
    stored = bucket(base_url, ticket)
    put = await asyncio.to_thread(stored.put_object, ticket["file_path"], b"data", {"Content-Type": "image/png"})
    assert put.status == 200
    assert emulated.objects[ticket["file_path"]] == (b"data", "image/png")


async def test_the_vendors_sdk_with_a_wrong_secret_is_refused(site: Any) -> None:
    ticket = await ticket_for(Client(site[1]), 4)
    stored = bucket(site[2], ticket, secret="wrong")
    with pytest.raises(oss2.exceptions.SignatureDoesNotMatch):
        await asyncio.to_thread(stored.put_object, ticket["file_path"], b"data")


async def test_a_ticket_is_good_for_its_own_object_only(site: Any) -> None:
    ticket = await ticket_for(Client(site[1]), 4)
    with pytest.raises(oss2.exceptions.AccessDenied):
        await asyncio.to_thread(bucket(site[2], ticket).put_object, "elsewhere", b"data")


async def test_the_second_generation_of_the_ticket_is_wrapped(site: Any) -> None:
    wanted = {"filename": "a", "filesize": 1, "filetype": "image"}
    assert (await Client(site[1]).post("/api/v2/files/getstsToken", wanted))["data"]["bucketname"] == BUCKET
