"""Assets that are in the library at once, to be found in these tests."""

from __future__ import annotations

from typing import Any

from gateway.assets.asset import Asset
from gateway.assets.library import Library
from gateway.assets.references import References
from gateway.db.engine import Database
from gateway.storage import Storage

OWNER = "ada"


def asset(asset_id: str, **known: Any) -> Asset:
    told: dict[str, Any] = {
        "owner": OWNER,
        "family": "image",
        "key": f"images/2026-01/{asset_id}.png",
        "mime": "image/png",
        "size": 10,
        "sha256": "f" * 64,
        "width": 64,
        "height": 48,
        "seconds": None,
        "filename": f"{asset_id}.png",
        "prompt": "a lighthouse",
        "model": "m",
        "upstream": "up",
        "kind": "t2i",
        "task_id": None,
        "source_module": "api",
        "created_at": 1_767_607_810.0,
        "metadata": {},
    }
    return Asset(id=asset_id, **(told | known))


async def shelved(database: Database, *made: Asset) -> Library:
    """A library with these assets; their objects are nowhere."""
    library = Library(database, References(database, Storage.open("memory://")))
    for one in made:
        await library.add(one)
    return library
