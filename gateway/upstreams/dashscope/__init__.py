"""Alibaba Cloud Model Studio (DashScope): text, images, films and speech of the vendor's own models.

Sources: wire sheet, 2026-11-20; dashscope 2.0.2 and @ai-sdk/alibaba 1.0.61; the vendor's pages on text-to-video,
text-to-image, tasks, errors, temporary files and speech as retold in 2026-11. What of it is not obvious:

- Text goes by the OpenAI dialect, all else by the vendor's own API, at two paths of one host. Key, host and model must
  be of one region, and hosts are the accounts' own matter.
- Films, and older images, are tasks; asked for without `X-DashScope-Async` they are refused. Newer images and speech
  are answered at once, in one and the same place.
- A task is kept a day, and so is its result. Then, or for anybody else's, its status is UNKNOWN, with a 200. A task
  that failed has a 200 as well, and one of four images may have failed within a task that SUCCEEDED.
- Only a task that waits can be stopped.
- A create has no idempotency key, and a task tells what it was asked for only once it has succeeded: see `find`.
- wan2.7 makes four images where nobody says how many, and pays for each: `n` and `duration` are always told.
- Times are those of Beijing and do not say so.
- Its lists of models are documented nowhere: ids are known by table, or taken by the look of them.

- What is uploaded is one account's and for one model, so that copies are not the gateway's to remember: `uploads`.

Chapters: `models` (what each takes), `cards` (how that is told), `films`, `stills`, `sound` (what will be made, what is
sent), `records` (what comes back), `failures` (what goes wrong), `site` (calls), `waiting` (for images), `uploads`,
`dialect` (text).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import ClassVar, Literal, TypeVar, assert_never

import msgspec
from pydantic import Field

from gateway import errors
from gateway.errors import GatewayError
from gateway.http import Outbound
from gateway.types import (
    Account,
    ChatRequest,
    Event,
    ImageRequest,
    Job,
    JobUpdate,
    Kind,
    Media,
    MediaReady,
    MediaRequest,
    ModelCard,
    MusicRequest,
    Progress,
    SpeechRequest,
    TextDelta,
    Usage,
    VideoRequest,
)
from gateway.upstreams.base import Options, Upstream
from gateway.upstreams.dashscope import films, records, sound, stills, uploads
from gateway.upstreams.dashscope.cards import KNOWN, card
from gateway.upstreams.dashscope.dialect import Dialect
from gateway.upstreams.dashscope.records import Answer
from gateway.upstreams.dashscope.site import AccountOptions, Site
from gateway.upstreams.dashscope.waiting import looks

__all__ = ["DashScope", "DashScopeOptions"]

STOP_SECONDS = 5.0
SEARCHED = 50
"""Tasks that a search lists."""
ASKED_ABOUT = 20
"""Tasks that a search asks about, one by one."""
SLACK = 60.0
"""Seconds that the vendor's clock may be behind."""
LATEST = 180.0
"""Seconds after which a create that was lost has made nothing that was not there before."""

R = TypeVar("R", ImageRequest, VideoRequest)


class DashScopeOptions(Options):
    image_tasks: bool = Field(
        default=False,
        description="Whether images that could be answered at once are asked for by tasks where they can.",
    )
    uploads: Literal["large", "always", "never"] = Field(
        default="large",
        description="Which images are laid down at the vendor's storage instead of going inside requests.",
    )


class DashScope(Upstream):
    type_name: ClassVar[str] = "dashscope"
    base_url: ClassVar[str] = "https://dashscope.aliyuncs.com"
    env_credentials: ClassVar[tuple[str, ...]] = ("DASHSCOPE_API_KEYS", "DASHSCOPE_API_KEY")
    env_base_url: ClassVar[str | None] = "DASHSCOPE_BASE_URL"
    poll_interval: ClassVar[float | None] = 3.0
    poll_interval_old: ClassVar[float | None] = 10.0
    polls_per_second: ClassVar[float | None] = 10.0
    """Half of what the vendor allows: the other half is for images."""
    deadline: ClassVar[float | None] = 900.0
    options_model: ClassVar[type[Options]] = DashScopeOptions
    options: DashScopeOptions
    account_options_model: ClassVar[type[Options]] = AccountOptions

    def __init__(self, name: str, options: Options, http: Outbound) -> None:
        super().__init__(name, options, http)
        self._site = Site(http)
        self._dialect = Dialect(name, http)

    def cards(self) -> Sequence[ModelCard]:
        return KNOWN

    def adopt(self, model: str, kind: Kind | None) -> ModelCard | None:
        found = card(model)
        return found if found and (kind is None or kind in found.kinds) else None

    def effective(self, request: MediaRequest, card: ModelCard) -> MediaRequest:
        match request:
            case VideoRequest():
                return films.fitted(request, card)
            case ImageRequest():
                return stills.fitted(request, card)
            case SpeechRequest():
                return sound.fitted(request, card)
            case MusicRequest():
                raise self._cannot("make music")
            case never:
                assert_never(never)

    async def probe(self, account: Account) -> None:
        """Asks for the list of tasks."""
        await self._site.ask("/tasks", account, records.Page, {"page_no": 1, "page_size": 1})

    # --- text ---

    def chat(self, request: ChatRequest, account: Account) -> AsyncGenerator[Event]:
        return self._dialect.chat(request, account)

    # --- images ---

    async def image(self, request: ImageRequest, account: Account) -> AsyncGenerator[Event]:
        """What came out, if anything did: as many calls as the number needs. Of several images some may be missing,
        which is told in words, and nobody is charged for those."""
        shown, came = await self._shown(request, account), records.Stills((), (), None)
        for part in stills.parts(shown):
            try:
                async with aclosing(self._drawn(part, account)) as told:
                    async for one in told:
                        if isinstance(one, Progress):
                            yield Progress((100 * came.count + one.percent * part.n) / request.n)
                        else:
                            came = came.then(one)
            except GatewayError as error:
                if not came.made:
                    raise
                came = came.lost(request.n, error)
                break
        if came.missing:
            yield TextDelta(came.told)
        for media in came.made:
            yield MediaReady(media)
        yield Usage(images=len(came.made))

    async def _drawn(self, request: ImageRequest, account: Account) -> AsyncGenerator[Progress | records.Stills]:
        """One call: how far it is, where that shows, and at last what came of it. Raises why nothing did."""
        asked, task = stills.still(request, by_task=self.options.image_tasks)
        answer = await self._site.create(asked, account, task=task, images=request.inputs)
        if task and answer.output:
            name = answer.output.task_id
            yield Progress(0)
            async with aclosing(self._until_over(name, account)) as answers:
                async for answer in answers:
                    yield Progress(records.percent(answer))
        came = records.stills(answer, request.n, account.credential)
        if not came.made:
            raise came.error or errors.UpstreamGarbled("the upstream's answer holds no image")
        yield came

    async def _until_over(self, task: str, account: Account) -> AsyncGenerator[Answer]:
        """How an image's task stands. One that nobody waits for any longer is stopped, if it can be."""
        waits = True
        try:
            async with aclosing(looks(self._site, task, account)) as answers:
                async for answer in answers:
                    waits = answer.output is not None and answer.output.task_status == "PENDING"
                    yield answer
        except (asyncio.CancelledError, GeneratorExit):
            if waits:
                await asyncio.shield(self._dropped(task, account))
            raise

    async def _dropped(self, task: str, account: Account) -> None:
        with suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._site.stop(task, account)

    # --- speech ---

    async def speech(self, request: SpeechRequest, account: Account) -> AsyncGenerator[Event]:
        """The vendor's WAV, or what it becomes in the format that was asked for."""
        answer = await self._site.create(sound.speech(request), account, task=False)
        audio = answer.output.audio if answer.output else None
        if audio is None or not audio.url:
            raise errors.UpstreamGarbled("the upstream's answer holds no speech")
        if request.format == "wav":
            yield MediaReady(Media("audio", mime=sound.WAV, url=audio.url))
        else:
            heard = await self._site.heard(audio.url, account)
            data, mime = await asyncio.to_thread(sound.encoded, heard, request.format)
            yield MediaReady(Media("audio", mime=mime, data=data))
        yield records.counted(answer.usage)

    # --- films ---

    async def submit(self, request: VideoRequest, account: Account) -> Job:
        shown = await self._shown(request, account)
        answer = await self._site.create(films.film(shown), account, task=True, images=shown.inputs)
        assert answer.output is not None, "a task that was made has a name"
        return Job(answer.output.task_id)

    async def poll(self, job: Job, account: Account) -> JobUpdate:
        return records.update(await self._site.task(job.id, account), account.credential)

    async def cancel(self, job: Job, account: Account) -> bool:
        """Only a task that waits can be stopped. One that has begun goes on."""
        if await self._status(job, account) == "PENDING" and await self._site.stop(job.id, account):
            return True
        return await self._status(job, account) == "CANCELED"

    async def find(self, request: VideoRequest, since: float, account: Account) -> Job | None:
        """The job that a lost create made, known by what its task tells of the request once it has succeeded.

        That is the prompt and the length; there is nothing that a task could be marked by. What was made for the model
        on the account within the minutes in question, and tells the request's prompt and length, is the request's job,
        unless another task is known to have it, which the caller can look up. Two that fit are none. Tasks that are
        not over yet tell nothing, so that a job may be found late, or too late.
        """
        if not request.prompt.strip():
            return None
        first, last = since - SLACK, since + LATEST
        query: dict[str, str | int] = {
            "start_time": records.stamp(first),
            "model_name": request.model,
            "page_no": 1,
            "page_size": SEARCHED,
        }
        page = await self._site.ask("/tasks", account, records.Page, query)
        found: list[str] = []
        for name in page.succeeded()[:ASKED_ABOUT]:
            with suppress(errors.JobLost):
                answer = await self._site.task(name, account)
                if records.is_of(request, answer, first, last):
                    found.append(name)
        return Job(found[0]) if len(found) == 1 else None

    async def _status(self, job: Job, account: Account) -> str:
        output = (await self._site.task(job.id, account)).output
        return output.task_status if output else ""

    # --- images that are shown ---

    async def _shown(self, request: R, account: Account) -> R:
        """The request with its images where the vendor finds them."""
        wanted = self.options.uploads
        if not request.inputs or wanted == "never" or (wanted == "large" and not uploads.too_large(request.inputs)):
            return request
        placed = await self._site.laid_down(request.inputs, request.model, account)
        return msgspec.structs.replace(request, inputs=placed)
