"""Files through real sockets: the official `openai` SDK, uploads past the limit, tickets and a store that signs."""

import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from openai import OpenAI

from tests.acceptance.gateway_process import Gateway, running
from tests.acceptance.native import SANDBOX, png
from tests.ceph import Ceph

MINE, THEIRS = "first-key-0815", "second-key-4711"
MIB = 1024 * 1024
UPLOAD_MAX = 25 * MIB
LINES = b'{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {}}\n' * 3
NOBODY = "file-" + "0" * 32


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    env = {"API_KEYS": f"{MINE},{THEIRS}"}
    with running(tmp_path_factory.mktemp("files"), {"upstreams": [SANDBOX]}, env=env, secrets=[THEIRS]) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def mine(gateway: Gateway) -> OpenAI:
    return gateway.openai()


@pytest.fixture(scope="module")
def theirs(gateway: Gateway) -> OpenAI:
    return gateway.openai(api_key=THEIRS)


def stored(gateway: Gateway) -> set[str]:
    return {path.name for path in (gateway.home / "data" / "objects").glob("uploads/**/*") if path.is_file()}


# --- the SDK ---


def test_the_sdk_makes_lists_reads_and_deletes_files(mine: OpenAI) -> None:
    made = mine.files.create(
        file=("batch.jsonl", LINES),
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert (made.object, made.bytes, made.filename, made.purpose) == ("file", len(LINES), "batch.jsonl", "batch")
    assert made.status == "processed"
    assert made.expires_at == made.created_at + 3600
    assert mine.files.retrieve(made.id) == made
    assert mine.files.content(made.id).read() == LINES
    other = mine.files.create(file=("a.png", png()), purpose="vision")
    assert [file.id for file in mine.files.list(purpose="batch")] == [made.id]
    assert [file.id for file in mine.files.list(order="asc")] == [made.id, other.id]
    assert mine.files.wait_for_processing(made.id) == made
    gone = mine.files.delete(made.id)
    assert (gone.id, gone.object, gone.deleted) == (made.id, "file", True)
    with pytest.raises(openai.NotFoundError) as told:
        mine.files.retrieve(made.id)
    assert told.value.code == "file_not_found"
    mine.files.delete(other.id)


def test_the_sdk_walks_pages_by_itself(gateway: Gateway, mine: OpenAI) -> None:
    made = [mine.files.create(file=(f"{at}.txt", b"words"), purpose="evals").id for at in range(7)]
    assert [file.id for file in mine.files.list(limit=2, purpose="evals", order="asc")] == made
    assert [file.id for file in mine.files.list(limit=3, purpose="evals")] == made[::-1]
    for id_ in made:
        mine.files.delete(id_)


def test_the_sdk_raises_its_own_errors(mine: OpenAI) -> None:
    refused: list[tuple[type[openai.APIStatusError], str, dict[str, Any]]] = [
        (openai.BadRequestError, "invalid_value", {"purpose": "odd"}),
        (openai.BadRequestError, "invalid_value", {"expires_after": {"anchor": "created_at", "seconds": 5}}),
        (openai.BadRequestError, "empty_file", {"file": ("a.txt", b"")}),
        (openai.BadRequestError, "invalid_media", {"file": ("a.png", png()[:-20])}),
        (openai.APIStatusError, "unsupported_file_type", {"file": ("a.png", b"MZ\x90\0" + bytes(99))}),
        (openai.APIStatusError, "file_too_large", {"file": ("a.txt", b"a" * (UPLOAD_MAX + 1))}),
    ]
    for error, code, wrong in refused:
        with pytest.raises(error) as told:
            mine.files.create(**{"file": ("a.txt", b"words"), "purpose": "batch", **wrong})
        assert told.value.code == code


def test_an_image_is_asked_about_by_its_id(mine: OpenAI, theirs: OpenAI) -> None:
    file = mine.files.create(file=("a.png", png()), purpose="vision")
    parts: list[Any] = [{"type": "text", "text": "what is it?"}, {"type": "file", "file": {"file_id": file.id}}]
    ask: dict[str, Any] = {"model": "sandbox-text", "messages": [{"role": "user", "content": parts}]}
    assert mine.chat.completions.create(**ask).choices[0].message.content
    with pytest.raises(openai.BadRequestError) as told:
        theirs.chat.completions.create(**ask)
    assert told.value.code == "file_not_found"


# --- owners ---

ROUTES = [
    ("GET", "/v1/files/{id}"),
    ("GET", "/v1/files/{id}/content"),
    ("DELETE", "/v1/files/{id}"),
    ("GET", "/v1/files?after={id}"),
    ("GET", "/api/files/{id}"),
    ("DELETE", "/api/files/{id}"),
    ("GET", "/api/files?after={id}"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_another_s_file_is_told_from_none_by_nothing(
    gateway: Gateway, mine: OpenAI, theirs: OpenAI, method: str, path: str
) -> None:
    file = mine.files.create(file=("a.txt", b"mine alone"), purpose="user_data")
    http_ = gateway.client(headers={"authorization": f"Bearer {THEIRS}"})
    foreign, missing = (http_.request(method, path.format(id=id_)) for id_ in (file.id, NOBODY))
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert foreign.content.replace(file.id.encode(), NOBODY.encode()) == missing.content
    quiet = {"x-request-id", "date"}
    assert {k: v for k, v in foreign.headers.items() if k not in quiet} == {
        k: v for k, v in missing.headers.items() if k not in quiet
    }
    assert list(theirs.files.list()) == []
    assert mine.files.retrieve(file.id).id == file.id


# --- memory ---


class Connection(http.client.HTTPConnection):
    """One that tells how much of a body it got rid of before it was answered."""

    sent = 0

    def body(self, chunked: bool, size: int) -> http.client.HTTPResponse:
        head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        self.putrequest("POST", "/api/files/upload")
        self.putheader("authorization", f"Bearer {MINE}")
        self.putheader("content-type", "multipart/form-data; boundary=b")
        self.putheader(*(("transfer-encoding", "chunked") if chunked else ("content-length", str(size))))
        self.endheaders()
        piece = b"a" * 65536
        try:
            for data in (head, *(piece for _ in range(size // len(piece)))):
                self.send(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
                self.sent += len(data)
        except OSError:
            pass  # the gateway closed the connection: it had seen enough
        return self.getresponse()


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_past_the_limit_is_refused_before_it_is_read(gateway: Gateway, chunked: bool) -> None:
    before = stored(gateway)
    connection = Connection("127.0.0.1", int(urlsplit(gateway.url).port or 0), timeout=20)
    answer = connection.body(chunked, 400 * MIB)
    assert (answer.status, json.loads(answer.read())["code"]) == (413, "file_too_large")
    assert answer.headers["connection"] == "close"
    assert connection.sent < (100 * MIB if chunked else 50 * MIB)
    assert stored(gateway) == before


def peak(gateway: Gateway) -> int:
    """The most memory that the process ever had, in bytes."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_the_memory_of_uploads_is_bounded(tmp_path: Path) -> None:
    """Each counts half as much again as its size at most, however many come at once; more than fit are told when to
    come again."""
    config = {"upstreams": [SANDBOX], "limits": {"upload_memory": 4 * (UPLOAD_MAX + MIB)}}
    with running(tmp_path, config) as gateway:
        client = gateway.client(timeout=60)
        together, data = threading.Barrier(8), b"a" * UPLOAD_MAX

        def upload(number: int) -> httpx.Response:
            together.wait()
            mine = b"%d" % number + data[1:]
            return client.post("/api/files/upload", files={"file": (f"{number}.txt", mine)})

        client.post("/api/files/upload", files={"file": ("a.png", png())})
        before = peak(gateway)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(upload, range(8)))
        statuses = {answer.status_code for answer in answers}
        assert 200 in statuses
        assert statuses <= {200, 503}
        assert all(answer.headers["retry-after"] == "5" for answer in answers if answer.status_code == 503)
        assert peak(gateway) - before < 1.5 * 4 * (UPLOAD_MAX + MIB)


# --- a store that signs ---


@pytest.fixture(scope="module")
def signing(ceph: Ceph, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Ceph, str]]:
    bucket = ceph.bucket()
    env = {**ceph.env(), "STORAGE_URL": f"s3://{bucket}", "API_KEYS": f"{MINE},{THEIRS}"}
    config = {"upstreams": [SANDBOX], "storage": {"redirect": True, "direct_uploads": True}}
    with running(tmp_path_factory.mktemp("signing"), config, env=env, secrets=[THEIRS]) as gateway:
        yield gateway, ceph, bucket


def test_a_file_goes_straight_to_the_store_and_comes_straight_from_it(signing: tuple[Gateway, Ceph, str]) -> None:
    gateway, ceph, bucket = signing
    http_ = gateway.client()
    told = http_.post("/api/files/getstsToken", json={"filename": "a.png", "filesize": len(png())}).json()
    assert told["url"].startswith(ceph.endpoint)
    sent = httpx.put(told["url"], content=png(), headers=told["headers"])
    assert sent.status_code == 200, sent.text
    done = http_.post(told["complete"]["url"]).json()["file"]
    assert (done["fileId"], done["type"], done["size"]) == (told["fileId"], "image/png", len(png()))
    assert [key for key in ceph.keys(bucket) if key.startswith("uploads/")] == [
        urlsplit(done["url"]).path.split("/", 3)[3]
    ]
    again = http_.post(told["complete"]["url"]).json()["file"]
    assert again["fileId"] == done["fileId"]
    led = httpx.get(done["url"])
    assert led.status_code == 302
    assert led.headers["location"].startswith(ceph.endpoint)
    there = httpx.get(led.headers["location"], headers={"range": "bytes=1-3"})
    assert (there.status_code, there.content, there.headers["content-type"]) == (206, b"PNG", "image/png")
    assert httpx.head(done["url"]).status_code == 200
    assert gateway.openai().files.content(done["fileId"]).read() == png()
    assert "x-amz" not in gateway.log.lower()


def test_what_is_no_file_is_deleted_at_the_store(signing: tuple[Gateway, Ceph, str]) -> None:
    gateway, ceph, bucket = signing
    http_ = gateway.client()
    before = ceph.keys(bucket)
    told = http_.post("/api/files/getstsToken", json={"filename": "a.png"}).json()
    httpx.put(told["url"], content=b"MZ\x90\0" + bytes(200), headers=told["headers"])
    answer = http_.post(told["complete"]["url"])
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_file_type")
    assert ceph.keys(bucket) == before
    assert http_.post(told["complete"]["url"]).json()["code"] == "incomplete_upload"
