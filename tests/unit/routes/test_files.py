"""Files on /api: uploads, what there is of them, tickets of both kinds, and links."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from gateway.assets.files import INPUT
from gateway.routes.tickets import COMPLETE_SECONDS, TICKET_SECONDS
from tests.unit.assets.samples import SAMPLES, Sample, pdf, sample
from tests.unit.routes.file_rig import KEY, NOBODY, OTHER_KEY, READER, UPLOAD_MAX, Place, place, refusal
from tests.unit.scripted import png


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("files")) as found:
        yield found


@pytest.fixture(autouse=True)
def _memory_is_given_back(here: Place) -> Iterator[None]:
    yield
    assert here.app.house.uploading == 0


# --- uploads ---


@pytest.mark.parametrize("one", SAMPLES, ids=lambda one: one.name)
def test_every_type_can_be_uploaded_and_read_back(here: Place, one: Sample) -> None:
    data = sample(one.name)
    told = here.upload(data, one.name)
    assert told.keys() == {"name", "url", "fileId", "size", "type"}
    assert (told["name"], told["size"], told["type"]) == (one.name, len(data), one.mime)
    answer = here.open(told["url"])
    assert answer.content == data
    assert answer.headers["content-type"].partition(";")[0] == one.mime
    inline = one.mime.startswith(("image/", "video/", "audio/"))
    assert answer.headers["content-disposition"].startswith("inline" if inline else "attachment")
    assert ("content-security-policy" in answer.headers) is not inline


def test_what_is_brought_twice_is_stored_once(here: Place) -> None:
    before = len(here.objects)
    first, second = here.upload(b"twice"), here.upload(b"twice", "b.txt")
    assert first["fileId"] != second["fileId"]
    assert len(here.objects) == before + 1
    here.told("DELETE", f"/api/files/{first['fileId']}")
    assert here.open(second["url"]).content == b"twice"
    here.told("DELETE", f"/api/files/{second['fileId']}")
    assert len(here.objects) == before
    assert refusal(here.open(second["url"]))[:2] == (404, "asset_gone")


def oversized(chunked: bool) -> dict[str, Any]:
    """A form with a file of eight times what is taken, as a client sends it that tells its length, or does not."""
    head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'

    def body() -> Iterator[bytes]:
        yield head
        for _ in range(8 * 64):
            yield b"a" * (UPLOAD_MAX // 64)
        yield b"\r\n--b--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=b"}
    return {"content": body(), "headers": headers if chunked else headers | {"content-length": str(UPLOAD_MAX * 8)}}


@pytest.mark.parametrize("path", ["/api/files/upload", "/v1/files"])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_past_the_limit_is_refused_early_and_nothing_is_stored(here: Place, path: str, chunked: bool) -> None:
    def listed() -> list[str]:
        return [file["fileId"] for file in here.told("GET", "/api/files")["data"]]

    before = here.objects, listed()
    answer = here.ask("POST", path, **oversized(chunked))
    assert refusal(answer)[:2] == (413, "file_too_large")
    assert answer.headers["connection"] == "close"
    assert (here.objects, listed()) == before


def test_a_full_budget_is_told_with_when_to_come_again(here: Place) -> None:
    house = here.app.house
    house.uploading = house.config.limits.upload_memory - 100
    try:
        for path in ("/api/files/upload", "/v1/files"):
            answer = here.ask("POST", path, files={"file": ("a.txt", b"a" * 1000)}, data={"purpose": "batch"})
            assert refusal(answer)[:2] == (503, "overloaded")
            assert answer.headers["retry-after"] == "5"
        assert house.uploading == house.config.limits.upload_memory - 100
    finally:
        house.uploading = 0


@pytest.mark.parametrize("length", ["9" * 30, "9" * 5000, "1048577000", "1" + "0" * 20 + "5", "1" + "0" * 5000])
def test_a_length_past_all_bounds_is_too_much(here: Place, length: str) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b", "content-length": length}
    assert refusal(here.ask("POST", "/api/files/upload", content=b"", headers=headers))[:2] == (413, "file_too_large")


# --- what there is ---


def test_a_file_is_told_with_its_measures(here: Place) -> None:
    told = here.upload(sample("a.mp4"), "Übung.mp4")
    seen = here.told("GET", f"/api/files/{told['fileId']}")
    assert seen == {
        **told, "url": seen["url"], "purpose": "upload", "created_at": seen["created_at"], "expires_at": None,
        "width": 64, "height": 48, "seconds": 1.0,
    }  # fmt: skip
    assert here.open(seen["url"]).content == sample("a.mp4")
    assert abs(seen["created_at"] - time.time()) < 60


def test_lists_go_page_by_page(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        for number in range(5):
            here.upload(b"words", f"{number}.txt")
        here.upload(b"words", "theirs.txt", OTHER_KEY)
        names, after = [], ""
        while True:
            page = here.told("GET", f"/api/files?limit=2{after}")
            names += [file["name"] for file in page["data"]]
            assert (page["first_id"], page["last_id"]) == (page["data"][0]["fileId"], page["data"][-1]["fileId"])
            after = f"&after={page['last_id']}"
            if not page["has_more"]:
                break
        assert names == ["4.txt", "3.txt", "2.txt", "1.txt", "0.txt"]
        assert [file["name"] for file in here.told("GET", "/api/files?order=asc")["data"]] == names[::-1]
        assert here.told("GET", "/api/files?purpose=vision") == {
            "object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        *((f"limit={limit}", (400, "invalid_value", "limit")) for limit in ("0", "101", "x", "-1", "%C2%B2", "9" * 50)),
        ("order=up", (400, "invalid_value", "order")),
        ("after=x", (404, "file_not_found", "after")),
        (f"after={NOBODY}", (404, "file_not_found", "after")),
    ],
)
def test_a_list_that_cannot_be_made(here: Place, query: str, wrong: tuple[int, str, str]) -> None:
    assert refusal(here.ask("GET", f"/api/files?{query}")) == wrong


def test_what_came_inside_of_a_request_is_seen_by_its_id_alone(here: Place) -> None:
    house = here.app.house
    owner = house.keyring.principal(f"Bearer {KEY}".encode()).id

    async def keep() -> Any:
        return await house.files.keep(owner, "in.txt", b"inside", purpose=INPUT)

    file = here.run(keep)
    assert here.told("GET", f"/api/files/{file.id}")["purpose"] == INPUT
    assert here.told("GET", f"/v1/files/{file.id}")["purpose"] == "user_data"
    for path in ("/api/files", "/v1/files"):
        assert file.id not in here.ask("GET", path).text


ROUTES = [
    ("GET", "/api/files/{id}"),
    ("DELETE", "/api/files/{id}"),
    ("GET", "/api/files?after={id}"),
    ("GET", "/v1/files/{id}"),
    ("DELETE", "/v1/files/{id}"),
    ("GET", "/v1/files/{id}/content"),
    ("HEAD", "/v1/files/{id}/content"),
    ("GET", "/v1/files?after={id}"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_another_s_file_is_told_from_none_by_nothing(here: Place, method: str, path: str) -> None:
    mine = here.upload()["fileId"]
    foreign, missing = (here.ask(method, path.format(id=id_), OTHER_KEY) for id_ in (mine, NOBODY))
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert foreign.text.replace(mine, NOBODY) == missing.text
    assert here.told("GET", f"/api/files/{mine}")["fileId"] == mine


@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("POST", "/v1/files"), ("POST", "/api/files/upload")])
def test_without_a_key_there_are_no_files(here: Place, method: str, path: str) -> None:
    assert here.ask(method, path.format(id=here.upload()["fileId"]), None).status_code == 401


def test_who_may_only_read_brings_and_takes_nothing(here: Place) -> None:
    assert here.told("GET", "/api/files", READER)["data"] == []
    for method, path in (
        ("POST", "/api/files/upload"), ("POST", "/v1/files"), ("POST", "/api/files/getstsToken"),
        ("DELETE", f"/api/files/{NOBODY}"), ("DELETE", f"/v1/files/{NOBODY}"),
        ("POST", f"/api/files/{NOBODY}/complete"),
    ):  # fmt: skip
        assert here.ask(method, path, READER).status_code == 403


def test_a_file_goes_once(here: Place) -> None:
    told = here.upload(b"goes once")
    path = f"/api/files/{told['fileId']}"
    assert here.told("DELETE", path) == {"id": told["fileId"], "object": "file", "deleted": True}
    assert refusal(here.ask("DELETE", path)) == (404, "file_not_found", "file_id")
    assert refusal(here.ask("GET", path)) == (404, "file_not_found", "file_id")
    assert refusal(here.open(told["url"]))[:2] == (404, "asset_gone")


def test_a_file_whose_object_is_gone_says_so(here: Place) -> None:
    told = here.upload(b"will be gone")
    key = urlsplit(told["url"]).path.split("/", 3)[3]
    here.run(here.app.house.storage.delete, key)
    assert refusal(here.ask("GET", f"/v1/files/{told['fileId']}/content"))[:2] == (404, "asset_gone")
    assert refusal(here.open(told["url"]))[:2] == (404, "asset_gone")
    assert here.told("GET", f"/api/files/{told['fileId']}")["size"] == 12
    assert here.told("DELETE", f"/api/files/{told['fileId']}")["deleted"] is True


def test_ids_that_are_none_name_nothing(here: Place) -> None:
    for odd in ("x", "..", "file-", "%2e%2e%2f", "a" * 5000, "%F0%9F%92%A9", "file-%00"):
        answer = here.ask("GET", f"/api/files/{odd}")
        assert answer.status_code in (400, 404), odd


# --- by their ids in a request ---


def test_a_file_is_what_a_generation_starts_from(here: Place) -> None:
    mine, theirs = here.upload(png(), "a.png"), here.upload(png(80, 80), "b.png", OTHER_KEY)
    ask = {"chatType": "i2i", "message": "make it blue", "size": "64x64"}
    for files in ([mine["fileId"]], [{"url": mine["fileId"], "name": "a.png"}]):
        assert here.told("POST", "/api/chat", json={**ask, "files": files})["choices"]
    parts = [{"type": "text", "text": "blue"}, {"type": "file", "file": {"file_id": mine["fileId"]}}]
    turns = [{"role": "user", "content": parts}]
    assert here.told("POST", "/v1/chat/completions", json={"messages": turns, "chatType": "i2i", "model": "auto"})
    task = {"prompt": "waves", "kind": "i2v", "size": "64x64", "seconds": 1, "first_frame": mine["fileId"]}
    assert here.ask("POST", "/api/tasks", json=task).status_code == 202
    of_images = {"prompt": "blue", "kind": "i2i", "images": [{"file_id": mine["fileId"]}]}
    assert here.ask("POST", "/api/tasks", json=of_images).status_code == 202

    def refused(id_: str) -> list[tuple[int, str]]:
        sent = [
            ("/api/chat", {**ask, "files": [id_]}),
            ("/api/tasks", {**task, "first_frame": id_}),
            ("/api/chat", {"message": "what is it?", "files": [id_]}),
        ]
        answers = [here.ask("POST", path, json=body) for path, body in sent]
        return [(answer.status_code, answer.text.replace(id_, NOBODY)) for answer in answers]

    assert refused(theirs["fileId"]) == refused(NOBODY)
    assert [status for status, _ in refused(NOBODY)] == [400] * 3
    assert all("file_not_found" in text for _, text in refused(NOBODY))


def test_a_document_is_no_first_frame(here: Place) -> None:
    file = here.upload(pdf(), "a.pdf")["fileId"]
    task = {"prompt": "waves", "kind": "i2v", "size": "64x64", "seconds": 1, "first_frame": file}
    assert refusal(here.ask("POST", "/api/tasks", json=task))[:2] == (400, "invalid_image")


# --- tickets for the gateway ---


def ticket(here: Place, key: str = KEY, **said: Any) -> dict[str, Any]:
    told: dict[str, Any] = here.told("POST", "/api/files/getstsToken", key, json={"filename": "a b.txt", **said})
    return told


def put(here: Place, told: dict[str, Any], data: bytes) -> httpx.Response:
    return here.ask("PUT", told["url"], None, content=data, headers=told["headers"])


def test_a_ticket_is_for_one_file(here: Place) -> None:
    told = ticket(here, filesize=5)
    assert (told["method"], told["max_bytes"]) == ("PUT", 5)
    assert "complete" not in told
    first = put(here, told, b"words").json()
    again = put(here, told, b"other").json()
    assert first["success"] is True
    assert first["file"].keys() == {"name", "url", "fileId", "size", "type"}
    assert again["file"]["fileId"] == first["file"]["fileId"]
    assert here.open(again["file"]["url"]).content == b"words"
    assert here.told("GET", f"/api/files/{first['file']['fileId']}")["name"] == "a b.txt"
    listed = [file["fileId"] for file in here.told("GET", "/api/files?limit=100")["data"]]
    assert listed.count(first["file"]["fileId"]) == 1


def test_two_tickets_are_two_files(here: Place) -> None:
    first, second = (put(here, ticket(here), b"words").json()["file"]["fileId"] for _ in range(2))
    assert first != second


def test_a_ticket_that_is_redeemed_many_times_at_once_is_one_file(here: Place) -> None:
    told = ticket(here)
    before = len(here.objects)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda text: put(here, told, text), [b"racing one", b"racing two"] * 3))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["file"]["fileId"] for answer in answers}) == 1
    assert len(here.objects) == before + 1


def test_a_ticket_opens_nothing_else(here: Place) -> None:
    told, other = ticket(here, filesize=5), ticket(here, OTHER_KEY, filesize=5)
    path, theirs = urlsplit(told["url"]).path, urlsplit(other["url"]).path
    token = path.split("/")[2]
    for altered in (
        path.replace("/5/", "/6/"), path.replace("a%20b", "a%20c"), path.replace(token, theirs.split("/")[2]),
        f"/uploads/{token}/{theirs.split('/', 3)[3]}", path[:-1], path + "x", "/uploads/x/y/1/z/a.txt", "/uploads/x/y",
    ):  # fmt: skip
        assert refusal(here.ask("PUT", altered, None, content=b"words"))[:2] == (403, "invalid_link"), altered
    as_link = path.replace("/uploads/", "/files/")
    assert here.ask("GET", as_link, None).status_code == 403


# --- tickets for the store ---


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("direct"), "storage: {direct_uploads: true, redirect: true}") as found:
        found.sign()
        yield found


def send(here: Place, told: dict[str, Any], data: bytes) -> str:
    """What a caller's PUT at the store does. Returns the key."""
    parts = urlsplit(told["url"])
    assert (parts.netloc, told["method"]) == ("bucket.example.com", "PUT")
    assert dict(parse_qsl(parts.query)) == {"X-Method": "PUT", "X-Expires": str(TICKET_SECONDS)}
    key = parts.path.lstrip("/")

    async def put() -> None:
        await here.app.house.storage.put(key, data, mime="application/octet-stream")

    here.run(put)
    return key


def complete(here: Place, told: dict[str, Any], key: str | None = KEY) -> httpx.Response:
    assert told["complete"]["method"] == "POST"
    parts = urlsplit(told["complete"]["url"])
    return here.ask("POST", f"{parts.path}?{parts.query}", key)


def test_a_file_is_sent_to_the_store_and_completed(direct: Place) -> None:
    told = ticket(direct, filename="a.png", filesize=len(png()))
    key = send(direct, told, png())
    assert key.startswith("uploads/")
    assert refusal(direct.ask("GET", f"/api/files/{told['fileId']}"))[0] == 404
    done = complete(direct, told).json()
    assert (done["success"], done["file"]["fileId"]) == (True, told["fileId"])
    assert (done["file"]["name"], done["file"]["type"], done["file"]["size"]) == ("a.png", "image/png", len(png()))
    final = urlsplit(done["file"]["url"]).path.split("/", 3)[3]
    assert final != key
    assert direct.objects == sorted({*direct.objects} - {key} | {final})
    again = complete(direct, told).json()
    assert again["file"] | {"url": ""} == done["file"] | {"url": ""}


def test_it_is_completed_once_however_often_at_once(direct: Place) -> None:
    told = ticket(direct)
    send(direct, told, b"many at once")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: complete(direct, told), range(6)))
    assert [answer.status_code for answer in answers] == [200] * 6
    assert {answer.json()["file"]["fileId"] for answer in answers} == {told["fileId"]}
    files = [one for one in direct.told("GET", "/api/files?limit=100")["data"] if one["fileId"] == told["fileId"]]
    assert len(files) == 1
    assert direct.open(files[0]["url"]).content == b"many at once"


@pytest.mark.parametrize(
    ("said", "data", "wrong"),
    [
        ({}, b"", (400, "empty_file")),
        ({}, b"\0\1\2", (415, "unsupported_file_type")),
        ({"filename": "a.png"}, b"<script>", (415, "unsupported_file_type")),
        ({"filename": "a.png"}, png()[:-20], (400, "invalid_media")),
        ({"filesize": 5}, b"words and more", (400, "incomplete_upload")),
        ({}, b"a" * (UPLOAD_MAX + 1), (413, "file_too_large")),
    ],
)
def test_what_is_refused_is_deleted(direct: Place, said: Any, data: bytes, wrong: tuple[int, str]) -> None:
    before = direct.objects
    told = ticket(direct, **said)
    send(direct, told, data)
    assert refusal(complete(direct, told))[:2] == wrong
    assert direct.objects == before
    assert refusal(complete(direct, told))[:2] == (400, "incomplete_upload")
    assert refusal(direct.ask("GET", f"/api/files/{told['fileId']}"))[0] == 404
    assert direct.app.house.uploading == 0


def test_what_was_not_sent_cannot_be_completed(direct: Place) -> None:
    assert refusal(complete(direct, ticket(direct)))[:2] == (400, "incomplete_upload")


def test_a_full_budget_leaves_what_was_sent_for_the_next_try(direct: Place) -> None:
    told, house = ticket(direct), direct.app.house
    send(direct, told, b"waits")
    house.uploading = house.config.limits.upload_memory
    try:
        answer = complete(direct, told)
        assert refusal(answer)[:2] == (503, "overloaded")
    finally:
        house.uploading = 0
    assert complete(direct, told).json()["file"]["fileId"] == told["fileId"]


def test_only_who_asked_for_the_ticket_completes_it(direct: Place) -> None:
    told = ticket(direct)
    send(direct, told, b"mine")
    foreign = complete(direct, told, OTHER_KEY)
    other = ticket(direct, OTHER_KEY)
    mixed = {**told, "complete": {**told["complete"], "url": told["complete"]["url"].replace(told["fileId"], NOBODY)}}
    missing = complete(direct, mixed)
    assert refusal(foreign) == refusal(missing) == (404, "file_not_found", "file_id")
    assert foreign.text.replace(told["fileId"], NOBODY) == missing.text
    assert complete(direct, told, None).status_code == 401
    assert complete(direct, other, KEY).status_code == 404
    assert complete(direct, told).status_code == 200


def test_a_ticket_that_was_altered_completes_nothing(direct: Place) -> None:
    told, other = ticket(direct), ticket(direct)
    send(direct, told, b"words")
    url, end = told["complete"]["url"], other["complete"]["url"]
    token, facts = url.partition("ticket=")[2].split(".")
    for altered in (
        url.partition("?")[0], url + "x", url[:-1], url.replace(token, token[:-1]),
        url.replace(token, end.partition("ticket=")[2].split(".")[0]), url.replace(f".{facts}", ""),
        url.replace(facts, ticket(direct)["url"]),
    ):  # fmt: skip
        answer = complete(direct, {"complete": {"method": "POST", "url": altered}})
        assert refusal(answer)[:2] == (403, "invalid_link"), altered
    assert complete(direct, told).status_code == 200


def test_a_ticket_of_one_kind_is_none_of_the_other(here: Place, direct: Place) -> None:
    own, told = ticket(here), ticket(direct)
    _, _, token, path = urlsplit(own["url"]).path.split("/", 3)
    url = f"http://127.0.0.1/api/files/{NOBODY}/complete?ticket={token}.{path}"
    assert refusal(complete(here, {"complete": {"method": "POST", "url": url}}))[:2] == (403, "invalid_link")
    token, facts = told["complete"]["url"].partition("ticket=")[2].split(".")
    for path in (facts, f"direct:{facts}", f"a/0/b/{facts}"):
        assert direct.ask("PUT", f"/uploads/{token}/{path}", None, content=b"words").status_code == 403


def test_a_ticket_is_over_some_time_after_the_upload(direct: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    told, now = ticket(direct), time.time()
    send(direct, told, b"late words")
    assert abs(told["expires_at"] - now - TICKET_SECONDS) < 60
    monkeypatch.setattr("gateway.routes.tickets.time.time", lambda: now + TICKET_SECONDS + COMPLETE_SECONDS + 60)
    assert refusal(complete(direct, told))[:2] == (403, "expired_link")
    monkeypatch.setattr("gateway.routes.tickets.time.time", lambda: now + TICKET_SECONDS + COMPLETE_SECONDS - 60)
    assert complete(direct, told).status_code == 200


def test_a_ticket_has_the_headers_that_its_store_wants(direct: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ticket(direct)["headers"] == {"Content-Type": "application/octet-stream"}

    async def presigned(*_: Any) -> str:
        return "https://account.blob.core.windows.net/media/uploads/a.bin?sv=2025-01-05&se=x&sig=abc%3D"

    monkeypatch.setattr(direct.app.house.storage, "presigned", presigned)
    assert ticket(direct)["headers"]["x-ms-blob-type"] == "BlockBlob"


def test_a_store_that_makes_no_urls_gives_tickets_for_the_gateway(tmp_path: Path) -> None:
    with place(tmp_path, "storage: {direct_uploads: true, redirect: true}") as here:
        told = ticket(here)
        assert urlsplit(told["url"]).path.startswith("/uploads/")
        url = put(here, told, b"words").json()["file"]["url"]
        assert here.open(url).content == b"words"


# --- links ---


def test_a_link_leads_on_to_the_store_where_that_is_harmless(direct: Place) -> None:
    image, text = direct.upload(png(), "a.png"), direct.upload(b"words")
    answer = direct.open(image["url"])
    assert answer.status_code == 302
    location = urlsplit(answer.headers["location"])
    assert location.netloc == "bucket.example.com"
    assert urlsplit(image["url"]).path.endswith(location.path)
    asked = dict(parse_qsl(location.query))
    assert asked["X-Method"] == "GET"
    left = int(asked["X-Expires"])
    assert 86_000 < left <= 86_400
    assert int(answer.headers["cache-control"].removeprefix("private, max-age=")) < left
    assert direct.open(image["url"], "HEAD").status_code == 200
    assert direct.open(text["url"]).content == b"words"
    assert direct.ask("GET", f"/v1/files/{image['fileId']}/content").content == png()


def test_a_link_has_one_spelling(here: Place) -> None:
    path = urlsplit(here.upload(png(), "a.png")["url"]).path
    assert here.raw(path).body == png()
    for at in range(len("/files/"), len(path)):
        for other in {chr(ord(path[at]) ^ 1), chr(ord(path[at]) ^ 0x20), f"%{ord(path[at]):02x}", ""} - {path[at]}:
            altered = path[:at] + other + path[at + 1 :]
            if "?" in altered:
                continue  # what comes before it is a shorter path, which is tried too
            told = here.raw(altered)
            assert told.status in (400, 403, 404), altered
            assert b"PNG" not in told.body


def test_other_ways_to_write_a_link_open_nothing(here: Place) -> None:
    url, other = here.upload(png(), "a.png")["url"], here.upload(b"other words")["url"]
    path = urlsplit(url).path
    _, _, token, key = path.split("/", 3)
    for altered in (
        f"/files/{token}/{key.replace('/', '%2f', 1)}", f"/files/{token}//{key}", f"/files//{token}/{key}",
        f"/files/{token}/x/%2e%2e/{key}", f"/files/{token}/x/../{key}", f"/files/{token}/./{key}",
        f"/files/{token}/{key}/", f"/files/{token}/{key}%00", f"/files/{token}/{key}\\", f"/files/{token}%2f{key}",
        f"/files%2f{token}/{key}", f"/files/{token}/{urlsplit(other).path.split('/', 3)[3]}",
        f"/files/{token.lower()}/{key}", f"/files/{token}/{key.upper()}", f"/files/{token}/{key}%3fx=1",
        f"/FILES/{token}/{key}", f"/files/{token}=/{key}", f"/files/{token}/{key};x", f"/uploads/{token}/{key}",
        f"/api/v1/files/{token}/{key}",
    ):  # fmt: skip
        told = here.raw(altered)
        assert told.status in (400, 401, 403, 404, 405), altered
        assert b"PNG" not in told.body


def test_a_query_changes_nothing_of_a_link(here: Place) -> None:
    """Chat front ends and mail programs hang one on every link that they show."""
    path = urlsplit(here.upload(png(), "a.png")["url"]).path
    plain = here.ask("GET", path, None)
    for query in ("t=1", "utm_source=x", "key=../../x", "download=1", "content-type=text/html"):
        answer = here.ask("GET", f"{path}?{query}", None)
        assert (answer.content, answer.headers["content-type"]) == (plain.content, "image/png")
        assert answer.headers["content-disposition"] == plain.headers["content-disposition"]


def test_a_link_is_all_in_its_path(here: Place) -> None:
    url = here.upload(png(), "Ünï code.PNG")["url"]
    parts = urlsplit(url)
    assert (parts.query, parts.fragment) == ("", "")
    assert parts.path.endswith(".png")
    answer = here.open(url)
    name = parts.path.rpartition("/")[2]
    assert answer.headers["content-disposition"] == f'inline; filename="{name}"'
    assert answer.headers["cache-control"].startswith("private, max-age=")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert here.open(url, "HEAD").headers["content-length"] == str(len(png()))
    assert here.open(url, headers={"range": "bytes=-4"}).content == png()[-4:]
    assert here.open(url, headers={"range": "bytes=9999999-"}).status_code == 416
    etag = answer.headers["etag"]
    assert here.open(url, headers={"if-none-match": etag}).status_code == 304
    assert here.open(url, headers={"range": "bytes=0-3", "if-range": etag}).status_code == 206
    assert here.open(url, headers={"range": "bytes=0-3", "if-range": '"x"'}).status_code == 200
    for method in ("POST", "PUT", "DELETE"):
        assert here.open(url, method).status_code == 405


@pytest.mark.parametrize(
    ("name", "data", "mime"),
    [
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "image/svg+xml"),
        ("a.html", b"<html><script>alert(1)</script>", "text/html"),
        ("a.xml", b"<?xml version='1.0'?><a/>", "application/xml"),
        ("a.pdf", pdf(), "application/pdf"),
        ("a.js", b"alert(document.cookie)", "text/plain"),
    ],
)
def test_nothing_that_runs_is_shown_in_a_browser(direct: Place, name: str, data: bytes, mime: str) -> None:
    told = direct.upload(data, name)
    assert told["type"] == mime
    for answer in (direct.open(told["url"]), direct.ask("GET", f"/v1/files/{told['fileId']}/content")):
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["content-security-policy"] == "sandbox"
        assert answer.headers["x-content-type-options"] == "nosniff"
