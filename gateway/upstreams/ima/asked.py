"""What a request asks for, by the callers' names; and the same request with what will be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, assert_never

import msgspec

from gateway.types import ImageRequest, MediaRequest, MusicRequest, Size, SpeechRequest, VideoRequest
from gateway.upstreams.ima import spelling

PROMISE: Final = "x-ima-promise"
"""The hint that carries what was worked out beforehand to where it is sent."""
FIELDS: Final = frozenset({"size", "seconds", "seed", "voice", "format", "speed"})
"""Of requests, besides their `params`."""
OURS: Final = frozenset({"partial_images", "response_format"})
"""Parameters that tell how the gateway answers."""


class Promise(msgspec.Struct, frozen=True):
    """What was worked out of a request before anything was sent."""

    given: tuple[str, ...]
    """What the caller gave, by name; everything else was filled in."""
    points: float
    """Of one output."""
    pinned: str
    """The version that was meant."""
    model: str = ""
    """By the name that was asked for."""


def promise(request: MediaRequest) -> Promise | None:
    """What was told before of this request at this model."""
    raw = request.hints.get(PROMISE)
    found = None if raw is None else msgspec.json.decode(raw, type=Promise)
    return found if found is not None and found.model == request.model else None


def asked(request: MediaRequest) -> dict[str, Any]:
    """What the caller gave. Of a request that was worked out: only that, not what was filled in."""
    found = {name: value for name, value in {**request.params, **_own(request)}.items() if value is not None}
    before = promise(request)
    given = set(found) if before is None else set(before.given)
    return {name: value for name, value in found.items() if name in given and name not in OURS}


def _own(request: MediaRequest) -> dict[str, Any]:
    match request:
        case ImageRequest():
            return {"size": request.size, "seed": request.seed}
        case VideoRequest():
            return {"size": request.size, "seconds": request.seconds, "seed": request.seed}
        case SpeechRequest():
            told = {"voice": request.voice or None, "speed": None if request.speed == 1.0 else request.speed}
            return told | {"format": None if request.format == "mp3" else request.format}
        case MusicRequest():
            form = None if request.format == "mp3" else request.format
            return {"seconds": request.seconds, "format": form, "seed": request.seed}
        case never:
            assert_never(never)


def count(request: MediaRequest) -> int:
    """How many outputs are asked for."""
    return 1 if isinstance(request, SpeechRequest) else request.n


def with_values(request: MediaRequest, values: Mapping[str, Any], told: Promise) -> MediaRequest:
    """The request with what will be used. `values`: by the callers' names, sizes as text."""
    fields = {name: value for name, value in values.items() if name in FIELDS and hasattr(request, name)}
    if isinstance(fields.get("size"), str):
        fields["size"] = _size(fields["size"])
    if isinstance(fields.get("seed"), float):
        fields["seed"] = int(fields["seed"])
    others = {name: value for name, value in values.items() if name not in fields}
    hints = {**request.hints, PROMISE: msgspec.json.encode(told).decode()}
    return msgspec.structs.replace(request, params={**request.params, **others}, hints=hints, **fields)


def _size(text: str) -> Size:
    found = spelling.size(text)
    assert found is not None, "the values of a size are sizes"
    return found
