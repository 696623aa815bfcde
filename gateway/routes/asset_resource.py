"""An asset as its owner sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.assets.asset import Asset
from gateway.assets.lineage import Line, Relative
from gateway.assets.stats import Stats, Sum
from gateway.types import MediaFamily

Link = Callable[[str], str]
"""Makes a signed link to the object at a key."""

ASSET_TYPES: Final[tuple[MediaFamily, ...]] = ("text", "image", "video", "audio", "document")
COLUMNS: Final = (
    "id",
    "asset_type",
    "source_module",
    "filename",
    "file_size",
    "mime_type",
    "title",
    "description",
    "prompt",
    "tags",
    "metadata",
    "provider",
    "model",
    "kind",
    "cost",
    "currency",
    "generation_time",
    "width",
    "height",
    "seconds",
    "sha256",
    "parents",
    "task_id",
    "request_id",
    "is_favorite",
    "use_count",
    "download_count",
    "share_count",
    "view_count",
    "created_at",
    "updated_at",
)
"""What is told of an asset wherever it is: no links, which end, and no previews."""


def resource(asset: Asset, link: Link) -> dict[str, Any]:
    """Everything a caller may know of its asset. Times are Unix seconds; the links are made now."""
    return {
        "object": "asset",
        **facts(asset),
        "file_url": link(asset.key),
        "thumbnail_url": _linked(asset.thumbnail, link),
        "poster_url": _linked(asset.poster_key, link),
        "waveform": asset.waveform,
    }


def facts(asset: Asset) -> dict[str, Any]:
    """The same as `COLUMNS` names them."""
    return {
        "id": asset.id,
        "asset_type": asset.family,
        "source_module": asset.source_module,
        "filename": asset.filename,
        "file_size": asset.size,
        "mime_type": asset.mime,
        "title": asset.title,
        "description": asset.description,
        "prompt": asset.prompt,
        "tags": list(asset.tags),
        "metadata": asset.metadata,
        "provider": asset.upstream or None,
        "model": asset.model or None,
        "kind": asset.kind or None,
        "cost": asset.cost,
        "currency": asset.currency,
        "generation_time": None if asset.generation_time is None else round(asset.generation_time, 3),
        "width": asset.width,
        "height": asset.height,
        "seconds": asset.seconds,
        "sha256": asset.sha256,
        "parents": list(asset.parents),
        "task_id": asset.task_id,
        "request_id": asset.request_id,
        "is_favorite": asset.is_favorite,
        "use_count": asset.use_count,
        "download_count": asset.download_count,
        "share_count": asset.share_count,
        "view_count": asset.view_count,
        "created_at": int(asset.created_at),
        "updated_at": whole(asset.updated_at),
    }


def counts(asset: Asset) -> dict[str, Any]:
    return {
        "id": asset.id,
        "use_count": asset.use_count,
        "download_count": asset.download_count,
        "share_count": asset.share_count,
        "view_count": asset.view_count,
    }


def in_short(asset: Asset, link: Link) -> dict[str, Any]:
    """As much as a row of another thing shows of it."""
    return {
        "id": asset.id,
        "object": "asset",
        "asset_type": asset.family,
        "filename": asset.filename,
        "title": asset.title,
        "mime_type": asset.mime,
        "width": asset.width,
        "height": asset.height,
        "seconds": asset.seconds,
        "file_url": link(asset.key),
        "thumbnail_url": _linked(asset.thumbnail, link),
        "created_at": int(asset.created_at),
    }


def line(found: Line, link: Link) -> list[dict[str, Any]]:
    """Relatives, the nearest first."""
    return [{**_relative(one, link), "generation": one.generation, "of": one.of} for one in found.relatives]


def sums(stats: Stats) -> dict[str, Any]:
    return {
        **_sum(stats.total),
        "favorites": stats.favorites,
        "by_type": _sums(stats.by_family),
        "by_model": _sums(stats.by_model),
        "by_provider": _sums(stats.by_provider),
        "by_month": _sums(stats.by_month),
    }


def whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)


def _relative(one: Relative, link: Link) -> dict[str, Any]:
    if one.asset is not None:
        return in_short(one.asset, link)
    if one.file is not None:
        return {
            "id": one.id,
            "object": "file",
            "filename": one.file.name,
            "mime_type": one.file.mime,
            "file_url": link(one.file.key),
            "created_at": int(one.file.created_at),
        }
    return {"id": one.id, "object": "deleted"}


def _sums(several: dict[str, Sum]) -> dict[str, Any]:
    return {name: _sum(one) for name, one in several.items()}


def _sum(one: Sum) -> dict[str, Any]:
    return {"count": one.count, "bytes": one.size, "cost": one.cost}


def _linked(key: str | None, link: Link) -> str | None:
    return None if key is None else link(key)
