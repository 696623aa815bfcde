"""POST /api/tasks: a body to what it asks for. Parameters may stand beside the prompt or under `input`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.errors import InvalidRequest
from gateway.types import Input, Kind
from gateway.wire import body as wire_body
from gateway.wire import native

Body = Mapping[str, msgspec.Raw]
MAX_METADATA = 16
MAX_METADATA_KEY = 64
MAX_METADATA_VALUE = 512
MOST_DEADLINE = 7 * 86_400.0

PROMPTS = ("prompt", "text", "input")
FRAMES = ("first_frame", "last_frame")
REFERENCES = "reference_images"


def flat(body: Body) -> dict[str, msgspec.Raw]:
    """The body with what stands under `input` beside the rest. Raises InvalidRequest where both say something."""
    inner = body.get("input")
    if inner is None or not bytes(inner).startswith(b"{"):
        return dict(body)
    found = wire_body.read(body, "input", dict[str, msgspec.Raw]) or {}
    twice = sorted(found.keys() & body.keys())
    if twice:
        raise InvalidRequest(f"'{twice[0]}' stands both in the body and in 'input'", param=twice[0])
    return {**{name: raw for name, raw in body.items() if name != "input"}, **found}


def with_message(body: Body) -> Body:
    """A prompt alone, in the words of the media endpoints, is a message too."""
    if "message" in body or "messages" in body:
        return body
    for name in PROMPTS:
        if name in body:
            return {**{other: raw for other, raw in body.items() if other != name}, "message": body[name]}
    raise InvalidRequest(
        "'prompt' is required: what to make (or 'message', or 'messages')",
        param="prompt",
        code="missing_required_parameter",
    )


def images(body: Body) -> tuple[tuple[Input, ...], Kind | None]:
    """The images that a body names by what they are for, and the kind of work that makes of it."""
    frames = [url for name in FRAMES if (url := wire_body.text(body, name)) is not None]
    references = wire_body.read(body, REFERENCES, list[str]) or []
    plain = _plain(body)
    if sum(map(bool, (frames, references, plain))) > 1:
        raise InvalidRequest(
            "name images by 'first_frame' and 'last_frame', by 'reference_images', or by 'images'", param="images"
        )
    if len(frames) == 1 and "first_frame" not in body:
        raise InvalidRequest("'last_frame' needs a 'first_frame' too", param="first_frame")
    kind: Kind | None = "ref2v" if references else "flf2v" if len(frames) == 2 else "i2v" if frames else None
    param = REFERENCES if references else "first_frame" if frames else "images"
    found = frames or references or plain
    for url in found:
        native.check_url(url, param)
    if len(found) > native.MAX_INPUTS:
        raise InvalidRequest(f"a request may bring at most {native.MAX_INPUTS} images", param=param)
    return tuple(map(Input, found)), kind


def _plain(body: Body) -> list[str]:
    many = wire_body.read_any(body, "images", list[str | dict[str, Any]]) or []
    one = wire_body.text(body, "image")
    found = [one] if one is not None else []
    for item in many:
        url = item if isinstance(item, str) else item.get("url") or item.get("image_url") or item.get("file_id")
        if not isinstance(url, str):
            raise InvalidRequest("'images' must be URLs or ids, or objects with a 'url' or a 'file_id'", param="images")
        found.append(url)
    return found


def metadata(body: Body) -> dict[str, str] | None:
    """Up to 16 pairs of text that the caller keeps with its task."""
    found = wire_body.read(body, "metadata", dict[str, str])
    for name, value in (found or {}).items():
        if not name or len(name) > MAX_METADATA_KEY or len(value) > MAX_METADATA_VALUE or "\0" in name + value:
            raise InvalidRequest(
                f"'metadata' takes names of 1 to {MAX_METADATA_KEY} and values of at most {MAX_METADATA_VALUE} "
                "characters, without NUL",
                param="metadata",
            )
    if found is not None and len(found) > MAX_METADATA:
        raise InvalidRequest(f"'metadata' takes at most {MAX_METADATA} pairs", param="metadata")
    return found


def deadline(body: Body) -> float | None:
    """Seconds that the task may take."""
    found = wire_body.read(body, "deadline_s", float)
    if found is not None and not 1 <= found <= MOST_DEADLINE:
        raise InvalidRequest(f"'deadline_s' must be a number from 1 to {MOST_DEADLINE:.0f}", param="deadline_s")
    return found
