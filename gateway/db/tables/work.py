"""Long work and what was asked for before: tasks, batches, and requests that may come again."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from gateway.db.tables.columns import a_time, an_id, as_json, metadata, of_rows, words

tasks = Table(
    "tasks",
    metadata,
    an_id(),
    words("owner"),
    words("kind"),
    words("model"),
    words("upstream"),
    words("account_id", nullable=True),
    words("state"),
    as_json("request"),
    as_json("job", nullable=True),
    as_json("params"),
    Column("progress", Double, nullable=False),
    Column("eta", Double, nullable=True),  # seconds from the last poll
    as_json("error", nullable=True),
    as_json("usage", nullable=True),
    words("chat_id", nullable=True),
    as_json("attempts"),
    a_time("created_at"),
    a_time("submitted_at", nullable=True),
    a_time("started_at", nullable=True),
    a_time("finished_at", nullable=True),
    a_time("deadline"),
    a_time("next_poll_at"),
    words("lease_owner", nullable=True),
    Column("lease_until", Double, nullable=False, server_default=text("0")),
    Column("polls", Integer, nullable=False, server_default=text("0")),
    words("native"),
    Column("cancel_requested", Boolean, nullable=False, server_default=false()),
    Column("version", Integer, nullable=False, server_default=text("0")),  # of the row: one more with every change
    words("answer", nullable=True),
    as_json("metadata", nullable=True),
    as_json("webhook", nullable=True),
    Column("cost", Double, nullable=True),
    words("currency", nullable=True),
    as_json("parameters", nullable=True),  # as they were used
    as_json("adjustments", nullable=True),
    words("batch_id", nullable=True),
    Column("skipped", Integer, nullable=False, server_default=text("0")),  # candidates that are done with
    Index(None, "state", "next_poll_at"),
    Index(None, "owner", "created_at"),
    Index(None, "account_id", "state"),
    Index("ix_tasks_batch_id", "batch_id", **of_rows("batch_id IS NOT NULL")),
)
"""Long work. A row is written before the upstream is asked, and is the job engine itself: claimed, leased, fenced."""

outputs = Table(
    "outputs",
    metadata,
    an_id(),
    Column("task_id", Text, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    words("state"),
    words("asset_id", nullable=True),
    as_json("error", nullable=True),
    UniqueConstraint("task_id", "position"),
)
"""What a task makes, each with a state of its own. Its unique constraint keeps a result from coming in twice."""

requests = Table(
    "requests",
    metadata,
    words("owner"),
    words("key"),
    words("fingerprint"),
    words("task_id", nullable=True),
    words("state"),
    Column("status", Integer, nullable=True),
    as_json("headers", nullable=True),
    Column("body", LargeBinary, nullable=True),
    words("body_key", nullable=True),
    words("lease_owner", nullable=True),
    Column("lease_until", Double, nullable=False, server_default=text("0")),
    a_time("created_at"),
    a_time("expires_at"),
    PrimaryKeyConstraint("owner", "key"),
    Index(None, "expires_at"),
    Index("ix_requests_body_key", "body_key", **of_rows("body_key IS NOT NULL")),
)
"""Generation requests that may come again, by the caller's key for them (`Idempotency-Key`) or by what they say.

`state`: `running` while an answer is being made, by the process that holds the lease; `done` once it is kept, in `body`
or, where it is large, in storage by `body_key`. A request that makes a task has `task_id` and is `done` at once.
"""

batches = Table(
    "batches",
    metadata,
    an_id(),
    words("owner"),
    words("key_name"),
    as_json("account_tags"),
    words("state"),
    Column("concurrency", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    as_json("metadata", nullable=True),
    words("request_id"),
    Column("cancel_requested", Boolean, nullable=False, server_default=false()),
    a_time("created_at"),
    a_time("finished_at", nullable=True),
    Index(None, "owner", "created_at"),
    Index(None, "state"),
)
"""Lists of generations that run under a limit."""

batch_items = Table(
    "batch_items",
    metadata,
    Column("batch_id", Text, ForeignKey("batches.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    as_json("body"),
    words("state"),
    words("task_id", nullable=True),
    as_json("error", nullable=True),
    a_time("claimed_at", nullable=True),
    PrimaryKeyConstraint("batch_id", "position"),
    Index(None, "task_id"),
)
"""Each generation of a batch: its request, and the task that became of it."""
