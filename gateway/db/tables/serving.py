"""What the gateway remembers of those who serve and of those who are served."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from gateway.db.tables.columns import a_time, an_id, as_json, metadata, words

settings = Table(
    "settings",
    metadata,
    Column("key", Text, primary_key=True),
    words("value"),
)
"""Values that the gateway makes once and keeps, such as the secret that signs links."""

accounts = Table(
    "accounts",
    metadata,
    an_id(),
    words("upstream"),
    words("name"),
    words("credential", nullable=True),
    words("proxy", nullable=True),
    as_json("settings"),
    a_time("created_at"),
    a_time("updated_at"),
    UniqueConstraint("upstream", "name"),
)
"""Accounts that an operator added while the gateway ran. `credential` and `proxy` are sealed by the master key;
`settings` are the other keys of an account as the config has them. `id` is `<upstream>/<name>`."""

standings = Table(
    "standings",
    metadata,
    words("account_id"),
    words("fact"),
    Column("until", Double, nullable=False),
    words("reason"),
    Column("count", Integer, nullable=False, server_default=text("0")),
    a_time("updated_at"),
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
    as_json("ref"),
    a_time("expires_at", nullable=True),
    a_time("created_at"),
)
"""The upstream's own copy of a file, at one account: what `Upstream.upload` returned for these bytes."""

preferences = Table(
    "preferences",
    metadata,
    words("owner"),
    words("kind"),
    words("model"),
    as_json("params"),
    a_time("updated_at"),
    PrimaryKeyConstraint("owner", "kind"),
)
"""What callers chose to be taken where their requests name no model."""

usage = Table(
    "usage",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    a_time("at"),
    words("request_id"),
    words("owner"),
    words("kind"),
    words("model"),
    words("upstream"),
    words("account_id"),
    Column("status", Integer, nullable=False),
    words("code"),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("images", Integer, nullable=False),
    Column("media_seconds", Double, nullable=False),
    Column("seconds", Double, nullable=False),  # how long the request took
    Column("attempts", Integer, nullable=False),
    words("task_id", nullable=True),
    Column("key", Text, nullable=False, server_default=text("''")),  # the name of the caller's key
    Column("cached_tokens", BigInteger, nullable=False, server_default=text("0")),
    Column("characters", BigInteger, nullable=False, server_default=text("0")),
    Column("estimated", Boolean, nullable=False, server_default=false()),
    Column("cost", Double, nullable=True),
    words("currency", nullable=True),
    Index(None, "at"),
    Index(None, "owner", "at"),
)
"""Every request, as accounted for: one row a `UsageRecord`."""
