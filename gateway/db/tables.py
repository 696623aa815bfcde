"""The schema, the same on SQLite and PostgreSQL.

`_time` columns are Unix seconds as floats; sizes are bytes, other durations seconds. `_json` columns hold JSON as text:
it is written and read whole, never searched, so both databases may keep it as it is.
A change here needs a new file in `migrations/versions`; a test compares the two.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from gateway.db import full_text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _id() -> Column[Any]:
    return Column("id", Text, primary_key=True)


def _text(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, Text, nullable=nullable)


def _json(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, Text, nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, Double, nullable=nullable)


def _where(condition: str) -> dict[str, Any]:
    """Of an index that holds only some rows."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


settings = Table(
    "settings",
    metadata,
    Column("key", Text, primary_key=True),
    _text("value"),
)
"""Values that the gateway makes once and keeps, such as the secret that signs links."""

tasks = Table(
    "tasks",
    metadata,
    _id(),
    _text("owner"),
    _text("kind"),
    _text("model"),
    _text("upstream"),
    _text("account_id", nullable=True),
    _text("state"),
    _json("request"),
    _json("job", nullable=True),
    _json("params"),
    Column("progress", Double, nullable=False),
    Column("eta", Double, nullable=True),  # seconds from the last poll
    _json("error", nullable=True),
    _json("usage", nullable=True),
    _text("chat_id", nullable=True),
    _json("attempts"),
    _time("created_at"),
    _time("submitted_at", nullable=True),
    _time("started_at", nullable=True),
    _time("finished_at", nullable=True),
    _time("deadline"),
    _time("next_poll_at"),
    _text("lease_owner", nullable=True),
    Column("lease_until", Double, nullable=False, server_default=text("0")),
    Column("polls", Integer, nullable=False, server_default=text("0")),
    _text("native"),
    Column("cancel_requested", Boolean, nullable=False, server_default=false()),
    Column("version", Integer, nullable=False, server_default=text("0")),  # of the row: one more with every change
    _text("answer", nullable=True),
    _json("metadata", nullable=True),
    _json("webhook", nullable=True),
    Column("cost", Double, nullable=True),
    _text("currency", nullable=True),
    Index(None, "state", "next_poll_at"),
    Index(None, "owner", "created_at"),
    Index(None, "account_id", "state"),
)
"""Long work. A row is written before the upstream is asked, and is the job engine itself: claimed, leased, fenced."""

outputs = Table(
    "outputs",
    metadata,
    _id(),
    Column("task_id", Text, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    _text("state"),
    _text("asset_id", nullable=True),
    _json("error", nullable=True),
    UniqueConstraint("task_id", "position"),
)
"""What a task makes, each with a state of its own. Its unique constraint keeps a result from coming in twice."""

assets = Table(
    "assets",
    metadata,
    _id(),
    _text("owner"),
    _text("family"),
    _text("key"),
    _text("mime"),
    Column("size", BigInteger, nullable=False),
    _text("sha256"),
    Column("width", Integer, nullable=True),
    Column("height", Integer, nullable=True),
    Column("seconds", Double, nullable=True),
    _text("filename"),
    _text("prompt"),
    _text("model"),
    _text("upstream"),
    _text("kind"),
    _text("task_id", nullable=True),
    _text("source_module"),
    _time("created_at"),
    _json("metadata"),
    _text("request_id", nullable=True),
    _text("title", nullable=True),
    _text("description", nullable=True),
    Column("tags", Text, nullable=False, server_default="[]"),  # JSON; `asset_tags` is what they are found by
    Column("parents", Text, nullable=False, server_default="[]"),  # JSON; `asset_parents` is what they are found by
    Column("words", Text, nullable=False, server_default=text("''")),  # what the full-text index holds of it
    Column("cost", Double, nullable=True),
    _text("currency", nullable=True),
    Column("generation_time", Double, nullable=True),
    Column("is_favorite", Boolean, nullable=False, server_default=false()),
    Column("use_count", Integer, nullable=False, server_default=text("0")),
    Column("download_count", Integer, nullable=False, server_default=text("0")),
    Column("share_count", Integer, nullable=False, server_default=text("0")),
    Column("view_count", Integer, nullable=False, server_default=text("0")),
    _text("thumbnail_key", nullable=True),
    _text("poster_key", nullable=True),
    _json("waveform", nullable=True),
    _time("previewed_at", nullable=True),
    _time("missing_since", nullable=True),
    _time("updated_at", nullable=True),
    Index(
        "ix_assets_listed",
        *("owner", "created_at", "id", "family", "upstream", "model", "kind", "source_module", "is_favorite"),
        *("size", "use_count", "updated_at", "cost", "currency"),
    ),
    Index(None, "task_id"),
    Index(None, "key"),
    Index("ix_assets_thumbnail_key", "thumbnail_key", **_where("thumbnail_key IS NOT NULL")),
    Index("ix_assets_poster_key", "poster_key", **_where("poster_key IS NOT NULL")),
    Index("ix_assets_unpreviewed", "created_at", **_where("previewed_at IS NULL")),
)
"""The library. An asset outlives its task.

`ix_assets_listed` holds all that lists are filtered, sorted and summed by, so that no row is read but those shown.

`key`, `thumbnail_key` and `poster_key` are names in object storage. `previewed_at` is null until its previews are made,
or nothing can be shown of it. `missing_since` is when its object was first found gone, by nobody's wish.
"""
full_text.made_with(assets)

asset_tags = Table(
    "asset_tags",
    metadata,
    Column("asset_id", Text, ForeignKey("assets.id", ondelete="CASCADE"), nullable=False),
    _text("tag"),
    _text("owner"),
    PrimaryKeyConstraint("asset_id", "tag"),
    Index(None, "owner", "tag", "asset_id"),
)
"""Assets by their tags, in lower case."""

asset_parents = Table(
    "asset_parents",
    metadata,
    Column("asset_id", Text, ForeignKey("assets.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    _text("parent_id"),
    PrimaryKeyConstraint("asset_id", "position"),
    Index(None, "parent_id"),
)
"""What an asset was made from: assets or files, which may be gone by now."""

collections = Table(
    "collections",
    metadata,
    _id(),
    _text("owner"),
    _text("name"),
    _text("description", nullable=True),
    _text("cover_asset_id", nullable=True),
    _time("created_at"),
    _time("updated_at"),
    Index(None, "owner", "updated_at"),
)
"""Assets that somebody put together. A cover that is gone is none."""

collection_assets = Table(
    "collection_assets",
    metadata,
    Column("collection_id", Text, ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("asset_id", Text, ForeignKey("assets.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    _time("added_at"),
    PrimaryKeyConstraint("collection_id", "asset_id"),
    Index(None, "collection_id", "position"),
    Index(None, "asset_id"),
)
"""What a collection holds, by position from 0."""

files = Table(
    "files",
    metadata,
    _id(),
    _text("owner"),
    _text("key"),
    _text("name"),
    _text("mime"),
    Column("size", BigInteger, nullable=False),
    _text("sha256"),
    _time("created_at"),
    Column("purpose", Text, nullable=False, server_default="upload"),
    _time("expires_at", nullable=True),
    Column("width", Integer, nullable=True),
    Column("height", Integer, nullable=True),
    Column("seconds", Double, nullable=True),
    _time("missing_since", nullable=True),
    Index(None, "owner", "created_at", "id"),
    Index(None, "owner", "sha256"),
    Index(None, "key"),
    Index(None, "expires_at"),
)
"""What callers brought: uploads, and (purpose `input`) what a task was asked to start from. `key` is the name in object
storage; files of one owner with the same bytes share it.
"""

requests = Table(
    "requests",
    metadata,
    _text("owner"),
    _text("key"),
    _text("fingerprint"),
    _text("task_id", nullable=True),
    _text("state"),
    Column("status", Integer, nullable=True),
    _json("headers", nullable=True),
    Column("body", LargeBinary, nullable=True),
    _text("body_key", nullable=True),
    _text("lease_owner", nullable=True),
    Column("lease_until", Double, nullable=False, server_default=text("0")),
    _time("created_at"),
    _time("expires_at"),
    PrimaryKeyConstraint("owner", "key"),
    Index(None, "expires_at"),
    Index("ix_requests_body_key", "body_key", **_where("body_key IS NOT NULL")),
)
"""Generation requests that may come again, by the caller's key for them (`Idempotency-Key`) or by what they say.

`state`: `running` while an answer is being made, by the process that holds the lease; `done` once it is kept, in `body`
or, where it is large, in storage by `body_key`. A request that makes a task has `task_id` and is `done` at once.
"""

deliveries = Table(
    "deliveries",
    metadata,
    _id(),
    _text("owner"),
    _text("task_id"),
    _text("type"),
    _text("url"),
    Column("sequence", Integer, nullable=False),
    _text("state"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    _time("next_at"),
    _text("lease_owner", nullable=True),
    Column("lease_until", Double, nullable=False, server_default=text("0")),
    Column("status", Integer, nullable=True),
    _text("error", nullable=True),
    _time("created_at"),
    _time("finished_at", nullable=True),
    Index(None, "state", "next_at"),
    Index(None, "owner", "created_at"),
    Index(None, "task_id"),
)
"""The outbox of webhooks: written with the change they tell of, delivered until acknowledged. `id` is `webhook-id`.

`state`: `pending`, `delivered`, `failed` (given up) or `disabled` (the destination said it is gone). `status` and
`error` are of the last attempt; `sequence` is the task's version.
"""

destinations = Table(
    "destinations",
    metadata,
    _id(),
    _text("owner"),
    _text("url"),
    _time("disabled_at", nullable=True),
    _text("reason", nullable=True),
    _time("created_at"),
    UniqueConstraint("owner", "url"),
)
"""Where webhooks go, once something is to be remembered of it: that it wants no more."""

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    _text("owner"),
    Column("generation", Integer, nullable=False),
    _time("created_at"),
    _time("expires_at", nullable=True),
    PrimaryKeyConstraint("owner", "generation"),
)
"""Which secrets sign an owner's webhooks. The secrets themselves are derived, so nothing here can leak one."""

accounts = Table(
    "accounts",
    metadata,
    _id(),
    _text("upstream"),
    _text("name"),
    _text("credential", nullable=True),
    _text("proxy", nullable=True),
    _json("settings"),
    _time("created_at"),
    _time("updated_at"),
    UniqueConstraint("upstream", "name"),
)
"""Accounts that an operator added while the gateway ran. `credential` and `proxy` are sealed by the master key;
`settings` are the other keys of an account as the config has them. `id` is `<upstream>/<name>`."""

standings = Table(
    "standings",
    metadata,
    _text("account_id"),
    _text("fact"),
    Column("until", Double, nullable=False),
    _text("reason"),
    Column("count", Integer, nullable=False, server_default=text("0")),
    _time("updated_at"),
    PrimaryKeyConstraint("account_id", "fact"),
    Index(None, "updated_at"),
)
"""What is known against an account, of any source, a row each fact: how its standing survives restarts and reaches
other replicas. `until` is in Unix seconds; what only an operator ends has one that never comes."""

file_copies = Table(
    "file_copies",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("account_id", Text, primary_key=True),
    _json("ref"),
    _time("expires_at", nullable=True),
    _time("created_at"),
)
"""The upstream's own copy of a file, at one account: what `Upstream.upload` returned for these bytes."""

chats = Table(
    "chats",
    metadata,
    _id(),
    _text("owner"),
    _text("name"),
    _text("model"),
    _text("kind"),
    _text("upstream", nullable=True),
    _text("account_id", nullable=True),
    _text("upstream_chat", nullable=True),
    _time("created_at"),
    _time("updated_at"),
    Index(None, "owner", "updated_at"),
)
"""Conversations, and the account that holds the upstream's side of each."""

turns = Table(
    "turns",
    metadata,
    _id(),
    Column("chat_id", Text, ForeignKey("chats.id", ondelete="CASCADE"), nullable=False),
    _text("owner"),
    _text("parent_id", nullable=True),
    _json("messages"),
    _text("answer"),
    _text("model"),
    _text("upstream"),
    _text("account_id", nullable=True),
    _json("upstream_ref", nullable=True),
    _time("created_at"),
    Index(None, "chat_id", "created_at"),
)
"""One exchange: `messages` is what the caller added, `parent_id` the turn it follows."""

usage = Table(
    "usage",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    _time("at"),
    _text("request_id"),
    _text("owner"),
    _text("kind"),
    _text("model"),
    _text("upstream"),
    _text("account_id"),
    Column("status", Integer, nullable=False),
    _text("code"),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("images", Integer, nullable=False),
    Column("media_seconds", Double, nullable=False),
    Column("seconds", Double, nullable=False),  # how long the request took
    Column("attempts", Integer, nullable=False),
    _text("task_id", nullable=True),
    Column("key", Text, nullable=False, server_default=text("''")),  # the name of the caller's key
    Column("cached_tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("characters", BigInteger, nullable=False, server_default=text("0")),
    Column("estimated", Boolean, nullable=False, server_default=false()),
    Column("cost", Double, nullable=True),
    _text("currency", nullable=True),
    Index(None, "at"),
    Index(None, "owner", "at"),
)
"""Every request, as accounted for: one row a `UsageRecord`."""
