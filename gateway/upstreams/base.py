"""The contract of a provider: one file, one class, only the operations it has.

A provider subclasses `Upstream`, sets `type_name`, and writes those of the methods below that it can do. What it does
not write it cannot do: `operations()` is computed from the methods present. It never sees the web framework, the
pool, the database or a task row; it gets a frozen request and a frozen account, and yields events or raises an error
of `gateway.errors`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from functools import cache
from typing import ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict

from gateway.errors import RequestError
from gateway.http import Outbound
from gateway.types import (
    MIDNIGHT,
    Account,
    Balance,
    ChatRequest,
    EmbeddingRequest,
    Embeddings,
    Event,
    ImageRequest,
    Job,
    JobUpdate,
    Kind,
    Media,
    MediaRequest,
    ModelCard,
    MusicRequest,
    QuotaReset,
    SpeechRequest,
    Transcription,
    TranscriptionRequest,
    VideoRequest,
)

Operation = Literal[
    "chat",
    "image",
    "speech",
    "music",
    "embed",
    "transcribe",
    "submit",
    "poll",
    "poll_many",
    "find",
    "cancel",
    "upload",
    "fetch",
    "models",
    "probe",
    "balance",
]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)

OPERATION_OF: dict[Kind, Operation] = {
    "t2t": "chat",
    "t2i": "image",
    "i2i": "image",
    "t2v": "submit",
    "i2v": "submit",
    "flf2v": "submit",
    "ref2v": "submit",
    "t2m": "music",
    "tts": "speech",
    "embedding": "embed",
    "transcription": "transcribe",
}


class Options(BaseModel):
    """The inner keys of a stanza. A provider subclasses it for keys of its own; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Upstream:
    """A provider as configured: one stanza, its accounts elsewhere."""

    type_name: ClassVar[str] = ""
    """The word in a stanza's `type:`. Empty: not a provider, a base class."""
    base_url: ClassVar[str] = ""
    """Where its accounts live unless the stanza or the account says otherwise."""
    env_credentials: ClassVar[tuple[str, ...]] = ()
    """Environment variables that make accounts with no config; a name ending in S holds several, comma-separated."""
    env_base_url: ClassVar[str | None] = None
    env_name: ClassVar[str] = ""
    """Name of the upstream that such variables make; default: its type name."""
    needs_credential: ClassVar[bool] = True
    stand_in: ClassVar[bool] = False
    """True for a provider that answers every model name while no real account is configured."""
    max_concurrency: ClassVar[int] = 8
    """Slots of an account that names no limit of its own."""
    quota_reset: ClassVar[QuotaReset] = MIDNIGHT
    """When the daily quotas of its accounts come back."""
    reads_headers: ClassVar[tuple[str, ...]] = ()
    """Lower-case request headers handed to it in `request.hints`."""
    poll_interval: ClassVar[float | None] = None
    """Seconds between polls of a young job; None: the configured default."""
    poll_interval_old: ClassVar[float | None] = None
    """Seconds between polls of a job that is minutes old; None: as for a young one."""
    polls_per_second: ClassVar[float | None] = None
    """Poll calls that one account may make; None: as many as are due."""
    poll_batch: ClassVar[int] = 1
    """Jobs that one `poll_many` may ask for."""
    deadline: ClassVar[float | None] = None
    """Seconds a job may take; None: the configured default."""
    options_model: ClassVar[type[Options]] = Options
    """What a stanza may hold besides the keys that every stanza has."""
    account_options_model: ClassVar[type[Options]] = Options
    """The same for each of its accounts."""

    def __init__(self, name: str, options: Options, http: Outbound) -> None:
        self.name = name
        self.options = options
        self.http = http

    @classmethod
    @cache
    def operations(cls) -> frozenset[Operation]:
        """What this provider can do, read off the methods it has."""
        return frozenset(op for op in OPERATIONS if getattr(cls, op) is not getattr(Upstream, op))

    def cards(self) -> Sequence[ModelCard]:
        """The provider's own table of models: what is known without asking."""
        return ()

    def adopt(self, model: str, kind: Kind | None) -> ModelCard | None:
        """A card for a model that no table or list names, where the provider would serve it; None where not."""
        return None

    def effective(self, request: MediaRequest, card: ModelCard) -> MediaRequest:
        """The request as it will be made here: what the caller left open is filled in, what is spelled in other ways is
        spelled as the provider has it, pixels are those that come out. Pure; of what it returned it returns the same.

        What differs from what the caller gave is told to the caller. Raises InvalidRequest for what cannot be.
        """
        return request

    # --- generations: yield events; the first one commits the answer, so raise before it what can be retried ---

    def chat(self, request: ChatRequest, account: Account) -> AsyncGenerator[Event]:
        raise self._cannot("chat")

    def image(self, request: ImageRequest, account: Account) -> AsyncGenerator[Event]:
        raise self._cannot("make images")

    def speech(self, request: SpeechRequest, account: Account) -> AsyncGenerator[Event]:
        raise self._cannot("speak")

    def music(self, request: MusicRequest, account: Account) -> AsyncGenerator[Event]:
        raise self._cannot("make music")

    async def embed(self, request: EmbeddingRequest, account: Account) -> Embeddings:
        raise self._cannot("embed")

    async def transcribe(self, request: TranscriptionRequest, account: Account) -> Transcription:
        raise self._cannot("transcribe")

    # --- jobs: all by the account that submitted ---

    async def submit(self, request: VideoRequest, account: Account) -> Job:
        """Ask for a job. An error with `sent="no"`, or of the account or caller, means certainly not made."""
        raise self._cannot("make videos")

    async def poll(self, job: Job, account: Account) -> JobUpdate:
        """How the job stands. Raises JobLost where the upstream does not know it (any more)."""
        raise self._cannot("make videos")

    async def poll_many(self, jobs: Sequence[Job], account: Account) -> Mapping[str, JobUpdate]:
        """How several jobs stand, by job id, in one call. One that the answer leaves out is polled by itself."""
        raise self._cannot("make videos")

    async def find(self, request: VideoRequest, since: float, account: Account) -> Job | None:
        """The job that a `submit` made whose answer was lost; None while the upstream shows none that surely is it.

        `since`: Unix seconds before which it cannot have been made. Nothing may be made by asking.
        """
        raise self._cannot("find jobs")

    def allowance(self, request: VideoRequest) -> float | None:
        """Seconds the job for this request may take; None: the configured default."""
        return self.deadline

    async def cancel(self, job: Job, account: Account) -> bool:
        """Ask the upstream to stop; True when it confirmed."""
        raise self._cannot("cancel jobs")

    # --- files and the rest ---

    async def upload(self, data: bytes, *, name: str, mime: str, account: Account) -> dict[str, object]:
        """Bring a file to the upstream. Returns its own name for it (plain JSON), to be found in `Input.ref`."""
        raise self._cannot("take files")

    def fetch(self, media: Media, account: Account) -> AsyncIterator[bytes]:
        """The bytes of a result, where its URL needs the account's credential. Not written: a guarded download."""
        raise self._cannot("fetch")

    async def models(self, account: Account) -> Sequence[ModelCard]:
        """The upstream's live list."""
        raise self._cannot("list models")

    async def probe(self, account: Account) -> None:
        """A request that spends nothing; raises what is wrong with the account."""
        raise self._cannot("be probed")

    async def balance(self, account: Account) -> Balance:
        """What the account has left. Spends nothing."""
        raise self._cannot("tell a balance")

    def _cannot(self, verb: str) -> RequestError:
        return RequestError(f"{self.name!r} cannot {verb}", code="unsupported_operation")
