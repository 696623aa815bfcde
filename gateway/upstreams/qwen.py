"""chat.qwen.ai: the site's own API, with tokens that operators bring from their accounts.

Source: wire sheet, 2026-11-20; undocumented by the site, and it changes without notice. What of it is not obvious:

- Almost every failure wears HTTP 200: the body's code decides, then `x-actual-status-code`, then the status. A page
  instead of the API's envelope is a challenge: the account is parked, nothing is tried to get around it.
- Exactly one message goes into a turn and the site keeps the history. A request without a conversation makes a new
  one and tells all of its turns in that message; with one, only what came after the last answer is sent.
- The site knows no tools and no response formats: both are written into the message, and calls are read back from a
  block fenced as `tool_calls`. Sampling parameters are ignored by it.
- Thinking is off unless asked for: `enable_thinking`, `thinking_budget`, `reasoning_effort` (`none` is off) or the
  name of a model with `-thinking` after it. Some models always think.
- `finished` ends a phase, not the answer; only the phase `answer` ends that. Images are URLs in the text, several of
  them with nothing between. Videos are tasks bound to the account that made them, and cannot be cancelled.
- One answer at a time in a conversation: turns of the same one wait for each other here.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from email.utils import formatdate
from itertools import zip_longest
from math import isfinite, log
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qs, quote, urlsplit
from uuid import uuid4
from weakref import WeakValueDictionary

import msgspec
from yarl import URL

from gateway import errors, sse
from gateway.errors import GatewayError
from gateway.http import Outbound, Reply
from gateway.types import (
    Account,
    ChatRef,
    ChatRequest,
    Event,
    Finish,
    ImageRequest,
    InConversation,
    Input,
    Job,
    JobUpdate,
    Kind,
    Media,
    MediaReady,
    ModelCard,
    Progress,
    ReasoningDelta,
    Size,
    TextDelta,
    ToolCallDelta,
    Usage,
    VideoRequest,
)
from gateway.upstreams.base import Options, Upstream
from gateway.wire import body as wire_body
from gateway.wire import openai_chat

RATIOS = ("1:1", "3:4", "4:3", "16:9", "9:16")
MAX_CONTENT = 131_072
"""Characters of a message."""
MAX_BUDGET = 38_911
"""Tokens of thinking."""
EFFORTS = {"minimal": 1024, "low": 4096, "medium": 16_384, "high": 32_768, "xhigh": MAX_BUDGET}
IMAGE_SECONDS = 30.0
"""What an image takes, for its progress."""
TURN_WAIT = 120.0
"""Seconds that a turn waits for the one before it in the same conversation."""
DRAIN = 1.0
"""Seconds of silence after which an answer that said it was finished is believed."""
PARSE_LOOKS, PARSE_INTERVAL = 60, 1.0
"""How often, and every how many seconds, an uploaded document is asked about."""
MISSES = 3
"""Polls in a row that may say success and name no video."""
FILE_SECONDS = 300.0
"""How long an uploaded file's URL lives where it does not say."""
STATUS = ("/api/v1/tasks/status/", "/api/v2/task/status/")
STS = ("/api/v1/files/getstsToken", "/api/v2/files/getstsToken")
MODELS = ("/api/models", "/api/v2/models/")
TICKET = ("access_key_id", "access_key_secret", "security_token", "file_url", "file_path", "file_id", "bucketname")

ALL: frozenset[Kind] = frozenset({"t2t", "t2i", "i2i", "t2v", "i2v"})
KIND_OF: dict[str, Kind] = {"t2i": "t2i", "image_edit": "i2i", "t2v": "t2v", "i2v": "i2v"}
ALWAYS_THINK = ("qwen3.8-max", "qwen3.8-max-preview", "qwq-32b")
SEE = ("qwen3-vl-plus", "qwen3-omni-flash", "qwen-vl-max-latest")
PLAIN = ("qwen3-max", "qwen3.7-plus", "qwen3.6-plus", "qwen3.5-plus", "qwen3.5-flash", "qwen3.5-397b-a17b")
SEEN = (*PLAIN, "qwen3-coder-plus", "qwen-max-latest", *SEE, *ALWAYS_THINK)
"""Ids seen in the site's list up to 2026-11-20; it is asked live."""

FENCE = "```tool_calls"
TOOL_RULES = f"""You can call tools. To call some, end your answer with one block just like this, and nothing after it:
{FENCE}
{{"tool_calls": [{{"name": "<name of a tool>", "arguments": {{<its arguments>}}}}]}}
```
You get the results in the next message. Where no tool is needed, answer without such a block."""

WORDS = (
    ("chat is in progress", "chat_in_progress"),
    ("allocated quota exceeded", "throttled"),
    ("upper limit for today", "ratelimited"),
    ("token (has|is) expired", "unauthorized"),
    ("data.?inspection|content.?security|inappropriate content|内容安全", "data_inspection_failed"),
    ("internal.error", "internal_error"),
)
"""What a failure's words mean, where they say more than its code."""
ALIASES = {"chat_not_found": "not_found", "datainspectionfailed": "data_inspection_failed"}
STATUS_CODES = {400: "bad_request", 401: "unauthorized", 403: "unauthorized", 404: "not_found", 429: "throttled"}
CODES = {*(code for _, code in WORDS), *STATUS_CODES.values(), "invalid_input"}
CALLERS = (
    (r"model\b.*(not|un)|(unknown|invalid|unsupported) model", "model", "model_not_found"),
    (r"too long|length|characters", "messages", "context_length_exceeded"),
    (r"parent", "parentId", None),
    (r"\b(file|image|url)", "files", None),
)
"""What a refusal's words say of values that the caller chose: parameter and code."""

_Of = Literal["task", "chat", ""]
"""What a Not_Found would be about: a job, a conversation that the caller names, or neither."""


class QwenOptions(Options):
    """How the site is spoken to."""

    version: str = "0.2.66"
    """The version of the site's API that is asked for; writes without one are refused."""
    timezone: str = "UTC"
    oss_url: str = "https://{bucket}.{endpoint}"
    """Where uploads go. Write it without `{endpoint}` for storage that is reached by another name."""
    delete_chats: bool = False
    """Delete the conversation of a request that named none, once it is answered; it cannot be continued then."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """One message to the site."""

    chat_type: Literal["t2t", "t2i", "image_edit", "t2v", "i2v"]
    model: str
    content: str
    files: tuple[Mapping[str, Any], ...] = ()
    size: str | None = None
    thinking: bool = False
    budget: int | None = None


class Qwen(Upstream):
    """Text, images and videos of chat.qwen.ai."""

    type_name = "qwen"
    base_url = "https://chat.qwen.ai"
    env_credentials = ("QWEN_TOKENS", "QWEN_TOKEN")
    max_concurrency = 2
    poll_interval = 5.0
    deadline = 1200.0
    options_model: ClassVar[type[Options]] = QwenOptions

    def __init__(self, name: str, options: Options, http: Outbound) -> None:
        super().__init__(name, options, http)
        self.site = options if isinstance(options, QwenOptions) else QwenOptions()
        self._known = set(SEEN)
        self._answering: dict[tuple[str, ...], int] = {}
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    def cards(self) -> Sequence[ModelCard]:
        return [_card(model) for model in SEEN]

    def adopt(self, model: str, kind: Kind | None) -> ModelCard | None:
        ours = re.match(r"(qwen|qwq)(?!.*(image|tts|asr|embedding|rerank))", model.lower())
        return _card(model) if ours and (kind is None or kind in ALL) else None

    # --- generations ---

    async def chat(self, request: ChatRequest, account: Account) -> AsyncGenerator[Event]:
        turn, ref = _chat_turn(request, self._known), request.chat
        tools = frozenset(tool["name"] for tool in _tools(request))
        async with self._conversation(turn, ref, account) as chat_id:
            answer = _Answer(chat_id, tools, named=ref is not None or not self.site.delete_chats)
            lines = self._stream(turn, ref or ChatRef(chat_id), answer, account, of="chat" if ref else "")
            try:
                async with aclosing(lines):
                    async for line in lines:
                        for event in answer.read(line):
                            yield event
            except errors.StreamInterrupted as exc:
                if answer.begun:
                    raise
                raise errors.UpstreamFailed("the upstream broke off before it answered", sent="unknown") from exc
            for event in answer.rest():
                yield event

    async def image(self, request: ImageRequest, account: Account) -> AsyncGenerator[Event]:
        turn = _media_turn(request, "image_edit" if request.kind == "i2i" else "t2i", "1:1")
        images = 0
        for done in range(request.n):
            async with self._conversation(turn, None, account) as chat_id:
                gallery, started = _Gallery(turn, account.base_url), time.monotonic()
                cut: errors.UpstreamError | None = None
                try:
                    async with aclosing(self._stream(turn, ChatRef(chat_id), gallery, account)) as lines:
                        async for line in lines:
                            if gallery.read(line):
                                made = min(0.95, (time.monotonic() - started) / IMAGE_SECONDS)
                                yield Progress(100 * (done + made) / request.n)
                except (errors.StreamInterrupted, errors.UpstreamTimeout) as exc:
                    cut = exc
                for media in await self._hung(gallery, chat_id, account, cut):
                    images += 1
                    yield MediaReady(media)
        yield Usage(images=images)

    async def submit(self, request: VideoRequest, account: Account) -> Job:
        if request.kind not in ("t2v", "i2v"):
            message = f"chat.qwen.ai makes no {request.kind} videos"
            raise errors.UpstreamRefusedParameter(message, param="kind", sent="no")
        turn = _media_turn(request, request.kind, "16:9")
        chat_id = await self._new_chat(turn, account)
        payload = _payload(turn, ChatRef(chat_id), time.time())
        cut: errors.UpstreamError | None = None
        data: Any = None
        try:
            data = await self._call("POST", _completions(chat_id), account, json=payload)
        except errors.UpstreamError as exc:
            if exc.sent != "unknown":
                raise
            cut = exc
        task_id = _task_id(_dig(data, "messages")) or _task_id(await self._answers_in(chat_id, account))
        if not task_id:
            raise cut or errors.UpstreamGarbled("the upstream's answer names no task", sent="unknown")
        return Job(task_id, {"chat_id": chat_id, "submitted_at": time.time()})

    async def poll(self, job: Job, account: Account) -> JobUpdate:
        data = await self._either(STATUS, account, suffix=_safe(job.id), flat="task_status", of="task")
        if not isinstance(data, dict):
            raise errors.UpstreamGarbled("the upstream's answer tells no task state")
        return _update(job, data, account.base_url, time.time())

    # --- files and the rest ---

    async def upload(self, data: bytes, *, name: str, mime: str, account: Account) -> dict[str, object]:
        family, mime = _family(mime), mime or "application/octet-stream"
        wanted = {"filename": name, "filesize": len(data), "filetype": "document" if family == "file" else family}
        with _before_asking():
            ticket = await self._either(STS, account, flat="access_key_id", method="POST", json=wanted)
            if not all(isinstance(_dig(ticket, name), str) for name in TICKET):
                raise errors.UpstreamGarbled("the upstream's answer is no upload ticket")
            await self._put(data, mime, ticket, account)
            if family == "file":
                await self._parsed(ticket["file_id"], account)
        return _file_ref(ticket, name, mime, len(data), time.time())

    async def models(self, account: Account) -> Sequence[ModelCard]:
        data = await self._either(MODELS, account, flat="data")
        listed = data.get("data") if isinstance(data, dict) else data
        cards = [_listed_card(row) for row in _list(listed) if _dig(row, "id")]
        self._known.update(card.id for card in cards)
        return cards

    async def probe(self, account: Account) -> None:
        await self._call("GET", "/api/v2/chats/?page=1", account)

    # --- one exchange ---

    async def _call(
        self, method: str, path: str, account: Account, *, json: Any = None, flat: str = "", of: _Of = ""
    ) -> Any:
        """What the envelope holds, or the whole body where it has the member `flat` and no envelope."""
        url, headers = URL(account.base_url + path, encoded=True), self._headers(account)
        reply = await self.http.call(method, url, headers=headers, json=json, proxy=account.proxy)
        return _data(reply, account.credential, flat=flat, of=of, now=time.time())

    async def _either(
        self, paths: tuple[str, ...], account: Account, *, method: str = "GET", suffix: str = "", **how: Any
    ) -> Any:
        """Ask that of several endpoints which the site has; the one that answered is the one asked from then on."""
        known = self._answering.get(paths)
        lost: GatewayError | None = None
        for index in range(len(paths)) if known is None else (known,):
            try:
                data = await self._call(method, paths[index] + suffix, account, **how)
            except errors.JobLost as exc:
                lost = exc
            except (errors.Challenged, errors.UpstreamGarbled) as exc:
                self._answering.pop(paths, None)
                lost = lost or exc
            else:
                self._answering[paths] = index
                return data
        raise lost or errors.UpstreamGarbled()

    def _headers(self, account: Account) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {account.credential}",
            "Cookie": f"token={account.credential}",
            "Content-Type": "application/json",
            "source": "web",
            "version": self.site.version,
            "Timezone": self.site.timezone,
            "X-Request-Id": str(uuid4()),
        }

    async def _stream(
        self, turn: _Turn, ref: ChatRef, reader: _Answer | _Gallery, account: Account, of: _Of = ""
    ) -> AsyncGenerator[dict[str, Any]]:
        """The answer's data lines. Raises what a line, or an answer that is no stream, says went wrong."""
        answer = await self.http.open(
            "POST",
            URL(account.base_url + _completions(ref.chat_id), encoded=True),
            headers=self._headers(account),
            content=msgspec.json.encode(_payload(turn, ref, time.time())),
            proxy=account.proxy,
        )
        try:
            if answer.content_type != "text/event-stream":
                reply = Reply(answer.status, answer.headers, await answer.read())
                _data(reply, account.credential, of=of, now=time.time())
                raise errors.UpstreamGarbled("the upstream's answer is not a stream")
            events = sse.events(answer.chunks())
            while (event := await _next(events, DRAIN if reader.ended else None)) is not None:
                line = {"response.completed": {}} if event.data == b"[DONE]" else _decoded(event.data)
                if not isinstance(line, dict):
                    raise errors.UpstreamGarbled("a line of the upstream's stream is not JSON")
                if failure := _failure(line):
                    raise _error(failure, answer.status, account.credential, of=of, now=time.time())
                yield line
        finally:
            answer.close()

    # --- conversations ---

    @asynccontextmanager
    async def _conversation(self, turn: _Turn, ref: ChatRef | None, account: Account) -> AsyncIterator[str]:
        """A conversation to itself: the one named, when its turn before is answered, or a new one."""
        chat_id = ref.chat_id if ref else await self._new_chat(turn, account)
        lock = self._turns.setdefault((account.id, chat_id), asyncio.Lock())
        try:
            async with asyncio.timeout(TURN_WAIT):
                await lock.acquire()
        except TimeoutError as exc:
            message = "an earlier turn of this conversation is still being answered"
            raise errors.ConcurrencyLimited(message, sent="no") from exc
        try:
            yield chat_id
            if ref is None and self.site.delete_chats:
                with suppress(GatewayError):
                    await self._call("DELETE", f"/api/v2/chats/{_safe(chat_id)}", account)
        finally:
            lock.release()

    async def _new_chat(self, turn: _Turn, account: Account) -> str:
        wanted = {
            "title": "New Chat",
            "models": [turn.model],
            "chat_mode": "normal",
            "chat_type": turn.chat_type,
            "timestamp": int(time.time() * 1000),
            "project_id": "",
        }
        with _before_asking():
            data = await self._call("POST", "/api/v2/chats/new", account, json=wanted)
            chat_id = _dig(data, "id")
            if not isinstance(chat_id, str):
                raise errors.UpstreamGarbled("the upstream's answer names no conversation")
        return chat_id

    async def _answers_in(self, chat_id: str, account: Account) -> list[dict[str, Any]]:
        """The site's own messages in a conversation, as far as they can be had: for what got lost on the way."""
        try:
            data = await self._call("GET", f"/api/v2/chats/{_safe(chat_id)}", account)
        except GatewayError:
            return []
        return _site_messages(data)

    async def _hung(
        self, gallery: _Gallery, chat_id: str, account: Account, cut: errors.UpstreamError | None
    ) -> list[Media]:
        """The images that the stream told of or, if it broke or told of none, that the conversation holds."""
        if cut is None and gallery.ended and (media := gallery.media()):
            return media
        if media := gallery.recall(await self._answers_in(chat_id, account)):
            return media
        if cut is None and not gallery.ended:
            cut = errors.StreamTruncated()
        said = _scrubbed(gallery.words, account.credential)
        raise cut or errors.UpstreamGarbled("the upstream's answer holds no image", detail=said)

    # --- uploads ---

    async def _put(self, data: bytes, mime: str, ticket: Mapping[str, Any], account: Account) -> None:
        date = formatdate(usegmt=True)
        headers = {
            "Authorization": f"OSS {ticket['access_key_id']}:{_signature(ticket, mime, date)}",
            "Content-Type": mime,
            "Date": date,
            "x-oss-security-token": ticket["security_token"],
        }
        url = URL(f"{_place(self.site.oss_url, ticket)}/{quote(ticket['file_path'])}", encoded=True)
        reply = await self.http.call("PUT", url, headers=headers, content=data, proxy=account.proxy)
        if reply.status // 100 != 2:
            code = re.search(rb"<Code>(\w{1,60})</Code>", reply.body)  # the rest repeats the ticket
            said = code[1].decode() if code else ""
            raise errors.UpstreamFailed("the upstream's storage refused the file", detail=f"HTTP {reply.status} {said}")

    async def _parsed(self, file_id: str, account: Account) -> None:
        """Wait until the site has read a document. Raises UpstreamRefusedParameter where it cannot."""
        await self._call("POST", "/api/v2/files/parse", account, json={"file_id": file_id})
        for _ in range(PARSE_LOOKS):
            data = await self._call("POST", "/api/v2/files/parse/status", account, json={"file_id_list": [file_id]})
            status = next((_dig(row, "status") for row in _list(data)), None)
            if status == "success":
                return
            if status == "failed":
                raise errors.UpstreamRefusedParameter("the upstream cannot read this document", param="files")
            await asyncio.sleep(PARSE_INTERVAL)
        raise errors.UpstreamTimeout("the upstream did not finish reading a document")


def credential_expires(token: str) -> float | None:
    """When a token says it ends, in unix seconds; None where it does not say. A new password ends it sooner."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    with suppress(ValueError):
        return _number(_dig(_decoded(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))), "exp"))
    return None


# --- what goes out ---


def _chat_turn(request: ChatRequest, known: set[str]) -> _Turn:
    """The caller's conversation as one message. Raises InvalidRequest where it is too long or says nothing."""
    model, thinking, budget = _thinking(request, known)
    content = _content(openai_chat.messages(request), _rules(request), continuing=request.chat is not None)
    _check_length(content, "messages")
    return _Turn("t2t", model, content, tuple(map(_file, request.inputs)), thinking=thinking, budget=budget)


def _media_turn(request: ImageRequest | VideoRequest, chat_type: Any, ratio: str) -> _Turn:
    if any(given.role == "mask" for given in request.inputs):
        raise errors.UpstreamRefusedParameter("chat.qwen.ai edits without a mask", param="mask", sent="no")
    _check_length(request.prompt, "prompt")
    files = tuple(map(_file, request.inputs))
    return _Turn(chat_type, request.model, request.prompt, files, size=_ratio(request.size, ratio))


def _completions(chat_id: str) -> str:
    return f"/api/v2/chat/completions?chat_id={_safe(chat_id)}"


def _safe(name: str) -> str:
    """A name that a caller may have given, as one piece of a path or query."""
    return quote(name, safe="")


def _check_length(content: str, param: str) -> None:
    if len(content) > MAX_CONTENT:
        message = f"chat.qwen.ai takes at most {MAX_CONTENT} characters at once, not {len(content)}"
        raise errors.InvalidRequest(message, param=param, code="context_length_exceeded", sent="no")


def _thinking(request: ChatRequest, known: set[str]) -> tuple[str, bool, int | None]:
    """The model's own name, whether it shall think, and for how many tokens at most."""
    model, effort = request.model, openai_chat.read(request, "reasoning_effort", str)
    bare = model.removesuffix("-thinking")
    model = bare if bare in known and model not in known else model
    budget = wire_body.whole_number(request.body, "thinking_budget", 1, 10**6) or EFFORTS.get(effort or "")
    asked = openai_chat.read(request, "enable_thinking", bool)
    if asked is None:
        asked = effort != "none" if effort else model != request.model or budget is not None
    thinking = asked or model in ALWAYS_THINK
    return model, thinking, min(budget, MAX_BUDGET) if thinking and budget else None


def _payload(turn: _Turn, ref: ChatRef, now: float) -> dict[str, Any]:
    size = {"size": turn.size} if turn.size else {}
    feature = {
        "thinking_enabled": turn.thinking,
        "output_schema": "phase",
        "research_mode": "normal",
        "auto_thinking": False,
        "thinking_mode": "Thinking" if turn.thinking else "Fast",
        "thinking_format": "detail",
        "auto_search": False,
    }
    if turn.budget:
        feature["thinking_budget"] = turn.budget
    message = {
        "id": None,
        "fid": str(uuid4()),
        "parentId": ref.parent_id,
        "parent_id": ref.parent_id,
        "childrenIds": [],
        "role": "user",
        "content": turn.content,
        "user_action": "chat",
        "files": turn.files,
        "timestamp": int(now),
        "models": [turn.model],
        "chat_type": turn.chat_type,
        "sub_chat_type": turn.chat_type,
        "feature_config": feature,
        "extra": {"meta": {"subChatType": turn.chat_type, **size}},
    }
    return {
        "stream": turn.chat_type not in ("t2v", "i2v"),
        "version": "2.1",
        "incremental_output": True,
        "chat_id": ref.chat_id,
        "chat_mode": "normal",
        "model": turn.model,
        "parent_id": ref.parent_id,
        "messages": [message],
        "timestamp": int(now),
        **size,
    }


def _file(given: Input) -> dict[str, Any]:
    """A file as a message names it. Raises InvalidRequest for one that is neither uploaded nor on the internet."""
    if given.ref:
        return {name: value for name, value in given.ref.items() if name != "expires_at"}
    if not given.url.startswith(("https://", "http://")) or _family(given.mime or "image/") != "image":
        raise errors.InvalidRequest("files must be uploaded before chat.qwen.ai can read them", param="files")
    return _named_file("image", given.name or "image", given.mime or "image/png") | {"url": given.url}


def _named_file(family: str, name: str, mime: str) -> dict[str, Any]:
    kind = {"image": "vision", "file": "document"}.get(family, family)
    shown = {"type": family, "name": name, "file_type": mime, "showType": family, "file_class": kind}
    return {**shown, "status": "uploaded"}


def _file_ref(ticket: Mapping[str, Any], name: str, mime: str, size: int, now: float) -> dict[str, Any]:
    url = str(ticket["file_url"])
    ends = parse_qs(urlsplit(url).query).get("Expires", [""])[0]
    lasts = float(ends) if ends.isdigit() else now + FILE_SECONDS
    found = {"id": ticket["file_id"], "url": url, "size": size, "expires_at": lasts}
    return {**_named_file(_family(mime), name, mime), **found}


def _family(mime: str) -> str:
    family = mime.partition("/")[0]
    return family if family in ("image", "video", "audio") else "file"


def _place(template: str, ticket: Mapping[str, Any]) -> str:
    """Where a bucket is. Raises UpstreamGarbled where an answer would send the file to somebody else's host."""
    region = "oss-" + str(ticket.get("region") or "").removeprefix("oss-")
    bucket, endpoint = ticket["bucketname"], str(ticket.get("endpoint") or f"{region}.aliyuncs.com")
    endpoint = endpoint.removeprefix("https://").removeprefix("http://")
    own = re.fullmatch(r"[a-z0-9.-]+\.aliyuncs\.com", endpoint) or "{endpoint}" not in template
    if not own or not re.fullmatch(r"[a-z0-9-]+", bucket):
        told = f"{bucket} {endpoint}"[:100]
        raise errors.UpstreamGarbled("the upstream names storage that is not its own", detail=told)
    return template.replace("{bucket}", bucket).replace("{endpoint}", endpoint)


def _signature(ticket: Mapping[str, Any], mime: str, date: str) -> str:
    """The storage's signature of version 1 over a PUT."""
    place = f"/{ticket['bucketname']}/{ticket['file_path']}"
    signed = f"PUT\n\n{mime}\n{date}\nx-oss-security-token:{ticket['security_token']}\n{place}"
    return base64.b64encode(hmac.digest(ticket["access_key_secret"].encode(), signed.encode(), "sha1")).decode()


def _ratio(size: Size | None, default: str = "1:1") -> str:
    """The nearest of the site's ratios; 3:2 is made 4:3, 7:4 is made 16:9."""
    if size is None:
        return default
    asked = _breadth(size.ratio)
    return min(RATIOS, key=lambda ratio: abs(log(asked / _breadth(ratio))))


def _breadth(ratio: str) -> float:
    width, height = ratio.split(":")
    return int(width) / int(height)


# --- a conversation as one text ---


def _content(turns: list[dict[str, Any]], rules: list[str], *, continuing: bool) -> str:
    """All turns as one message: instructions, then the conversation so far, then what is to be answered.

    A single turn of a user with no instructions goes as it is. `continuing`: the site holds what came before, so only
    what followed the last answer is told: the last user turn, and the tools' results where there are any.
    """
    calls = [call for turn in turns for call in _list(turn.get("tool_calls"))]
    names = {str(_dig(call, "id")): _dig(call, "function", "name") for call in calls}
    system = [openai_chat.text(turn.get("content")) for turn in turns if turn["role"] in ("system", "developer")]
    said = [turn for turn in turns if turn["role"] not in ("system", "developer")]
    if continuing:
        answered = max((at for at, turn in enumerate(said) if turn["role"] == "assistant"), default=-1)
        tail = said[answered + 1 :]
        system, said = [], tail if any(turn["role"] != "user" for turn in tail) else tail[-1:]
    if not said:
        raise errors.InvalidRequest("'messages' must hold a turn that can be answered", param="messages")
    last = said.pop() if said[-1]["role"] == "user" else None
    asked = openai_chat.text(last.get("content")) if last else "Go on from the end of the conversation above."
    if not (system or rules or said):
        return asked
    told = "\n\n".join(_told(turn, names) for turn in said)
    instructions = "\n\n".join((*system, *rules))
    sections = (("Instructions", instructions), ("Conversation so far", told), ("Answer this message", asked))
    return "\n\n".join(f"# {title}\n{text}" for title, text in sections if text)


def _told(turn: dict[str, Any], names: Mapping[str, Any]) -> str:
    kinds = [_dig(part, "type") for part in _list(turn.get("content"))]
    unseen = [f"[{kind}]" for kind in kinds if kind not in ("text", None)]
    text = "\n".join(filter(None, (openai_chat.text(turn.get("content")), *unseen)))
    match turn["role"]:
        case "tool" | "function":
            return f"Tool ({names.get(str(turn.get('tool_call_id'))) or turn.get('name') or 'unnamed'}): {text}"
        case "assistant" if calls := _list(turn.get("tool_calls")):
            block = [{name: _dig(call, "function", name) for name in ("name", "arguments")} for call in calls]
            for call in block:
                call["arguments"] = _decoded(str(call["arguments"])) or call["arguments"]
            return f"Assistant: {text}\n{FENCE}\n{json.dumps({'tool_calls': block}, ensure_ascii=False)}\n```"
        case role:
            return f"{role.capitalize()}: {text}"


def _tools(request: ChatRequest) -> list[dict[str, Any]]:
    """The functions the model may call."""
    if _choice(request) == "none":
        return []
    tools = openai_chat.read(request, "tools", list[dict[str, Any]]) or []
    functions = (tool.get("function") for tool in tools if tool.get("type", "function") == "function")
    return [function for function in functions if isinstance(function, dict) and isinstance(function.get("name"), str)]


def _choice(request: ChatRequest) -> Any:
    return openai_chat.read(request, "tool_choice", str | dict[str, Any])  # type: ignore[arg-type]


def _rules(request: ChatRequest) -> list[str]:
    """What the site has no field for, in words."""
    rules, wanted = [], openai_chat.read(request, "response_format", dict[str, Any]) or {}
    if tools := _tools(request):
        choice = _choice(request)
        named = _dig(choice, "function", "name")
        must = f"Call the tool {named} now." if named else "Call at least one tool now." if choice == "required" else ""
        once = "Call one tool at most." if openai_chat.read(request, "parallel_tool_calls", bool) is False else ""
        listed = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
        rules.append(" ".join(filter(None, (TOOL_RULES, must, once))) + f"\nThe tools:\n{listed}")
    if wanted.get("type") == "json_object":
        rules.append("Answer with one JSON object and nothing else, without a code fence.")
    if wanted.get("type") == "json_schema":
        schema = json.dumps(_dig(wanted, "json_schema", "schema") or {}, ensure_ascii=False)
        rules.append(
            f"Answer with one JSON value and nothing else, without a code fence, valid by this schema:\n{schema}"
        )
    return rules


class _Calls:
    """Tells the tool calls in an answer's text from the words around them."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names
        self.held = ""
        self.inside = False

    def add(self, text: str) -> str:
        """The words that certainly belong to no call."""
        self.held += text
        if self.inside:
            return ""
        at = self.held.find(FENCE)
        self.inside = at >= 0
        if not self.inside:
            begun = next(size for size in range(len(FENCE) - 1, -1, -1) if self.held.endswith(FENCE[:size]))
            at = len(self.held) - begun
        at = len(self.held[:at].rstrip())
        said, self.held = self.held[:at], self.held[at:]
        return said

    def rest(self) -> tuple[str, list[ToolCallDelta]]:
        """At the end: words that were held back, and the calls. A block that cannot be read stays words."""
        if not self.inside:
            return self.held, []
        found: list[ToolCallDelta] = []
        for block in self.held.split(FENCE)[1:]:
            try:
                value, _ = json.JSONDecoder(strict=False).raw_decode(block.lstrip())
            except ValueError:
                return self.held, []
            listed = value.get("tool_calls", [value]) if isinstance(value, dict) else value
            for call in listed if isinstance(listed, list) else [None]:
                if not isinstance(call, dict) or call.get("name") not in self.names:
                    return self.held, []
                arguments = json.dumps(call.get("arguments") or {}, ensure_ascii=False)
                found.append(ToolCallDelta(len(found), f"call_{uuid4().hex}", call["name"], arguments))
        return "", found


# --- what comes in ---


@dataclass(slots=True)
class _Growing:
    """Text that comes piece by piece, as asked for, or all of it each time, where that was not heard."""

    whole: bool | None = None
    """Whether all of it comes each time; None: not known yet."""
    seen: str = ""
    held: str = ""

    def add(self, text: str) -> str:
        """What is new. A second piece that begins with the first may be either: the third one tells."""
        if not text or self.whole is False:
            return text
        if self.whole is None and self.held:
            self.whole = text.startswith(self.held)
            if not self.whole:
                return self.rest() + text
            self.held = ""
        elif self.whole is None and self.seen:
            if len(text) > len(self.seen) and text.startswith(self.seen):
                self.held = text
                return ""
            self.whole = False
            return text
        fresh, self.seen = text.removeprefix(self.seen), text
        return fresh

    def rest(self) -> str:
        """What waited for a third piece in vain."""
        held, self.held = self.held, ""
        return held.removeprefix(self.seen) if self.whole is None and len(self.seen.strip()) > 3 else held


class _Answer:
    """Reads the lines of a chat answer into events; the first one names the conversation."""

    def __init__(self, chat_id: str, tools: frozenset[str], *, named: bool) -> None:
        self.ended = self.begun = False
        self._chat_id = chat_id if named else None
        self._response_id: str | None = None
        self._calls = _Calls(tools) if tools else None
        self._texts: dict[str, _Growing] = {}
        self._phase = ""
        self._usage: Usage | None = None

    def read(self, line: Mapping[str, Any]) -> Iterator[Event]:
        created = line.get("response.created") or line
        self._response_id = _dig(created, "response_id") or self._response_id
        if isinstance(usage := line.get("usage"), dict):
            self._usage = _usage(usage)
        for delta in _deltas(line):
            phase, text = _spoken(delta)
            if phase not in ("think", "thinking_summary", "answer"):
                continue
            if phase != self._phase:
                yield from self._flush()
                self._phase = phase
            growing = self._texts.setdefault(phase, _Growing(whole=phase == "thinking_summary" or None))
            yield from self._say(growing.add(text))
            self.ended |= phase == "answer" and delta.get("status") == "finished"
        self.ended |= self.begun and "response.completed" in line

    def rest(self) -> Iterator[Event]:
        """What is left when the stream is over. Raises StreamTruncated, UpstreamGarbled."""
        yield from self._flush()
        if not self.ended and self.begun:
            raise errors.StreamTruncated()
        words, calls = self._calls.rest() if self._calls else ("", [])
        yield from self._tell(*([TextDelta(words)] if words else ()), *calls)
        if not self.begun:
            raise errors.UpstreamGarbled("the upstream's answer was empty")
        if self._usage:
            yield self._usage
        yield Finish("tool_calls" if calls else "stop")

    def _flush(self) -> Iterator[Event]:
        if self._phase:
            yield from self._say(self._texts[self._phase].rest())

    def _say(self, text: str) -> Iterator[Event]:
        if self._phase != "answer":
            yield from self._tell(*([ReasoningDelta(text)] if text else ()))
        elif words := self._calls.add(text) if self._calls else text:
            yield from self._tell(TextDelta(words))

    def _tell(self, *events: Event) -> Iterator[Event]:
        if events and not self.begun:
            self.begun = True
            if self._chat_id:
                yield InConversation(ChatRef(self._chat_id, self._response_id))
        yield from events


class _Gallery:
    """Gathers the images that an answer tells of."""

    def __init__(self, turn: _Turn, own: str) -> None:
        self.ended = self.accepted = False
        self.words = ""
        self._not = {str(file.get("url")).partition("?")[0] for file in turn.files}
        self._own = own
        self._texts: dict[str, _Growing] = {}
        self._told = ""
        self._listed: list[str] = []
        self._sides: list[tuple[int | None, int | None]] = []

    def read(self, line: Mapping[str, Any]) -> bool:
        """Take a line in; True when it says that an accepted request is still being worked on."""
        self.accepted |= "response.created" in line
        for delta in _deltas(line):
            phase = str(delta.get("phase") or "image_gen")
            text = self._texts.setdefault(phase, _Growing()).add(str(delta.get("content") or ""))
            if phase == "answer":
                self.words += text
            elif phase in ("image_gen", "image_edit"):
                self._told += text
                self._note(delta.get("extra"))
            self.ended |= delta.get("status") == "finished" and phase in ("answer", "image_gen", "image_edit")
        self.ended |= "response.completed" in line
        match line.get("usage"):
            case {"width": int(width), "height": int(height)} if not self._sides:
                self._sides.append((height, width))
        return self.accepted and "response.info" in line

    def media(self) -> list[Media]:
        rest = "".join(self._texts[phase].rest() for phase in ("image_gen", "image_edit") if phase in self._texts)
        return self._media("\n".join((self._told + rest, *self._listed)))

    def recall(self, messages: Sequence[Mapping[str, Any]]) -> list[Media]:
        """The images that messages of the conversation hold."""
        texts: list[str] = []
        for message in messages:
            texts += (str(_dig(part, "content") or "") for part in (message, *_list(message.get("content_list"))))
        return self._media("\n".join(texts))

    def _note(self, extra: Any) -> None:
        images = (_dig(row, "image") for row in _list(_dig(extra, "image_list")))
        self._listed += (image for image in images if isinstance(image, str))
        for sides in _list(_dig(extra, "output_image_hw")):
            match sides:
                case [int(height), int(width)]:
                    self._sides.append((height, width))

    def _media(self, text: str) -> list[Media]:
        found = {url.partition("?")[0]: url for url in reversed(_urls(text, self._own))}
        urls = [url for path, url in reversed(found.items()) if path not in self._not]
        told = self._sides if len(self._sides) >= len(urls) else self._sides[:1] * len(urls)
        sides = told or [(None, None)] * len(urls)
        return [Media("image", url=url, width=w, height=h) for url, (h, w) in zip(urls, sides, strict=False)]


async def _next(events: AsyncIterator[sse.ServerEvent], limit: float | None) -> sse.ServerEvent | None:
    """The next event; None at the end. With a `limit`, whatever else ends the stream by then is its end too."""
    if limit is None:
        return await anext(events, None)
    with suppress(TimeoutError, GatewayError):
        async with asyncio.timeout(limit):
            return await anext(events, None)
    return None


@contextmanager
def _before_asking() -> Iterator[None]:
    """What breaks in here breaks before a generation is asked for: it certainly was not made."""
    try:
        yield
    except errors.UpstreamError as exc:
        exc.sent = "no"
        raise


def _deltas(line: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for choice in _list(line.get("choices")):
        if isinstance(delta := _dig(choice, "delta"), dict) and delta.get("role") != "function":
            yield delta


def _spoken(delta: Mapping[str, Any]) -> tuple[str, str]:
    """A delta's phase and its text. A summary of thoughts is told whole each time, as titles and paragraphs."""
    phase = str(delta.get("phase") or "answer")
    if phase != "thinking_summary":
        return phase, str(delta.get("content") or "")
    titles = _list(_dig(delta, "extra", "summary_title", "content"))
    thoughts = _list(_dig(delta, "extra", "summary_thought", "content"))
    told = ("\n".join(str(part) for part in pair if part) for pair in zip_longest(titles, thoughts))
    return phase, "\n\n".join(told)


def _usage(data: Mapping[str, Any]) -> Usage:
    return Usage(
        input_tokens=_whole(data.get("input_tokens")),
        output_tokens=_whole(data.get("output_tokens")),
        cached_tokens=_whole(_dig(data, "input_tokens_details", "cached_tokens")),
        reasoning_tokens=_whole(_dig(data, "output_tokens_details", "reasoning_tokens")),
    )


def _update(job: Job, data: Mapping[str, Any], own: str, now: float) -> JobUpdate:
    """How a job stands. Time left over time in all is its progress, where the site tells the time left."""
    native = str(data.get("task_status") or "")
    message = str(data.get("message") or "")
    match native.lower():
        case "success" | "succeeded" | "completed":
            if urls := _urls(str(data.get("content") or ""), own):
                return JobUpdate("succeeded", 100, (Media("video", url=urls[0]),), native=native)
            misses = int(job.cursor.get("misses", 0)) + 1
            if misses < MISSES:
                return JobUpdate("running", native=native, job=Job(job.id, {**job.cursor, "misses": misses}))
            garbled = errors.UpstreamGarbled("the upstream calls the video made but does not say where it is")
            return JobUpdate("failed", error=garbled, native=native)
        case "failed" | "failure" | "error":
            refused = _code(_Failure("", message), 200) == "data_inspection_failed"
            error = (errors.ContentRefused if refused else errors.GenerationFailed)(detail=_scrubbed(message, ""))
            return JobUpdate("failed", error=error, native=native)
        case _:
            left, begun = _number(data.get("remaining_time")), job.cursor.get("submitted_at")
            spent = max(0.0, now - begun) if begun and left else None
            progress = 100 * spent / (spent + left) if spent is not None and left else None
            return JobUpdate("running", progress, eta_seconds=left, native=native)


def _task_id(messages: Any) -> str | None:
    found = (_dig(message, "extra", "wanx", "task_id") for message in _list(messages))
    return next((str(task_id) for task_id in found if task_id), None)


def _site_messages(data: Any) -> list[dict[str, Any]]:
    """The site's messages of a conversation, whose history is a map or a list."""
    history = _dig(data, "chat", "history", "messages") or _dig(data, "chat", "messages")
    listed = history.values() if isinstance(history, dict) else _list(history)
    return [message for message in listed if _dig(message, "role") == "assistant"]


def _urls(text: str, own: str) -> list[str]:
    """The URLs in a text, also where they follow each other with nothing between: on https, or the site's own."""
    pieces = re.split(f"(?=https://|{re.escape(own)}/)", text)
    found = (re.match(r"https?://[^\s\"'<>()\[\]]+", piece) for piece in pieces)
    return [url[0].rstrip(",;") for url in found if url]


def _card(model: str) -> ModelCard:
    thinks = model in ALWAYS_THINK or model.endswith("-thinking")
    return ModelCard(model, ALL, vision=model in SEE, reasoning=thinks, ratios=RATIOS, seconds=(5.0,))


def _listed_card(row: Mapping[str, Any]) -> ModelCard:
    model, meta = str(row["id"]), _dig(row, "info", "meta")
    able = [found for name in ("abilities", "capabilities") if (found := _dig(meta, name))]
    kinds = (KIND_OF.get(str(name)) for name in _list(_dig(meta, "chat_type")))
    return replace(
        _card(model),
        kinds=frozenset(("t2t", *(kind for kind in kinds if kind))),
        name=str(row.get("name") or ""),
        context_length=_whole(_dig(meta, "max_context_length")) or None,
        vision=any(_dig(found, "vision") for found in able),
        reasoning=model in ALWAYS_THINK or any(_dig(found, "thinking") for found in able),
    )


# --- what goes wrong ---


@dataclass(frozen=True, slots=True)
class _Failure:
    """The site's own account of what went wrong."""

    code: str = ""
    details: str = ""
    hours: float | None = None


def _data(reply: Reply, secret: str, *, flat: str = "", of: _Of = "", now: float) -> Any:
    """What an answer holds. Raises what it says went wrong, and Challenged for what is not the API's."""
    actual = reply.headers.get("x-actual-status-code", "")
    status = int(actual) if actual.isdecimal() else reply.status
    body = None if "html" in reply.content_type else _decoded(reply.body)
    failure = _failure(body)
    if failure is None and isinstance(body, dict):
        if body.get("success") is True:
            return body.get("data")
        if flat and flat in body:
            return body
    if failure or status in (401, 429) or status >= 500:
        raise _error(failure or _Failure(), status, secret, of=of, now=now)
    if body is None and reply.content_type == "application/json":
        raise errors.UpstreamGarbled("the upstream's answer is not JSON", sent="unknown")
    raise errors.Challenged(detail=f"HTTP {reply.status}, {reply.content_type or 'no content type'}")


def _failure(body: Any) -> _Failure | None:
    """The failure that a body or a line of a stream tells of, in any of the site's three shapes."""
    if not isinstance(body, dict) or not (body.get("success") is False or body.get("error")):
        return None
    told = body.get("error") or body.get("data") or body
    if not isinstance(told, dict):
        return _Failure("", str(told))
    details = told.get("details") or told.get("message") or told.get("template") or ""
    return _Failure(str(told.get("code") or ""), str(details), _number(told.get("num")))


def _code(failure: _Failure, status: int) -> str:
    """The site's code, made plain: what the words say where they say more than it, else it, else the status."""
    text, code = failure.details.lower(), failure.code.lower()
    code = ALIASES.get(code, code)
    said = next((meant for words, meant in WORDS if re.search(words, text)), code)
    by_status = "internal_error" if status >= 500 else STATUS_CODES.get(status, "")
    return said if said in CODES else by_status


def _error(failure: _Failure, status: int, secret: str, *, of: _Of = "", now: float) -> GatewayError:
    """A failure as an error of ours: by code, then by HTTP status."""
    detail = _scrubbed(f"{failure.code or f'HTTP {status}'}: {failure.details}", secret)
    match _code(failure, status):
        case "chat_in_progress":
            return errors.ConcurrencyLimited("another turn of this conversation is being answered", detail=detail)
        case "throttled":
            return errors.RateLimited(detail=detail)
        case "ratelimited":
            rest = failure.hours * 3600 if failure.hours else 86_400 - now % 86_400
            return errors.QuotaExhausted("the account's quota for today is used up", retry_after=rest, detail=detail)
        case "unauthorized":
            return errors.CredentialRejected(detail=detail)
        case "data_inspection_failed":
            return errors.ContentRefused(detail=detail)
        case "invalid_input":
            return errors.UpstreamRefusedParameter("the upstream cannot use a file", param="files", detail=detail)
        case "bad_request":
            return _refused(failure.details.lower(), detail)
        case "not_found":
            return _not_found(of, detail)
        case _:
            return errors.UpstreamFailed(detail=detail, sent="yes" if failure.code else "unknown")


def _refused(text: str, detail: str) -> GatewayError:
    """Whose fault a refused payload is: the caller's where it names what the caller chose, else the adapter's."""
    for words, param, code in CALLERS:
        if re.search(words, text):
            message = f"the upstream does not accept this {param.removesuffix('s')}"
            return errors.UpstreamRefusedParameter(message, param=param, code=code, detail=detail)
    return errors.AdapterContract(detail=detail)


def _not_found(of: _Of, detail: str) -> GatewayError:
    if of == "task":
        return errors.JobLost(detail=detail)
    if of == "chat":
        message = "the conversation does not exist any more at the account that held it"
        return errors.Conflict(message, code="conversation_unavailable", detail=detail)
    return errors.UpstreamFailed("the upstream does not know what it was just asked for", detail=detail)


def _scrubbed(text: str, secret: str) -> str:
    """The site's words without the account's token, or anything that looks like one."""
    text = text.replace(secret, "[token]") if secret else text
    return re.sub(r"eyJ[\w-]{5,}(\.[\w-]*)*", "[token]", text)[:300]


# --- reading JSON that may hold anything ---


def _decoded(data: bytes | str) -> Any:
    """Decoded JSON; None where it is not JSON."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _dig(value: Any, *path: str) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    with suppress(TypeError, ValueError):
        return found if (found := float(value)) > 0 and isfinite(found) else None
    return None


def _whole(value: Any) -> int:
    return int(_number(value) or 0)
