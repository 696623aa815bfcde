"""BytePlus ModelArk's video tasks as its wire sheet of 2026-11-20 and its own pages tell them. As strict as the vendor.

    site = ArkSite(keys=(KEY,), queued_seconds=0.2, running_seconds=0.5)
    async with serve(site.app) as url:
        base_url = f"{url}{API}"

In a thread of its own (`served(site.app)`), tests may read and set everything from theirs. What becomes of new jobs is
their `plan` (`plans`: one a job), what goes wrong is put in with `fail` or the switches, and what was asked for is
in `requests`, `creates`, `polls`, `lists`, `deletes` and `downloads`; `charged` are the jobs that somebody would pay.
"""

import asyncio
import json
import random
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.emulators.ark.checks import check
from tests.emulators.ark.faults import FREE_TRIAL, SAYS, Cut, Fault, Raw, Refusal, Slow, invalid
from tests.emulators.ark.jobs import Create, Gauge, Plan, Seen, Task
from tests.emulators.ark.media import image, video
from tests.emulators.ark.models import FAST, FIFTH, LITE, MODELS, PRO, SECOND, SECOND_FAST, SOUND, T2V, Model
from tests.emulators.qwen.media import png

__all__ = [
    "API", "FAST", "FIFTH", "FREE_TRIAL", "KEY", "LITE", "PRO", "SAYS", "SECOND", "SECOND_FAST", "SOUND", "T2V",
    "ArkSite", "Cut", "Plan", "Raw", "Refusal", "Slow", "image", "video",
]  # fmt: skip

API = "/api/v3"
KEY = "ark-emulator-key-0001-aaaa"
DAY = 86_400.0
STATUSES = ("queued", "running", "cancelled", "succeeded", "failed", "expired")
USAGE = ("completion_tokens", "total_tokens")
Operation = Literal["create", "get", "list", "delete", "result"]
Handler = Callable[[Request, str, Any], Awaitable[Response]]


@dataclass
class ArkSite:
    """Give `site.app` to `serve`; its accounts are reached at `API` on that host."""

    keys: Iterable[str] | Mapping[str, str] = (KEY,)
    """Keys, each an account of its own, or the account of each."""
    clock: Callable[[], float] = time.time
    queued_seconds: float = 0.2
    running_seconds: float = 0.5
    models: dict[str, Model] = field(default_factory=lambda: dict(MODELS))
    endpoints: dict[str, str] = field(default_factory=dict)
    """Endpoint ids (`ep-…`) and the models behind them."""
    closed: set[str] = field(default_factory=set)
    """Models that were never activated."""
    limited: set[str] = field(default_factory=set)
    """Keys of custom rights: they must name the model whose jobs they list."""
    most_queued: int | None = None
    """Jobs an account may have waiting."""
    lists_per_second: float | None = None
    delete_refusal: str = "InvalidParameter"
    tells_early: bool = False
    """Tell seed, shape and length from the first moment, and not only once a job has succeeded."""
    result_seconds: float = 0.5
    """How long a slow result takes."""

    plan: Plan = field(default_factory=Plan)
    plans: deque[Plan] = field(default_factory=deque)

    lose_create_replies: float = 0
    """So many creates from now on are done, and their replies lost."""
    drop_creates: float = 0
    """So many creates from now on are cut before anything is done."""
    refuse_creates: Refusal | None = None
    create_seconds: float = 0.0
    poll_fault: Fault | None = None
    list_fault: Fault | None = None
    delete_fault: Fault | None = None

    requests: list[Seen] = field(default_factory=list)
    creates: list[Create] = field(default_factory=list)
    polls: list[str] = field(default_factory=list)
    """Ids asked for one by one."""
    lists: list[tuple[tuple[str, str], ...]] = field(default_factory=list)
    deletes: list[str] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    """Jobs whose records a DELETE destroyed."""
    downloads: list[str] = field(default_factory=list)
    jobs: dict[str, Task] = field(default_factory=dict)
    gauges: dict[str, Gauge] = field(default_factory=dict)
    """By operation: how many requests at once."""
    unfinished: Gauge = field(default_factory=Gauge)
    """Jobs that were not finished, looked at with each create."""

    def __post_init__(self) -> None:
        keys = self.keys
        self.accounts = dict(keys) if isinstance(keys, Mapping) else {key: f"account of {key}" for key in keys}
        self.models |= {f"doubao-{name.removeprefix('dreamina-')}": model for name, model in self.models.items()}
        self._faults: dict[str, deque[Fault]] = {}
        self._listed: dict[str, float] = {}
        tasks = f"{API}/contents/generations/tasks"
        self.app = Starlette(
            routes=[
                Route(tasks, self._guarded("create", self._create), methods=["POST"]),
                Route(tasks, self._guarded("list", self._list), methods=["GET"]),
                Route(f"{tasks}/{{id}}", self._guarded("get", self._get), methods=["GET"]),
                Route(f"{tasks}/{{id}}", self._guarded("delete", self._delete), methods=["DELETE"]),
                Route("/results/{name}", self._guarded("result", self._result), methods=["GET"]),
            ]
        )

    # --- for tests ---

    def fail(self, operation: Operation, *faults: Fault) -> None:
        """The next calls of an operation go wrong, one fault a call."""
        self._faults.setdefault(operation, deque()).extend(faults)

    def hold(self, status: str | None, *ids: str) -> None:
        """Jobs (all of them) keep a status, whatever the time; None lets them go."""
        for job in [self.jobs[name] for name in ids] or list(self.jobs.values()):
            job.held = status

    def forget(self, *ids: str) -> None:
        for job in [self.jobs[name] for name in ids] or list(self.jobs.values()):
            job.forgotten = True

    def statuses(self) -> dict[str, str]:
        return {job.id: job.status(self.clock()) for job in list(self.jobs.values())}

    @property
    def charged(self) -> list[Task]:
        """Jobs that somebody pays for: those that came to a video, erased or not."""
        now = self.clock()
        return [job for job in list(self.jobs.values()) if job.status(now) == "succeeded"]

    # --- the border ---

    def _guarded(self, operation: str, handle: Handler) -> Callable[..., Any]:
        gauge = self.gauges.setdefault(operation, Gauge())

        async def endpoint(request: Request) -> Response:
            content = await request.body()
            key = request.headers.get("authorization", "").removeprefix("Bearer ")
            with gauge:
                fault = self._fault(operation)
                try:
                    if isinstance(fault, Slow):
                        await asyncio.sleep(fault.seconds)
                    body = self._seen(operation, request, key, content)
                    if isinstance(fault, Refusal):
                        raise fault
                    if isinstance(fault, Raw):
                        return Response(fault.body, fault.status, fault.headers, fault.mime)
                    if fault == Cut():
                        return await _reset(request)
                    answer = await handle(request, key, body)
                except Refusal as refusal:
                    answer = refusal.response()
                if fault == Cut(done=True):
                    return await _reset(request)
                if client_id := request.headers.get("x-client-request-id"):
                    answer.headers["X-Client-Request-Id"] = client_id
                return answer

        return endpoint

    def _fault(self, operation: str) -> Fault | None:
        if waiting := self._faults.get(operation):
            return waiting.popleft()
        if operation == "create":
            return self._create_fault()
        standing = {"get": self.poll_fault, "list": self.list_fault, "delete": self.delete_fault}
        return standing.get(operation)

    def _create_fault(self) -> Fault | None:
        if self.drop_creates > 0:
            self.drop_creates -= 1
            return Cut()
        if self.lose_create_replies > 0:
            self.lose_create_replies -= 1
            return Cut(done=True)
        return self.refuse_creates or (Slow(self.create_seconds) if self.create_seconds else None)

    def _seen(self, operation: str, request: Request, key: str, content: bytes) -> Any:
        """The body, decoded; the request is written down."""
        body: Any = None
        if content:
            try:
                body = json.loads(content)
            except ValueError:
                body = content
        query = tuple(request.query_params.multi_items())
        self.requests.append(Seen(operation, key, query, body, dict(request.headers), self.clock()))
        if len(content) > 64 * 2**20:
            raise Refusal("RequestTooLarge", "The request body is too large.", status=413)
        return body

    def _account(self, request: Request, key: str) -> str:
        scheme = request.headers.get("authorization", "").partition(" ")[0]
        if scheme != "Bearer" or key not in self.accounts:
            raise Refusal("AuthenticationError")
        return self.accounts[key]

    def _known(self, request: Request, account: str) -> Task:
        job = self.jobs.get(request.path_params["id"])
        if job is None or job.account != account or not self._kept(job):
            raise Refusal("NotFound.Task", f"The specified task {request.path_params['id']} is not found.")
        return job

    def _kept(self, job: Task) -> bool:
        now = self.clock()
        gone = job.cancelled_at is not None and now - job.cancelled_at > DAY
        return not (gone or job.forgotten or job.id in self.erased or now - job.created_at > 7 * DAY)

    # --- tasks ---

    async def _create(self, request: Request, key: str, body: Any) -> Response:
        account = self._account(request, key)
        if request.headers.get("content-type", "").partition(";")[0] != "application/json" or not isinstance(
            body, dict
        ):
            raise invalid("", "the body must be JSON")
        body = {name: value for name, value in body.items() if value is not None}
        model = self._model(body)
        check(body, self.models[model])
        now = self.clock()
        waiting = sum(job.account == account and job.status(now) == "queued" for job in self.jobs.values())
        if self.most_queued is not None and waiting >= self.most_queued:
            raise Refusal("QuotaExceeded")
        job = self._made(account, body, model, now)
        self.creates.append(Create(key, body, job.id))
        self.unfinished.now = sum(job.status(now) in ("queued", "running") for job in self.jobs.values())
        self.unfinished.most = max(self.unfinished.most, self.unfinished.now)
        told = {"id": job.id}
        if "safety_identifier" in body:
            told["safety_identifier"] = body["safety_identifier"]
        return JSONResponse(told)

    def _made(self, account: str, body: dict[str, Any], model: str, now: float) -> Task:
        plan = self.plans.popleft() if self.plans else self.plan
        kept = self.models[model].version < 2.0 and body.get("seed", -1) >= 0
        job = Task(
            id=f"cgt-{time.strftime('%Y%m%d%H%M%S', time.gmtime(now))}-{secrets.token_hex(4)}",
            number=len(self.jobs),
            account=account,
            body=body,
            model=model,
            created_at=now,
            plan=plan,
            queued=self.queued_seconds if plan.queued is None else plan.queued,
            running=self.running_seconds if plan.running is None else plan.running,
            seed=body["seed"] if kept else random.randrange(100_000),
        )
        self.jobs[job.id] = job
        return job

    def _model(self, body: Mapping[str, Any]) -> str:
        asked = body.get("model")
        if not isinstance(asked, str) or not asked:
            raise Refusal("MissingParameter", param="model")
        model = self.endpoints.get(asked, asked)
        if model not in self.models:
            raise Refusal(
                "InvalidEndpointOrModel.NotFound",
                f"The model or endpoint {asked} does not exist or you do not have access to it.",
            )
        if model in self.closed:
            raise Refusal("ModelNotOpen")
        return model

    async def _get(self, request: Request, key: str, body: Any) -> Response:
        account = self._account(request, key)
        self.polls.append(request.path_params["id"])
        return JSONResponse(self._record(request, self._known(request, account)))

    async def _list(self, request: Request, key: str, body: Any) -> Response:
        account = self._account(request, key)
        asked = request.query_params
        self.lists.append(tuple(asked.multi_items()))
        known = {"page_num", "page_size", "filter.status", "filter.task_ids", "filter.model", "filter.service_tier"}
        if unknown := set(asked) - known:
            raise invalid(sorted(unknown)[0], "it is unknown")
        number, size = _in_range(asked, "page_num", 1), _in_range(asked, "page_size", 20)
        if "filter.status" in asked and asked["filter.status"] not in STATUSES:
            raise invalid("filter.status", "it is unknown")
        if key in self.limited and "filter.model" not in asked:
            raise Refusal("AccessDenied")
        self._paced(account)
        found = self._found(account, asked)
        shown = found[(number - 1) * size : number * size]
        return JSONResponse({"items": [self._record(request, job) for job in shown] or None, "total": len(found)})

    def _found(self, account: str, asked: Any) -> list[Task]:
        ids, now = asked.getlist("filter.task_ids"), self.clock()
        return [
            job
            for job in sorted(self.jobs.values(), key=lambda job: -job.number)
            if job.account == account
            and self._kept(job)
            and (not ids or job.id in ids)
            and job.body.get("service_tier", "default") == asked.get("filter.service_tier", "default")
            and asked.get("filter.model", job.body["model"]) == job.body["model"]
            and asked.get("filter.status", job.status(now)) == job.status(now)
        ]

    def _paced(self, account: str) -> None:
        now = time.monotonic()
        if self.lists_per_second is not None and now - self._listed.get(account, 0.0) < 1 / self.lists_per_second:
            raise Refusal("AccountRateLimitExceeded")
        self._listed[account] = now

    async def _delete(self, request: Request, key: str, body: Any) -> Response:
        job = self._known(request, self._account(request, key))
        self.deletes.append(job.id)
        match job.status(self.clock()):
            case "queued":
                job.cancelled_at = self.clock()
            case "succeeded" | "failed" | "expired":
                self.erased.append(job.id)
            case status:
                raise Refusal(self.delete_refusal, f"The task cannot be deleted while it is {status}.")
        return JSONResponse({})

    def _record(self, request: Request, job: Task) -> dict[str, Any]:
        now = self.clock()
        body, status, model = job.body, job.status(now), self.models[job.model]
        told: dict[str, Any] = {
            "id": job.id,
            "model": job.model,
            "status": status,
            "error": None,
            "created_at": int(job.created_at),
            "updated_at": int(min(now, job.created_at + job.queued + job.running)),
            "service_tier": body.get("service_tier", "default"),
            "execution_expires_after": job.expires,
        }
        if model.version >= 1.5:
            told |= {"generate_audio": body.get("generate_audio", True), "draft": body.get("draft", False)}
        told |= {name: body[name] for name in ("priority", "safety_identifier", "output_format") if name in body}
        if status == "failed":
            told["error"] = dict(zip(("code", "message"), job.plan.error, strict=True))
        if status == "succeeded" or self.tells_early:
            told |= _shape(job, model)
        if status == "succeeded":
            tokens = 1000 * int(body.get("duration", 5))
            told |= {"content": self._content(request, job), "usage": dict.fromkeys(USAGE, tokens)}
        return told

    def _content(self, request: Request, job: Task) -> dict[str, str]:
        if job.plan.result == "none":
            return {}
        here = f"{request.base_url}results/{job.id}"
        told = {"video_url": f"{here}.mp4?X-Tos-Expires=86400&X-Tos-Signature={_signature(job)}"}
        if job.body.get("return_last_frame"):
            told["last_frame_url"] = f"{here}.png?X-Tos-Expires=86400&X-Tos-Signature={_signature(job)}"
        return told

    # --- results ---

    async def _result(self, request: Request, key: str, body: Any) -> Response:
        """A signed URL: it takes no key, and serves for a day."""
        name, _, kind = request.path_params["name"].partition(".")
        self.downloads.append(name)
        job = self.jobs.get(name)
        if job is None or job.plan.result == "gone":
            return Response(b"<Code>NoSuchKey</Code>", 404, media_type="application/xml")
        late = self.clock() - job.created_at > DAY + job.queued + job.running
        if late or request.query_params.get("X-Tos-Signature") != _signature(job) or job.plan.result == "forbidden":
            return Response(b"<Code>AccessDenied</Code>", 403, media_type="application/xml")
        job.downloads += 1
        if kind == "png":
            return Response(png(), media_type="image/png")
        return await self._film(request, job)

    async def _film(self, request: Request, job: Task) -> Response:
        data = video(job.id)
        match job.plan.result:
            case "text":
                return Response(b"no video at all", media_type="video/mp4")
            case "truncated":
                return Response(data[: len(data) // 2], media_type="video/mp4")
            case "slow":
                return StreamingResponse(self._dripping(data), media_type="video/mp4")
            case "reset":
                return await _reset(request)
            case _:
                return Response(data, media_type="video/mp4")

    async def _dripping(self, data: bytes) -> Any:
        for at in range(0, len(data), len(data) // 10 + 1):
            await asyncio.sleep(self.result_seconds / 10)
            yield data[at : at + len(data) // 10 + 1]


USAGE = ("completion_tokens", "total_tokens")


def _signature(job: Task) -> str:
    return f"{job.number:04d}{job.id[-8:]}"


def _shape(job: Task, model: Model) -> dict[str, Any]:
    body = job.body
    length = {"frames": body["frames"]} if "frames" in body else {"duration": abs(body.get("duration", 5))}
    told = {"seed": job.seed, "resolution": body.get("resolution", model.default), "framespersecond": 24}
    return told | {"ratio": body.get("ratio", "16:9")} | length


def _in_range(asked: Mapping[str, str], name: str, default: int) -> int:
    value = asked.get(name, str(default))
    if not value.isdecimal() or not 1 <= int(value) <= 500:
        raise invalid(name, "it must be between 1 and 500")
    return int(value)


async def _reset(request: Request) -> Response:
    request.scope["reset"]()
    await asyncio.sleep(0.02)  # until the server has noticed
    return Response()
