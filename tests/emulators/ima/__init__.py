"""IMA Studio's open API, as strict as the sheet of 2026-11-21 tells it.

A create is checked against the tree as it is at that moment: leaf, parameters, rule, price. Points are taken for every
output. `creates` is the ledger of what was accepted; `spent` tells the points by key.
"""

import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.emulators.ima import checks, media
from tests.emulators.ima.faults import Cut, Fault, Raw, Refusal
from tests.emulators.ima.storage import Storage
from tests.emulators.ima.trees import leaves, products

__all__ = ["KEY", "OTHER", "Cut", "ImaSite", "Plan", "Raw", "Refusal"]

KEY = "ima_emulator_key_000000000001"
OTHER = "ima_emulator_key_000000000002"
PROD_CREATE_SECONDS = 300


@dataclass(frozen=True)
class Plan:
    """What will become of a task."""

    queued: float = 0.0
    running: float = 0.0
    ends: Mapping[int, tuple[int | None, str]] = field(default_factory=dict)
    """Outputs that end otherwise than well, by position: their number and word."""
    why: str = "generation failed"
    addresses: tuple[str, ...] = ("url",)
    """The members that name the result."""
    late: int = 0
    """Looks before more than the first output is told."""


@dataclass
class Task:
    id: str
    biz_id: str
    key: str
    category: str
    count: int
    created_at: float
    plan: Plan
    looks: int = 0


@dataclass(frozen=True)
class Create:
    """An accepted create."""

    key: str
    body: dict[str, Any]
    points: int
    id: str

    @property
    def inner(self) -> dict[str, Any]:
        found: dict[str, Any] = self.body["parameters"][0]["parameters"]
        return found

    @property
    def product(self) -> dict[str, Any]:
        found: dict[str, Any] = self.body["parameters"][0]
        return found


class ImaSite:
    def __init__(self, keys: tuple[str, ...] = (KEY,), clock: Callable[[], float] = time.time) -> None:
        self.keys = keys
        self.clock = clock
        self.trees = products()
        self.storage = Storage()
        self.plan = Plan()
        self.creates: list[Create] = []
        self.asked: list[tuple[str, Mapping[str, str], Any]] = []
        """Every request: operation, headers, and its body or query."""
        self.balance = dict.fromkeys(keys, 100_000)
        self.unverified: dict[str, str] = {}
        """Why files are not let into films, by a part of their URL."""
        self.untold: set[str] = set()
        """Categories whose products are not told, once each."""
        self.code = 0
        """Of success: 0 or 200."""
        self.tasks: dict[str, Task] = {}
        self.before_create: Callable[[], None] = lambda: None
        """Called when a create has come and is not looked at yet."""
        self._faults: dict[str, deque[Fault]] = {}
        self.app = Starlette(
            routes=[
                Route("/open/v1/product/list", self._list),
                Route("/open/v1/tasks/create", self._create, methods=["POST"]),
                Route("/open/v1/tasks/detail", self._detail, methods=["POST"]),
                Route("/open/v1/assets/verify", self._verify, methods=["POST"]),
                Route("/api/rest/oss/getuploadtoken", self._token),
                Route("/bucket/{name}", self._put, methods=["PUT"]),
                Route("/public/{name}", self._public),
                Route("/cdn/{task}/{at:int}", self._result),
            ]
        )

    # --- for tests ---

    @property
    def spent(self) -> int:
        return sum(create.points for create in self.creates)

    def fail(self, operation: str, *faults: Fault) -> None:
        """The next requests of an operation go wrong: `list`, `create`, `detail`, `verify`, `token`, `put`."""
        self._faults.setdefault(operation, deque()).extend(faults)

    def seen(self, operation: str) -> list[Any]:
        return [what for name, _, what in self.asked if name == operation]

    def leaf(self, category: str, model: str) -> dict[str, Any]:
        """The last leaf of a model, to be changed."""
        return [one for one in leaves(self.trees[category]) if one["model_id"] == model][-1]

    def reprice(self, category: str, model: str, by: int) -> None:
        """Every price of a model is another one now."""
        for rule in self.leaf(category, model)["credit_rules"]:
            rule["points"] += by

    def renumber(self, category: str, model: str, by: int = 10_000) -> None:
        """Every attribute id of a model is another one now."""
        for rule in self.leaf(category, model)["credit_rules"]:
            rule["attribute_id"] += by

    # --- what it does ---

    async def _list(self, request: Request) -> Response:
        async def tell() -> Any:
            query = dict(request.query_params)
            if query.get("app") not in ("ima", "webAgent") or query.get("platform") != "web" or len(query) != 3:
                raise Refusal(400, "wrong query")
            if query.get("category") not in self.trees:
                raise Refusal(400, "unknown category")
            if query["category"] in self.untold:
                self.untold.discard(query["category"])
                raise Refusal(503)
            return self.trees[query["category"]]

        return await self._answer("list", request, dict(request.query_params), tell)

    async def _create(self, request: Request) -> Response:
        body = json.loads(await request.body())

        async def make() -> Any:
            self.before_create()
            key = _key(request)
            _, inner, points = checks.check(body, self.trees)
            for url in body["src_img_url"]:
                self._readable(url, str(request.base_url))
            if self.balance[key] < points:
                raise Refusal(4008)
            self.balance[key] -= points
            now = self.clock()
            task = Task(secrets.token_hex(8), f"biz-{secrets.token_hex(6)}", key, body["task_type"], inner["n"], now,
                        self.plan)  # fmt: skip
            self.tasks[task.id] = task
            self.creates.append(Create(key, body, points, task.id))
            return {
                "id": task.id,
                "biz_id": task.biz_id,
                "task_type": task.category,
                "medias": [],
                "generate_count": inner["n"],
                "created_at": int(now * 1000),
                "timeout_at": int((now + PROD_CREATE_SECONDS) * 1000),
            }

        return await self._answer("create", request, body, make)

    def _readable(self, url: str, base: str) -> None:
        if url.startswith(f"{base}public/"):
            if url.removeprefix(f"{base}public/") not in self.storage.files:
                raise Refusal(400, "could not download the image")
        elif not url.startswith("https://"):
            raise Refusal(400, "src_img_url must be https")

    async def _detail(self, request: Request) -> Response:
        body = json.loads(await request.body())

        async def tell() -> Any:
            task = self.tasks.get(body.get("task_id", "")) if set(body) == {"task_id"} else None
            if task is None or task.key != _key(request):
                raise Refusal(404, "task not found")
            task.looks += 1
            return {"id": task.id, "medias": _medias(task, self.clock(), str(request.base_url))}

        return await self._answer("detail", request, body, tell)

    async def _verify(self, request: Request) -> Response:
        body = json.loads(await request.body())

        async def tell() -> Any:
            why = next((why for part, why in self.unverified.items() if part in body["url"]), None)
            error = {"code": "Blocked", "message": why} if why is not None else None
            return {"result": {"status": "active" if why is None else "failed", "error": error}}

        return await self._answer("verify", request, body, tell)

    async def _token(self, request: Request) -> Response:
        query = dict(request.query_params)

        async def grant() -> Any:
            if "authorization" in request.headers:
                raise Refusal(400, "no authorization here")
            return self.storage.grant(query, self.keys, str(request.base_url))

        return await self._answer("token", request, query, grant, open_=True)

    async def _put(self, request: Request) -> Response:
        data = await request.body()
        self.asked.append(("put", dict(request.headers), request.url.path))
        fault = self._next("put")
        if fault is not None:
            return await _faulty(request, fault)
        headers = request.headers
        status = self.storage.put(
            request.path_params["name"], request.query_params.get("Signature", ""), headers.get("content-type", ""),
            headers.get("authorization"), data,
        )  # fmt: skip
        said = b"" if status == 200 else b"<Error><Code>SignatureDoesNotMatch</Code></Error>"
        return Response(said, status, media_type="application/xml")

    async def _public(self, request: Request) -> Response:
        data = self.storage.files.get(request.path_params["name"])
        return Response(data) if data is not None else Response(status_code=404)

    async def _result(self, request: Request) -> Response:
        task = self.tasks.get(request.path_params["task"])
        if task is None or request.path_params["at"] >= task.count:
            return Response(status_code=404)
        data, mime = media.result(task.category)
        note = f"{task.id}/{request.path_params['at']}".encode()
        if mime == "video/mp4":
            data += (8 + len(note)).to_bytes(4, "big") + b"free" + note
        return Response(data, media_type=mime)

    # --- all requests ---

    async def _answer(
        self, name: str, request: Request, what: Any, act: Callable[[], Any], *, open_: bool = False
    ) -> Response:
        self.asked.append((name, dict(request.headers), what))
        fault = self._next(name)
        if isinstance(fault, Raw | Refusal) or (isinstance(fault, Cut) and not fault.done):
            return await _faulty(request, fault)
        try:
            if not open_:
                self._check_headers(request)
            data = await act()
        except Refusal as refusal:
            return refusal.response()
        if isinstance(fault, Cut):
            return await _faulty(request, fault)
        return JSONResponse({"code": self.code, "message": "success", "data": data})

    def _check_headers(self, request: Request) -> None:
        if _key(request) not in self.keys:
            raise Refusal(401, status=401)
        headers = request.headers
        if headers.get("x-app-source") != "ima_skills" or headers.get("x_app_language") not in ("en", "zh"):
            raise Refusal(400, "missing headers")

    def _next(self, operation: str) -> Fault | None:
        waiting = self._faults.get(operation)
        return waiting.popleft() if waiting else None


def _key(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


async def _faulty(request: Request, fault: Fault) -> Response:
    if isinstance(fault, Refusal):
        return fault.response()
    if isinstance(fault, Raw):
        return Response(fault.body, fault.status, media_type=fault.mime)
    request.scope["reset"]()
    return Response()


def _medias(task: Task, now: float, base: str) -> list[dict[str, Any]]:
    age = now - task.created_at
    if age < task.plan.queued + task.plan.running:
        word = "pending" if age < task.plan.queued else "processing"
        return [{"resource_status": None if word == "pending" else 0, "status": word, "url": ""}]
    told = 1 if task.looks <= task.plan.late else task.count
    return [_media(task, at, base) for at in range(told)]


def _media(task: Task, at: int, base: str) -> dict[str, Any]:
    number, word = task.plan.ends.get(at, (1, "success"))
    found: dict[str, Any] = {
        "resource_status": number,
        "status": word,
        "url": "",
        "preview_url": "",
        "watermark_url": "",
    }
    if (number, word) == (1, "success"):
        found |= dict.fromkeys(task.plan.addresses, f"{base}cdn/{task.id}/{at}")
        found |= {"width": 64, "height": 36, "duration_str": "1s"}
    else:
        found["error_msg"] = task.plan.why if word == "failed" or number in (2, 3) else ""
    return found
