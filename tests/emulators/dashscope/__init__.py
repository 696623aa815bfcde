"""Alibaba's Model Studio as its wire sheet of 2026-11-20 and its SDK tell it. As strict as the vendor.

    site = DashScopeSite(keys=(KEY,), queued_seconds=0.2, running_seconds=0.5)
    async with serve(site.app) as url:
        base_url = url

In a thread of its own (`served(site.app)`), tests may read and set everything from theirs. What becomes of what is
asked for is its `plan` (`plans`: one each), what goes wrong is put in with `fail` or the switches, and what was asked
for is in `requests`, `creates`, `polls`, `cancels`, `stored` and `downloads`.
"""

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.emulators import openai_answers as answers
from tests.emulators.dashscope import checks, models
from tests.emulators.dashscope.faults import NOT_AT_ONCE, NOT_BY_TASK, SAYS, Cut, Fault, Raw, Refusal, Slow, invalid
from tests.emulators.dashscope.jobs import DAY, ZONE, Create, Plan, Seen, Task, told_time
from tests.emulators.dashscope.media import image, painting, video, wav
from tests.emulators.dashscope.storage import Storage
from tests.emulators.openai_answers import Bent

__all__ = [
    "API", "KEY", "SAYS", "Bent", "Broken", "Cut", "DashScopeSite", "Plan", "Raw", "Refusal", "Slow", "image", "video",
]  # fmt: skip

API = "/api/v1"
DIALECT = "/compatible-mode/v1/chat/completions"
KEY = "sk-dashscope-emulator-0001"
REPLY = "The kite rises above the lake."
CHAT_FIELDS = frozenset(
    {
        "model", "messages", "stream", "stream_options", "temperature", "top_p", "max_tokens", "tools", "tool_choice",
        "response_format", "seed", "stop", "n", "presence_penalty", "enable_thinking", "thinking_budget",
        "enable_search", "top_k", "repetition_penalty", "parallel_tool_calls",
    }
)  # fmt: skip
STATUSES = ("PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED")
FILTERS = {"start_time", "end_time", "model_name", "status", "api_key_id", "region", "page_no", "page_size"}
Handler = Callable[[Request, str, Any], Awaitable[Response]]


@dataclass(frozen=True)
class Broken:
    """A stream that stops after so many events: by an RST, or by something that is no JSON."""

    after: int
    garbage: bytes = b""


@dataclass
class DashScopeSite:
    """Give `site.app` to `serve`; its accounts are reached at that host."""

    keys: Iterable[str] | Mapping[str, str] = (KEY,)
    """Keys, each an account of its own, or the account of each."""
    clock: Callable[[], float] = time.time
    queued_seconds: float = 0.2
    running_seconds: float = 0.5
    closed: set[str] = field(default_factory=set)
    """Models that were never activated."""
    workspaces: Mapping[str, str] = field(default_factory=dict)
    """The workspace that requests of an account must name, if any."""
    text: str = REPLY

    plan: Plan = field(default_factory=Plan)
    plans: deque[Plan] = field(default_factory=deque)
    lose_create_replies: int = 0
    """So many creates from now on are done, and their replies lost."""

    requests: list[Seen] = field(default_factory=list)
    creates: list[Create] = field(default_factory=list)
    polls: list[str] = field(default_factory=list)
    lists: list[Mapping[str, str]] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    downloads: list[str] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keys = self.keys
        self.accounts = dict(keys) if isinstance(keys, Mapping) else {key: f"account of {key}" for key in keys}
        self._faults: dict[str, deque[Any]] = {}
        self._plans_of: dict[str, Plan] = {}
        self.stored = Storage()
        self.app = Starlette(
            routes=[
                Route(DIALECT, self._guarded("chat", self._chat), methods=["POST"]),
                Route(f"{API}/services/{{path:path}}", self._guarded("create", self._create), methods=["POST"]),
                Route(f"{API}/tasks", self._guarded("list", self._list), methods=["GET"]),
                Route(f"{API}/tasks/{{id}}", self._guarded("get", self._get), methods=["GET"]),
                Route(f"{API}/tasks/{{id}}/cancel", self._guarded("cancel", self._cancel), methods=["POST"]),
                Route(f"{API}/uploads", self._guarded("policy", self._policy), methods=["GET"]),
                Route("/bucket", self._guarded("store", self._store), methods=["POST"]),
                Route("/results/{name}", self._guarded("result", self._result), methods=["GET"]),
            ]
        )

    # --- for tests ---

    def fail(self, operation: str, *faults: Any) -> None:
        """The next calls of an operation go wrong, one fault a call; None lets one through."""
        self._faults.setdefault(operation, deque()).extend(faults)

    def hold(self, status: str | None) -> None:
        """All tasks keep a status, whatever the time; None lets them go."""
        for task in self.tasks.values():
            task.held = status

    def forget(self, *names: str) -> None:
        for name in names:
            self.tasks[name].forgotten = True

    def seen(self, operation: str) -> list[Seen]:
        return [one for one in self.requests if one.operation == operation]

    # --- the border ---

    def _guarded(self, operation: str, handle: Handler) -> Callable[..., Any]:
        async def endpoint(request: Request) -> Response:
            fault = self._fault(operation)
            if isinstance(fault, Slow):
                await asyncio.sleep(fault.seconds)
            if isinstance(fault, Raw):
                self._write_down(operation, request, await request.body())
                return Response(fault.body, fault.status, fault.headers, fault.mime)
            if fault == Cut():
                self._write_down(operation, request, b"")
                return await _reset(request)
            try:
                key, body = self._write_down(operation, request, b"" if operation == "store" else await request.body())
                if isinstance(fault, Refusal):
                    raise fault
                request.state.fault = fault
                answer = await handle(request, key, body)
            except Refusal as refusal:
                answer = refusal.response(dialect=operation == "chat")
            except answers.Refused as refused:
                answer = Response(refused.reply.body, refused.reply.status, media_type="application/json")
            if fault == Cut(done=True):
                return await _reset(request)
            return answer

        return endpoint

    def _fault(self, operation: str) -> Fault | Bent | Broken | None:
        if waiting := self._faults.get(operation):
            found: Fault | Bent | Broken | None = waiting.popleft()
            return found
        if operation == "create" and self.lose_create_replies > 0:
            self.lose_create_replies -= 1
            return Cut(done=True)
        return None

    def _write_down(self, operation: str, request: Request, content: bytes) -> tuple[str, Any]:
        body: Any = None
        if content:
            try:
                body = json.loads(content)
            except ValueError:
                body = content
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        self.requests.append(Seen(operation, key, dict(request.query_params), body, dict(request.headers)))
        return key, body

    def _account(self, request: Request, key: str) -> str:
        scheme = request.headers.get("authorization", "").partition(" ")[0]
        if scheme != "Bearer" or key not in self.accounts:
            raise Refusal("invalid_api_key" if request.url.path == DIALECT else "InvalidApiKey")
        account = self.accounts[key]
        if self.workspaces.get(account, "") != request.headers.get("x-dashscope-workspace", ""):
            raise Refusal("AccessDenied", "Workspace access denied.")
        return account

    def _body(self, request: Request, body: Any) -> dict[str, Any]:
        if request.headers.get("content-type", "").partition(";")[0] != "application/json" or not isinstance(
            body, dict
        ):
            raise invalid("body", "it must be JSON")
        return body

    def _open(self, model: Any, missing: str) -> str:
        known = {*models.FILMS, *models.STILLS, *models.SPEECHES, *models.TEXTS, *models.STREAMED}
        if not isinstance(model, str) or model not in known:
            raise Refusal(missing)
        if model in self.closed:
            raise Refusal("AccessDenied.Unpurchased")
        return model

    # --- text ---

    async def _chat(self, request: Request, key: str, body: Any) -> Response:
        self._account(request, key)
        body = self._body(request, body)
        model = self._open(body.get("model"), "model_not_found")
        if model not in (*models.TEXTS, *models.STREAMED):
            raise Refusal("invalid_parameter_error", "the model does not support the chat API.", status=400)
        answers.check_chat(body, CHAT_FIELDS)
        if "forbidden" in json.dumps(body["messages"]):
            raise Refusal("data_inspection_failed")
        thinks = model in models.STREAMED and body.get("enable_thinking", True)
        if not body.get("stream"):
            if thinks:
                said = "parameter.enable_thinking must be set to false for non-streaming calls"
                raise Refusal("invalid_parameter_error", said, status=400)
            return JSONResponse(answers.completion(model, body, self.text))
        events = list(answers.chunks(model, body, self.text))
        if thinks:
            thought = {"choices": [{"index": 0, "delta": {"reasoning_content": "Hm. "}, "finish_reason": None}]}
            events.insert(1, {**events[0], **thought})
        return StreamingResponse(self._sending(request, events), media_type="text/event-stream")

    async def _sending(self, request: Request, events: list[dict[str, Any]]) -> AsyncIterator[bytes]:
        fault = request.state.fault
        for at, piece in enumerate(answers.pieces(events, fault if isinstance(fault, Bent) else Bent())):
            if isinstance(fault, Broken) and at == fault.after:
                await asyncio.sleep(0.02)  # what was written first must be out before the cut
                if fault.garbage:
                    yield fault.garbage
                    return
                request.scope["reset"]()
                await asyncio.sleep(5)
            yield piece
            await asyncio.sleep(0)

    # --- creates ---

    async def _create(self, request: Request, key: str, body: Any) -> Response:
        account, body = self._account(request, key), self._body(request, body)
        path, by_task = request.path_params["path"], request.headers.get("x-dashscope-async") == "enable"
        if path not in (models.VIDEO, models.FRAMES, models.ANSWERED, models.TASKED, models.DRAWN, models.EDITED):
            raise Refusal("InvalidParameter", "url error, please check url!")
        if by_task == (path == models.ANSWERED):
            raise Refusal("AccessDenied", NOT_BY_TASK if by_task else NOT_AT_ONCE)
        model = self._open(body.get("model"), "Model.NotExist")
        self._check(request, account, path, model, body)
        if path != models.ANSWERED:
            task = self._task(account, path, model, body)
            self.creates.append(Create(key, path, body, dict(request.headers), task.id))
            told = {"task_id": task.id, "task_status": "PENDING"}
            return JSONResponse({"output": told, "request_id": secrets.token_hex(16)})
        self.creates.append(Create(key, path, body, dict(request.headers)))
        return self._answered(request, model, body)

    def _check(self, request: Request, account: str, path: str, model: str, body: dict[str, Any]) -> None:
        opened = request.headers.get("x-dashscope-ossresourceresolve") == "enable"

        def resolve(url: str) -> None:
            if not opened:
                raise Refusal("InvalidParameter", f"input url {url} needs X-DashScope-OssResourceResolve")
            checks.looked_at("input", self.stored.read(url, account, model))

        film, still = models.FILMS.get(model), models.STILLS.get(model)
        if film and film.path == path:
            checks.film(body, film, resolve)
        elif still and (still.path == path or (still.tasks and path == models.TASKED)):
            checks.still(body, still, resolve, messages=path in (models.ANSWERED, models.TASKED))
        elif path == models.ANSWERED and model in models.SPEECHES:
            checks.speech(body, models.SPEECHES[model])
        else:
            raise Refusal("InvalidParameter", "url error, please check url!")

    def _task(self, account: str, path: str, model: str, body: dict[str, Any]) -> Task:
        plan = self.plans.popleft() if self.plans else self.plan
        still = models.STILLS.get(model)
        task = Task(
            id=f"{secrets.token_hex(4)}-{secrets.token_hex(8)}",
            account=account,
            body=body,
            model=model,
            family="still" if still else "film",
            created_at=self.clock(),
            plan=plan,
            queued=self.queued_seconds if plan.queued is None else plan.queued,
            running=self.running_seconds if plan.running is None else plan.running,
            messages=path == models.TASKED,
            count=body.get("parameters", {}).get("n", still.usual) if still else 1,
        )
        self.tasks[task.id] = task
        return task

    def _answered(self, request: Request, model: str, body: dict[str, Any]) -> Response:
        plan = self.plans.popleft() if self.plans else self.plan
        request_id = secrets.token_hex(16)
        if plan.ends == "FAILED":
            raise Refusal(*plan.error)
        if model in models.SPEECHES:
            url = "" if plan.result == "none" else self._url(request, request_id, "wav", plan)
            audio = {"data": "", "url": url, "id": f"audio_{request_id}", "expires_at": int(self.clock() + DAY)}
            usage = {"characters": len(body["input"]["text"])}
            if model == "qwen-tts":
                usage = {"input_tokens": 11, "output_tokens": 97, "total_tokens": 108}
            told = {"output": {"finish_reason": "stop", "audio": audio}, "usage": usage, "request_id": request_id}
            return JSONResponse(told)
        count = body.get("parameters", {}).get("n", models.STILLS[model].usual)
        choices = self._choices(request, request_id, count, plan)
        usage = {"image_count": len(choices), "width": 1328, "height": 1328}
        return JSONResponse({"output": {"choices": choices}, "usage": usage, "request_id": request_id})

    def _choices(self, request: Request, name: str, count: int, plan: Plan) -> list[dict[str, Any]]:
        if plan.result == "none":
            return []
        urls = [
            self._url(request, f"{name}_{at}", "png", plan) for at in range(count) if at not in (plan.missing or {})
        ]
        return [
            {"finish_reason": "stop", "message": {"role": "assistant", "content": [{"image": url}]}} for url in urls
        ]

    # --- tasks ---

    async def _get(self, request: Request, key: str, body: Any) -> Response:
        account, name = self._account(request, key), request.path_params["id"]
        self.polls.append(name)
        task, request_id = self.tasks.get(name), secrets.token_hex(16)
        if task is None or task.account != account or task.status(self.clock()) == "UNKNOWN":
            return JSONResponse({"output": {"task_id": name, "task_status": "UNKNOWN"}, "request_id": request_id})
        return JSONResponse({"request_id": request_id, **self._record(request, task)})

    def _record(self, request: Request, task: Task) -> dict[str, Any]:
        now, status = self.clock(), task.status(self.clock())
        told: dict[str, Any] = {
            "task_id": task.id,
            "task_status": status,
            "submit_time": told_time(task.created_at),
        }
        if status not in ("PENDING", "CANCELED"):
            told["scheduled_time"] = told_time(task.created_at + task.queued)
        if status in ("SUCCEEDED", "FAILED"):
            told["end_time"] = told_time(min(now, task.created_at + task.queued + task.running))
        if status == "FAILED":
            told |= dict(zip(("code", "message"), task.plan.error, strict=True))
        lost = len(task.plan.missing or {}) if status == "SUCCEEDED" else 0
        done = task.count - lost if status == "SUCCEEDED" else 0
        if task.family == "still" and not task.messages:
            told["task_metrics"] = {"TOTAL": task.count, "SUCCEEDED": done, "FAILED": lost}
        if status != "SUCCEEDED":
            return {"output": told}
        return self._finished(request, task, told, done)

    def _finished(self, request: Request, task: Task, told: dict[str, Any], done: int) -> dict[str, Any]:
        if task.family == "film":
            seconds = task.body.get("parameters", {}).get("duration", 5)
            told |= {"orig_prompt": task.body["input"].get("prompt", ""), "actual_prompt": "A longer prompt."}
            if task.plan.result != "none":
                told["video_url"] = self._url(request, task.id, "mp4", task.plan)
            usage = {"duration": seconds, "video_count": 1, "SR": 720, "output_video_duration": seconds}
            return {"output": told, "usage": usage}
        if task.messages:
            told["choices"] = self._choices(request, task.id, task.count, task.plan)
        elif task.plan.result != "none":
            told["results"] = [self._result_of(request, task, at) for at in range(task.count)]
        return {"output": told, "usage": {"image_count": done}}

    def _result_of(self, request: Request, task: Task, at: int) -> dict[str, str]:
        if why := (task.plan.missing or {}).get(at):
            return {"code": why[0], "message": why[1]}
        return {
            "orig_prompt": task.body["input"]["prompt"],
            "url": self._url(request, f"{task.id}_{at}", "png", task.plan),
        }

    async def _list(self, request: Request, key: str, body: Any) -> Response:
        account, asked = self._account(request, key), dict(request.query_params)
        self.lists.append(asked)
        if unknown := set(asked) - FILTERS:
            raise invalid(sorted(unknown)[0], "it is unknown")
        number, size = int(asked.get("page_no", 1)), int(asked.get("page_size", 10))
        if not 1 <= size <= 100 or number < 1 or asked.get("status", "PENDING") not in STATUSES:
            raise invalid("page_size", "it is out of range")
        found = [task for task in self.tasks.values() if task.account == account and self._listed(task, asked)]
        found.sort(key=lambda task: -task.created_at)
        shown = [
            {"task_id": task.id, "task_status": task.status(self.clock()), "model_name": task.model,
             "submit_time": told_time(task.created_at)}
            for task in found[(number - 1) * size : number * size]
        ]  # fmt: skip
        told = {"page_no": number, "page_size": size, "total": len(found), "tasks": shown}
        return JSONResponse({"request_id": secrets.token_hex(16), **told})

    def _listed(self, task: Task, asked: Mapping[str, str]) -> bool:
        made = time.strftime("%Y%m%d%H%M%S", time.gmtime(task.created_at + ZONE.utcoffset(None).total_seconds()))
        status = task.status(self.clock())
        return (
            status != "UNKNOWN"
            and asked.get("model_name", task.model) == task.model
            and asked.get("status", status) == status
            and asked.get("start_time", made) <= made <= asked.get("end_time", made)
        )

    async def _cancel(self, request: Request, key: str, body: Any) -> Response:
        account = self._account(request, key)
        task = self.tasks.get(request.path_params["id"])
        self.cancels.append(request.path_params["id"])
        if task is None or task.account != account or task.status(self.clock()) != "PENDING":
            raise Refusal("UnsupportedOperation")
        task.cancelled_at = self.clock()
        return JSONResponse({"request_id": secrets.token_hex(16)})

    # --- files ---

    async def _policy(self, request: Request, key: str, body: Any) -> Response:
        account, asked = self._account(request, key), request.query_params
        if asked.get("action") != "getPolicy":
            raise invalid("action", "it must be getPolicy")
        granted = self.stored.grant(account, self._open(asked.get("model"), "Model.NotExist"), str(request.base_url))
        return JSONResponse({"data": granted, "request_id": secrets.token_hex(16)})

    async def _store(self, request: Request, key: str, body: Any) -> Response:
        """What the vendor's object storage would: the key of an account has no business here."""
        if "authorization" in request.headers:
            return Response(b"<Error><Code>InvalidArgument</Code></Error>", 400, media_type="application/xml")
        async with request.form() as form:
            code = await self.stored.take(form.multi_items())
        if code:
            said = f"<Error><Code>{code}</Code><OSSAccessKeyId>{self.stored.KEY_ID}</OSSAccessKeyId></Error>"
            return Response(said.encode(), 403, media_type="application/xml")
        return Response(b"", 200)

    # --- results ---

    def _url(self, request: Request, name: str, extension: str, plan: Plan) -> str:
        self._plans_of[name] = plan
        return f"{request.base_url}results/{name}.{extension}?Expires={int(self.clock() + DAY)}&Signature={_sign(name)}"

    async def _result(self, request: Request, key: str, body: Any) -> Response:
        """A signed URL: it takes no key, and serves for a day."""
        name, _, extension = request.path_params["name"].partition(".")
        self.downloads.append(name)
        plan = self._plans_of.get(name, Plan(result="gone"))
        if plan.result == "gone":
            return Response(b"<Code>NoSuchKey</Code>", 404, media_type="application/xml")
        late = self.clock() > int(request.query_params.get("Expires", "0"))
        if late or request.query_params.get("Signature") != _sign(name) or plan.result == "forbidden":
            return Response(b"<Code>AccessDenied</Code>", 403, media_type="application/xml")
        data, mime = {
            "mp4": (lambda: video(name), "video/mp4"),
            "png": (painting, "image/png"),
            "wav": (wav, "audio/x-wav"),
        }[extension]
        whole: bytes = data()
        broken = {"text": b"no media at all", "truncated": whole[: len(whole) // 2]}
        return Response(broken.get(plan.result, whole), media_type=mime)


def _sign(name: str) -> str:
    return f"s{name[-6:]}"


async def _reset(request: Request) -> Response:
    request.scope["reset"]()
    await asyncio.sleep(0.02)  # until the server has noticed
    return Response()
