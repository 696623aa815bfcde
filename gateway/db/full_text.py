"""The full-text index over `assets.words`, of each database's own kind. What is found by it: `gateway.db.words`.

SQLite: `asset_index` has a row for every asset, with all that lists are filtered, sorted and summed by. Its number
never changes, as the hidden one of a table with another key may, and is the row of the asset in `asset_words`.
Triggers keep both in step, so nobody else writes them. A migration that copies the table of assets has to make the
triggers anew.

PostgreSQL: the column `assets.vector`, made by the database itself, and an index over it. It keeps no list of words
that are still to be entered, which every search would have to go through.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Table, event

SQLITE: Final = (
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
    CREATE TRIGGER asset_entered AFTER INSERT ON assets BEGIN
        INSERT INTO asset_index (
            id, owner, created_at, family, upstream, model, kind, source_module, is_favorite, size, use_count,
            updated_at, task_id, cost, currency
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
)
POSTGRESQL: Final = (
    "ALTER TABLE assets ADD COLUMN vector tsvector GENERATED ALWAYS AS (to_tsvector('simple', words)) STORED",
    "CREATE INDEX ix_assets_vector ON assets USING gin (vector) WITH (fastupdate = off)",
)
STATEMENTS: Final = {"sqlite": SQLITE, "postgresql": POSTGRESQL}


def made_with(table: Table) -> None:
    """Have it made whenever the table of assets is, and given up with it."""

    @event.listens_for(table, "after_create")
    def made(target: Table, connection: Connection, **_: Any) -> None:
        for statement in STATEMENTS[connection.dialect.name]:
            connection.exec_driver_sql(statement)

    @event.listens_for(table, "after_drop")
    def dropped(target: Table, connection: Connection, **_: Any) -> None:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("DROP TABLE asset_words")
            connection.exec_driver_sql("DROP TABLE asset_index")
