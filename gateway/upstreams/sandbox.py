"""The keyless provider inside: real text, images, video, sound and vectors, with no server, no key and no cost.

What it makes is made by `gateway.sandbox` and decided by model, words and seed alone. It keeps nothing: a job's cursor
says everything about the job, so that a restart, or another replica, goes on where the last one stood.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager, suppress
from functools import partial
from typing import ClassVar, ParamSpec, TypeVar, assert_never

import msgspec
from pydantic import Field, field_validator

from gateway.errors import (
    GenerationFailed,
    InvalidRequest,
    JobLost,
    RefusedByUpstream,
    TaskExpired,
    UpstreamRefusedParameter,
    UpstreamTimeout,
)
from gateway.http import Outbound
from gateway.sandbox import dialogue, faults, hearing, inline, names, picture, sizes, sound, turn, vectors, words
from gateway.sandbox.dialogue import Answer
from gateway.sandbox.dice import dice
from gateway.sandbox.faults import Fault
from gateway.sandbox.names import IMAGE, OWN, VIDEO
from gateway.sandbox.shot import Shot, carried, developed
from gateway.sandbox.takes import LENGTHS, MAX_IMAGES, MUSIC_SECONDS, VIDEO_SECONDS, parameters
from gateway.types import (
    Account,
    Balance,
    ChatRequest,
    EmbeddingRequest,
    Embeddings,
    Event,
    Finish,
    ImageRequest,
    Job,
    JobUpdate,
    Kind,
    Media,
    MediaReady,
    MediaRequest,
    ModelCard,
    MusicRequest,
    PartialImage,
    Progress,
    ReasoningDelta,
    SpeechRequest,
    TextDelta,
    ToolCallDelta,
    Transcription,
    TranscriptionRequest,
    Usage,
    VideoRequest,
)
from gateway.upstreams.base import Options, Upstream
from gateway.wire import body

P = ParamSpec("P")
T = TypeVar("T")
Events = AsyncGenerator[Event]
Hints = Mapping[str, str]

STUDIO = ThreadPoolExecutor(2, "sandbox")
"""Where pictures, films and sound are made: few at a time, and never in the threads that everybody shares."""

BEATS = (10, 30, 50, 70, 90)
"""Percent at which an image tells its progress; partial images, each finer, come after the second to fourth."""
ARGUMENTS_PIECE = 12
"""Characters of a tool call's arguments in one delta."""


class SandboxOptions(Options):
    """How long the sandbox takes, in seconds."""

    chunk_delay: float = Field(0.02, ge=0, le=60)
    """Between two pieces of a streamed text."""
    image_seconds: float = Field(1.0, ge=0, le=3600)
    video_seconds: float = Field(4.0, ge=0, le=86_400)


class SandboxAccount(Options):
    """An account that can be told to fail."""

    fault: str | None = None
    """What goes wrong for whom, written as in the header `x-sandbox-fault`."""

    @field_validator("fault")
    @classmethod
    def _readable(cls, fault: str | None) -> str | None:
        try:
            return fault if fault is None or faults.parse(fault) else None
        except InvalidRequest as exc:
            raise ValueError(exc.message) from exc


class Sandbox(Upstream):
    """Answers every model name for nothing, and fails on demand.

    A fault is asked for by the request header `x-sandbox-fault` or the account's key `fault`, as `name[;key=value…]`:

    | name | what happens | keys (default) |
    |---|---|---|
    | rate_limit | RateLimited | retry_after (5) |
    | daily_quota | QuotaExhausted until the next midnight in UTC | |
    | bad_key | CredentialRejected | |
    | no_balance | BalanceExhausted | |
    | server_error | UpstreamFailed | status (500) |
    | unreachable | UpstreamUnreachable, nothing sent | |
    | refused | ContentRefused | |
    | challenge | Challenged | |
    | paced | an answer, and Paced after its first event | seconds (60) |
    | silence | no event for so long, then on as usual | seconds (60), after (0) events |
    | cut | StreamInterrupted | after (2) events |
    | garbage | UpstreamGarbled | after (0) events |
    | lost_create | UpstreamTimeout: nobody knows whether the job was made | |
    | slow_job | a job takes that long | seconds (60) |
    | failed_job, expired_job | a job fails, or expires, half-way | |
    | lost_job | a job is made and then not known any more: JobLost | |

    With every name go `kinds=t2v,t2i`, `account=name` and `rate=0.3`: whom it strikes, and which share of the requests,
    decided by seed and account. A refusal or a pace that the header asks for changes no account's standing, so that
    nobody can switch the sandbox off for others; one that the account's key asks for does. What has no events is struck
    at once by silence, cut and garbage, and tells no pace. Polls, cancels, probes, lists and balances suffer from the
    account's own fault where it is the account's or the upstream's to mend.
    """

    type_name: ClassVar[str] = "sandbox"
    needs_credential: ClassVar[bool] = False
    stand_in: ClassVar[bool] = True
    max_concurrency: ClassVar[int] = 64
    poll_interval: ClassVar[float | None] = 1.0
    reads_headers: ClassVar[tuple[str, ...]] = (faults.HEADER,)
    options_model: ClassVar[type[Options]] = SandboxOptions
    account_options_model: ClassVar[type[Options]] = SandboxAccount
    options: SandboxOptions

    def __init__(self, name: str, options: Options, http: Outbound) -> None:
        super().__init__(name, SandboxOptions.model_validate(options.model_dump()), http)
        self.clock: Callable[[], float] = time.time
        """Unix seconds."""

    def cards(self) -> Sequence[ModelCard]:
        return tuple(self._card(f"sandbox-{what}", kinds, f"Sandbox {what.title()}") for what, kinds in OWN.items())

    def adopt(self, model: str, kind: Kind | None) -> ModelCard | None:
        """A card for any name: the kinds that the name tells, and `kind` in any case.

        A name that tells nothing is a chat model's; asked for with a kind, it can do everything.
        """
        told = names.kinds(model)
        kinds = (told or names.ANY) | {kind} if kind else told or frozenset({"t2t"})
        return self._card(model, kinds, asked=kind) if model else None

    def _card(self, model: str, kinds: frozenset[Kind], name: str = "", asked: Kind | None = None) -> ModelCard:
        wanted = {asked} if asked else kinds
        takes = (VIDEO, self.options.video_seconds), (IMAGE, self.options.image_seconds)
        lasts = (VIDEO, VIDEO_SECONDS), (frozenset({"t2m"}), MUSIC_SECONDS)
        return ModelCard(
            model,
            kinds,
            name,
            context_length=131_072 if "t2t" in kinds else None,
            vision="t2t" in kinds,
            reasoning="t2t" in kinds,
            parameters=parameters(kinds),
            max_n=MAX_IMAGES if kinds & IMAGE else 1,
            default_seconds=next((seconds for kinds, seconds in lasts if wanted & kinds), None),
            estimate=next((seconds for kinds, seconds in takes if wanted & kinds), None),
        )

    def effective(self, request: MediaRequest, card: ModelCard) -> MediaRequest:
        """Pixels and lengths as they will be."""
        with _blamed_on("size"):
            match request:
                case ImageRequest():
                    return msgspec.structs.replace(request, size=sizes.shown(*sizes.of_image(request.size)))
                case VideoRequest():
                    size = sizes.shown(*sizes.of_video(request.size))
                    return msgspec.structs.replace(request, size=size, seconds=request.seconds or VIDEO_SECONDS)
                case MusicRequest():
                    return msgspec.structs.replace(request, seconds=request.seconds or MUSIC_SECONDS)
                case SpeechRequest():
                    return request
                case never:
                    assert_never(never)

    # --- generations ---

    def chat(self, request: ChatRequest, account: Account) -> Events:
        throw = request.model, *(bytes(request.body.get(name, b"")) for name in ("messages", "seed"))
        return self._through(self._chat(request), "t2t", request.hints, account, throw)

    def image(self, request: ImageRequest, account: Account) -> Events:
        return self._through(self._image(request), request.kind, request.hints, account, _seed(request))

    def speech(self, request: SpeechRequest, account: Account) -> Events:
        return self._through(self._speech(request), "tts", request.hints, account, _seed(request))

    def music(self, request: MusicRequest, account: Account) -> Events:
        return self._through(self._music(request), "t2m", request.hints, account, _seed(request))

    async def embed(self, request: EmbeddingRequest, account: Account) -> Embeddings:
        await self._admit("embedding", request.hints, account, request.texts)
        size = 256 if request.dimensions is None else request.dimensions
        if not 1 <= size <= 4096:
            raise InvalidRequest(f"'dimensions' must be from 1 to 4096, not {size}", param="dimensions")
        made = await asyncio.to_thread(lambda: tuple(tuple(vectors.embed(t, dimensions=size)) for t in request.texts))
        return Embeddings(made, Usage(input_tokens=sum(map(words.tokens, request.texts))))

    async def transcribe(self, request: TranscriptionRequest, account: Account) -> Transcription:
        await self._admit("transcription", request.hints, account, request.data)
        asked = dict(request.fields).get("response_format") or "json"
        with _blamed_on("response_format"):
            shape = hearing.shape(asked)
        with _blamed_on("file"):
            seconds = await _made(hearing.length, request.data)
        told, mime = hearing.transcript(seconds, shape, translated=request.translate)
        return Transcription(told, mime, Usage(seconds=seconds))

    async def _chat(self, request: ChatRequest) -> Events:
        asked = turn.read(body.decoded(request.body), request.model)
        answer = await asyncio.to_thread(dialogue.answer, asked)
        for event in _told(answer):
            yield event
            await asyncio.sleep(self.options.chunk_delay if request.stream else 0)
        yield Usage(answer.input_tokens, answer.output_tokens, reasoning_tokens=answer.reasoning_tokens)
        yield Finish(answer.finish)

    async def _image(self, request: ImageRequest) -> Events:
        form = str(request.params.get("output_format") or "png")
        with _blamed_on("size"):
            width, height = sizes.of_image(request.size)
        with _blamed_on("output_format"):
            mime = picture.mime(form)
        if not 1 <= request.n <= MAX_IMAGES:
            raise InvalidRequest(f"'n' must be from 1 to {MAX_IMAGES}, not {request.n}", param="n")
        with _blamed_on("image"):
            given = next(iter(await _made(inline.images, request.inputs)), None)

        async def drawn(seed: int, shrunk: int = 1) -> bytes:
            size = {"width": max(64, width // shrunk), "height": max(64, height // shrunk)}
            return await _made(picture.draw, request.prompt, seed=seed, **size, reference=given, format=form)

        seed = _seed(request)
        for at, percent in enumerate(BEATS):
            await asyncio.sleep(self.options.image_seconds / len(BEATS))
            yield Progress(percent)
            if 1 <= at <= request.partial_images:
                yield PartialImage(at - 1, await drawn(seed, shrunk=16 >> at), mime)
        for at in range(request.n):
            yield MediaReady(Media("image", mime, data=await drawn(seed + at), width=width, height=height))
        yield Usage(words.tokens(request.prompt), request.n * (width * height // 1024), images=request.n)
        yield Finish()

    async def _speech(self, request: SpeechRequest) -> Events:
        with _blamed_on("response_format"):
            mime = sound.mime(request.format)
        voice, speed, seed = request.voice, request.speed, _seed(request)
        if not sound.SLOWEST <= speed <= sound.FASTEST:
            raise InvalidRequest(f"'speed' must be {sound.SLOWEST} to {sound.FASTEST}, not {speed:g}", param="speed")
        with _blamed_on("input"):
            data = await _made(sound.speak, request.text, voice=voice, speed=speed, format=request.format, seed=seed)
        yield MediaReady(Media("audio", mime, data=data))
        yield Usage(characters=len(request.text))
        yield Finish()

    async def _music(self, request: MusicRequest) -> Events:
        with _blamed_on("format"):
            mime = sound.mime(request.format)
        if request.n != 1:
            raise InvalidRequest("'n' must be 1: the sandbox makes one piece at a time", param="n")
        seed, seconds = _seed(request), MUSIC_SECONDS if request.seconds is None else request.seconds
        with _blamed_on("seconds"):
            data = await _made(sound.compose, request.prompt, seed=seed, seconds=seconds, format=request.format)
        yield MediaReady(Media("audio", mime, data=data, seconds=seconds))
        yield Usage(words.tokens(request.prompt), seconds=seconds)
        yield Finish()

    # --- jobs ---

    async def submit(self, request: VideoRequest, account: Account) -> Job:
        fault = await self._admit(request.kind, request.hints, account, _seed(request))
        seconds = VIDEO_SECONDS if request.seconds is None else request.seconds
        if request.n != 1:
            raise InvalidRequest("'n' must be 1: a job of the sandbox makes one video", param="n")
        if not LENGTHS[0] <= seconds <= LENGTHS[1]:
            raise UpstreamRefusedParameter("a video takes {} to {} seconds".format(*LENGTHS), param="seconds")
        with _blamed_on("size"):
            width, height = sizes.of_video(request.size)
        with _blamed_on("image"):
            first, last = await _made(inline.ends, request.kind, request.inputs)
        if fault and fault.name == "lost_create":
            raise UpstreamTimeout("the upstream did not say whether it made the job", sent="unknown")
        shot = Shot(
            prompt=request.prompt,
            kind=request.kind,
            seed=_seed(request),
            width=width,
            height=height,
            seconds=seconds,
            created=self.clock(),
            takes=fault.seconds if fault and fault.name == "slow_job" else self.options.video_seconds,
            fault=fault.name if fault else "",
            first=carried(first),
            last=carried(last),
        )
        return Job(f"sandbox-{secrets.token_hex(12)}", msgspec.to_builtins(shot))

    async def poll(self, job: Job, account: Account) -> JobUpdate:
        shot = self._shot(job, account)
        done = shot.done(self.clock())
        match shot.fault:
            case "failed_job" if done >= 0.5:
                return JobUpdate("failed", error=GenerationFailed("the sandbox failed this job, as it was told to"))
            case "expired_job" if done >= 0.5:
                return JobUpdate("expired", error=TaskExpired("the sandbox let this job expire, as it was told to"))
        if done < 1:
            return JobUpdate("queued" if done < 0.1 else "running", 99 * done, eta_seconds=shot.takes * (1 - done))
        data = await _made(developed, shot)
        media = Media("video", "video/mp4", data=data, width=shot.width, height=shot.height, seconds=shot.seconds)
        return JobUpdate("succeeded", 100, (media,), usage=Usage(seconds=shot.seconds))

    async def cancel(self, job: Job, account: Account) -> bool:
        return self._shot(job, account).done(self.clock()) < 1

    def _shot(self, job: Job, account: Account) -> Shot:
        self._visit(account, job.id)
        try:
            shot = msgspec.convert(job.cursor, Shot)
        except msgspec.ValidationError as exc:
            raise JobLost(f"the sandbox made no job {job.id!r}") from exc
        if shot.fault == "lost_job":
            raise JobLost(f"the sandbox no longer knows the job {job.id!r}")
        return shot

    # --- the rest ---

    async def models(self, account: Account) -> Sequence[ModelCard]:
        self._visit(account)
        return self.cards()

    async def probe(self, account: Account) -> None:
        self._visit(account)

    async def balance(self, account: Account) -> Balance:
        """Without a limit: what it makes costs nothing."""
        self._visit(account)
        return Balance(None, "nothing")

    # --- faults ---

    def _met(self, kind: Kind | None, hints: Hints, account: Account, throw: object) -> Fault | None:
        """The fault that strikes this request. Raises at once what comes instead of any answer."""
        own = account.options.fault if isinstance(account.options, SandboxAccount) else None
        asked = [(faults.parse(line), line is not own) for line in (hints.get(faults.HEADER), own) if line]
        struck = (found for found in asked if found[0].strikes(kind=kind, account=account.name, throw=throw))
        fault, by_caller = next(struck, (None, False))
        if fault and (error := faults.refusal(fault, now=self.clock())):
            error.acted = by_caller
            raise error
        return None if fault and fault.name == "paced" and by_caller else fault

    async def _admit(self, kind: Kind, hints: Hints, account: Account, throw: object) -> Fault | None:
        """For what has no events: whatever strikes between them strikes now."""
        fault = self._met(kind, hints, account, throw)
        await faults.strike(fault, fault.after if fault else 0)
        return fault

    async def _through(self, events: Events, kind: Kind, hints: Hints, account: Account, throw: object) -> Events:
        """The events as far as a fault lets them through."""
        async with aclosing(events):
            fault, passed = self._met(kind, hints, account, throw), 0
            await faults.strike(fault, passed)
            async for event in events:
                yield event
                passed += 1
                if told := faults.pace(fault, passed):
                    yield told
                await faults.strike(fault, passed)

    def _visit(self, account: Account, job: str = "") -> None:
        """For polls and probes: raises what is wrong with the account or the upstream, anew every second."""
        with suppress(RefusedByUpstream):
            self._met(None, {}, account, (job, int(self.clock())))


# --- requests, read ---


def _seed(request: ImageRequest | VideoRequest | SpeechRequest | MusicRequest) -> int:
    """The seed that was asked for, else one that follows from model and prompt."""
    asked = None if isinstance(request, SpeechRequest) else request.seed
    return dice(request.model, request.prompt).getrandbits(31) if asked is None else asked


async def _made(make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await asyncio.get_running_loop().run_in_executor(STUDIO, partial(make, *args, **kwargs))


@contextmanager
def _blamed_on(param: str) -> Iterator[None]:
    """What is wrong with a value is wrong with the caller's parameter."""
    try:
        yield
    except ValueError as exc:
        raise InvalidRequest(f"'{param}': {exc}", param=param) from exc


# --- answers, told ---


def _told(answer: Answer) -> Iterator[Event]:
    yield from map(ReasoningDelta, words.pieces(answer.reasoning))
    yield from map(TextDelta, words.pieces(answer.text))
    for index, call in enumerate(answer.calls):
        yield ToolCallDelta(index, call.id, call.name)
        for at in range(0, len(call.arguments), ARGUMENTS_PIECE):
            yield ToolCallDelta(index, arguments=call.arguments[at : at + ARGUMENTS_PIECE])
