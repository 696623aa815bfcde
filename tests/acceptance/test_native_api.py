"""The native API under /api on the sandbox: chats, images, files, models, accounts."""

import io
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.acceptance.gateway_process import Gateway, eventually, lines, running
from tests.acceptance.native import SANDBOX, ask, png, refused, said

TIRED = {"name": "tired", "type": "sandbox", "accounts": [{"name": "a", "fault": "rate_limit;retry_after=1"}]}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("native"), {"upstreams": [SANDBOX, TIRED]}) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def http(gateway: Gateway) -> httpx.Client:
    return gateway.client()


# --- text ---


def test_chat_answers_with_the_names_to_go_on_by(http: httpx.Client) -> None:
    answer = ask(http, message="Hello")
    assert answer["object"] == "chat.completion"
    assert said(answer)
    assert answer["response_id"] == answer["parentId"]
    assert answer["chatId"]


def test_chat_streams_as_chunks(http: httpx.Client) -> None:
    *chunks, done = lines(http.post("/api/chat", json={"message": "Hello", "stream": True}))
    assert done == "[DONE]"
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    assert chunks[0]["chatId"]
    assert chunks[0]["response_id"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("path", ["/api/v1/chat", "/api/v2/chat"])
def test_versions_mean_the_same(http: httpx.Client, path: str) -> None:
    assert said(ask(http, path, message="Hello"))
    assert http.get(path.replace("chat", "models")).json() == http.get("/api/models").json()


def test_openai_chat_is_found_here_too(http: httpx.Client) -> None:
    answer = ask(http, "/api/chat/completions", messages=[{"role": "user", "content": "Hello"}])
    assert said(answer)
    wrong = http.post("/api/chat/completions", json={"messages": 1})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "messages")


def test_third_turn_knows_the_first(http: httpx.Client) -> None:
    first = ask(http, message="My name is Ada Zimmermann.")
    second = ask(http, message="I like hills.", chatId=first["chatId"], parentId=first["parentId"])
    third = ask(http, message="What is my name?", chatId=second["chatId"], parentId=second["parentId"])
    assert {first["chatId"]} == {second["chatId"], third["chatId"]}
    assert "Ada" in said(third)


def test_conversation_goes_on_by_its_chat_alone_and_branches_by_parent(http: httpx.Client) -> None:
    chat = http.post("/api/chats", json={"name": "Names", "model": "qwen3-max"}).json()
    assert chat["success"] is True
    first = ask(http, message="My name is Ada Zimmermann.", chatId=chat["chatId"])
    assert "Ada" in said(ask(http, message="What is my name?", chatId=chat["chatId"]))
    ask(http, message="My name is Bob Yates.", chatId=chat["chatId"])
    branch = ask(http, message="What is my name?", chatId=chat["chatId"], parentId=first["parentId"])
    assert "Ada" in said(branch)
    assert "Bob" not in said(branch)


def test_conversation_goes_on_from_a_stream(http: httpx.Client) -> None:
    first = lines(http.post("/api/chat", json={"message": "My name is Ada Zimmermann.", "stream": True}))[0]
    answer = ask(http, message="What is my name?", chatId=first["chatId"], parentId=first["response_id"])
    assert "Ada" in said(answer)


def test_whole_conversation_counts(http: httpx.Client) -> None:
    turns = [
        {"role": "user", "content": "My name is Ada Zimmermann."},
        {"role": "assistant", "content": "Hello Ada."},
        {"role": "user", "content": [{"type": "text", "text": "What is my name?"}]},
    ]
    assert "Ada" in said(ask(http, messages=turns))
    assert "Ada" in said(ask(http, messages=turns[:2], message="What is my name?"))


def test_parts_of_a_message_may_be_ours_or_openais(http: httpx.Client) -> None:
    link = http.post("/api/files/upload", files={"file": ("red.png", png())}).json()["file"]["url"]
    ours = [{"type": "text", "text": "What is this?"}, {"type": "image", "image": link}]
    theirs = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": link}}]
    assert said(ask(http, message=ours))
    assert said(ask(http, message=theirs))
    assert said(ask(http, message="What is this?", files=[{"url": link, "name": "red.png"}]))


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "message"),
        ({"message": ""}, "invalid_value", "message"),
        ({"message": "x", "chatType": "t2x"}, "unknown_chat_type", "chatType"),
        ({"message": "x", "chatType": "t2i", "size": "big"}, "invalid_value", "size"),
        ({"message": "x", "chatType": "t2i", "n": 1000}, "invalid_value", "n"),
        ({"message": "x", "stream": "yes"}, "invalid_value", "stream"),
    ],
)
def test_wrong_request_names_what_is_wrong(http: httpx.Client, body: dict[str, Any], code: str, param: str) -> None:
    assert refused(http.post("/api/chat", json=body), 400, code)["param"] == param


def test_unknown_names_are_not_found(http: httpx.Client) -> None:
    refused(http.post("/api/chat", json={"message": "x", "chatId": "chat_none"}), 404, "chat_not_found")
    refused(http.get("/api/tasks/task_none"), 404, "task_not_found")
    refused(http.get("/api/tasks/status/task_none"), 404, "task_not_found")
    refused(http.post("/api/tasks/task_none/cancel"), 404, "task_not_found")
    refused(http.get("/api/nothing"), 404, "not_found")
    refused(http.delete("/api/chat"), 405, "method_not_allowed")


# --- images ---


def test_image_is_a_link_with_its_measures(http: httpx.Client) -> None:
    answer = ask(http, message="a hill", chatType="t2i", size="128x96")
    image = Image.open(io.BytesIO(http.get(said(answer)).content))
    assert (image.format, image.size) == ("PNG", (128, 96))
    assert answer["usage"].keys() >= {"input_tokens", "output_tokens"}
    assert {name: answer["usage"][name] for name in ("width", "height", "image_count")} == {
        "width": 128,
        "height": 96,
        "image_count": 1,
    }
    assert answer["chatId"]
    assert answer["parentId"] == answer["response_id"]


def test_several_images_are_a_line_each(http: httpx.Client) -> None:
    answer = ask(http, message="a hill", chatType="text_to_image", size="64x64", n=3)
    links = said(answer).strip().split("\n")
    assert len(set(links)) == 3
    assert {http.get(link).headers["content-type"] for link in links} == {"image/png"}
    assert answer["usage"]["image_count"] == 3


def test_image_streams_as_chunks(http: httpx.Client) -> None:
    body = {"message": "a hill", "chatType": "t2i", "size": "64x64", "stream": True}
    *chunks, done = lines(http.post("/api/chat", json=body))
    assert done == "[DONE]"
    content = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert http.get(content.strip()).headers["content-type"] == "image/png"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_image_is_made_from_an_image(http: httpx.Client) -> None:
    link = http.post("/api/files/upload", files={"file": ("red.png", png())}).json()["file"]["url"]
    parts = [{"type": "text", "text": "make it blue"}, {"type": "image", "image": link}]
    answer = ask(http, message=parts, chatType="i2i", size="64x64")
    assert http.get(said(answer)).content.startswith(b"\x89PNG")


# --- files ---


def test_upload_is_kept_byte_for_byte(http: httpx.Client) -> None:
    data = png(300, 200)
    told = http.post("/api/files/upload", files={"file": ("my red.png", data, "text/plain")}).json()
    file = told["file"]
    assert (told["success"], file["name"], file["size"], file["type"]) == (True, "my red.png", len(data), "image/png")
    assert file["fileId"]
    answer = http.get(file["url"])
    assert (answer.content, answer.headers["content-type"]) == (data, "image/png")
    part = http.get(file["url"], headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, data[10:20])
    assert http.head(file["url"]).headers["content-length"] == str(len(data))


def test_upload_that_cannot_be_kept_says_why(http: httpx.Client) -> None:
    refused(http.post("/api/files/upload", files={"other": ("a.png", png())}), 400, "missing_file")
    refused(http.post("/api/files/upload", files={"file": ("a.png", b"")}), 400, "empty_file")
    refused(http.post("/api/files/upload", files={"file": ("a.png", b"\x00\x01\x02")}), 415, "unsupported_file_type")
    large = {"file": ("a.png", png() + bytes(25 * 1024 * 1024))}
    refused(http.post("/api/files/upload", files=large), 413, "file_too_large")


def test_changed_link_opens_nothing(http: httpx.Client) -> None:
    link = http.post("/api/files/upload", files={"file": ("red.png", png())}).json()["file"]["url"]
    assert http.get(link.replace("uploads", "images")).status_code in (403, 404)
    token = link.split("/files/")[1].split("/")[0]
    assert http.get(link.replace(token, token[::-1])).status_code == 403


def test_ticket_takes_one_file_straight(http: httpx.Client) -> None:
    data = png()
    ticket = http.post("/api/files/getstsToken", json={"filename": "red.png", "filesize": len(data)}).json()
    assert (ticket["method"], ticket["expires_at"] > time.time()) == ("PUT", True)
    assert http.put(ticket["url"], content=data[:-1], headers=ticket["headers"]).status_code == 400
    file = http.put(ticket["url"], content=data, headers=ticket["headers"]).json()["file"]
    assert http.get(file["url"]).content == data
    assert http.put(ticket["url"].replace("red.png", "blue.png"), content=data).status_code == 403


# --- what there is, and how it stands ---


def test_models_tell_what_they_do(http: httpx.Client) -> None:
    every = http.get("/api/models").json()
    films = http.get("/api/models", params={"kind": "t2v"}).json()["data"]
    assert every["object"] == "list"
    assert films
    assert all("t2v" in model["kinds"] for model in films)
    assert {model["id"] for model in every["data"]} > {model["id"] for model in films}
    assert http.get(f"/api/models/{films[0]['id']}").json() == films[0]
    refused(http.get("/api/models", params={"kind": "odd"}), 400, "invalid_value")


def test_status_spends_nothing(gateway: Gateway) -> None:
    before, after = gateway.accounts(), gateway.accounts()
    assert before == after
    account = after["sandbox/default"]
    assert (account["name"], account["upstream"]) == ("default", "sandbox")
    assert (account["status"], account["resetAt"], account["in_flight"]) == ("OK", None, 0)


def test_status_tells_who_rests_until_when(gateway: Gateway, http: httpx.Client) -> None:
    answer = http.post("/api/chat", json={"message": "Hello", "model": "tired/some-model"})
    refused(answer, 429, "upstream_rate_limited")
    told = gateway.accounts()["tired/a"]
    assert told["status"] == "RATE_LIMITED"
    assert told["resetAt"]
    eventually(lambda: gateway.accounts()["tired/a"]["status"] == "OK")
    assert gateway.accounts()["sandbox/default"]["status"] == "OK"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"message": "Hello"}, "t2t"),
        ({"message": "a hill", "chatType": "t2i", "size": "16:9"}, "t2i"),
        ({"prompt": "waves", "kind": "text_to_video", "seconds": 3}, "t2v"),
    ],
)
def test_quote_tells_and_spends_nothing(http: httpx.Client, body: dict[str, Any], kind: str) -> None:
    before = http.get("/api/tasks").json(), http.get("/api/status").json()["accounts"]
    quote = ask(http, "/api/quote", **body)
    assert (quote["kind"], quote["upstream"], quote["available"]) == (kind, "sandbox", True)
    assert quote["adjustments"] == []
    assert before == (http.get("/api/tasks").json(), http.get("/api/status").json()["accounts"])
