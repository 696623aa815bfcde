"""The tree itself: every key there is, its unit and its default."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, ValidationInfo, model_validator

from gateway.config.models import ModelEntry, ModelsConfig
from gateway.config.rules import (
    CallerKey,
    Count,
    Credential,
    DatabaseUrl,
    Days,
    Directory,
    EventName,
    Flag,
    HeaderBytes,
    Host,
    Hour,
    HttpUrl,
    KindName,
    Label,
    LinkSeconds,
    MasterKey,
    Name,
    Origin,
    Port,
    Quota,
    RedisUrl,
    Seconds,
    SecondsOrNone,
    Share,
    StorageUrl,
    Tag,
    Text,
    WebhookUrl,
    Weight,
    Whole,
    Zone,
    base_path,
    fault,
    must_be,
)
from gateway.config.sections import OpenSection, Section
from gateway.types import Webhook

SelectionName = Literal["least_loaded", "weighted", "round_robin", "two_choices", "sticky"]


class ServerConfig(Section):
    """Where and how the gateway listens."""

    host: Host = "127.0.0.1"
    port: Port = 3264
    public_url: HttpUrl | None = None
    """How callers reach it: the base of links in answers. None: as each request says."""
    max_body: Count = 32 * 1024 * 1024
    """Bytes of one request body that is not an upload."""
    drain_seconds: SecondsOrNone = 30
    """How long live requests may go on after the signal to stop."""


class StorageConfig(Section):
    """Where media and uploads are kept."""

    url: StorageUrl = Field(default="", repr=False)
    """Default: `file://<data_dir>/objects`."""
    link_ttl: LinkSeconds = 86400
    """Seconds that a signed link works."""
    redirect: Flag = False
    """Whether links lead on to the store's own presigned URLs, where it makes any, instead of through the gateway."""
    direct_uploads: Flag = False
    """Whether tickets for uploads are the store's own presigned URLs, where it makes any."""


class LibraryConfig(Section):
    """What is kept of what is made."""

    keep_text: Flag = False
    """Whether answers in text become assets. False: only those that a request asks to `store`."""
    previews: Flag = True
    """Whether thumbnails, posters and waveforms are made."""


class RetentionConfig(Section):
    """For how many days things are kept, each from when it was made. None: forever. Favourites and what is in a
    collection are kept whatever is said here."""

    images: Days | None = None
    videos: Days | None = None
    audio: Days | None = None
    text: Days | None = None
    uploads: Days | None = None
    usage: Days | None = None
    """Of the usage log, which holds no content."""


class KeyConfig(Section):
    """An API key of a caller."""

    name: Name
    key: CallerKey
    role: Annotated[Literal["admin", "developer", "viewer"], must_be("one of admin, developer, viewer")] = "developer"
    webhook_url: WebhookUrl | None = Field(default=None, repr=False)
    """Told of its tasks that name no webhook of their own."""
    webhook_events: tuple[EventName, ...] = Webhook("").events
    account_tags: tuple[Tag, ...] = ()
    """It is served only by accounts that carry all of these."""


class AccessConfig(Section):
    """Who may call."""

    keys: tuple[KeyConfig, ...] = ()


class AccountConfig(OpenSection):
    """One identity at an upstream."""

    name: Name
    api_key: Credential | None = None
    """`token` is a synonym. Empty counts as none."""
    base_url: HttpUrl | None = None
    proxy: HttpUrl | None = Field(default=None, repr=False)
    max_concurrency: Count | None = None
    """Requests at once. None: what the type of the upstream says."""
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    min_interval: SecondsOrNone = 0
    """Seconds between the starts of two requests."""
    weight: Weight = 1.0
    """Its share of the load, beside that of the others."""
    priority: Whole = 0
    """Higher is used first; lower ones only while none of the higher is free."""
    tags: tuple[Tag, ...] = ()
    """What keys choose accounts by (`access.keys[].account_tags`)."""
    label: Label = ""
    """The operator's own words for it."""
    daily_quota: Mapping[KindName, Quota] = {}
    not_models: tuple[Text, ...] = ()
    """Models that it may not use."""
    enabled: Flag = True

    @model_validator(mode="before")
    @classmethod
    def _one_credential(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        if "token" in given and "api_key" in given:
            raise fault("must have api_key or token, not both")
        renamed = {("api_key" if key == "token" else key): value for key, value in given.items()}
        return {key: value for key, value in renamed.items() if (key, value) != ("api_key", "")}


class QuotaResetConfig(Section):
    """When daily quotas come back."""

    hour: Hour = 0
    zone: Zone = "UTC"


class UpstreamConfig(OpenSection):
    """A provider, and the accounts there."""

    name: Name
    type: Text
    base_url: HttpUrl | None = None
    """None: the provider's own."""
    priority: Whole = 0
    """Higher is tried first."""
    selection: Annotated[SelectionName, must_be(f"one of {', '.join(get_args(SelectionName))}")] = "least_loaded"
    """Whose turn it is among accounts that are free."""
    max_concurrency: Count | None = None
    """Requests at once over all its accounts. None: as many as they take."""
    quota_reset: QuotaResetConfig | None = None
    """None: what the type says, midnight in UTC where it says nothing."""
    models: tuple[ModelEntry, ...] = ()
    """Empty: all that it lists. Else only these, listed or not."""
    accounts: tuple[AccountConfig, ...] = ()


class PoolConfig(Section):
    """How requests share the accounts of an upstream."""

    slot_wait: SecondsOrNone = 30
    """Seconds a request waits for a slot before it is refused."""
    max_waiting: Quota = 1000
    """Requests that wait at one upstream; over it, they are refused at once."""
    retry_budget: Share = 0.2
    """Retries after faults of upstreams, as a share of requests."""


class TasksConfig(Section):
    """Long work: videos. All in seconds."""

    poll_interval: Seconds = 2
    wait_timeout: Seconds = 180
    """How long a request waits for its result before it is told to come back."""
    deadline: Seconds = 1800
    """How long a job may take before its task is expired."""
    background: Flag = True
    """Whether tasks advance by themselves. False: only when asked about, and by /internal/tick."""


class WebhooksConfig(Section):
    """Telling callers of their tasks."""

    trusted_origins: tuple[Origin, ...] = ()
    """Receivers that need not be public, as `http://10.0.0.5:8080`."""


class TimeoutsConfig(Section):
    """How long an upstream may take, in seconds."""

    connect: Seconds = 5
    first_event: Seconds = 60
    idle: Seconds = 60
    """Between two parts of an answer."""
    total: Seconds = 600


class LimitsConfig(Section):
    """What callers may send, in bytes."""

    upload_max: Count = 25 * 1024 * 1024
    """Of one uploaded file."""
    upload_memory: Count = 256 * 1024 * 1024
    """Of all uploads that are held at once; over it, 503."""
    header_bytes: HeaderBytes = 65536
    """Of request line and headers."""

    @model_validator(mode="after")
    def _one_upload_fits(self) -> Self:
        if self.upload_memory < self.upload_max:
            raise fault("upload_memory must be at least upload_max, or no upload of that size could be taken")
        return self


class LogConfig(Section):
    """What is logged, and how it looks."""

    level: Annotated[Literal["debug", "info", "warning", "error"], must_be("one of debug, info, warning, error")] = (
        "info"
    )
    format: Annotated[Literal["auto", "json", "text"], must_be("one of auto, json, text")] = "auto"
    """auto: text on a terminal, JSON elsewhere."""


class Config(Section):
    """Everything an operator can set. Made by `gateway.config.load`."""

    server: ServerConfig = ServerConfig()
    data_dir: Directory = Path("var")
    """Absolute. Where the database and the objects live unless their URLs say otherwise."""
    database_url: DatabaseUrl = Field(default="", repr=False)
    """`sqlite+aiosqlite:///…` or `postgresql+asyncpg://…`. Default: `<data_dir>/mediagate.db`."""
    redis_url: RedisUrl | None = Field(default=None, repr=False)
    """What replicas tell each other by. None: they look into the database."""
    storage: StorageConfig = StorageConfig()
    library: LibraryConfig = LibraryConfig()
    retention: RetentionConfig = RetentionConfig()
    access: AccessConfig = AccessConfig()
    master_key: MasterKey | None = None
    """Seals credentials at rest."""
    previous_master_keys: tuple[MasterKey, ...] = ()
    """Open what was sealed before the master key was changed."""
    upstreams: tuple[UpstreamConfig, ...] = ()
    pool: PoolConfig = PoolConfig()
    models: ModelsConfig = ModelsConfig()
    tasks: TasksConfig = TasksConfig()
    webhooks: WebhooksConfig = WebhooksConfig()
    timeouts: TimeoutsConfig = TimeoutsConfig()
    limits: LimitsConfig = LimitsConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="before")
    @classmethod
    def _under_data_dir(cls, given: Any, info: ValidationInfo) -> Any:
        """What the data directory gives a place to: the database and the objects."""
        if not isinstance(given, dict) or not isinstance(given.get("data_dir", ""), str | Path):
            return given
        home = base_path(info) / given.get("data_dir", "var")
        filled = {"data_dir": str(home), "database_url": f"sqlite:///{home / 'mediagate.db'}", "storage": {}} | given
        if isinstance(filled["storage"], dict):
            filled["storage"] = {"url": (home / "objects").as_uri()} | filled["storage"]
        return filled
