"""IMA Studio: images, films, music and speech of many vendors' models, paid for in points.

Sources: the vendor's open API (snapshot of 2026-02-27), its own client `ima-all-ai` (2026-04-23) and its pages on
speech, music and images, as retold in a wire sheet of 2026-11-21. Nothing of it was tried on the live site. What is not
obvious:

- What can be made, by which parameters and for how much, is told by trees of products, one a category, and changes
  often. A create names leaf, credit rule and price; where one of them is no longer right it is refused.
- A create has no idempotency key and there is no list of tasks: one that was never answered stays unknown.
- Asked for what no credit rule has, the vendor's client makes something else without a word. Here it is refused.
- `n` outputs are `n` tasks to the vendor, each paid for; they come in one record, one after the other.
- A task is looked at by its `id`, never by its `biz_id`. It cannot be cancelled. Its result may go at any time.
- Files go in by public URLs only; the vendor lends storage, and the key rides in the query that asks for it.

Chapters: `products` (the trees), `tree` (kept), `choice`, `choices`, `specials` (what callers may choose), `plan`
(which rule), `asked` (requests), `models` (cards), `payload` (what is sent), `records` (what comes back), `failures`
(what goes wrong), `site` (calls), `waiting` (for what has no job), `uploads`, `spelling`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import ClassVar, Literal

import msgspec
from pydantic import Field

from gateway import errors
from gateway.errors import GatewayError, InvalidRequest
from gateway.http import Outbound
from gateway.types import (
    Account,
    Event,
    ImageRequest,
    Job,
    JobUpdate,
    Kind,
    MediaReady,
    MediaRequest,
    ModelCard,
    MusicRequest,
    Progress,
    SpeechRequest,
    VideoRequest,
)
from gateway.upstreams.base import Options, Upstream
from gateway.upstreams.ima import models, payload, records, waiting
from gateway.upstreams.ima.asked import Promise, asked, count, promise, with_values
from gateway.upstreams.ima.failures import Stale
from gateway.upstreams.ima.plan import Plan, planned
from gateway.upstreams.ima.products import CATEGORY, Leaf
from gateway.upstreams.ima.records import Cursor
from gateway.upstreams.ima.site import Site
from gateway.upstreams.ima.tree import Tree

__all__ = ["Ima", "ImaOptions"]


class ImaOptions(Options):
    language: Literal["en", "zh"] = Field(default="en", description="The language of the names of products.")
    upload_url: str = Field(
        default="https://imapi.liveme.com",
        pattern=r"^https?://[^/\s]+$",
        description="Where leave to lay down files is asked for.",
    )
    poll_seconds: float | None = Field(
        default=None, gt=0, le=60, description="Seconds between looks at a task, instead of what the vendor advises."
    )


class Ima(Upstream):
    type_name: ClassVar[str] = "ima"
    base_url: ClassVar[str] = "https://api.imastudio.com"
    env_credentials: ClassVar[tuple[str, ...]] = ("IMA_API_KEYS", "IMA_API_KEY")
    env_base_url: ClassVar[str | None] = "IMA_BASE_URL"
    poll_interval: ClassVar[float | None] = 8.0
    deadline: ClassVar[float | None] = 2400.0
    options_model: ClassVar[type[Options]] = ImaOptions
    options: ImaOptions

    def __init__(self, name: str, options: Options, http: Outbound) -> None:
        super().__init__(name, options, http)
        self.tree = Tree()
        self._site = Site(http, self.options.upload_url, self.options.language)
        if self.options.poll_seconds is not None:
            vars(self)["poll_interval"] = self.options.poll_seconds

    # --- models ---

    def cards(self) -> Sequence[ModelCard]:
        return self.tree.cards()

    def adopt(self, model: str, kind: Kind | None) -> ModelCard | None:
        found = models.adopted(model)
        return found if found and (kind is None or kind in found.kinds) else None

    async def models(self, account: Account) -> Sequence[ModelCard]:
        """All categories at once. One that fails stays as it was; raises only where none was told."""
        told = await asyncio.gather(*(self._site.products(kind, account) for kind in CATEGORY), return_exceptions=True)
        for kind, found in zip(CATEGORY, told, strict=True):
            if isinstance(found, BaseException):
                if not isinstance(found, GatewayError):
                    raise found
            else:
                self.tree.keep(kind, found)
        failed = [found for found in told if isinstance(found, GatewayError)]
        if len(failed) == len(told):
            raise failed[0]
        return self.tree.cards()

    async def probe(self, account: Account) -> None:
        """Asks for the shortest list."""
        await self._site.products("tts", account)

    def effective(self, request: MediaRequest, card: ModelCard) -> MediaRequest:
        """As long as the tree is not known nothing is: then it is all decided when it is sent. What was told of it
        before, as when its task was taken on, is held to."""
        _check_count(request)
        told = promise(request)
        leaf = self.tree.leaf(told.pinned if told else card.id, request.kind)
        if leaf is None:
            return request
        given = asked(request)
        plan = planned(leaf, given)
        if told is not None:
            _check_price(told.points, plan)
        return with_values(request, plan.values, Promise(tuple(given), plan.rule.points, leaf.pinned, request.model))

    # --- images, music, speech ---

    def image(self, request: ImageRequest, account: Account) -> AsyncGenerator[Event]:
        return self._made(request, account)

    def music(self, request: MusicRequest, account: Account) -> AsyncGenerator[Event]:
        return self._made(request, account)

    def speech(self, request: SpeechRequest, account: Account) -> AsyncGenerator[Event]:
        return self._made(request, account)

    async def _made(self, request: MediaRequest, account: Account) -> AsyncGenerator[Event]:
        """All that was asked for, or the error that says how many there were."""
        job, plan = await self._created(request, account)
        yield Progress(0)
        _, usual = models.times(plan.leaf.model_id, plan.leaf.kind)
        seconds = self.options.poll_seconds or waiting.pause(plan.leaf.model_id, plan.leaf.kind)
        longest = waiting.LONGEST[plan.leaf.kind]
        async with aclosing(waiting.looks(self._site, job, account, seconds, longest)) as updates:
            async for update, elapsed in updates:
                if update.state in ("queued", "running"):
                    yield Progress(waiting.percent(elapsed, usual))
        if update.state != "succeeded":
            raise update.error or errors.GenerationFailed()
        for media in update.media:
            yield MediaReady(media)
        if update.usage:
            yield update.usage

    # --- films ---

    async def submit(self, request: VideoRequest, account: Account) -> Job:
        job, _ = await self._created(request, account)
        return job

    async def poll(self, job: Job, account: Account) -> JobUpdate:
        return records.update(job, await self._site.task(job.id, account), account.credential)

    # --- files ---

    async def upload(self, data: bytes, *, name: str, mime: str, account: Account) -> dict[str, object]:
        placed = await self._site.laid_down(data, mime or "application/octet-stream", account)
        return placed.ref()

    # --- creating ---

    async def _created(self, request: MediaRequest, account: Account) -> tuple[Job, Plan]:
        """Ask for a task, at the price that was told before or not at all. What the vendor refuses because its list has
        changed is asked for once more, if neither the price nor anything that the caller gave is another one."""
        _check_count(request)
        plan = await self._planned(request, account)
        body = payload.create(plan, request)
        if payload.is_verified(plan):
            payload.check_images(request)
            for url in payload.images(request):
                await self._site.verify(url, account)
        try:
            made = await self._site.create(body, account)
        except Stale as stale:
            plan = await self._again(request, account, plan, stale)
            made = await self._site.create(payload.create(plan, request), account)
        asked_for = max(count(request), made.generate_count or 0)
        cursor = Cursor(plan.leaf.kind, plan.rule.points, asked_for)
        return Job(str(made.id), msgspec.to_builtins(cursor)), plan

    async def _planned(self, request: MediaRequest, account: Account) -> Plan:
        told = promise(request)
        plan = planned(await self._leaf(request, account, told.pinned if told else ""), asked(request))
        if told is not None:
            _check_price(told.points, plan)
        return plan

    async def _again(self, request: MediaRequest, account: Account, before: Plan, stale: Stale) -> Plan:
        """The same by a list that was asked for anew."""
        try:
            plan = planned(await self._leaf(request, account, before.leaf.pinned, anew=True), asked(request))
            _check_price(before.rule.points, plan)
        except errors.RequestError as error:
            raise error from stale
        return plan

    async def _leaf(self, request: MediaRequest, account: Account, pinned: str = "", *, anew: bool = False) -> Leaf:
        """What the request's model means. `pinned`: the version that was meant before, and is not exchanged."""

        async def ask(kind: Kind) -> tuple[Leaf, ...]:
            return await self._site.products(kind, account)

        try:
            await self.tree.fresh(request.kind, ask, anew=anew)
        except errors.UpstreamError as error:
            error.sent = "no"  # of what is paid for nothing was sent
            raise
        found = self.tree.leaf(request.model, request.kind)
        meant = self.tree.leaf(pinned, request.kind) if pinned else found
        if found is None:
            raise errors.ModelNotFound(f"the upstream no longer has {request.model!r} for this", param="model")
        if meant is None:
            raise errors.PriceChanged(f"{request.model} is another version now, {found.name}; nothing was made")
        return meant


def _check_count(request: MediaRequest) -> None:
    most = models.most_of(request.kind, request.model.partition("@")[0])
    if not 1 <= count(request) <= most:
        raise InvalidRequest(f"'n' must be from 1 to {most} with {request.model}", param="n")


def _check_price(before: float, plan: Plan) -> None:
    """Raises PriceChanged where it costs something else than was told, or chosen, before."""
    if plan.rule.points != before:
        raise errors.PriceChanged(
            f"{plan.leaf.name} costs {plan.rule.points:g} points now instead of {before:g}; nothing was made",
            sent="no",
        )
