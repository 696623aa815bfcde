"""Where objects lie: the names of keys."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Literal

KEY_BYTES = 512

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")

Folder = Literal["images", "videos", "audio", "text", "uploads", "previews"]


def object_key(folder: Folder, model: str, when: float, digest: str, extension: str) -> str:
    """`videos/2026-01/{model}_{YYYYMMDD_HHMMSS}_{hash8}.{ext}`, in UTC.

    `when` is in Unix seconds. `digest` is hexadecimal and should differ for every asset, even of equal bytes made in
    the same second: who shares a key shares its deletion.
    """
    at = datetime.fromtimestamp(when, UTC)
    name = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._-]+", "-", model)).strip("._-")[:64].rstrip("._-") or "unknown"
    suffix = re.sub(r"[^a-z0-9]", "", extension.lower())[:8] or "bin"
    return f"{folder}/{at:%Y-%m}/{name}_{at:%Y%m%d_%H%M%S}_{digest[:8]}.{suffix}"


def valid_key(key: str) -> bool:
    """Whether `key` is a relative path of plain names: no dots in front, no backslash, no control, no emptiness."""
    return len(key) <= KEY_BYTES and ".." not in key and _KEY.fullmatch(key) is not None
