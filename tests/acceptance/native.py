"""Speaking the native API: what its tests have in common."""

import io
from typing import Any

import av
import httpx
from PIL import Image

from tests.acceptance.gateway_process import eventually

SMALL: dict[str, Any] = {"chatType": "t2v", "message": "waves", "size": "128x72", "seconds": 1}
SANDBOX = {"name": "sandbox", "type": "sandbox", "image_seconds": 0.1, "video_seconds": 0.3}


def ask(http: httpx.Client, path: str = "/api/chat", **body: Any) -> Any:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def said(answer: Any) -> str:
    return str(answer["choices"][0]["message"]["content"])


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), answer.text
    assert isinstance(body["error"], str)
    assert answer.headers["x-request-id"]
    return body


def png(width: int = 40, height: int = 30) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(held, "PNG")
    return held.getvalue()


def size_of(film: bytes) -> tuple[int, int]:
    with av.open(io.BytesIO(film)) as opened:
        track = opened.streams.video[0]
        return track.width, track.height


def task_done(http: httpx.Client, task_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        told: dict[str, Any] = http.get(f"/api/tasks/status/{task_id}").json()
        return None if told["status"] == "processing" else told

    return eventually(look, 15) or {}


def start_video(http: httpx.Client, fault: str = "", **body: Any) -> str:
    headers = {"x-sandbox-fault": fault} if fault else {}
    told = http.post("/api/chat", json={**SMALL, "waitForCompletion": False, **body}, headers=headers).json()
    return str(told["task_id"])
