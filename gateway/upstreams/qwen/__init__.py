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

Chapters: `payload` (what is sent), `answers` (what comes back), `envelope` and `failures` (what it comes in, and what
goes wrong), `storage` (where files go), `models`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from email.utils import formatdate
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote
from uuid import uuid4
from weakref import WeakValueDictionary

import msgspec
from yarl import URL

from gateway import errors, sse
from gateway.errors import GatewayError, UpstreamError
from gateway.http import Outbound, Reply
from gateway.types import (
    Account,
    ChatRef,
    ChatRequest,
    Event,
    ImageRequest,
    Job,
    JobUpdate,
    Kind,
    Media,
    MediaReady,
    ModelCard,
    Progress,
    Usage,
    VideoRequest,
)
from gateway.upstreams.base import Options, Upstream
from gateway.upstreams.qwen import answers, failures, payload, storage
from gateway.upstreams.qwen.answers import ChatAnswer, Gallery, Line, Message
from gateway.upstreams.qwen.envelope import decoded, opened, shaped
from gateway.upstreams.qwen.models import SEEN, Listed, adopted, card, listed_card
from gateway.upstreams.qwen.payload import Turn
from gateway.wire import flattened

__all__ = ["Qwen", "QwenOptions"]

T = TypeVar("T")

IMAGE_SECONDS = 30.0
"""What an image takes, for its progress."""
TURN_WAIT = 120.0
"""Seconds that a turn waits for the one before it in the same conversation."""
DRAIN = 1.0
"""Seconds of silence after which an answer that said it was finished is believed."""
PARSE_LOOKS, PARSE_INTERVAL = 60, 1.0
"""How often, and every how many seconds, an uploaded document is asked about."""
STATUS = ("/api/v1/tasks/status/", "/api/v2/task/status/")
STS = ("/api/v1/files/getstsToken", "/api/v2/files/getstsToken")
MODELS = ("/api/models", "/api/v2/models/")


class QwenOptions(Options):
    """How the site is spoken to."""

    version: str = "0.2.66"
    """The version of the site's API that is asked for; writes without one are refused."""
    oss_url: str = "https://{bucket}.{endpoint}"
    """Where uploads go. Write it without `{endpoint}` for storage that is reached by another name."""
    delete_chats: bool = False
    """Delete the conversation of a request that named none, once it is answered; it cannot be continued then."""


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
        return [card(model) for model in SEEN]

    def adopt(self, model: str, kind: Kind | None) -> ModelCard | None:
        return adopted(model, kind)

    # --- generations ---

    async def chat(self, request: ChatRequest, account: Account) -> AsyncGenerator[Event]:
        turn, ref, tools = payload.chat_turn(request, self._known), request.chat, flattened.tool_names(request)
        async with self._conversation(turn, ref, account) as chat_id:
            answer = ChatAnswer(chat_id if ref or not self.site.delete_chats else None, tools)
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
        turn, images = payload.media_turn(request), 0
        for done in range(request.n):
            gallery, started = Gallery(turn.files, account.base_url), time.monotonic()
            cut: UpstreamError | None = None
            async with self._conversation(turn, None, account) as chat_id:
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
        turn = payload.media_turn(request)
        chat_id = await self._new_chat(turn, account)
        wanted = payload.completion(turn, ChatRef(chat_id), time.time())
        told = answers.Submitted()
        cut: UpstreamError = errors.UpstreamGarbled("the upstream's answer names no task", sent="unknown")
        try:
            told = await self._call("POST", _completions(chat_id), account, answers.Submitted, json=wanted)
        except UpstreamError as exc:
            if exc.sent != "unknown":
                raise
            cut = exc
        made = answers.task_id(told.messages or ()) or answers.task_id(await self._answers_in(chat_id, account))
        if not made:
            raise cut
        return Job(made, {"chat_id": chat_id, "submitted_at": time.time()})

    async def poll(self, job: Job, account: Account) -> JobUpdate:
        status = await self._either(
            STATUS, account, answers.Status, suffix=_safe(job.id), flat="task_status", of="task"
        )
        return answers.update(job, status, account.base_url, account.credential, time.time())

    # --- files and the rest ---

    async def upload(self, data: bytes, *, name: str, mime: str, account: Account) -> dict[str, object]:
        mime = mime or "application/octet-stream"
        wanted = storage.wanted(name, mime, len(data))
        with _before_asking():
            ticket = await self._either(STS, account, storage.Ticket, flat="access_key_id", method="POST", json=wanted)
            await self._put(data, mime, ticket, account)
            if wanted["filetype"] == "document":
                await self._parsed(ticket.file_id, account)
        return storage.reference(ticket, name, mime, len(data), time.time())

    async def models(self, account: Account) -> Sequence[ModelCard]:
        listed = await self._either(MODELS, account, Listed, flat="data")
        cards = [listed_card(row) for row in listed.data]
        self._known.update(card.id for card in cards)
        return cards

    async def probe(self, account: Account) -> None:
        if ended := failures.expired(account.credential, time.time()):
            raise ended
        await self._call("GET", "/api/v2/chats/?page=1", account, object)

    # --- one exchange ---

    async def _call(
        self, method: str, path: str, account: Account, shape: type[T], *, json: Any = None, **how: Any
    ) -> T:
        """What an answer holds; `how` it is opened: see `opened`."""
        url, headers = URL(account.base_url + path, encoded=True), self._headers(account)
        reply = await self.http.call(method, url, headers=headers, json=json, proxy=account.proxy)
        return opened(reply, shape, account.credential, now=time.time(), **how)

    async def _either(
        self,
        paths: tuple[str, ...],
        account: Account,
        shape: type[T],
        *,
        method: str = "GET",
        suffix: str = "",
        **how: Any,
    ) -> T:
        """Ask that of several endpoints which the site has; the one that answered is the one asked from then on."""
        known = self._answering.get(paths)
        failed: list[GatewayError] = []
        for index in range(len(paths)) if known is None else (known,):
            try:
                told = await self._call(method, paths[index] + suffix, account, shape, **how)
            except (errors.JobLost, errors.Challenged, errors.UpstreamGarbled) as exc:
                failed.append(exc)
            else:
                self._answering[paths] = index
                return told
        self._answering.pop(paths, None)
        raise next((exc for exc in failed if isinstance(exc, errors.JobLost)), failed[0])

    def _headers(self, account: Account) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {account.credential}",
            "Cookie": f"token={account.credential}",
            "Content-Type": "application/json",
            "source": "web",
            "version": self.site.version,
            "Timezone": "UTC",
            "X-Request-Id": str(uuid4()),
        }

    async def _stream(
        self, turn: Turn, ref: ChatRef, reader: ChatAnswer | Gallery, account: Account, **how: Any
    ) -> AsyncGenerator[Line]:
        """The answer's lines. Raises what a line, or an answer that is no stream, says went wrong."""
        answer = await self.http.open(
            "POST",
            URL(account.base_url + _completions(ref.chat_id), encoded=True),
            headers=self._headers(account),
            content=msgspec.json.encode(payload.completion(turn, ref, time.time())),
            proxy=account.proxy,
        )
        try:
            if answer.content_type != "text/event-stream":
                reply = Reply(answer.status, answer.headers, await answer.read())
                opened(reply, object, account.credential, now=time.time(), **how)
                raise errors.UpstreamGarbled("the upstream's answer is not a stream")
            events = sse.events(answer.chunks())
            while (event := await _next(events, DRAIN if reader.ended else None)) is not None:
                line = Line(completed=True) if event.data == b"[DONE]" else shaped(decoded(event.data), Line)
                if failure := failures.failure_in(line):
                    raise failures.error(failure, answer.status, account.credential, now=time.time(), **how)
                yield line
        finally:
            answer.close()

    # --- conversations ---

    @asynccontextmanager
    async def _conversation(self, turn: Turn, ref: ChatRef | None, account: Account) -> AsyncIterator[str]:
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
                    await self._call("DELETE", _chat(chat_id), account, object)
        finally:
            lock.release()

    async def _new_chat(self, turn: Turn, account: Account) -> str:
        wanted = payload.new_chat(turn, time.time())
        with _before_asking():
            made = await self._call("POST", "/api/v2/chats/new", account, answers.NewChat, json=wanted)
        return made.id

    async def _answers_in(self, chat_id: str, account: Account) -> list[Message]:
        """The site's own messages in a conversation, as far as they can be had: for what got lost on the way."""
        try:
            return (await self._call("GET", _chat(chat_id), account, answers.Conversation)).answers()
        except GatewayError:
            return []

    async def _hung(self, gallery: Gallery, chat_id: str, account: Account, cut: UpstreamError | None) -> list[Media]:
        """The images that the stream told of or, if it broke or told of none, that the conversation holds."""
        if cut is None and gallery.ended and (media := gallery.media()):
            return media
        if media := gallery.recall(await self._answers_in(chat_id, account)):
            return media
        if cut is None and not gallery.ended:
            cut = errors.StreamTruncated()
        said = failures.scrubbed(gallery.words, account.credential)
        raise cut or errors.UpstreamGarbled("the upstream's answer holds no image", detail=said)

    # --- uploads ---

    async def _put(self, data: bytes, mime: str, ticket: storage.Ticket, account: Account) -> None:
        url = URL(storage.address(self.site.oss_url, ticket), encoded=True)
        headers = storage.signed(ticket, mime, formatdate(usegmt=True))
        reply = await self.http.call("PUT", url, headers=headers, content=data, proxy=account.proxy)
        if reply.status // 100 != 2:
            raise storage.refused(reply.status, reply.body)

    async def _parsed(self, file_id: str, account: Account) -> None:
        """Wait until the site has read a document. Raises UpstreamRefusedParameter where it cannot."""
        await self._call("POST", "/api/v2/files/parse", account, object, json={"file_id": file_id})
        for _ in range(PARSE_LOOKS):
            wanted, path = {"file_id_list": [file_id]}, "/api/v2/files/parse/status"
            readings = await self._call("POST", path, account, list[storage.Reading], json=wanted)
            status = readings[0].status if readings else ""
            if status == "success":
                return
            if status == "failed":
                raise errors.UpstreamRefusedParameter("the upstream cannot read this document", param="files")
            await asyncio.sleep(PARSE_INTERVAL)
        raise errors.UpstreamTimeout("the upstream did not finish reading a document")


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
    except UpstreamError as exc:
        exc.sent = "no"
        raise


def _completions(chat_id: str) -> str:
    return f"/api/v2/chat/completions?chat_id={_safe(chat_id)}"


def _chat(chat_id: str) -> str:
    return f"/api/v2/chats/{_safe(chat_id)}"


def _safe(name: str) -> str:
    """A name that a caller may have given, as one piece of a path or query."""
    return quote(name, safe="")
