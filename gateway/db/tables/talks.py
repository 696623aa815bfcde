"""Conversations."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Table, Text

from gateway.db.tables.columns import a_time, an_id, as_json, metadata, words

chats = Table(
    "chats",
    metadata,
    an_id(),
    words("owner"),
    words("name"),
    words("model"),
    words("kind"),
    words("upstream", nullable=True),
    words("account_id", nullable=True),
    words("upstream_chat", nullable=True),
    a_time("created_at"),
    a_time("updated_at"),
    Index(None, "owner", "updated_at"),
)
"""Conversations, and the account that holds the upstream's side of each."""

turns = Table(
    "turns",
    metadata,
    an_id(),
    Column("chat_id", Text, ForeignKey("chats.id", ondelete="CASCADE"), nullable=False),
    words("owner"),
    words("parent_id", nullable=True),
    as_json("messages"),
    words("answer"),
    words("model"),
    words("upstream"),
    words("account_id", nullable=True),
    as_json("upstream_ref", nullable=True),
    a_time("created_at"),
    Index(None, "chat_id", "created_at"),
)
"""One exchange: `messages` is what the caller added, `parent_id` the turn it follows."""
