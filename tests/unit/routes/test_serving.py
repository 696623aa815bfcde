import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message

from gateway.errors import GatewayError, NotFound, StorageUnavailable
from gateway.routes.serving import Unsatisfiable, content_disposition, decide, parse_range, serve_object
from gateway.storage import ObjectInfo, Storage

pytestmark = pytest.mark.anyio

DATA = bytes(range(256)) * 4000
KEY = "videos/2026-01/wan_20260105_101010_0a1b2c3d.mp4"
NONE = Unsatisfiable()


@pytest.fixture
async def storage() -> Storage:
    opened = Storage.open("memory://")
    await opened.put(KEY, DATA, mime="video/mp4")
    return opened


def client_of(storage: Storage, key: str = KEY, **options: object) -> TestClient:
    async def serve(request: Request) -> Response:
        try:
            return await serve_object(request, storage, key, **options)  # type: ignore[arg-type]
        except GatewayError as error:
            return JSONResponse({"code": error.code}, error.status)

    return TestClient(Starlette(routes=[Route("/file", serve, methods=["GET", "HEAD"])]))


@pytest.fixture
def client(storage: Storage) -> TestClient:
    return client_of(storage, max_age=300)


async def test_a_whole_object_comes_with_what_a_player_needs(client: TestClient) -> None:
    answer = client.get("/file")
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"].startswith('"')
    assert answer.headers["last-modified"].endswith("GMT")
    assert answer.headers["content-disposition"] == 'inline; filename="wan_20260105_101010_0a1b2c3d.mp4"'
    assert "content-security-policy" not in answer.headers


async def test_every_answer_is_private_and_told_to_nobody(client: TestClient) -> None:
    for headers in ({}, {"range": "bytes=0-9"}):
        answer = client.get("/file", headers=headers)
        assert answer.headers["cache-control"] == "private, max-age=300"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_head_tells_the_same_and_sends_nothing(client: TestClient) -> None:
    told, whole = client.head("/file", headers={"range": "bytes=0-9"}), client.get("/file")
    assert (told.status_code, told.content) == (200, b"")
    assert dict(told.headers) == dict(whole.headers)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=1000000-", 1_000_000, len(DATA)),
        ("bytes=-5", len(DATA) - 5, len(DATA)),
        ("bytes=5-99999999", 5, len(DATA)),
    ],
)
async def test_one_range_is_served(client: TestClient, asked: str, start: int, end: int) -> None:
    answer = client.get("/file", headers={"range": asked})
    assert (answer.status_code, answer.content) == (206, DATA[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("asked", [f"bytes={len(DATA)}-", "bytes=-0", "bytes=0-0,5-6", "bytes=" + "0-0," * 10_000])
async def test_a_range_that_cannot_be_served_is_refused_with_the_size(client: TestClient, asked: str) -> None:
    answer = client.get("/file", headers={"range": asked})
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{len(DATA)}"


async def test_a_copy_that_is_still_good_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/file")
    etag, modified = first.headers["etag"], first.headers["last-modified"]
    for headers in ({"if-none-match": etag}, {"if-none-match": f'"x", W/{etag}'}, {"if-modified-since": modified}):
        answer = client.get("/file", headers=headers | {"range": "bytes=0-9"})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
        assert "content-length" not in answer.headers


async def test_a_range_of_another_version_brings_the_whole(client: TestClient) -> None:
    first = client.get("/file")
    for if_range, status in (
        (first.headers["etag"], 206),
        (first.headers["last-modified"], 206),
        ('"other"', 200),
        (f"W/{first.headers['etag']}", 200),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 200),
    ):
        assert client.get("/file", headers={"range": "bytes=0-9", "if-range": if_range}).status_code == status


@pytest.mark.parametrize(
    ("key", "mime", "content_type"),
    [
        ("uploads/2026-01/a.svg", "image/svg+xml", "image/svg+xml"),
        ("uploads/2026-01/a.html", "text/html", "text/html; charset=utf-8"),
        ("uploads/2026-01/a.xml", "application/xml", "application/xml"),
        ("uploads/2026-01/a.pdf", "application/pdf", "application/pdf"),
        ("text/2026-01/a.txt", "text/plain", "text/plain; charset=utf-8"),
        ("uploads/2026-01/a.bin", "text/javascript", "application/octet-stream"),
        ("uploads/2026-01/a.bin", "image/png\r\nx: y", "application/octet-stream"),
    ],
)
async def test_what_could_run_in_a_browser_is_an_attachment(key: str, mime: str, content_type: str) -> None:
    storage = Storage.open("memory://")
    await storage.put(key, b"<svg/>", mime="application/octet-stream")
    answer = client_of(storage, key, mime=mime).get("/file")
    assert answer.headers["content-type"] == content_type
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    assert answer.headers["content-security-policy"] == "sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_without_a_known_type_the_extension_we_gave_decides(tmp_path) -> None:  # type: ignore[no-untyped-def]
    storage = Storage.open(f"file://{tmp_path}")
    await storage.put(KEY, DATA, mime="video/mp4")
    assert client_of(storage).get("/file").headers["content-type"] == "video/mp4"


async def test_saving_can_be_asked_for_under_a_name(storage: Storage) -> None:
    answer = client_of(storage, attachment=True, filename="../Übung 中.mp4").get("/file")
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"Ubung _.mp4\"; filename*=UTF-8''%C3%9Cbung%20%E4%B8%AD.mp4"
    )


async def test_an_empty_object_is_served_and_has_no_ranges(storage: Storage) -> None:
    await storage.put("text/2026-01/e.txt", b"", mime="text/plain")
    client = client_of(storage, "text/2026-01/e.txt")
    assert (client.get("/file").status_code, client.get("/file").headers["content-length"]) == (200, "0")
    assert client.get("/file", headers={"range": "bytes=0-"}).status_code == 416


# --- led on to the store ---


class Signs(Storage):
    """A store that callers can be sent to."""

    signed: tuple[str, str, float] | None = None

    async def presigned(self, key: str, method: Literal["GET", "PUT"], seconds: float) -> str | None:
        self.signed = (key, method, seconds)
        return f"https://bucket.example.com/{key}?signature=s"


@pytest.fixture
async def signs(storage: Storage) -> Signs:
    return Signs(storage._store)


async def test_a_harmless_type_may_be_read_at_the_store(signs: Signs) -> None:
    client = client_of(signs, max_age=300, redirect=True)
    answer = client.get("/file", headers={"range": "bytes=0-9"}, follow_redirects=False)
    assert (answer.status_code, answer.content) == (302, b"")
    assert answer.headers["location"] == f"https://bucket.example.com/{KEY}?signature=s"
    assert signs.signed == (KEY, "GET", 300)
    assert answer.headers["cache-control"] == "private, max-age=240"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-length"] == "0"


@pytest.mark.parametrize(("left", "kept"), [(86_400, 86_340), (61, 1), (60, 0), (5, 0)])
async def test_a_redirect_is_not_kept_for_longer_than_it_leads_anywhere(signs: Signs, left: int, kept: int) -> None:
    answer = client_of(signs, max_age=left, redirect=True).get("/file", follow_redirects=False)
    assert answer.headers["cache-control"] == f"private, max-age={kept}"
    assert signs.signed == (KEY, "GET", left)


async def test_everything_else_is_answered_here(signs: Signs) -> None:
    for options in (
        {"max_age": 300},
        {"max_age": 0, "redirect": True},
        {"max_age": 300, "redirect": True, "attachment": True},
    ):
        answer = client_of(signs, **options).get("/file", follow_redirects=False)
        assert (answer.status_code, answer.content) == (200, DATA)
    told = client_of(signs, max_age=300, redirect=True).head("/file", follow_redirects=False)
    assert (told.status_code, told.headers["content-length"]) == (200, str(len(DATA)))
    assert signs.signed is None


@pytest.mark.parametrize(
    ("extension", "mime"),
    [
        ("svg", "image/svg+xml"),
        ("html", "text/html"),
        ("pdf", "application/pdf"),
        ("txt", "text/plain"),
        ("bin", "a/b"),
    ],
)
async def test_what_could_run_in_a_browser_is_never_read_at_the_store(signs: Signs, extension: str, mime: str) -> None:
    key = f"uploads/2026-01/a.{extension}"
    await signs.put(key, b"<svg/>", mime=mime)
    answer = client_of(signs, key, max_age=300, redirect=True).get("/file", follow_redirects=False)
    assert (answer.status_code, answer.headers["content-security-policy"]) == (200, "sandbox")


async def test_nobody_is_led_to_what_is_not_there(signs: Signs) -> None:
    client = client_of(signs, "videos/2026-01/other.mp4", max_age=300, redirect=True)
    assert client.get("/file", follow_redirects=False).status_code == 404
    assert signs.signed is None


async def test_a_store_that_signs_nothing_is_read_here(storage: Storage) -> None:
    answer = client_of(storage, max_age=300, redirect=True).get("/file", follow_redirects=False)
    assert (answer.status_code, answer.content) == (200, DATA)


async def test_an_object_that_goes_while_it_is_read_ends_the_reading(tmp_path: Path) -> None:
    storage = Storage.open(f"file://{tmp_path}")
    data = DATA * 8
    await storage.put(KEY, data, mime="video/mp4")
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if len(sent) == 1:
            await storage.delete(KEY)
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    answer = await serve_object(Request(scope), storage, KEY)
    await answer(scope, receive, send)
    body = b"".join(message["body"] for message in sent[1:])
    assert body == data or sent[-1]["more_body"]
    assert await storage.head(KEY) is None


async def test_what_is_gone_is_not_found(storage: Storage) -> None:
    answer = client_of(storage, "videos/2026-01/other.mp4").get("/file")
    assert (answer.status_code, answer.json()) == (404, {"code": "asset_gone"})


class Failing(Storage):
    """Knows its objects, and cannot give them after so many chunks."""

    def __init__(self, storage: Storage, chunks: int, error: Exception) -> None:
        super().__init__(storage._store)
        self.chunks, self.error = chunks, error
        self.closed = False

    async def get(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:  # type: ignore[override]
        try:
            for _ in range(self.chunks):
                yield b"x" * 1000
            raise self.error
        finally:
            self.closed = True


@pytest.mark.parametrize(("error", "status"), [(StorageUnavailable(), 503), (NotFound(), 404)])
async def test_a_store_that_fails_at_once_is_an_error_answer(storage: Storage, error: Exception, status: int) -> None:
    assert client_of(Failing(storage, 0, error)).get("/file").status_code == status


async def called(storage: Storage, incoming: list[Message]) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return incoming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    answer = await serve_object(Request(scope), storage, KEY)
    await answer(scope, receive, send)
    return sent


async def test_a_store_that_fails_midway_leaves_the_answer_unfinished(storage: Storage) -> None:
    waiting: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}] * 9
    sent = await called(Failing(storage, 3, StorageUnavailable()), waiting)
    assert [message["type"] for message in sent] == ["http.response.start"] + ["http.response.body"] * 3
    assert all(message["more_body"] for message in sent[1:])


async def test_nothing_more_is_read_for_a_client_that_left(storage: Storage) -> None:
    endless = Failing(storage, 1_000_000, StorageUnavailable())
    sent = await called(
        endless, [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
    )
    assert len(sent) < 5
    assert endless.closed


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        (None, 100, None),
        ("", 100, None),
        ("bytes=0-", 100, (0, 100)),
        ("bytes=0-99", 100, (0, 100)),
        ("bytes=0-100", 100, (0, 100)),
        ("bytes=99-", 100, (99, 100)),
        ("bytes=99-99", 100, (99, 100)),
        ("bytes=100-", 100, NONE),
        ("bytes=100-200", 100, NONE),
        ("bytes=-1", 100, (99, 100)),
        ("bytes=-100", 100, (0, 100)),
        ("bytes=-101", 100, (0, 100)),
        ("bytes=-0", 100, NONE),
        ("bytes=0-0", 0, NONE),
        ("bytes=0-", 0, NONE),
        ("bytes=-1", 0, NONE),
        ("BYTES=1-2", 100, (1, 3)),
        ("  bytes = 1 - 2 ", 100, (1, 3)),
        ("bytes=00001-2", 100, (1, 3)),
        ("bytes=5-4", 100, None),
        ("bytes=500-4", 100, None),
        ("bytes=-", 100, None),
        ("bytes=", 100, None),
        ("bytes", 100, None),
        ("bytes=a-b", 100, None),
        ("bytes=1", 100, None),
        ("bytes=--1", 100, None),
        ("bytes=1-2-3", 100, None),
        ("bytes=+1-2", 100, None),
        ("bytes=0x1-2", 100, None),
        ("bytes=1.0-2", 100, None),
        ("bytes=١-٢", 100, None),
        ("items=0-1", 100, None),
        ("0-1", 100, None),
        ("bytes=1-2\n", 100, None),
        ("bytes=0-1,2-3", 100, NONE),
        ("bytes=0-0,", 100, NONE),
        ("items=0-1,2-3", 100, None),
        ("bytes=0-" + "9" * 5000, 100, (0, 100)),
        ("bytes=" + "9" * 5000 + "-", 100, NONE),
        ("bytes=-" + "9" * 5000, 100, (0, 100)),
    ],
    ids=range(41),
)
def test_ranges_are_read_as_the_standard_says(
    header: str | None, size: int, expected: tuple[int, int] | Unsatisfiable | None
) -> None:
    assert parse_range(header, size) == expected


@given(st.text(alphabet="bytes=0123456789-, \t", max_size=40), st.integers(0, 1000))
def test_a_range_always_lies_within_the_object(header: str, size: int) -> None:
    part = parse_range(header, size)
    if isinstance(part, tuple):
        assert 0 <= part[0] < part[1] <= size


@pytest.mark.parametrize(
    "header", ["bytes=" + "0-0," * 16_000, "bytes=" + " " * 60_000, "bytes=" + "1" * 60_000, "bytes=" + "1 " * 30_000]
)
def test_a_hostile_range_costs_little(header: str) -> None:
    began = time.process_time()
    parse_range(header, 1000)
    assert time.process_time() - began < 0.01


def test_the_tag_goes_before_the_time() -> None:
    modified = datetime(2026, 1, 5, 10, 10, 10, 700_000, tzinfo=UTC)
    info = ObjectInfo(KEY, 10, None, '"a,b"', modified)
    same = format_datetime(modified, usegmt=True)
    for headers, status in (
        ({"if-none-match": '"a,b"'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"b"', "if-modified-since": same}, 200),
        ({"if-modified-since": same}, 304),
        ({"if-modified-since": "Mon, 05 Jan 2026 10:10:09 GMT"}, 200),
        ({"if-modified-since": "yesterday"}, 200),
        ({"if-modified-since": "Mon, 05 Jan 99999 10:10:09 GMT"}, 200),
    ):
        assert decide("GET", headers, info).status == status, headers


@given(st.text(max_size=300))
def test_a_disposition_is_one_safe_header_line(filename: str) -> None:
    header = content_disposition("attachment", filename)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
    assert "/" not in header
    assert "\\" not in header
