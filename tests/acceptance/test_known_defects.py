"""What proxies of this kind have been seen to get wrong, tried on the gateway before real upstream dialects."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from PIL import Image

from gateway.config import load
from tests.acceptance.gateway_process import Gateway, compatible, eventually, lines, qwen, running, served
from tests.acceptance.tap import Tap
from tests.emulators.openai_answers import Bent, refusal
from tests.emulators.openai_compatible import TEXT, Emulator, Reset
from tests.emulators.qwen import Answer, Fault, QwenSite, jwt

GOOD = "sk-emulator-good-0001"
TOKENS = tuple(jwt(name) for name in ("ada", "bob", "eve"))
MANY_BYTES = "Grüße, 你好世界 — 👩‍🚀🇪🇺 \u2028 é\u0301 𝒳 end"
TURNS = [
    {"role": "user", "content": "the first thing"},
    {"role": "assistant", "content": "the second thing"},
    {"role": "user", "content": "the third thing"},
]


class House(NamedTuple):
    """A gateway before both emulators."""

    gateway: Gateway
    http: httpx.Client
    emulator: Emulator
    site: QwenSite
    tap: Tap


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    emulator, site = Emulator(keys=[GOOD]), QwenSite(TOKENS)
    site.local_media = True
    tap = Tap(site, "/chat/completions")
    with served(emulator.app) as openai_url, served(tap) as qwen_url:
        config = {"upstreams": [compatible(openai_url, GOOD), qwen(qwen_url, *TOKENS)]}
        home = tmp_path_factory.mktemp("defects")
        with running(home, config, secrets=[GOOD, *TOKENS]) as gateway:
            http = gateway.client()
            listed(http, TEXT, "qwen3-max")
            yield House(gateway, http, emulator, site, tap)


@pytest.fixture
def house(shared: House) -> House:
    """The shared house, its emulators swept."""
    shared.emulator.requests.clear()
    shared.site.requests.clear()
    shared.site.answers.clear()
    return shared


def listed(http: httpx.Client, *models: str) -> None:
    """Wait until the gateway has learned what its upstreams have."""
    eventually(lambda: set(models) <= {model["id"] for model in http.get("/v1/models").json()["data"]})


def say(http: httpx.Client, model: str, text: str = "Hello", **body: Any) -> httpx.Response:
    turns = {"messages": [{"role": "user", "content": text}]}
    return http.post("/v1/chat/completions", json={"model": model, **turns, **body})


def told(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def streamed(answer: httpx.Response) -> str:
    chunks = [chunk for chunk in lines(answer) if chunk != "[DONE]"]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])


def png(shade: int) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (40, 30), (shade, 30, 30)).save(held, "PNG")
    return held.getvalue()


# --- accounts: whose is what ---


def test_video_is_asked_for_at_the_account_that_makes_it(house: House) -> None:
    house.site.task_script = ["success"]
    body = {"model": "qwen3-max", "message": "waves", "chatType": "t2v", "waitForCompletion": False}
    answers = [house.http.post("/api/chat", json=body) for _ in range(3)]
    ids = [answer.json()["task_id"] for answer in answers]
    eventually(lambda: {house.http.get(f"/api/tasks/{id}").json()["status"] for id in ids} == {"succeeded"}, 15)
    makers = {task.id: person.name for person in house.site.people.values() for task in person.tasks.values()}
    polls = [(poll.path.rpartition("/")[2], poll.account) for poll in house.site.asked("status")]
    assert len(set(makers.values())) > 1
    assert {task for task, _ in polls} <= makers.keys()
    assert all(makers[task] == account for task, account in polls)
    assert len(house.site.asked("completions")) == 3


def test_chat_upload_and_message_are_one_accounts(house: House) -> None:
    for shade in (10, 20, 30):
        house.site.requests.clear()
        file = {"file": ("red.png", png(shade))}
        link = house.http.post("/api/files/upload", files=file).json()["file"]["url"]
        parts = [{"type": "text", "text": "What is this?"}, {"type": "image", "image": link}]
        assert house.http.post("/api/chat", json={"model": "qwen3-max", "message": parts}).status_code == 200
        asked = {request.operation: request.account for request in house.site.requests if request.operation != "oss"}
        assert asked.keys() >= {"sts", "new", "completions"}
        assert len(set(asked.values())) == 1


def test_conversation_goes_on_where_it_is_held(house: House) -> None:
    first = house.http.post("/api/chat", json={"model": "qwen3-max", "message": "one"}).json()
    names = {"chatId": first["chatId"], "parentId": first["parentId"]}
    for _ in range(3):
        house.http.post("/api/chat", json={"model": "qwen3-max", "message": "elsewhere"})
    house.http.post("/api/chat", json={"model": "qwen3-max", "message": "two", **names})
    turns = house.site.asked("completions")
    assert turns[-1].account == turns[0].account
    assert turns[-1].query["chat_id"] == turns[0].query["chat_id"]
    assert turns[-1].body["parent_id"]


def test_all_turns_are_sent(house: House) -> None:
    for model in (TEXT, "qwen3-max"):
        told(house.http.post("/v1/chat/completions", json={"model": model, "messages": TURNS}))
    assert house.emulator.last.json["messages"] == TURNS
    sent = house.site.asked("completions")[-1].body["messages"][0]["content"]
    places = [sent.index(turn["content"]) for turn in TURNS]
    assert places == sorted(places)


def test_refused_prompt_freezes_nobody(house: House) -> None:
    said = "Your request was rejected by the safety system."
    for _ in range(4):
        house.emulator.script(refusal(400, "content_policy_violation", said))
        house.site.fail(
            "completions", Fault.in_stream("data_inspection_failed", "Input text data may be inappropriate")
        )
        for model in (TEXT, "qwen3-max"):
            answer = say(house.http, model)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "content_policy_violation")
    assert (len(house.emulator.requests), len(house.site.asked("completions"))) == (4, 4)
    accounts = house.gateway.accounts().values()
    assert {(account["status"], account["strikes"]) for account in accounts} == {("OK", 0)}


# --- streams ---


def test_stream_of_another_dialect_is_no_fake(house: House) -> None:
    house.site.answers.append(Answer("one two three four", pieces=4))
    house.tap.shut(after=3)  # two frames of the site's own, and the first piece of text
    body = {"model": "qwen3-max", "stream": True, "messages": TURNS[:1]}
    try:
        with house.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            frames = (line for line in answer.iter_lines() if line.startswith("data: {"))
            deltas = (json.loads(line[6:])["choices"][0]["delta"].get("content") for line in frames)
            first = next(filter(None, deltas))
            house.tap.open()
            rest = "".join(filter(None, deltas))
    finally:
        house.tap.open()
    assert (len(first) < 10, first + rest) == (True, "one two three four")


@pytest.mark.parametrize("model", [TEXT, "qwen3-max"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
def test_characters_stay_whole_when_cut_at_every_byte(house: House, model: str, path: str) -> None:
    house.emulator.text, before = MANY_BYTES, house.emulator.text
    house.emulator.script(Bent(split=1))
    house.site.answers.append(Answer(MANY_BYTES, split=1, pieces=len(MANY_BYTES)))
    body = {"model": model, "stream": True, "messages": TURNS[:1]}
    answer = house.http.post(path, json=body)
    house.emulator.text = before
    house.emulator._script.clear()
    assert streamed(answer) == MANY_BYTES
    assert "\ufffd" not in answer.content.decode()
    assert lines(answer)[-1] == "[DONE]"


LATE: list[tuple[str, Any]] = [
    ("error event", Bent(error_at=3)),
    ("reset", Reset(after=3)),
    ("clean end", Bent(cut_after=3)),
]
LATE_QWEN = [
    ("error event", Fault.in_stream("internal_error", "The server had an error", after=4)),
    ("cut", Fault.cut(after=4)),
]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
@pytest.mark.parametrize(("_", "fault"), LATE)
def test_failure_after_some_words_is_an_error_and_no_end(house: House, path: str, _: str, fault: Any) -> None:
    house.emulator.script(fault)
    check_broken(house.http.post(path, json={"model": TEXT, "stream": True, "messages": TURNS[:1]}))
    assert len(house.emulator.requests) == 1


@pytest.mark.parametrize(("_", "fault"), LATE_QWEN)
def test_failure_of_another_dialect_is_an_error_and_no_end(house: House, _: str, fault: Fault) -> None:
    house.site.fail("completions", fault)
    check_broken(say(house.http, "qwen3-max", stream=True))
    assert len(house.site.asked("completions")) == 1


def check_broken(answer: httpx.Response) -> None:
    assert answer.status_code == 200
    assert "[DONE]" not in answer.text
    *told, last = lines(answer)
    chunks = [chunk for chunk in told if chunk["choices"]]  # the names of a conversation come without a choice
    assert any(chunk["choices"][0]["delta"].get("content") for chunk in chunks)
    assert last["error"]["message"]
    assert last["error"]["code"]
    assert "choices" not in last
    assert not any(chunk["choices"][0].get("finish_reason") for chunk in chunks)


# --- time ---


def test_video_gets_minutes(house: House, tmp_path: Path) -> None:
    tasks = load({}, tmp_path).tasks
    assert tasks.wait_timeout >= 180
    assert tasks.deadline >= 600
    body = {"model": "qwen3-max", "message": "waves", "chatType": "t2v", "waitForCompletion": False}
    made = house.http.get(f"/api/tasks/{house.http.post('/api/chat', json=body).json()['task_id']}").json()
    assert made["deadline"] - made["created_at"] >= 600
