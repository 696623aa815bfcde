"""Files that go into a generation: brought in from wherever they are, to where the upstream reads them."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from gateway.assets.inputs import IMAGE_MAX, OBJECT
from gateway.db.tables import file_copies
from gateway.errors import GatewayError, UpstreamFailed
from gateway.types import Account, ChatRequest, ImageRequest, Input, SpeechRequest, VideoRequest
from tests.unit.scripted import Films, Keeps, Rig, Talks, accounts_of, chat_request, png, rig

pytestmark = pytest.mark.anyio

A, B = accounts_of("up", "a", "b")
TALKS = Talks([])
KEY = "uploads/2026-01/upload_20260105_101010_0a1b2c3d.png"


def data_url(data: bytes, mime: str = "image/png") -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path, Talks([])) as found:
        await found.storage.put(KEY, png(), mime="image/png")
        yield found


def link(house: Rig, key: str = KEY, base: str = "https://media.example.com", age: float = 0) -> str:
    return base + house.links.path(key, time.time() - age)


async def refused(house: Rig, url: str) -> tuple[int, str, str]:
    with pytest.raises(GatewayError) as told:
        await house.inputs.bring(url)
    return told.value.status, told.value.code, told.value.message


def image(*urls: str, **fields: Any) -> ImageRequest:
    return ImageRequest("m", "p", inputs=tuple(map(Input, urls)), **fields)


# --- bringing ---


async def test_a_data_url_holds_its_bytes_and_the_bytes_say_what_they_are(house: Rig) -> None:
    brought = await house.inputs.bring(data_url(png(), "image/jpeg"))
    assert (brought.data, brought.mime, brought.name) == (png(), "image/png", "file.png")
    assert (await house.inputs.bring("data:,hello%20there")).data == b"hello there"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("data:image/png;base64,@@@", "a data: URL in the request is not valid base64"),
        ("data:image/png;base64,iVBORw0KGg", "a data: URL in the request is not valid base64"),
        ("data:image/png;base64,Ünicode", "a data: URL in the request is not valid base64"),
        ("data:image/png;base64,AAEC", "a data: URL in the request holds no known type of file"),
        ("data:image/png;base64,", "a data: URL in the request holds no known type of file"),
        ("data:image/png", "a data: URL must be 'data:<type>;base64,<data>' of at most 25 MB"),
    ],
)
async def test_a_broken_data_url_is_the_caller_s_fault(house: Rig, url: str, message: str) -> None:
    assert await refused(house, url) == (400, "invalid_image", message)


async def test_a_data_url_may_hold_25_mib_and_no_more(house: Rig) -> None:
    text = data_url(b"a" * IMAGE_MAX, "text/plain")
    assert len((await house.inputs.bring(text)).data) == IMAGE_MAX
    status, code, _ = await refused(house, data_url(b"a" * (IMAGE_MAX + 4), "text/plain"))
    assert (status, code) == (400, "invalid_image")


@pytest.mark.parametrize("base", ["https://media.example.com", "http://127.0.0.1:3264"])
async def test_a_link_of_ours_is_read_from_storage_whatever_host_it_names(house: Rig, base: str) -> None:
    brought = await house.inputs.bring(link(house, base=base))
    assert (brought.data, brought.mime, brought.name) == (png(), "image/png", KEY.rpartition("/")[2])


async def test_a_link_that_only_looks_like_ours_is_fetched_as_any_other(house: Rig) -> None:
    forged = link(house, base="http://127.0.0.1").replace("upload_", "uploaded_")
    assert house.inputs.own_key(forged) is None
    assert await refused(house, forged) == (400, "invalid_url", "the URL's address is not public")


async def test_a_link_that_is_over_is_none_of_ours(house: Rig) -> None:
    assert house.inputs.own_key(link(house, age=7200)) is None


async def test_a_file_that_is_gone_is_told_so(house: Rig) -> None:
    url = link(house, "uploads/2026-01/gone.png")
    assert await refused(house, url) == (400, "file_gone", "the file that the request names is gone")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/a.png", "http://localhost/a.png", "http://[::1]/", "http://10.0.0.8/", "ftp://a/b", "https://u:p@a/"]
)  # fmt: skip
async def test_nothing_inside_is_fetched_for_a_caller(house: Rig, url: str) -> None:
    status, code, _ = await refused(house, url)
    assert (status, code) in ((400, "invalid_url"), (400, "input_unreachable"))


# --- for a task, which may wait longer than any link ---


async def test_what_may_vanish_is_kept_as_an_object(house: Rig) -> None:
    asked = VideoRequest(
        "m", "p", kind="ref2v",
        inputs=(Input(data_url(png()), role="reference"), Input(link(house)), Input("https://example.com/a.png")),
    )  # fmt: skip
    given, ours, theirs = (await house.inputs.settled(asked)).inputs
    assert (given.role, given.mime, given.size) == ("reference", "image/png", len(png()))
    assert given.url.startswith(OBJECT + "uploads/")
    assert (await house.inputs.bring(given.url)).data == png()
    assert ours.url == OBJECT + KEY
    assert theirs.url == "https://example.com/a.png"


async def test_a_request_without_inputs_is_settled_as_it_is(house: Rig) -> None:
    asked = VideoRequest("m", "p")
    assert await house.inputs.settled(asked) is asked


async def test_an_image_that_is_none_is_refused_before_a_task_is_made(house: Rig) -> None:
    asked = VideoRequest("m", "p", inputs=(Input(data_url(b"<p>hello</p>")),))
    with pytest.raises(GatewayError, match="an image that the request names is none by its content") as told:
        await house.inputs.settled(asked)
    assert told.value.code == "invalid_image"


# --- for an upstream ---


async def test_who_takes_no_uploads_gets_the_bytes_in_the_request(house: Rig) -> None:
    staged = await house.inputs.staged(image(link(house)), TALKS, "m", A)
    assert isinstance(staged, ImageRequest)
    [one] = staged.inputs
    assert (one.url, one.mime, one.size, one.ref) == (data_url(png()), "image/png", len(png()), None)


async def test_who_takes_uploads_gets_a_copy_and_its_own_name_for_it(house: Rig) -> None:
    upstream = Keeps([])
    staged = await house.inputs.staged(image(link(house)), upstream, "m", A)
    assert isinstance(staged, ImageRequest)
    assert staged.inputs[0].ref == {"id": "up-1", "expires_at": None}
    assert upstream.uploads == [(png(), KEY.rpartition("/")[2], "image/png", "a")]


async def test_a_copy_is_made_once_for_an_account_and_content(house: Rig) -> None:
    upstream = Keeps([])

    async def ref(url: str, account: Account) -> Any:
        staged = await house.inputs.staged(image(url), upstream, "m", account)
        assert isinstance(staged, ImageRequest)
        return (staged.inputs[0].ref or {})["id"]

    assert [await ref(link(house), A), await ref(data_url(png()), A), await ref(link(house), B)] == [
        "up-1", "up-1", "up-2",
    ]  # fmt: skip
    assert await ref(data_url(png(80, 80)), A) == "up-3"


async def test_a_copy_that_is_about_to_end_is_made_anew(house: Rig) -> None:
    upstream = Keeps([])
    for left, uploads in ((10.0, 1), (3600.0, 2), (3600.0, 2)):
        upstream.expires_at = time.time() + left
        await house.inputs.staged(image(link(house)), upstream, "m", A)
        assert len(upstream.uploads) == uploads
    async with house.database.read() as connection:
        assert len((await connection.execute(select(file_copies))).all()) == 1


async def test_an_upload_that_fails_is_remembered_by_nobody(house: Rig) -> None:
    class Full(Keeps):
        async def upload(self, data: bytes, *, name: str, mime: str, account: Account) -> dict[str, object]:
            raise UpstreamFailed

    with pytest.raises(UpstreamFailed):
        await house.inputs.staged(image(link(house)), Full([]), "m", A)
    async with house.database.read() as connection:
        assert (await connection.execute(select(file_copies))).all() == []


@pytest.mark.parametrize(
    "request_", [image(), VideoRequest("alias", "p"), SpeechRequest("alias", "p"), chat_request()], ids=range(4)
)
async def test_every_request_gets_the_upstream_s_name_of_the_model(house: Rig, request_: Any) -> None:
    staged = await house.inputs.staged(request_, Films(), "theirs", A)
    assert staged.model == "theirs"
    assert await house.inputs.staged(staged, Films(), "theirs", A) is staged


# --- in a chat ---


def chat(*contents: Any) -> ChatRequest:
    turns = [{"role": "user", "content": content} for content in contents]
    return ChatRequest("m", {"messages": msgspec.Raw(msgspec.json.encode(turns)), "x": msgspec.Raw(b"1.50")})


def picture(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


async def test_a_chat_without_links_of_ours_goes_through_untouched(house: Rig) -> None:
    asked = chat([picture("https://example.com/a.png")])
    assert await house.inputs.staged(asked, TALKS, "m", A) is asked


async def test_links_of_ours_in_any_turn_are_put_in_as_bytes_and_all_else_stays(house: Rig) -> None:
    theirs = picture("https://example.com/files/x/y.png")
    asked = chat([picture(link(house))], "words", [{"type": "text", "text": "x"}, picture(link(house)), theirs])
    staged = await house.inputs.staged(asked, TALKS, "m", A)
    assert isinstance(staged, ChatRequest)
    turns = msgspec.json.decode(staged.body["messages"])
    ours = picture(data_url(png()))
    assert [turn["content"] for turn in turns] == [[ours], "words", [{"type": "text", "text": "x"}, ours, theirs]]
    assert bytes(staged.body["x"]) == b"1.50"


async def test_the_files_of_the_last_turn_are_uploaded_where_the_upstream_takes_them(house: Rig) -> None:
    upstream = Keeps([])
    asked = chat(
        [picture(data_url(png(80, 80)))],
        [
            picture(link(house)),
            {"type": "file", "file": {"url": link(house), "filename": "plan.png"}},
            {"type": "file", "file": {"file_data": data_url(b"hello", "text/plain")}},
            {"type": "file", "file": "data:,words"},
        ],
    )
    staged = await house.inputs.staged(asked, upstream, "m", A)
    assert isinstance(staged, ChatRequest)
    assert [(one.role, (one.ref or {})["id"]) for one in staged.inputs] == [
        ("image", "up-1"), ("file", "up-1"), ("file", "up-2"), ("file", "up-3"),
    ]  # fmt: skip
    assert staged.inputs[1].name == "plan.png"
    assert staged.body is asked.body
