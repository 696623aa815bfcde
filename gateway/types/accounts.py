"""Who serves and who is served: accounts, models, callers, and the record of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec

from gateway.types.parameters import InputRule, Parameter
from gateway.types.prices import Price, Value
from gateway.types.requests import Kind


class QuotaReset(NamedTuple):
    """When daily quotas come back."""

    hour: int = 0
    """0 to 23, in `zone`."""
    zone: str = "UTC"
    """Of the IANA database."""


MIDNIGHT = QuotaReset()

AccountSource = Literal["config", "environment", "built in", "database"]


@dataclass(frozen=True, slots=True)
class Account:
    """One identity at an upstream."""

    id: str
    """`<upstream>/<name>`"""
    name: str
    upstream: str
    credential: str = field(default="", repr=False)
    base_url: str = ""
    """Without a trailing slash; the upstream's default already filled in."""
    proxy: str | None = field(default=None, repr=False)
    weight: float = 1.0
    max_concurrency: int = 8
    priority: int = 0
    """Higher is used first; lower ones only while none of the higher is free."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    min_interval: float = 0.0
    """Seconds between the starts of two requests."""
    daily_quota: Mapping[Kind, int] = field(default_factory=dict)
    quota_reset: QuotaReset = MIDNIGHT
    not_models: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    label: str = ""
    """The operator's own words for it."""
    source: AccountSource = "config"
    enabled: bool = True
    unusable: str = ""
    """Why no request may go by it, whatever else is said of it: its stored credential cannot be opened, or such."""
    options: Any = field(default=None, repr=False)
    """The validated `Upstream.account_options_model` of the account's type."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account has left, as its upstream tells it."""

    amount: float | None
    """None: without a limit."""
    unit: str
    """`USD`, `credits` …"""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What else the upstream tells, as plain JSON: nothing secret."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a model at one upstream."""

    id: str
    kinds: frozenset[Kind]
    name: str = ""
    context_length: int | None = None
    vision: bool = False
    reasoning: bool = False
    ratios: tuple[str, ...] = ()
    """Ratios it can make; empty: any."""
    max_n: int = 1
    """Images one call can make."""
    seconds: tuple[float, ...] = ()
    """Durations it can make; empty: any, or not its choice."""
    default_seconds: float | None = None
    """What it makes where nobody says how long; None: nobody knows."""
    estimate: float | None = None
    """Seconds a generation usually takes."""
    created: int = 0
    prices: tuple[Price, ...] = ()
    """What it costs there; the first one that holds for a request counts."""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    """What may be asked of it, by the names that callers use. Empty: nobody knows, and all is passed on."""
    closed: bool = False
    """Whether it takes no other parameters than those."""
    together: tuple[Mapping[str, Value], ...] = ()
    """Values that go together, where not all do: those of the parameters named here must all be of one row."""
    inputs: Mapping[Kind, InputRule] = field(default_factory=dict)
    """What files it takes, by kind of work; what is not named is as the kind says."""
    custom: bool = False
    """Whether the operator brought it, instead of a provider's table or list."""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place that can serve: a model at an upstream."""

    upstream: str
    card: ModelCard


WebhookEvent = Literal["task.running", "task.succeeded", "task.failed", "task.cancelled", "task.expired"]


class Webhook(msgspec.Struct, frozen=True):
    """Where the caller wants to hear of its tasks."""

    url: str
    events: tuple[WebhookEvent, ...] = ("task.succeeded", "task.failed", "task.cancelled", "task.expired")
    base: str = ""
    """What links in its events begin with: how the gateway was reached when the task was asked for."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a key proved to be."""

    id: str
    """Owner of what it makes."""
    name: str
    role: Literal["admin", "developer", "viewer"] = "developer"
    webhook: Webhook | None = None
    """Told of its tasks that name no webhook of their own."""
    account_tags: frozenset[str] = frozenset()
    """It is served only by accounts that carry all of these."""


class UsageRecord(msgspec.Struct, frozen=True):
    """One request, as accounted for."""

    at: float
    """Unix seconds."""
    request_id: str
    owner: str
    kind: Kind
    model: str
    upstream: str
    account: str
    status: int
    code: str
    input_tokens: int
    output_tokens: int
    images: int
    media_seconds: float
    seconds: float
    """How long the request took."""
    attempts: int
    task_id: str | None = None
    key: str = ""
    """The name of the caller's key."""
    cached_tokens: int = 0
    """Of the input."""
    characters: int = 0
    estimated: bool = False
    """Whether the gateway counted, because the upstream told nothing."""
    cost: float | None = None
    """None: nobody knows, or nothing was charged for."""
    currency: str | None = None
    assets: tuple[str, ...] = ()
    """Ids of what it made, which share its cost. Kept with them, not with the record."""
    generation_time: float | None = None
    """Seconds that making those took; kept with them too."""
