"""No key, no config: what somebody meets who has just started the gateway."""

import io
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import av
import httpx
import pytest
from PIL import Image

from tests.acceptance.gateway_process import Gateway, running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("newcomer")) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def http(gateway: Gateway) -> httpx.Client:
    return gateway.client()


def printed_commands(gateway: Gateway) -> list[str]:
    return re.findall(r"^ +(curl (?:.*\\\n)*.*)$", gateway.banner, re.MULTILINE)


def run(command: str) -> str:
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_banner_says_who_answers_and_who_may_call(gateway: Gateway) -> None:
    assert gateway.url.startswith("http://127.0.0.1:")
    assert "none configured: the sandbox answers every model name" in gateway.banner
    assert "no API keys: this machine only" in gateway.banner
    assert str(gateway.home / "data") in gateway.banner
    assert len(printed_commands(gateway)) == 3


def test_printed_chat_streams(gateway: Gateway) -> None:
    frames = [line for line in run(printed_commands(gateway)[0]).splitlines() if line]
    assert frames[-1] == "data: [DONE]"
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames[:-1]]
    deltas = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]]
    assert sum(map(bool, deltas)) > 3
    assert "sandbox" in "".join(deltas).lower()


def test_printed_image_can_be_opened(gateway: Gateway, http: httpx.Client) -> None:
    answer = json.loads(run(printed_commands(gateway)[1]))
    url = answer["choices"][0]["message"]["content"]
    assert url.endswith(".png")
    assert "?" not in url
    image = Image.open(io.BytesIO(http.get(url).content))
    image.load()
    assert (image.format, image.width * 9) == ("PNG", image.height * 16)
    assert (answer["usage"]["width"], answer["usage"]["height"]) == image.size


def test_printed_video_plays(gateway: Gateway, http: httpx.Client) -> None:
    answer = json.loads(run(printed_commands(gateway)[2]))
    url = answer["video_url"]
    assert url == answer["choices"][0]["message"]["content"]
    assert url.endswith(".mp4")
    whole = http.get(url)
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
    with av.open(io.BytesIO(whole.content), "r") as film:
        track = film.streams.video[0]
        assert track.codec_context.name == "h264"
        assert track.width * 9 == track.height * 16
        frames = len(list(film.decode(track)))
    assert frames > 20
    check_player(http, url, whole.content)


def check_player(http: httpx.Client, url: str, data: bytes) -> None:
    """What a player in a browser asks of a file."""
    head = http.head(url)
    assert (head.status_code, head.content, int(head.headers["content-length"])) == (200, b"", len(data))
    assert head.headers["accept-ranges"] == "bytes"
    part = http.get(url, headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, data[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(data)}"
    last = http.get(url, headers={"range": "bytes=-10"})
    assert (last.status_code, last.content) == (206, data[-10:])
    assert http.get(url, headers={"range": f"bytes={len(data)}-"}).status_code == 416


@pytest.mark.parametrize("size", ["640x360", "96*160", "200×100"])
def test_image_has_exactly_the_asked_pixels(http: httpx.Client, size: str) -> None:
    answer = http.post("/api/chat", json={"message": "a hill", "chatType": "t2i", "size": size}).json()
    image = Image.open(io.BytesIO(http.get(answer["choices"][0]["message"]["content"]).content))
    assert (image.format, image.size) == ("PNG", tuple(map(int, re.split("[x*×]", size))))


@pytest.mark.parametrize("model", ["gpt-6-luna", "qwen3-max", "anthropic/claude-opus-5:beta", "what ever", "auto"])
def test_any_model_name_is_answered_by_the_sandbox(http: httpx.Client, model: str) -> None:
    asked = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    answer = http.post("/v1/chat/completions", json=asked)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-gateway-upstream"] == "sandbox"
    assert answer.json()["choices"][0]["message"]["content"]


MEDIA: list[tuple[str, dict[str, Any]]] = [
    ("/v1/images/generations", {"model": "dall-e-3", "prompt": "a hill", "size": "256x256"}),
    ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "a hill"}),
    ("/v1/audio/speech", {"model": "tts-1", "input": "A hill.", "voice": "alloy"}),
    ("/api/chat", {"model": "wan2.6-t2v", "message": "a hill", "chatType": "t2v", "waitForCompletion": False}),
]


@pytest.mark.parametrize(("path", "body"), MEDIA)
def test_media_models_are_answered_by_the_sandbox_too(http: httpx.Client, path: str, body: dict[str, Any]) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-gateway-upstream"] == "sandbox"


def test_listed_models_are_the_sandboxs(http: httpx.Client) -> None:
    listed = http.get("/v1/models").json()["data"]
    assert len(listed) >= 5
    assert {model["owned_by"] for model in listed} == {"sandbox"}
    assert all(model["id"].startswith("sandbox-") for model in listed)
    assert http.get("/api/status").json()["sandbox"] is True
