"""chat.qwen.ai as its wire sheet of 2026-11-20 tells it, with the object storage behind it. Strict: it refuses what
the site refuses, in the site's words and shapes, which means with HTTP 200 almost always.

    site = QwenSite(tokens=("a", "b"))
    async with serve(site) as base_url: ...

What it shall say is put into `answers`, `task_script` and the like; what shall go wrong is put in with `fail`; what it
was asked is found in `requests`.
"""

import asyncio
import base64
import email.utils
import hashlib
import hmac
import io
import json
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

RATIOS = {"1:1": (2048, 2048), "3:4": (1536, 2048), "4:3": (2048, 1536), "16:9": (2688, 1536), "9:16": (1536, 2688)}
CHAT_TYPES = {"t2t", "search", "t2i", "image_edit", "t2v", "i2v", "deep_research", "web_dev", "artifacts"}
MEDIA = {"t2i", "image_edit", "t2v", "i2v"}
VIDEO = {"t2v", "i2v"}
MAX_CONTENT = 131_072
BUCKET = "qwen-webui-prod"
ENDPOINT = "oss-accelerate.aliyuncs.com"
CDN = "https://cdn.qwenlm.ai"
HTML = "<!doctype html><html><head><title>Qwen</title></head><body><div id='root'></div></body></html>"


def jwt(name: str, expires: float | None = None) -> str:
    """A token shaped like the site's."""
    payload = {"id": name, "exp": int(expires or time.time() + 30 * 86400), "last_password_change": 1_700_000_000}
    parts = ({"alg": "HS256", "typ": "JWT"}, payload)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join((*encoded, base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()).decode().rstrip("=")))


# --- what it shall do ---


@dataclass
class Answer:
    """What the site says to a t2t turn."""

    text: str = "Hello from the site."
    think: str = ""
    """Detailed thoughts; told where the turn asked for thinking, in the format it asked for."""
    titles: tuple[str, ...] = ("Thinking",)
    pieces: int = 4
    """How many deltas the text comes in."""
    cumulative: bool = False
    """Ignore `incremental_output` and send all of the text each time."""
    usage: dict[str, Any] = field(default_factory=lambda: {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18})
    finished: bool = True
    done: str = ""
    """A last line: `[DONE]` or `completed`."""
    phaseless: bool = False
    split: int = 0
    """Send the stream in pieces of so many bytes; 0: a frame at once."""
    pause: float = 0.0
    """Seconds between two frames."""
    linger: float = 0.0
    """Seconds for which the stream stays open after its end."""


@dataclass
class Picture:
    """What the site says to a t2i or image_edit turn."""

    count: int = 1
    phase: str | None = "image_gen"
    pieces: int = 3
    """Deltas that the glued URLs are cut into."""
    keep_alives: int = 2
    echo: bool = False
    """Name the first input before the result."""
    words: str = ""
    """Words in the phase `answer`, after the images."""
    listed: bool = False
    """Name the images in `extra.image_list` and not in the content."""
    lost: bool = False
    """The stream names no image; the conversation does."""


@dataclass
class Fault:
    """Something that goes wrong once."""

    kind: str
    code: str = ""
    details: str = ""
    num: Any = None
    status: int = 200
    actual: int | None = None
    shape: str = "data"
    """How a failure within a stream looks: `data`, `text` or `object`."""
    after: int = 0
    """How many data frames of the stream come before it."""
    seconds: float = 0.0
    body: bytes = b""
    content_type: str = "application/json"

    @classmethod
    def html(cls, status: int = 200) -> "Fault":
        return cls("raw", body=HTML.encode(), content_type="text/html; charset=utf-8", status=status)

    @classmethod
    def raw(cls, body: bytes, content_type: str = "application/json", status: int = 200) -> "Fault":
        return cls("raw", body=body, content_type=content_type, status=status)

    @classmethod
    def api(
        cls, code: str, details: str = "", num: Any = None, status: int = 200, actual: int | None = None
    ) -> "Fault":
        return cls("api", code, details, num, status, actual)

    @classmethod
    def rate_limited(cls, hours: Any = None) -> "Fault":
        return cls.api("RateLimited", "You've reached the upper limit for today's usage.", hours)

    @classmethod
    def throttled(cls) -> "Fault":
        return cls.api("Throttled", "Allocated quota exceeded, please increase your quota limit.", status=429)

    @classmethod
    def in_stream(cls, code: str, details: str, shape: str = "data", after: int = 0) -> "Fault":
        return cls("in_stream", code, details, shape=shape, after=after)

    @classmethod
    def cut(cls, after: int | None = None) -> "Fault":
        """The connection breaks: before an answer or, with `after`, so many frames into a stream."""
        return cls("cut") if after is None else cls("cut_stream", after=after)

    @classmethod
    def silence(cls, after: int | None = None) -> "Fault":
        return cls("silence") if after is None else cls("silent_stream", after=after)

    @classmethod
    def slow(cls, seconds: float) -> "Fault":
        return cls("slow", seconds=seconds)

    @classmethod
    def no_task_id(cls, *, in_chat: bool = True) -> "Fault":
        """The answer to a create names no task; the conversation does, or not."""
        return cls("no_task_id", details="" if in_chat else "nowhere")

    @classmethod
    def cut_after_create(cls) -> "Fault":
        """The task is made, and the connection breaks before anybody hears of it."""
        return cls("cut_after_create")


# --- what it keeps ---


@dataclass
class Recorded:
    """A request as it came."""

    operation: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    """Decoded JSON, or bytes."""
    account: str | None


@dataclass
class Chat:
    id: str
    responses: list[str] = field(default_factory=list)
    """Ids of its answers: what a next turn may name as its parent."""
    busy: bool = False
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class Task:
    id: str
    chat_type: str
    script: deque[Any]
    url: str


@dataclass
class Person:
    """An account."""

    name: str
    token: str
    chats: dict[str, Chat] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    videos_left: int = 3
    expired: bool = False


class _Refuse(Exception):
    def __init__(self, code: str, details: str = "", num: Any = None) -> None:
        super().__init__(code)
        self.answer = code, details, num


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
        self.models = _MODELS
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
        return [*routes, storage, Route("/output/{path:path}", self._output), Route("/{path:path}", _page)]

    # --- the border: recording, faults, accounts, envelopes ---

    def _guarded(self, operation: str, handle: Callable[..., Any]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            person = self._person(request)
            body = await _body(request)
            self._record(operation, request, body, person)
            fault = self._fault(operation)
            if fault is not None and (answer := await _at_once(fault, request)) is not None:
                return answer
            try:
                self._admit(operation, request, person)
                return await handle(request, person, body, fault)
            except _Refuse as refused:
                return _refusal(*refused.answer)

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
            raise _Refuse("Unauthorized", "Unauthorized")
        if person.expired and operation != "new":  # a new chat is made for a dead token too
            raise _Refuse("Unauthorized", "Token has expired")
        if request.method == "POST" and not request.headers.get("version"):
            raise _Refuse("Bad_Request", "Bad request")

    # --- models ---

    async def _models_v1(self, request: Request, person: Any, body: Any, fault: Any) -> Response:
        return _ok({"data": self.models}) if "v1" in self.generations else await _page(request)

    async def _models_v2(self, request: Request, person: Any, body: Any, fault: Any) -> Response:
        return _success({"data": self.models}) if "v2" in self.generations else await _page(request)

    # --- chats ---

    async def _new(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        _need(isinstance(body.get("title"), str), "title is required")
        _need(body.get("chat_mode") == "normal", "chat_mode is invalid")
        _need(body.get("chat_type") in CHAT_TYPES, "chat_type is invalid")
        _need(isinstance(stamp := body.get("timestamp"), int) and stamp > 10**12, "timestamp must be in milliseconds")
        models = body.get("models")
        _need(isinstance(models, list) and len(models) == 1, "models is required")
        _need(models[0] in self._ids(), "Model not found")
        chat = Chat(str(uuid.uuid4()))
        person.chats[chat.id] = chat
        return _success({"id": chat.id})

    async def _chats(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        _need(request.query_params.get("page", "").isdigit(), "page is required")
        return _success([{"id": chat.id, "title": "New Chat"} for chat in person.chats.values()])

    async def _detail(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        chat = _chat(person, request.path_params["id"])
        told: dict[str, Any] = {"messages": list(chat.messages.values())}
        if not self.detail_as_list:
            told = {"history": {"messages": chat.messages}}
        return _success({"id": chat.id, "chat": told})

    async def _delete(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        person.chats.pop(_chat(person, request.path_params["id"]).id)
        return _success({"status": True})

    # --- completions ---

    async def _completions(self, request: Request, person: Person, body: Any, fault: Fault | None) -> Response:
        chat = _chat(person, request.query_params.get("chat_id", ""))
        if chat.busy:
            raise _Refuse("Bad_Request", "The chat is in progress!")
        message = self._checked(body, chat, person)
        chat_type = message["chat_type"]
        if chat_type in VIDEO and f"token={person.token}" not in request.headers.get("cookie", ""):
            raise _Refuse("Unauthorized", "Unauthorized")
        if chat_type in VIDEO:
            return self._create(request, person, chat, message, fault)
        frames = self._picture(request, chat, message) if chat_type in MEDIA else self._talk(chat, message, body)
        chat.busy = True
        stream = self._pieces(request, chat, frames, fault)
        return StreamingResponse(stream, headers={"content-type": "text/event-stream;charset=UTF-8"})

    def _checked(self, body: Any, chat: Chat, person: Person) -> dict[str, Any]:
        """The one message of a turn that the site accepts."""
        messages = body.get("messages")
        _need(isinstance(messages, list) and len(messages) == 1, "messages must hold exactly one message")
        message = messages[0]
        kind = message.get("chat_type")
        meta = message.get("extra", {}).get("meta", {})
        _need(body.get("chat_id") == chat.id, "chat_id does not match")
        _need(body.get("chat_mode") == "normal", "chat_mode is invalid")
        _need(body.get("model") in self._ids(), "Model not found")
        _need(message.get("models") == [body["model"]], "models does not match")
        _need(kind in CHAT_TYPES, "chat_type is invalid")
        _need(message.get("sub_chat_type") == kind and meta.get("subChatType") == kind, "sub_chat_type does not match")
        _need(body.get("stream") is (kind not in VIDEO), "stream is invalid for this chat_type")
        _need(_seconds(body.get("timestamp")) and _seconds(message.get("timestamp")), "timestamp must be in seconds")
        parent = body.get("parent_id", "")
        _need(parent in chat.responses if chat.responses else parent is None, "parent_id is invalid")
        _need(message.get("parent_id") == message.get("parentId") == parent, "parentId is invalid")
        _need(message.get("role") == "user" and message.get("user_action") == "chat", "message is invalid")
        _need(bool(message.get("fid")) and message.get("childrenIds") == [], "fid is required")
        _need(isinstance(message.get("content"), str), "content must be a string")
        _need(len(message["content"]) <= MAX_CONTENT, "content is too long: at most 131072 characters")
        _need(isinstance(message.get("feature_config"), dict), "feature_config is required")
        _need(message["feature_config"].get("thinking_budget", 1) < 38912, "thinking_budget is out of range")
        _need(body.get("size") == meta.get("size"), "size does not match")
        _need(kind not in MEDIA or body.get("size") in RATIOS, "size is invalid")
        _need(kind not in ("image_edit", "i2v") or bool(message.get("files")), "files is required")
        for file in message.get("files", ()):
            self._check_file(file, person)
        return message

    def _check_file(self, file: dict[str, Any], person: Person) -> None:
        shape = ("type", "name", "file_type", "showType", "file_class", "url")
        if not all(isinstance(file.get(name), str) for name in shape) or file.get("status") != "uploaded":
            raise _Refuse("invalid_input", "The file is invalid")
        if "id" not in file:
            if file["type"] != "image" or not file["url"].startswith("https://"):
                raise _Refuse("invalid_input", "The input url is invalid")
            return
        known = person.files.get(file["id"])
        if known is None:
            raise _Refuse("Not_Found", "File not found")
        if known["url"] != file["url"] or known["path"] not in self.objects:
            raise _Refuse("invalid_input", "The input file was not uploaded")
        if file["type"] == "file" and known["state"] != "success":
            raise _Refuse("invalid_input", "The input file was not parsed")

    def _talk(self, chat: Chat, message: dict[str, Any], body: Any) -> tuple[list[Any], Answer]:
        answer = self.answers.popleft() if self.answers else Answer()
        config = message["feature_config"]
        turn = _turn_of(chat, answer.usage)
        phases = config.get("output_schema") == "phase" and not answer.phaseless
        whole = answer.cumulative or not body.get("incremental_output")
        frames = [turn.created(), turn.alive()]
        if answer.think and config.get("thinking_enabled"):
            if config.get("thinking_format") == "summary":
                frames += turn.summary(answer)
            else:
                frames += turn.told("think" if phases else None, answer.think, answer.pieces, whole)
                frames.append(turn.delta("think" if phases else None, "", "finished") if phases else turn.alive())
        phase = "answer" if phases else None
        frames += turn.told(phase, answer.text, answer.pieces, whole)
        if answer.finished:
            frames.append(turn.delta(phase, "", "finished"))
        if answer.done:
            frames.append("[DONE]" if answer.done == "[DONE]" else {"response.completed": {"response_id": turn.id}})
        turn.keep(message, answer.text)
        return frames, answer

    def _picture(self, request: Request, chat: Chat, message: dict[str, Any]) -> tuple[list[Any], Answer]:
        picture = self.pictures.popleft() if self.pictures else Picture()
        width, height = RATIOS[message["extra"]["meta"]["size"]]
        urls = [self._result(request, "t2i", "png") for _ in range(picture.count)]
        glued = "".join([*(file["url"] for file in message["files"] if picture.echo), *urls])
        turn = _turn_of(
            chat, {"input_tokens": 0, "output_tokens": 0, "width": width, "height": height, "image_count": len(urls)}
        )
        frames = [turn.created(), *([turn.alive()] * picture.keep_alives)]
        extra: dict[str, Any] = {"output_image_hw": [[height, width]] * len(urls)}
        if picture.listed:
            extra["image_list"] = [{"image": url} for url in urls]
            frames.append(turn.delta(picture.phase, "", "typing", extra))
        elif not picture.lost:
            frames += turn.told(picture.phase, glued, picture.pieces, False)
        frames.append(turn.delta(picture.phase, "", "finished", extra))
        if picture.words:
            frames += turn.told("answer", picture.words, 1, False)
        if picture.phase is not None:
            frames.append(turn.delta("answer", "", "finished"))
        turn.keep(message, glued)
        return frames, Answer()

    async def _pieces(
        self, request: Request, chat: Chat, told: tuple[list[Any], Answer], fault: Fault | None
    ) -> AsyncIterator[bytes]:
        frames, answer = told
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        try:
            for index, frame in enumerate(frames):
                if fault is not None and index == fault.after:
                    if fault.kind == "in_stream":
                        yield _frame(_in_stream(fault))
                        return
                    if fault.kind == "cut_stream":
                        await asyncio.sleep(0.02)
                        request.scope["cut"]()
                        return
                    if fault.kind == "silent_stream":
                        await asyncio.sleep(3600)
                for piece in _split(_frame(frame), answer.split):
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
            raise _Refuse("RateLimited", "You've reached the upper limit for today's usage.", self.quota_hours)
        person.videos_left -= 1
        url = self._result(request, message["chat_type"], "mp4")
        task = Task(str(uuid.uuid4()), message["chat_type"], deque(self.task_script), url)
        person.tasks[task.id] = task
        turn = _turn_of(chat, {})
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
        return _success({"chat_id": chat.id, "parent_id": None, "message_id": turn.id, "messages": [shown]})

    async def _status_v1(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        return _ok(self._status(request, person)) if "v1" in self.generations else await _page(request)

    async def _status_v2(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        return _success(self._status(request, person)) if "v2" in self.generations else await _page(request)

    def _status(self, request: Request, person: Person) -> dict[str, Any]:
        task = person.tasks.get(request.path_params["id"])
        if task is None:
            raise _Refuse("Not_Found", "Task not found")
        step = task.script.popleft() if len(task.script) > 1 else task.script[0]
        told = {"task_status": step} if isinstance(step, str) else dict(step)
        done = told["task_status"] in ("success", "succeeded", "completed")
        rest = {"chat_type": task.chat_type, "message": "", "content": task.url if done else "", "remaining_time": ""}
        return {**rest, **told}

    # --- files ---

    async def _sts_v1(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        return _ok(self._ticket(request, person, body)) if "v1" in self.generations else await _page(request)

    async def _sts_v2(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        return _success(self._ticket(request, person, body)) if "v2" in self.generations else await _page(request)

    def _ticket(self, request: Request, person: Person, body: Any) -> dict[str, Any]:
        _need(isinstance(body.get("filename"), str) and bool(body["filename"]), "filename is required")
        _need(isinstance(body.get("filesize"), int) and body["filesize"] > 0, "filesize is required")
        _need(body.get("filetype") in ("image", "video", "audio", "document", "file"), "filetype is invalid")
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
        if fault is not None and (answer := await _at_once(fault, request)) is not None:
            return answer
        if request.method == "GET":
            stored = self.objects.get(key)
            return Response(stored[0], media_type=stored[1]) if stored else _xml(404, "NoSuchKey")
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        key_id, _, signature = rest.partition(":")
        ticket = self._tickets.get(key_id)
        if scheme != "OSS" or ticket is None:
            return _xml(403, "InvalidAccessKeyId")
        if request.headers.get("x-oss-security-token") != ticket["security_token"]:
            return _xml(403, "InvalidSecurityToken")
        if abs(time.time() - email.utils.parsedate_to_datetime(request.headers["date"]).timestamp()) > 900:
            return _xml(403, "RequestTimeTooSkewed")
        signed = _string_to_sign(request, f"/{BUCKET}/{key}")
        wanted = hmac.new(ticket["access_key_secret"].encode(), signed.encode(), hashlib.sha1).digest()
        if not hmac.compare_digest(base64.b64encode(wanted).decode(), signature):
            return _xml(403, "SignatureDoesNotMatch", signed)
        if key != ticket["path"] or len(data) != ticket["size"]:
            return _xml(403, "AccessDenied")
        self.objects[key] = (data, request.headers.get("content-type", ""))
        tag = hashlib.md5(data).hexdigest().upper()
        return Response(headers={"x-oss-request-id": uuid.uuid4().hex.upper(), "ETag": f'"{tag}"'})

    async def _parse(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        file = _file(person, body.get("file_id"))
        file["state"] = "running"
        return _success({"file_id": body["file_id"]})

    async def _parse_status(self, request: Request, person: Person, body: Any, fault: Any) -> Response:
        _need(isinstance(body.get("file_id_list"), list) and bool(body["file_id_list"]), "file_id_list is required")
        told = []
        for file_id in body["file_id_list"]:
            file = _file(person, file_id)
            if file["state"] == "running":
                file["state"] = file["script"].popleft() if len(file["script"]) > 1 else file["script"][0]
            told.append({"file_id": file_id, "status": file["state"]})
        return _success(told)

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
            return Response(await asyncio.to_thread(_film), media_type="video/mp4")
        return Response(_png(), media_type="image/png")


# --- the shapes of answers ---


@dataclass
class _Turn:
    """One answer of the site, frame by frame."""

    chat: Chat
    id: str
    usage: dict[str, Any]

    def created(self) -> dict[str, Any]:
        told = {"chat_id": self.chat.id, "parent_id": str(uuid.uuid4()), "response_id": self.id}
        return {"response.created": told}

    def alive(self) -> dict[str, Any]:
        return {"response.info": {"action": "keep_alive", "response_id": self.id}}

    def delta(self, phase: str | None, content: str, status: str = "typing", extra: Any = None) -> dict[str, Any]:
        told: dict[str, Any] = {"role": "assistant", "content": content, "status": status}
        if phase is not None:
            told["phase"] = phase
        if extra is not None:
            told["extra"] = extra
        return {"choices": [{"delta": told}], "usage": self.usage, "response_id": self.id}

    def told(self, phase: str | None, text: str, pieces: int, whole: bool) -> list[dict[str, Any]]:
        size = max(1, -(-len(text) // pieces))
        ends = range(size, len(text) + size, size)
        return [self.delta(phase, text[:end] if whole else text[end - size : end]) for end in ends]

    def summary(self, answer: Answer) -> list[dict[str, Any]]:
        """Thoughts in short: all of them each time, the content empty."""
        size = max(1, -(-len(answer.think) // answer.pieces))
        frames = []
        for end in range(size, len(answer.think) + size, size):
            extra = {
                "summary_title": {"content": list(answer.titles)},
                "summary_thought": {"content": [answer.think[:end]]},
            }
            frames.append(self.delta("thinking_summary", "", "typing", extra))
        return [*frames, self.delta("thinking_summary", "", "finished", {})]

    def keep(self, message: dict[str, Any], text: str, shown: dict[str, Any] | None = None) -> None:
        """Write the turn into the conversation."""
        asked = str(uuid.uuid4())
        self.chat.messages[asked] = {"id": asked, "role": "user", "content": message["content"]}
        told = {"role": "assistant", "content": "", "content_list": [{"content": text, "phase": "answer"}]}
        self.chat.messages[self.id] = {"id": self.id, **(shown or told)}
        self.chat.responses.append(self.id)


def _turn_of(chat: Chat, usage: dict[str, Any]) -> _Turn:
    return _Turn(chat, str(uuid.uuid4()), usage)


def _frame(data: Any) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


def _split(frame: bytes, size: int) -> list[bytes]:
    return [frame[at : at + size] for at in range(0, len(frame), size)] if size else [frame]


def _in_stream(fault: Fault) -> dict[str, Any]:
    match fault.shape:
        case "text":
            return {"error": fault.details}
        case "object":
            return {"error": {"code": fault.code, "details": fault.details}}
        case _:
            return {"success": False, "data": {"code": fault.code, "details": fault.details, "num": fault.num}}


async def _at_once(fault: Fault, request: Request) -> Response | None:
    """The answer of a fault that comes before anything is looked at; None for one that comes later."""
    match fault.kind:
        case "api":
            return _refusal(fault.code, fault.details, fault.num, fault.status, fault.actual)
        case "raw":
            return Response(fault.body, fault.status, {"content-type": fault.content_type})
        case "silence":
            await asyncio.sleep(3600)
        case "cut":
            request.scope["cut"]()
            return Response()
        case "slow":
            await asyncio.sleep(fault.seconds)
    return None


def _ok(body: Any, status: int = 200, actual: int | None = None) -> Response:
    return JSONResponse(body, status, {"x-actual-status-code": str(actual or status)})


def _success(data: Any) -> Response:
    return _ok({"success": True, "request_id": str(uuid.uuid4()), "data": data})


def _refusal(code: str, details: str, num: Any = None, status: int = 200, actual: int | None = None) -> Response:
    data = {"code": code, "details": details, "template": "", "num": num}
    return _ok({"success": False, "request_id": str(uuid.uuid4()), "data": data}, status, actual)


def _xml(status: int, code: str, signed: str = "") -> Response:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><StringToSign>{signed}</StringToSign></Error>"
    return Response(text, status, media_type="application/xml")


async def _page(request: Request) -> Response:
    return HTMLResponse(HTML, 404)


# --- checks ---


def _need(held: bool, details: str) -> None:
    if not held:
        raise _Refuse("Bad_Request", details)


def _chat(person: Person, chat_id: str) -> Chat:
    if chat_id not in person.chats:
        raise _Refuse("Not_Found", "Chat not found")
    return person.chats[chat_id]


def _file(person: Person, file_id: Any) -> dict[str, Any]:
    if file_id not in person.files:
        raise _Refuse("Not_Found", "File not found")
    return person.files[file_id]


def _seconds(stamp: Any) -> bool:
    return isinstance(stamp, int) and abs(stamp - time.time()) < 3600


async def _body(request: Request) -> Any:
    data = await request.body()
    with suppress(ValueError):
        return json.loads(data) if data else {}
    return data


def _string_to_sign(request: Request, resource: str) -> str:
    headers = sorted((name, value) for name, value in request.headers.items() if name.startswith("x-oss-"))
    canonical = "".join(f"{name}:{value}\n" for name, value in headers)
    of = request.headers.get
    date = of("x-oss-date") or of("date", "")
    return f"{request.method}\n{of('content-md5', '')}\n{of('content-type', '')}\n{date}\n{canonical}{resource}"


# --- real media ---


def _png() -> bytes:
    from PIL import Image

    held = io.BytesIO()
    Image.new("RGB", (64, 36), (90, 60, 200)).save(held, "PNG")
    return held.getvalue()


def _film() -> bytes:
    import av
    from PIL import Image

    held = io.BytesIO()
    with av.open(held, "w", format="mp4") as film:
        track = film.add_stream("h264", rate=5)
        track.width, track.height, track.pix_fmt = 64, 36, "yuv420p"
        for shade in range(5):
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 36), (40 * shade, 60, 200)))
            film.mux(track.encode(frame))
        film.mux(track.encode(None))
    return held.getvalue()


def _model(name: str, chat_types: list[str], **abilities: bool) -> dict[str, Any]:
    meta = {"chat_type": chat_types, "capabilities": abilities, "max_context_length": 262_144}
    return {"id": name, "name": name.title(), "object": "model", "owned_by": "qwen", "info": {"id": name, "meta": meta}}


_MODELS = [
    _model("qwen3-max", ["t2t", "search", "t2i", "image_edit", "t2v", "i2v", "deep_research"], thinking=False),
    _model("qwen3.7-plus", ["t2t", "t2i", "image_edit", "t2v", "i2v"], thinking=True, vision=True),
    _model("qwen3-vl-plus", ["t2t", "t2i"], thinking=True, vision=True),
    _model("qwq-32b", ["t2t"], thinking=True),
]
