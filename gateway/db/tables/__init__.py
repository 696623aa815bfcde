"""The schema, the same on SQLite and PostgreSQL.

A change here needs a new file in `migrations/versions`; a test compares the two.
"""

from __future__ import annotations

from gateway.db.tables.columns import metadata
from gateway.db.tables.library import asset_parents, asset_tags, assets, collection_assets, collections, files
from gateway.db.tables.serving import accounts, file_copies, preferences, settings, standings, usage
from gateway.db.tables.talks import chats, turns
from gateway.db.tables.telling import deliveries, destinations, webhook_secrets
from gateway.db.tables.work import batch_items, batches, outputs, requests, tasks

__all__ = [
    "accounts",
    "asset_parents",
    "asset_tags",
    "assets",
    "batch_items",
    "batches",
    "chats",
    "collection_assets",
    "collections",
    "deliveries",
    "destinations",
    "file_copies",
    "files",
    "metadata",
    "outputs",
    "preferences",
    "requests",
    "settings",
    "standings",
    "tasks",
    "turns",
    "usage",
    "webhook_secrets",
]
