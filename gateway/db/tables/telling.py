"""Telling callers of their tasks."""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, Integer, PrimaryKeyConstraint, Table, UniqueConstraint, text

from gateway.db.tables.columns import a_time, an_id, metadata, words

deliveries = Table(
    "deliveries",
    metadata,
    an_id(),
    words("owner"),
    words("task_id"),
    words("type"),
    words("url"),
    Column("sequence", Integer, nullable=False),
    words("state"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    a_time("next_at"),
    words("lease_owner", nullable=True),
    Column("lease_until", Double, nullable=False, server_default=text("0")),
    Column("status", Integer, nullable=True),
    words("error", nullable=True),
    a_time("created_at"),
    a_time("finished_at", nullable=True),
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
    an_id(),
    words("owner"),
    words("url"),
    a_time("disabled_at", nullable=True),
    words("reason", nullable=True),
    a_time("created_at"),
    UniqueConstraint("owner", "url"),
)
"""Where webhooks go, once something is to be remembered of it: that it wants no more."""

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    words("owner"),
    Column("generation", Integer, nullable=False),
    a_time("created_at"),
    a_time("expires_at", nullable=True),
    PrimaryKeyConstraint("owner", "generation"),
)
"""Which secrets sign an owner's webhooks. The secrets themselves are derived, so nothing here can leak one."""
