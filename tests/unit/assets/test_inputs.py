"""Files that go into a generation: brought in from wherever they are, to where the upstream reads them."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, select

from gateway.assets.files import INPUT
from gateway.assets.inputs import IMAGE_MAX, OBJECT
from gateway.db.tables import assets, file_copies, files
from gateway.errors import GatewayError, UpstreamFailed
from gateway.types import Account, ChatRequest, ImageRequest, Input, SpeechRequest, VideoRequest
from tests.unit.assets.samples import pdf
from tests.unit.scripted import OWNER, Films, Keeps, Rig, Talks, accounts_of, chat_request, png, rig, said

pytestmark = pytest.mark.anyio

ME, OTHER = "owner", "somebody-else"
ASSET = "asset_" + "a" * 32
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
    given, ours, theirs = (await house.inputs.settled(asked, ME)).inputs
    assert (given.role, given.mime, given.size) == ("reference", "image/png", len(png()))
    assert given.url.startswith(OBJECT + "uploads/")
    assert (await house.inputs.bring(given.url)).data == png()
    assert ours.url == OBJECT + KEY
    assert theirs.url == "https://example.com/a.png"


async def test_a_request_without_inputs_is_settled_as_it_is(house: Rig) -> None:
    asked = VideoRequest("m", "p")
    assert await house.inputs.settled(asked, ME) is asked


async def test_an_image_that_is_none_is_refused_before_a_task_is_made(house: Rig) -> None:
    asked = VideoRequest("m", "p", inputs=(Input(data_url(b"<p>hello</p>")),))
    with pytest.raises(GatewayError, match="an image that the request names is none by its content") as told:
        await house.inputs.settled(asked, ME)
    assert told.value.code == "invalid_image"


async def rows(house: Rig) -> list[Any]:
    async with house.database.read() as connection:
        return list((await connection.execute(select(files))).all())


async def test_what_came_inside_of_a_request_is_a_file_of_its_owner_s(house: Rig) -> None:
    asked = VideoRequest("m", "p", inputs=(Input(data_url(png())), Input(data_url(png()))))
    first = await house.inputs.settled(asked, ME)
    again = await house.inputs.settled(asked, ME)
    theirs = await house.inputs.settled(asked, OTHER)
    assert len({one.url for one in (*first.inputs, *again.inputs)}) == 1
    assert theirs.inputs[0].url != first.inputs[0].url
    found = await rows(house)
    assert [(row.owner, row.purpose, row.mime) for row in found] == [(ME, INPUT, "image/png")] * 4 + [
        (OTHER, INPUT, "image/png")
    ] * 2
    assert first.inputs[0].url == OBJECT + found[0].key
    assert (found[0].width, found[0].height) == (64, 48)


@pytest.mark.parametrize(
    ("second", "code"),
    [
        (data_url(b"words", "text/plain"), "invalid_image"),
        (data_url(png()[:-30]), "invalid_media"),
        ("file-" + "0" * 32, "file_not_found"),
    ],
)
async def test_nothing_is_kept_of_a_request_that_is_refused(house: Rig, second: str, code: str) -> None:
    asked = VideoRequest("m", "p", inputs=(Input(data_url(png())), Input(second)))
    with pytest.raises(GatewayError) as told:
        await house.inputs.settled(asked, ME)
    assert (told.value.status, told.value.code) == (400, code)
    assert await rows(house) == []


# --- by id ---


async def enter_asset(house: Rig, key: str = KEY, mime: str = "image/png", owner: str = ME) -> None:
    row = dict.fromkeys(("prompt", "model", "upstream", "kind", "source_module", "sha256"), "")
    row |= {"id": ASSET, "owner": owner, "family": "image", "key": key, "mime": mime, "filename": "made.png"}
    async with house.database.write() as connection:
        await connection.execute(insert(assets).values(**row, size=1, created_at=1.0, metadata="{}"))


async def test_a_file_and_an_asset_are_named_by_their_ids(house: Rig) -> None:
    file = await house.inputs.files.keep(ME, "mine.png", png())
    await enter_asset(house)
    asked = image(file.id, ASSET, "https://example.com/a.png")
    found = await house.inputs.resolved(asked, ME)
    assert isinstance(found, ImageRequest)
    assert [(one.url, one.mime, one.name) for one in found.inputs] == [
        (OBJECT + file.key, "image/png", "mine.png"),
        (OBJECT + KEY, "image/png", "made.png"),
        ("https://example.com/a.png", "", ""),
    ]
    assert (await house.inputs.settled(asked, ME)).inputs == found.inputs


async def test_another_s_id_is_told_from_none_by_nothing(house: Rig) -> None:
    file = await house.inputs.files.keep(OTHER, "mine.png", png())
    await enter_asset(house, owner=OTHER)

    async def told(name: str, ask: Callable[[str], Any]) -> tuple[Any, ...]:
        with pytest.raises(GatewayError) as error:
            await house.inputs.resolved(ask(name), ME)
        one = error.value
        return one.status, one.code, one.message.replace(name, "ID"), one.param, one.detail

    for real, none in ((file.id, "file-" + "0" * 32), (ASSET, "asset_" + "0" * 32)):
        for ask in (image, lambda name: chat([picture(name)])):
            assert await told(real, ask) == await told(none, ask)
            assert (await told(real, ask))[:3] == (400, "file_not_found", "there is no file or asset 'ID'")


async def test_an_id_of_what_is_no_image_is_refused_where_an_image_is_asked_for(house: Rig) -> None:
    file = await house.inputs.files.keep(ME, "a.pdf", pdf())
    for asked in (image(file.id), chat([picture(file.id)])):
        with pytest.raises(GatewayError) as told:
            await house.inputs.resolved(asked, ME)
        assert told.value.code == "invalid_image"
    found = await house.inputs.resolved(ImageRequest("m", "p", inputs=(Input(file.id, role="file"),)), ME)
    assert isinstance(found, ImageRequest)
    assert found.inputs[0].url == OBJECT + file.key


@pytest.mark.parametrize("request_", [image("https://example.com/a.png"), SpeechRequest("m", "file-x"), chat_request()])
async def test_a_request_without_ids_is_resolved_as_it_is(house: Rig, request_: Any) -> None:
    assert await house.inputs.resolved(request_, ME) is request_


def by_id(name: str) -> list[dict[str, Any]]:
    """Every way in which a part can name a file by its id."""
    return [
        {"type": "image_url", "image_url": {"url": name, "detail": "low"}},
        {"type": "image_url", "image_url": {"file_id": name, "detail": "low"}},
        {"type": "image_url", "image_url": name},
        {"type": "file", "file": {"file_id": name}},
        {"type": "file", "file": {"url": name, "filename": "x.png"}},
        {"type": "file", "file": name},
    ]


@pytest.mark.parametrize("way", range(6))
async def test_an_image_of_a_chat_by_id_is_put_in_as_bytes(house: Rig, way: int) -> None:
    file = await house.inputs.files.keep(ME, "a.png", png())
    part = {**by_id(file.id)[way], "note": 1}
    staged = await staged_for(house, chat("words", [part]))
    shown = {"detail": "low"} if way < 2 else {}
    [sent] = contents(staged)[1]
    assert sent == {"type": "image_url", "image_url": {**shown, "url": data_url(png())}, "note": 1}


@pytest.mark.parametrize("way", [3, 4, 5])
async def test_a_document_of_a_chat_by_id_is_put_in_as_a_file(house: Rig, way: int) -> None:
    file = await house.inputs.files.keep(ME, "plan.pdf", pdf())
    staged = await staged_for(house, chat([by_id(file.id)[way]]))
    assert contents(staged) == [
        [{"type": "file", "file": {"file_data": data_url(pdf(), "application/pdf"), "filename": "plan.pdf"}}]
    ]


async def test_a_link_to_a_document_is_put_in_as_a_file_too(house: Rig) -> None:
    file = await house.inputs.files.keep(ME, "plan.pdf", pdf())
    staged = await staged_for(house, chat([{"type": "file", "file": {"url": link(house, file.key)}}]))
    sent = {"file_data": data_url(pdf(), "application/pdf"), "filename": file.key.rpartition("/")[2]}
    assert contents(staged) == [[{"type": "file", "file": sent}]]


async def test_ids_of_a_chat_are_uploaded_where_the_upstream_takes_files(house: Rig) -> None:
    upstream = Keeps([])
    file = await house.inputs.files.keep(ME, "plan.pdf", pdf())
    await enter_asset(house)
    found = await house.inputs.resolved(chat([by_id(file.id)[3], picture(ASSET)]), ME)
    staged = await house.inputs.staged(found, upstream, "m", A)
    assert isinstance(staged, ChatRequest)
    assert [(one.name, one.mime) for one in staged.inputs] == [
        ("plan.pdf", "application/pdf"), (KEY.rpartition("/")[2], "image/png"),
    ]  # fmt: skip
    assert [data for data, *_ in upstream.uploads] == [pdf(), png()]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_id": "file-AbCdEf123456"}},
        {"type": "text", "text": 'look at "file-' + "0" * 32},
        {"type": "input_audio", "input_audio": {"data": "file-" + "0" * 32}},
        {"type": "file", "file": {"file_data": "file-", "file_id": 5}},
        {"type": "file"},
        "file-" + "0" * 32,
        5,
    ],
)
async def test_what_is_no_id_of_ours_goes_through_untouched(house: Rig, part: Any) -> None:
    asked = chat([part])
    assert await house.inputs.resolved(asked, ME) is asked
    assert await house.inputs.staged(asked, TALKS, "m", A) is asked


async def test_nobody_names_an_object_by_its_key(house: Rig) -> None:
    """Else whoever guesses a key has what is another's."""
    for part in (picture(OBJECT + KEY), {"type": "file", "file": {"url": OBJECT + KEY}}):
        asked = chat([part, {"type": "text", "text": "/files/"}])
        assert await house.inputs.staged(asked, TALKS, "m", A) is asked
        upstream = Keeps([])
        with pytest.raises(GatewayError) as told:
            await house.inputs.staged(asked, upstream, "m", A)
        assert told.value.code == "invalid_url"
        assert upstream.uploads == []


async def test_the_relay_resolves_ids_for_who_asks(tmp_path: Path) -> None:
    upstream = Talks(said("a file"))
    async with rig(tmp_path, upstream) as house:
        mine = await house.inputs.files.keep(OWNER.id, "a.png", png())
        theirs = await house.inputs.files.keep(OTHER, "a.png", png())
        relayed = await house.relay.open(house.work(request=chat([picture(mine.id)])))
        await relayed.aclose()
        [(asked, _)] = upstream.asked
        assert contents(asked)[0][0]["image_url"]["url"] == data_url(png())
        with pytest.raises(GatewayError, match="there is no file or asset"):
            await house.relay.open(house.work(request=chat([picture(theirs.id)])))
        assert (len(upstream.asked), house.in_flight) == (1, 0)


# --- what a request starts from ---


async def test_the_sources_of_a_request_are_the_objects_that_are_ours(house: Rig) -> None:
    other = "uploads/2026-01/other.png"
    urls = (link(house), "https://example.com/files/x/y.png", OBJECT + other, link(house), data_url(png()))
    assert house.inputs.sources(image(*urls)) == (KEY, other)
    assert house.inputs.sources(VideoRequest("m", "p", inputs=tuple(map(Input, urls)))) == (KEY, other)
    turns = chat([picture(link(house, other))], "words", [picture(url) for url in urls])
    assert house.inputs.sources(turns) == (other, KEY)
    assert house.inputs.sources(image(link(house, age=7200))) == ()
    for none in (chat_request(), SpeechRequest("m", "p"), VideoRequest("m", "p"), chat([picture(OBJECT + KEY)])):
        assert house.inputs.sources(none) == ()


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


def contents(request: Any) -> list[Any]:
    return [turn["content"] for turn in msgspec.json.decode(request.body["messages"])]


async def staged_for(house: Rig, request: ChatRequest) -> Any:
    """As an upstream gets it that takes no uploads."""
    return await house.inputs.staged(await house.inputs.resolved(request, ME), TALKS, "m", A)


async def test_a_chat_without_links_of_ours_goes_through_untouched(house: Rig) -> None:
    asked = chat([picture("https://example.com/a.png")])
    assert await house.inputs.staged(asked, TALKS, "m", A) is asked


async def test_a_link_whose_slashes_are_escaped_is_one_of_ours(house: Rig) -> None:
    asked = chat([picture(link(house))])
    raw = bytes(asked.body["messages"]).replace(b"/", b"\\/")
    staged = await house.inputs.staged(ChatRequest("m", {"messages": msgspec.Raw(raw)}), TALKS, "m", A)
    assert contents(staged) == [[picture(data_url(png()))]]


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
