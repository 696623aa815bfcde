"""The library: what is known of assets and files, collections of them, and what things cost."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from gateway.db.words import index_text

revision = "0004_library"
down_revision = "0003_pool"

Columns = tuple[sa.Column[Any], ...]
ZERO, EMPTY, NONE = sa.text("0"), sa.text("''"), "[]"

ASSETS: Columns = (
    sa.Column("request_id", sa.Text(), nullable=True),
    sa.Column("title", sa.Text(), nullable=True),
    sa.Column("description", sa.Text(), nullable=True),
    sa.Column("tags", sa.Text(), nullable=False, server_default=NONE),
    sa.Column("parents", sa.Text(), nullable=False, server_default=NONE),
    sa.Column("words", sa.Text(), nullable=False, server_default=EMPTY),
    sa.Column("cost", sa.Double(), nullable=True),
    sa.Column("currency", sa.Text(), nullable=True),
    sa.Column("generation_time", sa.Double(), nullable=True),
    sa.Column("is_favorite", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("use_count", sa.Integer(), nullable=False, server_default=ZERO),
    sa.Column("download_count", sa.Integer(), nullable=False, server_default=ZERO),
    sa.Column("share_count", sa.Integer(), nullable=False, server_default=ZERO),
    sa.Column("view_count", sa.Integer(), nullable=False, server_default=ZERO),
    sa.Column("thumbnail_key", sa.Text(), nullable=True),
    sa.Column("poster_key", sa.Text(), nullable=True),
    sa.Column("waveform", sa.Text(), nullable=True),
    sa.Column("previewed_at", sa.Double(), nullable=True),
    sa.Column("missing_since", sa.Double(), nullable=True),
    sa.Column("updated_at", sa.Double(), nullable=True),
)
FILES: Columns = (
    sa.Column("purpose", sa.Text(), nullable=False, server_default="upload"),
    sa.Column("expires_at", sa.Double(), nullable=True),
    sa.Column("width", sa.Integer(), nullable=True),
    sa.Column("height", sa.Integer(), nullable=True),
    sa.Column("seconds", sa.Double(), nullable=True),
    sa.Column("missing_since", sa.Double(), nullable=True),
)
USAGE: Columns = (
    sa.Column("key", sa.Text(), nullable=False, server_default=EMPTY),
    sa.Column("cached_tokens", sa.BigInteger(), nullable=False, server_default=ZERO),
    sa.Column("characters", sa.BigInteger(), nullable=False, server_default=ZERO),
    sa.Column("estimated", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("cost", sa.Double(), nullable=True),
    sa.Column("currency", sa.Text(), nullable=True),
)
TASKS: Columns = (
    sa.Column("cost", sa.Double(), nullable=True),
    sa.Column("currency", sa.Text(), nullable=True),
)
ADDED = (("assets", ASSETS), ("files", FILES), ("usage", USAGE), ("tasks", TASKS))

REPLACED = (
    ("ix_assets_owner_created_at", "assets", ["owner", "created_at"]),
    ("ix_assets_owner_family_created_at", "assets", ["owner", "family", "created_at"]),
    ("ix_files_owner_created_at", "files", ["owner", "created_at"]),
)
INDEXES = (
    (
        "ix_assets_listed",
        "assets",
        [
            *("owner", "created_at", "id", "family", "upstream", "model", "kind", "source_module", "is_favorite"),
            *("size", "use_count", "updated_at", "cost", "currency"),
        ],
    ),
    ("ix_assets_key", "assets", ["key"]),
    ("ix_files_owner_created_at_id", "files", ["owner", "created_at", "id"]),
    ("ix_files_owner_sha256", "files", ["owner", "sha256"]),
    ("ix_files_key", "files", ["key"]),
    ("ix_files_expires_at", "files", ["expires_at"]),
    ("ix_usage_owner_at", "usage", ["owner", "at"]),
)
PARTIAL = (
    ("ix_assets_thumbnail_key", "assets", "thumbnail_key", "thumbnail_key IS NOT NULL"),
    ("ix_assets_poster_key", "assets", "poster_key", "poster_key IS NOT NULL"),
    ("ix_assets_unpreviewed", "assets", "created_at", "previewed_at IS NULL"),
    ("ix_requests_body_key", "requests", "body_key", "body_key IS NOT NULL"),
)

AT_ONCE = 500
"""Assets whose words are made at a time."""
FULL_TEXT = {
    "sqlite": (
        """
        CREATE TABLE asset_index (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            owner TEXT NOT NULL,
            created_at DOUBLE NOT NULL,
            family TEXT NOT NULL,
            upstream TEXT NOT NULL,
            model TEXT NOT NULL,
            kind TEXT NOT NULL,
            source_module TEXT NOT NULL,
            is_favorite BOOLEAN NOT NULL,
            size BIGINT NOT NULL,
            use_count INTEGER NOT NULL,
            updated_at DOUBLE,
            task_id TEXT,
            cost DOUBLE,
            currency TEXT
        )
        """,
        "CREATE VIRTUAL TABLE asset_words USING fts5(words, content='', columnsize=0, tokenize='ascii')",
        """
        INSERT INTO asset_index (
            id, owner, created_at, family, upstream, model, kind, source_module, is_favorite, size, use_count,
            updated_at, task_id, cost, currency
        ) SELECT
            id, owner, created_at, family, upstream, model, kind, source_module, is_favorite, size, use_count,
            updated_at, task_id, cost, currency
        FROM assets ORDER BY created_at, id
        """,
        "INSERT INTO asset_words (rowid, words) SELECT number, words FROM asset_index JOIN assets USING (id)",
        """
        CREATE TRIGGER asset_entered AFTER INSERT ON assets BEGIN
            INSERT INTO asset_index (
                id, owner, created_at, family, upstream, model, kind, source_module, is_favorite, size,
                use_count, updated_at, task_id, cost, currency
            ) VALUES (
                new.id, new.owner, new.created_at, new.family, new.upstream, new.model, new.kind,
                new.source_module, new.is_favorite, new.size, new.use_count, new.updated_at, new.task_id,
                new.cost, new.currency
            );
            INSERT INTO asset_words (rowid, words) SELECT number, new.words FROM asset_index WHERE id = new.id;
        END
        """,
        """
        CREATE TRIGGER asset_worded AFTER UPDATE OF words ON assets WHEN old.words <> new.words BEGIN
            INSERT INTO asset_words (asset_words, rowid, words)
                SELECT 'delete', number, old.words FROM asset_index WHERE id = old.id;
            INSERT INTO asset_words (rowid, words) SELECT number, new.words FROM asset_index WHERE id = old.id;
        END
        """,
        """
        CREATE TRIGGER asset_changed AFTER UPDATE OF
            owner, created_at, family, upstream, model, kind, source_module, is_favorite, size, use_count,
            updated_at, task_id, cost, currency
        ON assets BEGIN
            UPDATE asset_index SET
                owner = new.owner, created_at = new.created_at, family = new.family, upstream = new.upstream,
                model = new.model, kind = new.kind, source_module = new.source_module,
                is_favorite = new.is_favorite, size = new.size, use_count = new.use_count,
                updated_at = new.updated_at, task_id = new.task_id,
                cost = new.cost, currency = new.currency
            WHERE id = old.id;
        END
        """,
        """
        CREATE TRIGGER asset_removed AFTER DELETE ON assets BEGIN
            INSERT INTO asset_words (asset_words, rowid, words)
                SELECT 'delete', number, old.words FROM asset_index WHERE id = old.id;
            DELETE FROM asset_index WHERE id = old.id;
        END
        """,
    ),
    "postgresql": (
        "ALTER TABLE assets ADD COLUMN vector tsvector GENERATED ALWAYS AS (to_tsvector('simple', words)) STORED",
        "CREATE INDEX ix_assets_vector ON assets USING gin (vector) WITH (fastupdate = off)",
    ),
}
NO_FULL_TEXT = {
    "sqlite": (
        *(f"DROP TRIGGER {name}" for name in ("asset_entered", "asset_worded", "asset_changed", "asset_removed")),
        "DROP TABLE asset_words",
        "DROP TABLE asset_index",
    ),
    "postgresql": ("ALTER TABLE assets DROP COLUMN vector",),
}


def upgrade() -> None:
    for table, columns in ADDED:
        for column in columns:
            op.add_column(table, column._copy())
    _find_words()
    for name, table, _ in REPLACED:
        op.drop_index(name, table)
    for name, table, of in INDEXES:
        op.create_index(name, table, of)
    for name, table, of_rows, where in PARTIAL:
        op.create_index(name, table, [of_rows], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    _tables()
    _run(FULL_TEXT)


def _find_words() -> None:
    connection = op.get_bind()
    page = sa.text("SELECT id, owner, prompt FROM assets WHERE id > :last ORDER BY id LIMIT :most")
    told = sa.text("UPDATE assets SET words = :words WHERE id = :id")
    last = ""
    while rows := connection.execute(page, {"last": last, "most": AT_ONCE}).all():
        connection.execute(told, [{"id": row.id, "words": index_text(row.owner, [row.prompt])} for row in rows])
        last = rows[-1].id


def _run(statements: dict[str, tuple[str, ...]]) -> None:
    connection = op.get_bind()
    for statement in statements[connection.dialect.name]:
        connection.exec_driver_sql(statement.strip())


def _tables() -> None:
    op.create_table(
        "asset_tags",
        sa.Column("asset_id", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        _of_asset("asset_tags"),
        sa.PrimaryKeyConstraint("asset_id", "tag", name="pk_asset_tags"),
    )
    op.create_index("ix_asset_tags_owner_tag_asset_id", "asset_tags", ["owner", "tag", "asset_id"])
    op.create_table(
        "asset_parents",
        sa.Column("asset_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=False),
        _of_asset("asset_parents"),
        sa.PrimaryKeyConstraint("asset_id", "position", name="pk_asset_parents"),
    )
    op.create_index("ix_asset_parents_parent_id", "asset_parents", ["parent_id"])
    op.create_table(
        "collections",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("cover_asset_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_collections"),
    )
    op.create_index("ix_collections_owner_updated_at", "collections", ["owner", "updated_at"])
    op.create_table(
        "collection_assets",
        sa.Column("collection_id", sa.Text(), nullable=False),
        sa.Column("asset_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("added_at", sa.Double(), nullable=False),
        _of_asset("collection_assets"),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], ondelete="CASCADE", name="fk_collection_assets_collection_id"
        ),
        sa.PrimaryKeyConstraint("collection_id", "asset_id", name="pk_collection_assets"),
    )
    op.create_index("ix_collection_assets_collection_id_position", "collection_assets", ["collection_id", "position"])
    op.create_index("ix_collection_assets_asset_id", "collection_assets", ["asset_id"])


def _of_asset(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], ondelete="CASCADE", name=f"fk_{table}_asset_id")


def downgrade() -> None:
    _run(NO_FULL_TEXT)
    for table in ("collection_assets", "collections", "asset_parents", "asset_tags"):
        op.drop_table(table)
    for name, table, *_ in (*PARTIAL, *INDEXES):
        op.drop_index(name, table)
    for name, table, of in REPLACED:
        op.create_index(name, table, of)
    for table, columns in ADDED:
        for column in columns:
            op.drop_column(table, column.name)
