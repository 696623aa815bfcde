"""A gateway with the sandbox alone, and two callers who bring it files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.config import load
from gateway.routes.front import Front
from gateway.storage import Storage
from tests.unit.routes.direct import Told, asked

KEY, OTHER_KEY, READER = "key-of-the-tests-1", "key-of-the-tests-2", "key-of-the-reader-3"
CONFIG = """
access:
  keys:
    - {{name: makes, key: {key}}}
    - {{name: other, key: {other}}}
    - {{name: reads, key: {reader}, role: viewer}}
upstreams: [{{name: sandbox, type: sandbox, image_seconds: 0, video_seconds: 0}}]
limits: {{upload_max: 1048576, upload_memory: 4194304}}
{more}
"""
UPLOAD_MAX = 1024 * 1024
NOBODY = "file-" + "0" * 32


class Signs(Storage):
    """A local store that callers can be sent to, at an address of its own."""

    async def presigned(self, key: str, method: Literal["GET", "PUT"], seconds: float) -> str | None:
        return f"https://bucket.example.com/{key}?X-Method={method}&X-Expires={seconds:.0f}"


class Place:
    """The gateway, its callers and what it has stored."""

    def __init__(self, app: Front, client: TestClient, home: Path) -> None:
        self.app = app
        self.client = client
        self.home = home

    def ask(self, method: str, path: str, key: str | None = KEY, **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        headers |= options.pop("headers", {})
        return self.client.request(method, path, headers=headers, follow_redirects=False, **options)

    def told(self, method: str, path: str, key: str | None = KEY, **options: Any) -> Any:
        """What a request is answered that succeeds."""
        answer = self.ask(method, path, key, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def upload(self, data: bytes = b"words", name: str = "a.txt", key: str = KEY) -> dict[str, Any]:
        told: dict[str, Any] = self.told("POST", "/api/files/upload", key, files={"file": (name, data)})["file"]
        return told

    def create(self, data: bytes = b"words", name: str = "a.txt", key: str = KEY, **fields: str) -> httpx.Response:
        return self.ask("POST", "/v1/files", key, files={"file": (name, data)}, data={"purpose": "user_data", **fields})

    def open(self, url: str, method: str = "GET", **options: Any) -> httpx.Response:
        """What is behind a link, without a key."""
        return self.ask(method, urlsplit(url).path, None, **options)

    def raw(self, path: str, method: str = "GET") -> Told:
        """What a path is answered that goes out letter by letter, as no client writes it."""
        return self.run(partial(asked, self.app, method, path, key=None))

    def run(self, call: Any, *args: Any) -> Any:
        assert self.client.portal is not None
        return self.client.portal.call(call, *args)

    @property
    def objects(self) -> list[str]:
        """The keys of all that is stored of uploads."""
        root = self.home / "var" / "objects"
        return sorted(os.path.relpath(path, root) for path in root.glob("uploads/**/*") if path.is_file())

    def sign(self) -> Storage:
        """Have the store make URLs of its own."""
        house, known = self.app.house, self.app.house.storage
        house.storage = Signs(known._store, known._root)
        return house.storage


@contextmanager
def place(home: Path, more: str = "") -> Iterator[Place]:
    (home / "config.yaml").write_text(CONFIG.format(key=KEY, other=OTHER_KEY, reader=READER, more=more))
    app = create_app(load({"GATEWAY_DATA_DIR": str(home / "var")}, home), {})
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield Place(app, client, home)


def refusal(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code and param of a refusal in the dialect of its path, which it must be in."""
    told = answer.json()
    if answer.request.url.path.startswith("/v1"):
        told = told["error"]
        assert set(told) >= {"message", "type", "param", "code"}
        return answer.status_code, told["code"], told["param"]
    assert isinstance(told["error"], str)
    return answer.status_code, told["code"], told.get("param")
