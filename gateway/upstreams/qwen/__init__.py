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
- A used up day's quota may say in how many hours it comes back (`num`); where it does not, the UTC day ends first.

Chapters: `payload` (what is sent), `site` (how), `answers` (what comes back), `tasks` (videos), `failures` (what goes
wrong), `storage` (where files go), `models`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from email.utils import formatdate
from typing import ClassVar
from weakref import WeakValueDictionary

from yarl import URL

from gateway import errors
from gateway.errors import GatewayError, UpstreamError
from gateway.http import Outbound
from gateway.types import (
    MIDNIGHT,
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
    QuotaReset,
    Usage,
    VideoRequest,
)
from gateway.upstreams.base import Options, Upstream
from gateway.upstreams.qwen import answers, failures, payload, storage, tasks
from gateway.upstreams.qwen.answers import ChatAnswer, Gallery, Message
from gateway.upstreams.qwen.models import SEEN, Listed, adopted, card, listed_card
from gateway.upstreams.qwen.payload import Turn
from gateway.upstreams.qwen.site import Site, completions, conversation, safe
from gateway.wire import flattened

__all__ = ["Qwen", "QwenOptions"]

IMAGE_SECONDS = 30.0
"""What an image takes, for its progress."""
TURN_WAIT = 120.0
"""Seconds that a turn waits for the one before it in the same conversation."""
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
    quota_reset: ClassVar[QuotaReset] = MIDNIGHT
    """Seen of videos, about three a day: all of the site's days begin at midnight in UTC."""
    poll_interval = 5.0
    deadline = 1200.0
    options_model: ClassVar[type[Options]] = QwenOptions

    def __init__(self, name: str, options: Options, http: Outbound) -> None:
        super().__init__(name, options, http)
        self._settings = options if isinstance(options, QwenOptions) else QwenOptions()
        self._known = set(SEEN)
        self._site = Site(http, self._settings.version)
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    def cards(self) -> Sequence[ModelCard]:
        return [card(model) for model in SEEN]

    def adopt(self, model: str, kind: Kind | None) -> ModelCard | None:
        return adopted(model, kind)

    # --- generations ---

    async def chat(self, request: ChatRequest, account: Account) -> AsyncGenerator[Event]:
        turn, ref, tools = payload.chat_turn(request, self._known), request.chat, flattened.tool_names(request)
        async with self._conversation(turn, ref, account) as chat_id:
            answer = ChatAnswer(chat_id if ref or not self._settings.delete_chats else None, tools)
            lines = self._site.stream(turn, ref or ChatRef(chat_id), answer, account, of="chat" if ref else "")
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
                    async with aclosing(self._site.stream(turn, ChatRef(chat_id), gallery, account)) as lines:
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
        told = tasks.Submitted()
        cut: UpstreamError = errors.UpstreamGarbled("the upstream's answer names no task", sent="unknown")
        try:
            told = await self._site.call("POST", completions(chat_id), account, tasks.Submitted, json=wanted)
        except UpstreamError as exc:
            if exc.sent != "unknown":
                raise
            cut = exc
        made = tasks.task_id(told.messages or ()) or tasks.task_id(await self._answers_in(chat_id, account))
        if not made:
            raise cut
        return Job(made, {"chat_id": chat_id, "submitted_at": time.time()})

    async def poll(self, job: Job, account: Account) -> JobUpdate:
        status = await self._site.either(
            STATUS, account, tasks.Status, suffix=safe(job.id), flat="task_status", of="task"
        )
        return tasks.update(job, status, account.base_url, account.credential, time.time())

    # --- files and the rest ---

    async def upload(self, data: bytes, *, name: str, mime: str, account: Account) -> dict[str, object]:
        mime = mime or "application/octet-stream"
        wanted = storage.wanted(name, mime, len(data))
        with _before_asking():
            ticket = await self._site.either(
                STS, account, storage.Ticket, flat="access_key_id", method="POST", json=wanted
            )
            await self._put(data, mime, ticket, account)
            if wanted["filetype"] == "document":
                await self._parsed(ticket.file_id, account)
        return storage.reference(ticket, name, mime, len(data), time.time())

    async def models(self, account: Account) -> Sequence[ModelCard]:
        listed = await self._site.either(MODELS, account, Listed, flat="data")
        cards = [listed_card(row) for row in listed.data]
        self._known.update(card.id for card in cards)
        return cards

    async def probe(self, account: Account) -> None:
        if ended := failures.expired(account.credential, time.time()):
            raise ended
        await self._site.call("GET", "/api/v2/chats/?page=1", account, object)

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
            if ref is None and self._settings.delete_chats:
                with suppress(GatewayError):
                    await self._site.call("DELETE", conversation(chat_id), account, object)
        finally:
            lock.release()

    async def _new_chat(self, turn: Turn, account: Account) -> str:
        wanted = payload.new_chat(turn, time.time())
        with _before_asking():
            made = await self._site.call("POST", "/api/v2/chats/new", account, answers.NewChat, json=wanted)
        return made.id

    async def _answers_in(self, chat_id: str, account: Account) -> list[Message]:
        """The site's own messages in a conversation, as far as they can be had: for what got lost on the way."""
        try:
            return (await self._site.call("GET", conversation(chat_id), account, answers.Conversation)).answers()
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
        url = URL(storage.address(self._settings.oss_url, ticket), encoded=True)
        headers = storage.signed(ticket, mime, formatdate(usegmt=True))
        reply = await self.http.call("PUT", url, headers=headers, content=data, proxy=account.proxy)
        if reply.status // 100 != 2:
            raise storage.refused(reply.status, reply.body)

    async def _parsed(self, file_id: str, account: Account) -> None:
        """Wait until the site has read a document. Raises UpstreamRefusedParameter where it cannot."""
        await self._site.call("POST", "/api/v2/files/parse", account, object, json={"file_id": file_id})
        for _ in range(PARSE_LOOKS):
            wanted, path = {"file_id_list": [file_id]}, "/api/v2/files/parse/status"
            readings = await self._site.call("POST", path, account, list[storage.Reading], json=wanted)
            status = readings[0].status if readings else ""
            if status == "success":
                return
            if status == "failed":
                raise errors.UpstreamRefusedParameter("the upstream cannot read this document", param="files")
            await asyncio.sleep(PARSE_INTERVAL)
        raise errors.UpstreamTimeout("the upstream did not finish reading a document")


@contextmanager
def _before_asking() -> Iterator[None]:
    """What breaks in here breaks before a generation is asked for: it certainly was not made."""
    try:
        yield
    except UpstreamError as exc:
        exc.sent = "no"
        raise
