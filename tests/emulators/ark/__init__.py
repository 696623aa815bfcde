"""BytePlus ModelArk as its wire sheet of 2026-11-21 and its own pages tell it: text, images and video tasks. As strict
as the vendor.

    site = ArkSite(keys=(KEY,), queued_seconds=0.2, running_seconds=0.5)
    async with serve(site.app) as url:
        base_url = f"{url}{API}"

In a thread of its own (`served(site.app)`), tests may read and set everything from theirs. What becomes of new jobs is
their `plan` (`plans`: one a job), what goes wrong is put in with `fail` or the switches, and what was asked for is
in `requests`, `creates`, `polls`, `lists`, `deletes` and `downloads`; `charged` are the jobs that somebody would pay.
Images go by `still_plan` (`still_plans`: one a request); those that were asked for are in `paints`, texts in `chats`.
"""

import asyncio
import json
import random
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.emulators.ark import stills
from tests.emulators.ark.checks import check
from tests.emulators.ark.faults import FREE_TRIAL, SAYS, Cut, Fault, Raw, Refusal, Slow, invalid
from tests.emulators.ark.jobs import Create, Gauge, Plan, Seen, Task
from tests.emulators.ark.media import dripping, image, video
from tests.emulators.ark.models import FAST, FIFTH, LITE, MODELS, PRO, SECOND, SECOND_FAST, SOUND, T2V, Model
from tests.emulators.ark.records import record, signature
from tests.emulators.ark.stills import FIFTH_LITE, FIFTH_PRO, FOUR_FIVE, FOURTH, OLD, STILLS, StillPlan
from tests.emulators.ark.talk import REPLY, SEED, Talk, Told
from tests.emulators.qwen.media import png

__all__ = [
    "API", "FAST", "FIFTH", "FIFTH_LITE", "FIFTH_PRO", "FOURTH", "FOUR_FIVE", "FREE_TRIAL", "KEY", "LITE", "OLD", "PRO",
    "REPLY", "SAYS", "SECOND", "SECOND_FAST", "SEED", "SOUND", "T2V",
    "ArkSite", "Cut", "Plan", "Raw", "Refusal", "Slow", "StillPlan", "Told", "image", "video",
]  # fmt: skip

API = "/api/v3"
KEY = "ark-emulator-key-0001-aaaa"
DAY = 86_400.0
STATUSES = ("queued", "running", "cancelled", "succeeded", "failed", "expired")
Operation = Literal["create", "get", "list", "delete", "result", "image", "chat"]
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
    still_plan: StillPlan = field(default_factory=StillPlan)
    still_plans: deque[StillPlan] = field(default_factory=deque)
    talk: Talk = field(default_factory=Talk)
    """How text is answered."""

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
    paints: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of the requests for images that were accepted."""
    chats: list[dict[str, Any]] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)
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
                Route(f"{API}/images/generations", self._guarded("image", self._image), methods=["POST"]),
                Route(f"{API}/chat/completions", self._guarded("chat", self._chat), methods=["POST"]),
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
        body = _object(request, body)
        model = self._model(body, self.models)
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

    def _model(self, body: Mapping[str, Any], known: Collection[str]) -> str:
        asked = body.get("model")
        if not isinstance(asked, str) or not asked:
            raise Refusal("MissingParameter", param="model")
        model = self.endpoints.get(asked, asked)
        if model not in known:
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
        here = f"{request.base_url}results/{job.id}"
        return record(job, self.models[job.model], self.clock(), here, early=self.tells_early)

    # --- images and text ---

    async def _image(self, request: Request, key: str, body: Any) -> Response:
        self._account(request, key)
        body = _object(request, body)
        model = self._model(body, STILLS)
        most = stills.check(body, STILLS[model])
        self.paints.append(body)
        plan = self.still_plans.popleft() if self.still_plans else self.still_plan

        def keep(data: bytes, form: str) -> str:
            name = f"img-{len(self.pictures):04d}-{secrets.token_hex(6)}"
            self.pictures[name] = data
            return f"{request.base_url}results/{name}.{form}?X-Tos-Expires=86400"

        told = stills.outcome(body, STILLS[model], most, plan, keep)
        if body.get("stream"):
            told_one_by_one = stills.events(model, told, plan, request.scope["reset"])
            return StreamingResponse(told_one_by_one, media_type="text/event-stream")
        if told and all("error" in one for one in told) and most == 1 and plan.ends == "error":
            raise Refusal(told[0]["error"]["code"], told[0]["error"]["message"])
        answer = {"model": model, "created": int(self.clock()), "data": told, "usage": stills.usage(told)}
        return JSONResponse(answer)

    async def _chat(self, request: Request, key: str, body: Any) -> Response:
        self._account(request, key)
        body = _object(request, body)
        model = self._model(body, self.talk.models)
        self.talk.check(body)
        self.chats.append(body)
        return self.talk.answer(model, body, request.scope["reset"])

    # --- results ---

    async def _result(self, request: Request, key: str, body: Any) -> Response:
        """A signed URL: it takes no key, and serves for a day."""
        name, _, kind = request.path_params["name"].partition(".")
        self.downloads.append(name)
        if name in self.pictures:
            return Response(self.pictures[name], media_type=f"image/{kind}")
        job = self.jobs.get(name)
        if job is None or job.plan.result == "gone":
            return Response(b"<Code>NoSuchKey</Code>", 404, media_type="application/xml")
        late = self.clock() - job.created_at > DAY + job.queued + job.running
        if late or request.query_params.get("X-Tos-Signature") != signature(job) or job.plan.result == "forbidden":
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
                return StreamingResponse(dripping(data, self.result_seconds), media_type="video/mp4")
            case "reset":
                return await _reset(request)
            case _:
                return Response(data, media_type="video/mp4")


def _object(request: Request, body: Any) -> dict[str, Any]:
    """A body, its nulls left out."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/json" or not isinstance(body, dict):
        raise invalid("", "the body must be JSON")
    return {name: value for name, value in body.items() if value is not None}


def _in_range(asked: Mapping[str, str], name: str, default: int) -> int:
    value = asked.get(name, str(default))
    if not value.isdecimal() or not 1 <= int(value) <= 500:
        raise invalid(name, "it must be between 1 and 500")
    return int(value)


async def _reset(request: Request) -> Response:
    request.scope["reset"]()
    await asyncio.sleep(0.02)  # until the server has noticed
    return Response()
