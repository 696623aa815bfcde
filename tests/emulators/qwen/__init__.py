"""chat.qwen.ai as its wire sheet of 2026-11-20 tells it, with the object storage behind it. Strict: it refuses what
the site refuses, in the site's words and shapes, which means with HTTP 200 almost always.

    site = QwenSite(tokens=("a", "b"))
    async with serve(site) as base_url: ...

What it shall say is put into `answers`, `task_script` and the like; what shall go wrong is put in with `fail`; what it
was asked is found in `requests`.
"""

import asyncio
import base64
import hashlib
import json
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tests.emulators.qwen.checks import CHAT_TYPES, MEDIA, VIDEO, checked
from tests.emulators.qwen.frames import frame, in_stream, paint, split, talk, turn_of
from tests.emulators.qwen.media import film, png
from tests.emulators.qwen.models import MODELS
from tests.emulators.qwen.records import Chat, Person, Recorded, Task
from tests.emulators.qwen.replies import Refuse, body_of, chat_of, file_of, need, ok, page, refusal, success, xml
from tests.emulators.qwen.script import Answer, Fault, Picture
from tests.emulators.qwen.storage import BUCKET, ENDPOINT, refused

__all__ = ["BUCKET", "Answer", "Fault", "Picture", "QwenSite", "jwt"]

CDN = "https://cdn.qwenlm.ai"


def jwt(name: str, expires: float | None = None) -> str:
    """A token shaped like the site's."""
    payload = {"id": name, "exp": int(expires or time.time() + 30 * 86400), "last_password_change": 1_700_000_000}
    parts = ({"alg": "HS256", "typ": "JWT"}, payload)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join((*encoded, base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()).decode().rstrip("=")))


class QwenSite:
    """The site; an ASGI app."""

    def __init__(self, tokens: tuple[str, ...] = (), *, generations: tuple[str, ...] = ("v1", "v2")) -> None:
        self.people: dict[str, Person] = {}
        for token in tokens:
            self.join(token)
        self.generations = set(generations)
        """Which of the doubled endpoints exist (status, STS, models)."""
        self.requests: list[Recorded] = []
        self.answers: deque[Answer] = deque()
        self.pictures: deque[Picture] = deque()
        self.task_script: list[Any] = ["pending", {"task_status": "running", "remaining_time": 60}, "success"]
        self.parse_script: list[str] = ["running", "success"]
        self.detail_as_list = False
        self.local_media = False
        """Name results on this server, where real ones can be fetched, and not on the site's CDN."""
        self.quota_hours: Any = 9
        self.models = MODELS
        self.objects: dict[str, tuple[bytes, str]] = {}
        """Stored files by path: bytes and content type."""
        self.most_at_once = 0
        self._running = 0
        self._faults: dict[str, deque[Fault]] = {}
        self._tickets: dict[str, dict[str, Any]] = {}
        self._results: dict[str, str] = {}
        self._app = Starlette(routes=self._routes())

    def join(self, token: str) -> Person:
        person = Person(f"person-{len(self.people) + 1}", token)
        self.people[token] = person
        return person

    def fail(self, operation: str, *faults: Fault) -> None:
        """The next calls of an operation go wrong, one fault a call.

        Operations: new, completions, status, sts, oss, parse, parse_status, models, chats, detail, delete.
        """
        self._faults.setdefault(operation, deque()).extend(faults)

    def asked(self, operation: str) -> list[Recorded]:
        return [request for request in self.requests if request.operation == operation]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cycle = getattr(receive, "__self__", None)  # uvicorn's own: the way to break a connection
        scope["cut"] = getattr(getattr(cycle, "transport", None), "abort", lambda: None)
        await self._app(scope, receive, send)

    def _routes(self) -> list[Route]:
        table: list[tuple[str, str, str, Callable[..., Any]]] = [
            ("GET", "/api/models", "models", self._models_v1),
            ("GET", "/api/v2/models/", "models", self._models_v2),
            ("POST", "/api/v2/chats/new", "new", self._new),
            ("GET", "/api/v2/chats/", "chats", self._chats),
            ("GET", "/api/v2/chats/{id}", "detail", self._detail),
            ("DELETE", "/api/v2/chats/{id}", "delete", self._delete),
            ("POST", "/api/v2/chat/completions", "completions", self._completions),
            ("GET", "/api/v1/tasks/status/{id}", "status", self._status_v1),
            ("GET", "/api/v2/task/status/{id}", "status", self._status_v2),
            ("POST", "/api/v1/files/getstsToken", "sts", self._sts_v1),
            ("POST", "/api/v2/files/getstsToken", "sts", self._sts_v2),
            ("POST", "/api/v2/files/parse", "parse", self._parse),
            ("POST", "/api/v2/files/parse/status", "parse_status", self._parse_status),
        ]
        routes = [Route(path, self._guarded(name, handle), methods=[method]) for method, path, name, handle in table]
        storage = Route(f"/{BUCKET}/{{key:path}}", self._storage, methods=["PUT", "GET"])
        return [*routes, storage, Route("/output/{path:path}", self._output), Route("/{path:path}", page)]

    # --- the border: recording, faults, accounts, envelopes ---

    def _guarded(self, operation: str, handle: Callable[..., Any]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            person = self._person(request)
            body = await body_of(request)
            self._record(operation, request, body, person)
            fault = self._fault(operation)
            if fault is not None and (answer := await at_once(fault, request)) is not None:
                return answer
            try:
                self._admit(operation, request, person)
                return await handle(request, person, body, fault)
            except Refuse as refused:
                return refusal(*refused.answer)

        return endpoint

    def _record(self, operation: str, request: Request, body: Any, person: Person | None) -> None:
        self.requests.append(
            Recorded(
                operation,
                request.method,
                request.url.path,
                dict(parse_qsl(request.url.query)),
                dict(request.headers),
                body,
                person.name if person else None,
            )
        )

    def _fault(self, operation: str) -> Fault | None:
        waiting = self._faults.get(operation)
        return waiting.popleft() if waiting else None

    def _person(self, request: Request) -> Person | None:
        return self.people.get(request.headers.get("authorization", "").removeprefix("Bearer "))

    def _admit(self, operation: str, request: Request, person: Person | None) -> None:
        if operation == "models":
            return
        if person is None:
            raise Refuse("Unauthorized", "Unauthorized")
        if person.expired and operation != "new":  # a new chat is made for a dead token too
            raise Refuse("Unauthorized", "Token has expired")
        if request.method == "POST" and not request.headers.get("version"):
            raise Refuse("Bad_Request", "Bad request")

    # --- models ---

    async def _models_v1(self, request: Request, person: Any, body: Any, fault: Any) -> Response:
        return ok({"data": self.models}) if "v1" in self.generations else await page(request)

    async def _models_v2(self, request: Request, person: Any, body: Any, fault: Any) -> Response:
        return success({"data": self.models}) if "v2" in self.generations else await page(request)

    # --- chats ---

    async def _new(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        need(isinstance(body.get("title"), str), "title is required")
        need(body.get("chat_mode") == "normal", "chat_mode is invalid")
        need(body.get("chat_type") in CHAT_TYPES, "chat_type is invalid")
        need(isinstance(stamp := body.get("timestamp"), int) and stamp > 10**12, "timestamp must be in milliseconds")
        models = body.get("models")
        need(isinstance(models, list) and len(models) == 1, "models is required")
        need(models[0] in self._ids(), "Model not found")
        chat = Chat(str(uuid.uuid4()))
        person.chats[chat.id] = chat
        return success({"id": chat.id})

    async def _chats(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        need(request.query_params.get("page", "").isdigit(), "page is required")
        return success([{"id": chat.id, "title": "New Chat"} for chat in person.chats.values()])

    async def _detail(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        chat = chat_of(person, request.path_params["id"])
        told: dict[str, Any] = {"messages": list(chat.messages.values())}
        if not self.detail_as_list:
            told = {"history": {"messages": chat.messages}}
        return success({"id": chat.id, "chat": told})

    async def _delete(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        person.chats.pop(chat_of(person, request.path_params["id"]).id)
        return success({"status": True})

    # --- completions ---

    async def _completions(self, request: Request, person: Person, body: Any, fault: Fault | None) -> Response:
        chat = chat_of(person, request.query_params.get("chat_id", ""))
        if chat.busy:
            raise Refuse("Bad_Request", "The chat is in progress!")
        message = checked(body, chat, person, self._ids(), self.objects)
        chat_type = message["chat_type"]
        if chat_type in VIDEO and f"token={person.token}" not in request.headers.get("cookie", ""):
            raise Refuse("Unauthorized", "Unauthorized")
        if chat_type in VIDEO:
            return self._create(request, person, chat, message, fault)
        answer = Answer()
        if chat_type in MEDIA:
            picture = self.pictures.popleft() if self.pictures else Picture()
            urls = [self._result(request, "t2i", "png") for _ in range(picture.count)]
            frames = paint(chat, message, picture, urls)
        else:
            answer = self.answers.popleft() if self.answers else answer
            frames = talk(chat, message, body, answer)
        chat.busy = True
        stream = self._pieces(request, chat, frames, answer, fault)
        headers = {"content-type": "text/event-stream;charset=UTF-8", **(fault.headers if fault else {})}
        return StreamingResponse(stream, headers=headers)

    async def _pieces(
        self, request: Request, chat: Chat, frames: list[Any], answer: Answer, fault: Fault | None
    ) -> AsyncIterator[bytes]:
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        try:
            for index, told in enumerate(frames):
                if fault is not None and index == fault.after:
                    if fault.kind == "in_stream":
                        yield frame(in_stream(fault))
                        return
                    if fault.kind == "cut_stream":
                        await asyncio.sleep(0.02)
                        request.scope["cut"]()
                        return
                    if fault.kind == "silent_stream":
                        await asyncio.sleep(3600)
                for piece in split(frame(told), answer.split):
                    yield piece
                    await asyncio.sleep(answer.pause)
            await asyncio.sleep(answer.linger)
        finally:
            chat.busy = False
            self._running -= 1

    # --- videos ---

    def _create(
        self, request: Request, person: Person, chat: Chat, message: dict[str, Any], fault: Fault | None
    ) -> Response:
        if person.videos_left <= 0:
            raise Refuse("RateLimited", "You've reached the upper limit for today's usage.", self.quota_hours)
        person.videos_left -= 1
        url = self._result(request, message["chat_type"], "mp4")
        task = Task(str(uuid.uuid4()), message["chat_type"], deque(self.task_script), url)
        person.tasks[task.id] = task
        turn = turn_of(chat, {})
        shown: dict[str, Any] = {
            "role": "assistant",
            "content": "",
            "done": False,
            "extra": {"wanx": {"task_id": task.id}},
        }
        kept = shown
        if fault is not None and fault.kind == "no_task_id":
            shown = {**shown, "extra": {"wanx": {}}}
            kept = shown if fault.details else kept
        turn.keep(message, "", kept)
        if fault is not None and fault.kind == "cut_after_create":
            request.scope["cut"]()
        return success({"chat_id": chat.id, "parent_id": None, "message_id": turn.id, "messages": [shown]})

    async def _status_v1(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        return ok(self._status(request, person)) if "v1" in self.generations else await page(request)

    async def _status_v2(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        return success(self._status(request, person)) if "v2" in self.generations else await page(request)

    def _status(self, request: Request, person: Person) -> dict[str, Any]:
        task = person.tasks.get(request.path_params["id"])
        if task is None:
            raise Refuse("Not_Found", "Task not found")
        step = task.script.popleft() if len(task.script) > 1 else task.script[0]
        told = {"task_status": step} if isinstance(step, str) else dict(step)
        done = told["task_status"] in ("success", "succeeded", "completed")
        rest = {"chat_type": task.chat_type, "message": "", "content": task.url if done else "", "remaining_time": ""}
        return {**rest, **told}

    # --- files ---

    async def _sts_v1(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        return ok(self._ticket(request, person, body)) if "v1" in self.generations else await page(request)

    async def _sts_v2(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        return success(self._ticket(request, person, body)) if "v2" in self.generations else await page(request)

    def _ticket(self, request: Request, person: Person, body: Any) -> dict[str, Any]:
        need(isinstance(body.get("filename"), str) and bool(body["filename"]), "filename is required")
        need(isinstance(body.get("filesize"), int) and body["filesize"] > 0, "filesize is required")
        need(body.get("filetype") in ("image", "video", "audio", "document", "file"), "filetype is invalid")
        file_id = str(uuid.uuid4())
        path = f"{person.name}/{file_id}_{body['filename']}"
        url = f"https://{BUCKET}.{ENDPOINT}/{path}?Expires={int(time.time()) + 300}&Signature={uuid.uuid4().hex}"
        person.files[file_id] = {"url": url, "path": path, "state": "new", "script": deque(self.parse_script)}
        ticket = {
            "access_key_id": f"STS.{uuid.uuid4().hex[:16]}",
            "access_key_secret": uuid.uuid4().hex,
            "security_token": base64.b64encode(uuid.uuid4().bytes * 4).decode(),
        }
        self._tickets[ticket["access_key_id"]] = {**ticket, "path": path, "size": body["filesize"]}
        place = {"file_url": url, "file_path": path, "file_id": file_id, "bucketname": BUCKET}
        return {**ticket, **place, "region": "oss-accelerate", "endpoint": ENDPOINT}

    async def _storage(self, request: Request) -> Response:
        """The object storage, buckets in the path: a PUT signed by version 1 with a ticket's secret and token."""
        data, key = await request.body(), request.path_params["key"]
        self._record("oss", request, data, None)
        fault = self._fault("oss")
        if fault is not None and (answer := await at_once(fault, request)) is not None:
            return answer
        if request.method == "GET":
            stored = self.objects.get(key)
            return Response(stored[0], media_type=stored[1]) if stored else xml(404, "NoSuchKey")
        if (answer := refused(request, key, data, self._tickets)) is not None:
            return answer
        self.objects[key] = (data, request.headers.get("content-type", ""))
        tag = hashlib.md5(data).hexdigest().upper()
        return Response(headers={"x-oss-request-id": uuid.uuid4().hex.upper(), "ETag": f'"{tag}"'})

    async def _parse(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        file = file_of(person, body.get("file_id"))
        file["state"] = "running"
        return success({"file_id": body["file_id"]})

    async def _parse_status(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        need(isinstance(body.get("file_id_list"), list) and bool(body["file_id_list"]), "file_id_list is required")
        told = []
        for file_id in body["file_id_list"]:
            file = file_of(person, file_id)
            if file["state"] == "running":
                file["state"] = file["script"].popleft() if len(file["script"]) > 1 else file["script"][0]
            told.append({"file_id": file_id, "status": file["state"]})
        return success(told)

    # --- results ---

    def _ids(self) -> set[str]:
        return {model["id"] for model in self.models}

    def _result(self, request: Request, kind: str, extension: str) -> str:
        path = f"{uuid.uuid4().hex}/{kind}/{uuid.uuid4().hex}.{extension}"
        base = str(request.base_url).rstrip("/") if self.local_media else CDN
        return f"{base}/output/{path}?key={uuid.uuid4().hex}"

    async def _output(self, request: Request) -> Response:
        """A result, where `local_media` is set: real bytes, whatever was asked for."""
        if request.path_params["path"].endswith(".mp4"):
            return Response(await asyncio.to_thread(film), media_type="video/mp4")
        return Response(png(), media_type="image/png")


async def at_once(fault: Fault, request: Request) -> Response | None:
    """The answer of a fault that comes before anything is looked at; None for one that comes later."""
    match fault.kind:
        case "api":
            answer = refusal(fault.code, fault.details, fault.num, fault.status, fault.actual)
            answer.headers.update(fault.headers)
            return answer
        case "raw":
            return Response(fault.body, fault.status, {"content-type": fault.content_type, **fault.headers})
        case "silence":
            await asyncio.sleep(3600)
        case "cut":
            request.scope["cut"]()
            return Response()
        case "slow":
            await asyncio.sleep(fault.seconds)
    return None
