"""What is kept: assets, collections of them, and files of callers."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    false,
    text,
)

from gateway.db import full_text
from gateway.db.tables.columns import a_time, an_id, as_json, metadata, of_rows, words

assets = Table(
    "assets",
    metadata,
    an_id(),
    words("owner"),
    words("family"),
    words("key"),
    words("mime"),
    Column("size", BigInteger, nullable=False),
    words("sha256"),
    Column("width", Integer, nullable=True),
    Column("height", Integer, nullable=True),
    Column("seconds", Double, nullable=True),
    words("filename"),
    words("prompt"),
    words("model"),
    words("upstream"),
    words("kind"),
    words("task_id", nullable=True),
    words("source_module"),
    a_time("created_at"),
    as_json("metadata"),
    words("request_id", nullable=True),
    words("title", nullable=True),
    words("description", nullable=True),
    Column("tags", Text, nullable=False, server_default="[]"),  # JSON; `asset_tags` is what they are found by
    Column("parents", Text, nullable=False, server_default="[]"),  # JSON; `asset_parents` is what they are found by
    Column("words", Text, nullable=False, server_default=text("''")),  # what the full-text index holds of it
    Column("cost", Double, nullable=True),
    words("currency", nullable=True),
    Column("generation_time", Double, nullable=True),
    Column("is_favorite", Boolean, nullable=False, server_default=false()),
    Column("use_count", Integer, nullable=False, server_default=text("0")),
    Column("download_count", Integer, nullable=False, server_default=text("0")),
    Column("share_count", Integer, nullable=False, server_default=text("0")),
    Column("view_count", Integer, nullable=False, server_default=text("0")),
    words("thumbnail_key", nullable=True),
    words("poster_key", nullable=True),
    as_json("waveform", nullable=True),
    a_time("previewed_at", nullable=True),
    a_time("missing_since", nullable=True),
    a_time("updated_at", nullable=True),
    Index(
        "ix_assets_listed",
        *("owner", "created_at", "id", "family", "upstream", "model", "kind", "source_module", "is_favorite"),
        *("size", "use_count", "updated_at", "cost", "currency"),
    ),
    Index(None, "task_id"),
    Index(None, "key"),
    Index("ix_assets_thumbnail_key", "thumbnail_key", **of_rows("thumbnail_key IS NOT NULL")),
    Index("ix_assets_poster_key", "poster_key", **of_rows("poster_key IS NOT NULL")),
    Index("ix_assets_unpreviewed", "created_at", **of_rows("previewed_at IS NULL")),
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
    words("tag"),
    words("owner"),
    PrimaryKeyConstraint("asset_id", "tag"),
    Index(None, "owner", "tag", "asset_id"),
)
"""Assets by their tags, in lower case."""

asset_parents = Table(
    "asset_parents",
    metadata,
    Column("asset_id", Text, ForeignKey("assets.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    words("parent_id"),
    PrimaryKeyConstraint("asset_id", "position"),
    Index(None, "parent_id"),
)
"""What an asset was made from: assets or files, which may be gone by now."""

collections = Table(
    "collections",
    metadata,
    an_id(),
    words("owner"),
    words("name"),
    words("description", nullable=True),
    words("cover_asset_id", nullable=True),
    a_time("created_at"),
    a_time("updated_at"),
    Index(None, "owner", "updated_at"),
)
"""Assets that somebody put together. A cover that is gone is none."""

collection_assets = Table(
    "collection_assets",
    metadata,
    Column("collection_id", Text, ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("asset_id", Text, ForeignKey("assets.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    a_time("added_at"),
    PrimaryKeyConstraint("collection_id", "asset_id"),
    Index(None, "collection_id", "position"),
    Index(None, "asset_id"),
)
"""What a collection holds, by position from 0."""

files = Table(
    "files",
    metadata,
    an_id(),
    words("owner"),
    words("key"),
    words("name"),
    words("mime"),
    Column("size", BigInteger, nullable=False),
    words("sha256"),
    a_time("created_at"),
    Column("purpose", Text, nullable=False, server_default="upload"),
    a_time("expires_at", nullable=True),
    Column("width", Integer, nullable=True),
    Column("height", Integer, nullable=True),
    Column("seconds", Double, nullable=True),
    a_time("missing_since", nullable=True),
    Index(None, "owner", "created_at", "id"),
    Index(None, "owner", "sha256"),
    Index(None, "key"),
    Index(None, "expires_at"),
)
"""What callers brought: uploads, and (purpose `input`) what a task was asked to start from. `key` is the name in object
storage; files of one owner with the same bytes share it.
"""
