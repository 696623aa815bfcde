"""Every kind of bad input with its exact answer. None of it is leased, sent to an upstream or answered with a 200."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.config import load
from gateway.routes.front import Front

KEY, OTHER_KEY = "key-of-the-tests-1", "key-of-the-tests-2"
MAX_BODY = 100_000
MIB = 1024 * 1024
UPLOAD_MAX = 25 * MIB
CONFIG = f"""
server: {{max_body: {MAX_BODY}}}
upstreams:
  - name: real
    type: openai_compatible
    base_url: http://127.0.0.1:9
    models: [known]
    accounts: [{{name: a, api_key: sk-never-sent}}]
models:
  defaults:
    {{t2i: sandbox-image, i2i: sandbox-image, t2v: sandbox-video, i2v: sandbox-video, flf2v: sandbox-video,
      tts: sandbox-speech, embedding: sandbox-embedding}}
"""
USER = [{"role": "user", "content": "hi"}]
PNG_HEAD = b"\x89PNG\r\n\x1a\n"
KINDS = "t2t, t2i, i2i, t2v, i2v, flf2v, ref2v, t2m, tts"
CHATS = ("/v1/chat/completions", "/api/chat")


class Wrong(NamedTuple):
    """What a caller is told."""

    status: int
    code: str
    message: str
    param: str | None = None
    type: str = "invalid_request_error"

    def openai(self) -> Any:
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def native(self) -> Any:
        param = {"param": self.param} if self.param else {}
        return {"error": self.message, "code": self.code} | param


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Front:
    home = tmp_path_factory.mktemp("home")
    (home / "config.yaml").write_text(CONFIG)
    return create_app(load({"API_KEYS": f"{KEY},{OTHER_KEY}", "GATEWAY_DATA_DIR": str(home / "var")}, home), {})


@pytest.fixture(scope="module")
def client(app: Front) -> Iterator[TestClient]:
    headers = {"authorization": f"Bearer {KEY}"}
    with TestClient(app, base_url="http://127.0.0.1", headers=headers) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _nobody_was_asked(app: Front, client: TestClient) -> Iterator[None]:
    yield
    used = [status for pool in app.house.relay.pools.values() for status in pool.status()]
    assert all(status.in_flight == 0 for status in used)
    assert all(status.strikes == 0 and not status.used_today for status in used if status.upstream == "real")


def in_own_words(told: Any, sentence: str) -> Any:
    """An answer without what is added to `sentence`, the error's own: the tests of `wire` look at that."""
    inner, name = (told["error"], "message") if isinstance(told["error"], dict) else (told, "error")
    if inner[name] == f"{sentence.rstrip('.')}. {inner.pop('advice', '')}":
        inner[name] = sentence
    for more in ("attempts", "alternatives", "allowed", "nearest"):
        inner.pop(more, None)
    return told


def expect(answer: Any, wrong: Wrong) -> None:
    """The status and the whole body, in the dialect of the path, and the headers of every refusal.

    All but the attempts of what an upstream had to refuse (`test_attempts`).
    """
    path = answer.request.url.path
    speaks_openai = path.startswith("/v1") or path.endswith("/chat/completions")
    told = in_own_words(answer.json(), wrong.message)
    assert (answer.status_code, told) == (wrong.status, wrong.openai() if speaks_openai else wrong.native())
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-should-retry"] == "false"


# --- bodies ---

BROKEN = "the body is not valid JSON: "
BODIES = [
    (b"", Wrong(400, "invalid_json", "the body is empty: send a JSON object")),
    (b'{"message":', Wrong(400, "invalid_json", BROKEN + "Input data was truncated")),
    (b"{}x", Wrong(400, "invalid_json", BROKEN + "JSON is malformed: trailing characters (byte 3)")),
    (b"[]", Wrong(400, "invalid_json", 'the body must be a JSON object, like {"model": …}')),
    (b'"hi"', Wrong(400, "invalid_json", 'the body must be a JSON object, like {"model": …}')),
    (b'{"message":"\xff"}', Wrong(400, "invalid_json", "the body is not valid UTF-8 at byte 12")),
    ("{}".encode("utf-16"), Wrong(400, "invalid_json", "the body is not valid UTF-8 at byte 0")),
    (
        b"\xef\xbb\xbf{}",
        Wrong(400, "invalid_json", BROKEN + "JSON is malformed: invalid character (byte 0)"),
    ),
    (
        b'{"a":' * 65 + b"1" + b"}" * 65,
        Wrong(400, "json_too_deep", "the body nests deeper than 64 levels"),
    ),
    (b'{"a":' * 9_000, Wrong(400, "json_too_deep", "the body nests deeper than 64 levels")),
    (
        b" " * (MAX_BODY + 1),
        Wrong(413, "request_too_large", f"the body may have at most {MAX_BODY} bytes"),
    ),
]


@pytest.mark.parametrize("path", [*CHATS, "/v1/images/generations", "/v1/embeddings", "/api/quote", "/api/chats"])
@pytest.mark.parametrize(("sent", "wrong"), BODIES, ids=[f"{wrong.code} {at}" for at, (_, wrong) in enumerate(BODIES)])
def test_a_body_that_is_no_object_of_json(client: TestClient, path: str, sent: bytes, wrong: Wrong) -> None:
    expect(client.post(path, content=sent), wrong)


@pytest.mark.parametrize("path", CHATS)
def test_a_body_without_a_declared_length_is_counted(client: TestClient, path: str) -> None:
    answer = client.post(path, content=iter([b" " * 1000] * (MAX_BODY // 1000 + 1)))
    expect(answer, Wrong(413, "request_too_large", f"the body may have at most {MAX_BODY} bytes"))
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity"])
@pytest.mark.parametrize("path", [*CHATS, "/api/files/upload", "/v1/audio/transcriptions"])
def test_a_compressed_body_is_not_unfolded(client: TestClient, path: str, encoding: str) -> None:
    headers = {"content-encoding": encoding, "content-type": "multipart/form-data; boundary=b"}
    wrong = Wrong(415, "unsupported_encoding", "send the body without Content-Encoding")
    expect(client.post(path, content=b"\x1f\x8b", headers=headers), wrong)


# --- chats ---


def value(param: str, message: str, **fields: Any) -> Wrong:
    return Wrong(**{"status": 400, "code": "invalid_value", "message": message, "param": param} | fields)


NO_SIZE = "is not a size: write a ratio like '16:9' or pixels like '1024x1024'"
NO_SIDE = "is impossible: each side must be from 64 to 8192 pixels"
NO_RATIO = "is impossible: the ratio must lie between 1:8 and 8:1"
NO_MESSAGE = value("message", "'message' must not be empty")
NO_URL = value("files", "a file must be named by an http(s) or data: URL, or by its id", code="invalid_url")


def picture(*urls: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": "x"}, *({"type": "image", "image": url} for url in urls)]


CHAT = [
    ({"messages": "x"}, value("messages", "'messages': expected array, got str")),
    ({"messages": ["x"]}, value("messages[0]", "'messages': expected object, got str")),
    ({"messages": [{"role": "robot"}]}, value("messages[0].role", "'messages': Invalid enum value 'robot'")),
    ({"messages": USER, "stream": "yes"}, value("stream", "'stream': expected bool, got str")),
    ({"messages": USER, "model": 5}, value("model", "'model': expected str, got int")),
    ({"messages": USER, "model": "a\0"}, value("model", "'model' must not hold a NUL character")),
    ({"message": ""}, NO_MESSAGE),
    ({"message": " "}, NO_MESSAGE),
    ({"message": [{"type": "text", "text": ""}]}, NO_MESSAGE),
    ({"message": []}, value("message", "'message' must hold at least one part")),
    ({"message": 5}, value("message", "'message': expected str | array, got int")),
    ({"message": "a\0"}, value("message", "'message' must not hold a NUL character")),
    (
        {"message": "x", "chatType": "t9t"},
        value("chatType", f"'chatType' 't9t' is unknown: use one of {KINDS}", code="unknown_chat_type"),
    ),
    ({"message": "x", "chatType": 5}, value("chatType", "'chatType': expected str, got int")),
    ({"message": "x", "chatType": "t2i", "n": 0}, value("n", "'n' must be a whole number from 1 to 10, not 0")),
    ({"message": "x", "chatType": "t2i", "n": 999}, value("n", "'n' must be a whole number from 1 to 10, not 999")),
    ({"message": "x", "chatType": "t2i", "n": 1.0}, value("n", "'n': expected int, got float")),
    ({"message": "x", "chatType": "t2i", "size": "9999999x1"}, value("size", f"'size' '9999999x1' {NO_SIZE}")),
    ({"message": "x", "chatType": "t2i", "size": "99999x1"}, value("size", f"'size' '99999x1' {NO_SIDE}")),
    ({"message": "x", "chatType": "t2i", "size": "big"}, value("size", f"'size' 'big' {NO_SIZE}")),
    ({"message": "x", "chatType": "t2v", "size": "0:5"}, value("size", f"'size' '0:5' {NO_RATIO}")),
    ({"message": "x", "chatType": "t2v", "size": 5}, value("size", "'size': expected str, got int")),
    (
        {"message": "x", "chatType": "t2v", "seconds": "soon"},
        value("seconds", "'seconds' must be a number of seconds above 0 and at most 600"),
    ),
    (
        {"message": "x", "chatType": "t2v", "waitForCompletion": "no"},
        value("waitForCompletion", "'waitForCompletion': expected bool, got str"),
    ),
    (
        {"message": "x", "model": "unknown"},
        Wrong(
            404,
            "model_not_found",
            "no configured upstream serves the model 'unknown'. GET /v1/models lists what there is",
            "model",
        ),
    ),
    (
        {"message": "x", "model": "known", "chatType": "t2v"},
        value(
            "model", "the model 'known' does t2t, not t2v; models that can: sandbox-video", code="model_cannot"
        ),
    ),
    (
        {"message": "x", "chatId": "chat_unknown"},
        Wrong(404, "chat_not_found", "no chat 'chat_unknown'", "chatId"),
    ),
    (
        {"message": "x", "parentId": "resp_foreign"},
        Wrong(404, "chat_not_found", "no turn 'resp_foreign' to go on from", "parentId"),
    ),
    ({"message": "x", "chatId": "a\0"}, value("chatId", "'chatId' must not hold a NUL character")),
    ({"message": "x", "files": ["/etc/passwd"]}, NO_URL),
    ({"message": "x", "files": ["file:///etc/passwd"]}, NO_URL),
    (
        {"message": picture(*["https://example.com/a.png"] * 17), "chatType": "i2i"},
        value("messages", "a request may bring at most 16 images, not 17"),
    ),
    (
        {"message": picture("https://example.com/a.png"), "chatType": "flf2v"},
        value("chatType", "flf2v takes 2 images, the request has 1"),
    ),
    ({"message": "x", "chatType": "i2v"}, value("chatType", "i2v takes 1 image, the request has 0")),
    (
        {"message": picture("data:image/png;base64,@@@"), "chatType": "t2i"},
        Wrong(400, "invalid_image", "a data: URL in the request is not valid base64"),
    ),
    (
        {"message": picture("data:image/png;base64"), "chatType": "t2i"},
        Wrong(400, "invalid_image", "a data: URL must be 'data:<type>;base64,<data>' of at most 25 MB"),
    ),
    (
        {"message": picture("data:image/png;base64,AAEC"), "chatType": "t2i"},
        Wrong(400, "invalid_image", "a data: URL in the request holds no known type of file"),
    ),
    (
        {"message": picture("data:image/png;base64,PGh0bWw+"), "chatType": "t2v"},
        Wrong(400, "invalid_image", "an image that the request names is none by its content"),
    ),
    (
        {"message": picture("data:,%3Chtml%3E"), "chatType": "t2i"},
        Wrong(400, "invalid_image", "an image that the request names is none by its content"),
    ),
    *(
        ({"message": picture(url), "chatType": "t2i"}, Wrong(400, "invalid_url", "the URL's address is not public"))
        for url in ("http://127.0.0.1/a.png", "http://[::1]/a.png", "http://169.254.169.254/latest", "https://10.0.0.1/")
    ),
]  # fmt: skip


@pytest.mark.parametrize("path", CHATS)
@pytest.mark.parametrize(("fields", "wrong"), CHAT, ids=[f"{at} {wrong.param}" for at, (_, wrong) in enumerate(CHAT)])
def test_a_chat_that_cannot_be_answered(client: TestClient, path: str, fields: dict[str, Any], wrong: Wrong) -> None:
    expect(client.post(path, json=fields), wrong)


def test_a_chat_without_a_message_is_told_what_its_dialect_calls_it(client: TestClient) -> None:
    missing = "missing_required_parameter"
    for fields in ({}, {"message": None}, {"messages": []}):
        wrong = Wrong(400, missing, "'message' is required: a string, or a list of parts", "message")
        expect(client.post("/api/chat", json=fields), wrong)
    expect(client.post(CHATS[0], json={}), Wrong(400, missing, "'messages' is required", "messages"))
    wrong = value("messages", "'messages' must hold at least one message")
    expect(client.post(CHATS[0], json={"messages": []}), wrong)


@pytest.mark.parametrize("path", CHATS)
def test_a_video_of_an_impossible_length_is_refused_before_there_is_a_task(client: TestClient, path: str) -> None:
    answer = client.post(path, json={"message": "x", "chatType": "t2v", "seconds": 99})
    told = answer.json()
    inner = told["error"] if path == CHATS[0] else told
    assert (answer.status_code, inner["code"], inner["param"]) == (400, "unsupported_value", "seconds")
    said = inner["message"] if path == CHATS[0] else inner["error"]
    assert "'seconds' must be a number from 1 to 30 s with sandbox-video, not 99; the nearest is 30" in said
    assert inner["nearest"] == "30"
    assert "task_id" not in inner
    assert client.get("/api/tasks").json()["data"] == []


@pytest.mark.parametrize("path", CHATS)
def test_a_video_that_the_upstream_refuses_fails_with_its_task_named(client: TestClient, path: str) -> None:
    asked = {"message": "x", "chatType": "t2v"}
    answer = client.post(path, json=asked, headers={"x-sandbox-fault": "refused"})
    told = answer.json()
    inner = told["error"] if path == CHATS[0] else told
    assert (answer.status_code, inner["code"]) == (400, "content_policy_violation")
    status = client.get(f"/api/tasks/status/{inner['task_id']}").json()
    assert (status["status"], status["code"]) == ("failed", "content_policy_violation")


def test_a_conversation_of_another_key_is_not_there(client: TestClient) -> None:
    chat = client.post("/api/chats", json={"name": "mine"}).json()["chatId"]
    wrong = value("parentId", "the chat has no turn 'resp_x'; send the 'response_id' of one of its answers")
    expect(client.post("/api/chat", json={"message": "x", "chatId": chat, "parentId": "resp_x"}), wrong)
    foreign = {"authorization": f"Bearer {OTHER_KEY}"}
    answer = client.post("/api/chat", json={"message": "x", "chatId": chat}, headers=foreign)
    expect(answer, Wrong(404, "chat_not_found", f"no chat '{chat}'", "chatId"))


# --- the other generations ---

NO_TEXTS = value("input", "'input' must be a text or a list of texts, none of them empty")
OTHERS = [
    ("/v1/images/generations", {}, value("prompt", "'prompt' is required", code="missing_required_parameter")),
    ("/v1/images/generations", {"prompt": ""}, value("prompt", "the prompt must not be empty")),
    ("/v1/images/generations", {"prompt": "a\0"}, value("prompt", "the prompt must not hold a NUL character")),
    ("/v1/images/generations", {"prompt": 5}, value("prompt", "'prompt': expected str, got int")),
    ("/v1/images/generations", {"prompt": "x", "n": 0}, value("n", "'n' must be a whole number from 1 to 10, not 0")),
    ("/v1/images/generations", {"prompt": "x", "size": "0:5"}, value("size", f"'size' '0:5' {NO_RATIO}")),
    (
        "/v1/images/generations",
        {"prompt": "x", "response_format": "gif"},
        value("response_format", "'response_format' must be 'url' or 'b64_json'"),
    ),
    ("/v1/audio/speech", {}, value("input", "'input' is required", code="missing_required_parameter")),
    ("/v1/audio/speech", {"input": " "}, value("input", "the prompt must not be empty")),
    ("/v1/audio/speech", {"input": "x", "speed": 9}, value("speed", "'speed' must be a number from 0.25 to 4")),
    (
        "/v1/audio/speech",
        {"input": "x", "response_format": "gif"},
        value("response_format", "'response_format' 'gif' is unknown: use one of aac, flac, mp3, opus, pcm, wav"),
    ),
    ("/v1/embeddings", {}, NO_TEXTS),
    ("/v1/embeddings", {"input": [""]}, NO_TEXTS),
    ("/v1/embeddings", {"input": [1]}, value("input[0]", "'input': expected str, got int")),
    ("/v1/embeddings", {"input": ["x"] * 2049}, value("input", "'input' may hold at most 2048 texts, not 2049")),
    (
        "/v1/embeddings",
        {"input": "x", "dimensions": 0},
        value("dimensions", "'dimensions' must be a whole number from 1 to 65536, not 0"),
    ),
    (
        "/v1/embeddings",
        {"input": "x", "encoding_format": "hex"},
        value("encoding_format", "'encoding_format' must be 'float' or 'base64'"),
    ),
    ("/api/chats", {"model": 5}, value("model", "'model': expected str, got int")),
    ("/api/chats", {"name": "a\0"}, value("name", "'name' must not hold a NUL character")),
    ("/api/quote", {"prompt": "x", "chatType": "t9t"},
     value("chatType", f"'chatType' 't9t' is unknown: use one of {KINDS}", code="unknown_chat_type")),
    ("/api/files/getstsToken", {}, value("filename", "'filename' is required", code="missing_required_parameter")),
    ("/api/files/getstsToken", {"filename": "a", "filesize": UPLOAD_MAX + 1},
     value("filesize", f"'filesize' must be a whole number from 1 to {UPLOAD_MAX}, not {UPLOAD_MAX + 1}")),
]  # fmt: skip


@pytest.mark.parametrize(("path", "fields", "wrong"), OTHERS, ids=[f"{at} {row[0]}" for at, row in enumerate(OTHERS)])
def test_a_generation_that_cannot_be_made(client: TestClient, path: str, fields: dict[str, Any], wrong: Wrong) -> None:
    expect(client.post(path, json=fields), wrong)


# --- uploads ---


def form(*parts: bytes, closed: bool = True) -> dict[str, Any]:
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + (b"--b--\r\n" if closed else b"")
    return {"content": body, "headers": {"content-type": "multipart/form-data; boundary=b"}}


def file(name: str, data: bytes, field: str = "file") -> bytes:
    return f'Content-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode() + data


FORM = "The multipart body cannot be read: "
UPLOADS = [
    (form(file("a.txt", b"")), value("file", "the file is empty", code="empty_file")),
    (
        form(file("a.txt", b"x", "document")),
        value("file", "the form must hold a file in the field 'file', not 'document'", code="missing_file"),
    ),
    (
        form(b'Content-Disposition: form-data; name="file"\r\n\r\nhttps://example.com/a.png'),
        value("file", "the form must hold a file in the field 'file'", code="missing_file"),
    ),
    (
        form(file("a.png", b"<!doctype html><script>alert(1)</script>")),
        Wrong(415, "unsupported_file_type", "the file is named '.png' but holds text/html", "file"),
    ),
    (
        form(file("a.mp4", b"hello")),
        Wrong(415, "unsupported_file_type", "the file is named '.mp4' but holds text/plain", "file"),
    ),
    (
        form(file("a.png", b"MZ\x90\x00\x03")),
        Wrong(415, "unsupported_file_type", "the file is of no known type", "file"),
    ),
    (
        form(file("a.txt", b"hello"), closed=False),
        Wrong(400, "incomplete_upload", "The upload ended before its closing boundary. Send it again."),
    ),
    (
        {"content": b"--b\r\nnonsense", "headers": {"content-type": "multipart/form-data"}},
        Wrong(400, "invalid_multipart", FORM + "its content type names no usable boundary."),
    ),
    (
        {"content": b"nonsense", "headers": {"content-type": "multipart/form-data; boundary=b"}},
        Wrong(400, "invalid_multipart", FORM + "its parts cannot be told apart."),
    ),
    ({"json": {"file": "x"}}, Wrong(415, "unsupported_media_type", "The body must be multipart/form-data.")),
    ({"content": b""}, Wrong(415, "unsupported_media_type", "The body must be multipart/form-data.")),
    (
        {"content": b"", "headers": {"content-type": "multipart/form-data; boundary=b", "content-length": "99999999"}},
        Wrong(413, "file_too_large", f"a file may have at most {UPLOAD_MAX} bytes"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "wrong"), UPLOADS, ids=[f"{at} {row[1].code}" for at, row in enumerate(UPLOADS)])
def test_an_upload_that_is_none(app: Front, client: TestClient, sent: dict[str, Any], wrong: Wrong) -> None:
    expect(client.post("/api/files/upload", **sent), wrong)
    assert app.house.uploading == 0


def test_an_upload_may_have_25_mib_and_not_a_byte_more(app: Front, client: TestClient) -> None:
    whole = client.post("/api/files/upload", **form(file("a.txt", b"a" * UPLOAD_MAX)))
    assert (whole.status_code, whole.json()["file"]["size"]) == (200, UPLOAD_MAX)
    wrong = Wrong(413, "file_too_large", "The file is larger than 25 MiB (26214400 bytes).", "file")
    answer = client.post("/api/files/upload", **form(file("a.txt", b"a" * (UPLOAD_MAX + 1))))
    expect(answer, wrong)
    assert answer.headers["connection"] == "close"
    assert app.house.uploading == 0


def test_a_ticket_is_good_for_its_own_file_alone(client: TestClient) -> None:
    ticket = client.post("/api/files/getstsToken", json={"filename": "a.txt", "filesize": 5}).json()
    wrong = Wrong(400, "incomplete_upload", "the ticket is for 5 bytes, not 3")
    expect(client.put(ticket["url"], content=b"abc"), wrong)
    wrong = Wrong(413, "file_too_large", f"a file may have at most {UPLOAD_MAX} bytes")
    expect(client.put(ticket["url"], content=b"abcdef"), wrong)
    altered = ticket["url"].replace("a.txt", "b.txt")
    wrong = Wrong(403, "invalid_link", "This link is not valid.", type="permission_error")
    expect(client.put(altered, content=b"hello"), wrong)
    assert client.put(ticket["url"], content=b"hello").json()["file"]["size"] == 5


# --- names that are not there ---

NO_TASK = Wrong(404, "task_not_found", "no task 'task_x'", "task_id")
NUL = Wrong(400, "invalid_url", "the URL must not hold a NUL character")
STATES = "queued, running, processing, succeeded, completed, failed, cancelled, expired"
PLACES = [
    ("GET", "/nothing", Wrong(404, "not_found", "there is nothing at /nothing")),
    ("GET", "/v1/nothing", Wrong(404, "not_found", "there is nothing at /v1/nothing")),
    ("GET", "/api/v2/nothing", Wrong(404, "not_found", "there is nothing at /api/nothing")),
    ("POST", "/api/chat/", Wrong(404, "not_found", "there is nothing at /api/chat/")),
    ("GET", "/api/chat", Wrong(405, "method_not_allowed", "GET is not a method of /api/chat: use POST")),
    ("DELETE", "/v1/models", Wrong(405, "method_not_allowed", "DELETE is not a method of /v1/models: use GET, HEAD")),
    ("TRACE", "/v1/models", Wrong(405, "method_not_allowed", "TRACE is not a method of /v1/models: use GET, HEAD")),
    ("GET", "/api/tasks/task_x", NO_TASK),
    ("GET", "/api/tasks/status/task_x", NO_TASK),
    ("GET", "/api/tasks/task_x/events", NO_TASK),
    ("POST", "/api/tasks/task_x/cancel", NO_TASK),
    ("GET", "/api/tasks?after=task_x", Wrong(404, "task_not_found", "no task 'task_x'", "after")),
    ("GET", "/api/tasks/%00", NUL),
    ("GET", "/api/tasks?model=%00", NUL),
    ("GET", "/api/tasks?status=odd", value("status", f"'status' 'odd' is unknown: use one of {STATES}")),
    ("GET", "/api/tasks?kind=odd", value("kind", f"'kind' is unknown: use one of {KINDS}")),
    ("GET", "/api/models?kind=odd", value("kind", f"'kind' is unknown: use one of {KINDS}")),
    *(
        ("GET", f"/api/tasks?limit={limit}", value("limit", "'limit' must be a whole number from 1 to 100"))
        for limit in ("0", "101", "x", "-1", "1.0", "%C2%B2", "9" * 5000)
    ),
    *(
        ("GET", f"/api/tasks?from={time}", value("from", "'from' must be a time in Unix seconds"))
        for time in ("x", "nan", "inf", "1e999")
    ),
    ("GET", "/api/tasks?order=up", value("order", "'order' must be 'asc' or 'desc'")),
    *(
        (
            "GET",
            f"{base}/models/{name}",
            Wrong(
                404,
                "model_not_found",
                f"no configured upstream serves the model {name!r}. GET /v1/models lists what there is",
                "model",
            ),
        )
        for base in ("/v1", "/api")
        for name in ("unknown", "")
    ),
    *(
        ("GET", path, Wrong(403, "invalid_link", "This link is not valid.", type="permission_error"))
        for path in ("/files/x/videos/a.mp4", "/files/" + "A" * 28 + "/videos/a.mp4", "/files/é/..%2f..%2fetc/passwd")
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "wrong"), PLACES, ids=[f"{method} {path[:40]}" for method, path, _ in PLACES]
)
def test_what_is_not_there_or_not_asked_for_rightly(client: TestClient, method: str, path: str, wrong: Wrong) -> None:
    expect(client.request(method, path), wrong)


def test_a_link_that_was_altered_or_is_over_opens_nothing(app: Front, client: TestClient) -> None:
    url = client.post("/api/files/upload", **form(file("a.txt", b"hello"))).json()["file"]["url"]
    path = urlsplit(url).path
    assert client.get(path).content == b"hello"
    wrong = Wrong(403, "invalid_link", "This link is not valid.", type="permission_error")
    _, _, token, key = path.split("/", 3)
    for altered in (
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        token[:-1],
        token + "A",
        token[:9] + token[10:] + token[9],
    ):
        expect(client.get(f"/files/{altered}/{key}"), wrong)
    expect(client.get(f"/files/{token}/{key}x"), wrong)
    over = Wrong(403, "expired_link", "This link is over. Ask for the file again to get a new one.")
    expect(client.get(app.house.links.path(key, 1_000_000.0)), over)


# --- keys ---

MISSING = "no API key: send 'Authorization: Bearer <key>'"
INVALID = "this API key is not valid here: send 'Authorization: Bearer <key>' with a key of this gateway"
KEYS = [
    (None, MISSING),
    ("", MISSING),
    ("Bearer", MISSING),
    ("Basic dXNlcjpwYXNz", INVALID),
    (KEY, INVALID),
    ("Bearer wrong-key-of-a-test", INVALID),
    (f"Bearer {KEY} x", INVALID),
    (f"Bearer {KEY[:-1]}", INVALID),
    ("Bearer " + "x" * 100_000, INVALID),
]


@pytest.mark.parametrize("path", ["/v1/models", "/api/models", "/api/v1/models"])
@pytest.mark.parametrize(("header", "sentence"), KEYS, ids=range(len(KEYS)))
def test_who_has_no_key_is_told_how_to_send_one(
    app: Front, client: TestClient, path: str, header: str | None, sentence: str
) -> None:
    stranger = TestClient(app, base_url="http://127.0.0.1")
    answer = stranger.get(path, headers={} if header is None else {"authorization": header})
    expect(answer, Wrong(401, "invalid_api_key", sentence))
    assert answer.headers["www-authenticate"] == "Bearer"
    assert KEY not in answer.text


def test_a_stranger_s_body_is_not_read(app: Front, client: TestClient) -> None:
    stranger = TestClient(app, base_url="http://127.0.0.1")
    expect(stranger.post("/api/chat", content=b"{"), Wrong(401, "invalid_api_key", MISSING))
    expect(stranger.get("/v1/nothing"), Wrong(401, "invalid_api_key", MISSING))
