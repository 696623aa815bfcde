"""A gateway with nothing but its library, and callers of each role."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.assets.asset import Asset
from gateway.config import load
from gateway.routes.front import Front
from tests.unit.scripted import png

CONFIG = """
access:
  keys:
    - {name: makes, key: sk-makes-things-1, role: developer}
    - {name: other, key: sk-makes-other-things-1, role: developer}
    - {name: reads, key: sk-reads-only-1, role: viewer}
"""
KEYS = {"makes": "sk-makes-things-1", "other": "sk-makes-other-things-1", "reads": "sk-reads-only-1"}
ASSETS = "/api/content-assets"
COLLECTIONS = "/api/collections"
T = TypeVar("T")


class Caller:
    """Somebody with a key."""

    def __init__(self, client: TestClient, app: Front, name: str) -> None:
        self.client = client
        self.app = app
        self.headers = {"authorization": f"Bearer {KEYS[name]}"}
        self.id = app.house.keyring.principal(f"Bearer {KEYS[name]}".encode()).id

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """`options` as httpx takes them; more `headers` come beside the key."""
        headers = self.headers | options.pop("headers", {})
        sent = {} if body is None else {"content": body} if isinstance(body, bytes) else {"json": body}
        return self.client.request(method, path, headers=headers, **sent, **options)

    def get(self, path: str, **params: Any) -> Any:
        return self.ask("GET", path, params=params)

    def post(self, path: str, body: Any = None) -> Any:
        return self.ask("POST", path, body)

    def told(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        """What a request is answered that succeeds."""
        answer = self.ask(method, path, body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call what the house has, in its loop."""
        assert self.client.portal is not None
        return self.client.portal.call(call)

    def registers(self, content: str = "some words", **fields: Any) -> str:
        """A text of its own. Returns its id."""
        made = self.told("POST", ASSETS, {"content": content, **fields}, status=201)
        return str(made["id"])

    def has(self, data: bytes | None = None, *, preview: bool = False, **fields: Any) -> Asset:
        """An asset with its objects, as a generation leaves it."""
        data, name = png() if data is None else data, secrets.token_hex(8)
        asset = replace(_PLAIN, id=f"asset_{name}", owner=self.id, key=f"images/2026-01/{name}.png", size=len(data))
        asset = replace(asset, filename=f"{name}.png", thumbnail_key=f"images/2026-01/t{name}.png" if preview else None)
        asset = replace(asset, **fields)
        house = self.app.house

        async def entered() -> None:
            for key in asset.keys:
                await house.storage.put(key, data, mime=asset.mime)
            await house.library.add(asset)

        self.run(entered)
        return asset

    def gone(self, key: str) -> None:
        """An object that nobody deleted by us."""
        self.run(lambda: self.app.house.storage.delete(key))


_PLAIN = Asset(
    id="",
    owner="",
    family="image",
    key="",
    mime="image/png",
    size=0,
    sha256="",
    width=64,
    height=48,
    seconds=None,
    filename="",
    prompt="a lighthouse",
    model="m",
    upstream="u",
    kind="t2i",
    task_id=None,
    source_module="api",
    created_at=1767225600.0,
    metadata={},
)


class Rig:
    def __init__(self, client: TestClient, app: Front, home: Path) -> None:
        self.client = client
        self.app = app
        self.home = home
        self.me, self.other, self.viewer = (Caller(client, app, name) for name in ("makes", "other", "reads"))

    def objects(self) -> set[str]:
        """The keys of all that callers brought or made."""
        root = self.home / "var" / "objects"
        keys = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        return {key for key in keys if not key.startswith("health/")}


@contextmanager
def opened(home: Path) -> Iterator[Rig]:
    (home / "config.yaml").write_text(CONFIG)
    app = create_app(load({"GATEWAY_DATA_DIR": str(home / "var")}, home), {})
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield Rig(client, app, home)
