"""Images and vectors in the OpenAI dialect, seen from the caller's side: requests to JSON, answers to media.

Sources: openai-python 3.52 types, OpenAI's OpenAPI description (wire sheet, 2026-11-20).
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.errors import InvalidRequest, UpstreamGarbled
from gateway.types import EmbeddingRequest, Embeddings, ImageRequest, Input, Media, Size, Usage
from gateway.wire import openai_chat

SIZES = ((1024, 1024), (1536, 1024), (1024, 1536))
"""What stands for a ratio: every image model of this dialect makes these."""

_OURS = frozenset({"stream", "partial_images"})
"""Parameters that tell how the gateway answers, not what is made."""
_ALWAYS_BASE64 = re.compile(r"(?:^|/)(?:chat)?gpt-image")
_EXTENSIONS = {"image/jpeg": "jpg", "image/svg+xml": "svg"}


class Image(msgspec.Struct):
    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class Images(msgspec.Struct):
    data: list[Image]
    output_format: str | None = None
    size: str | None = None
    usage: dict[str, Any] | None = None


class Vector(msgspec.Struct):
    embedding: list[float] | str
    index: int = 0


class Vectors(msgspec.Struct):
    data: list[Vector]
    usage: dict[str, Any] | None = None


# --- images ---


def image_fields(request: ImageRequest) -> dict[str, Any]:
    """The members of a generation or an edit, without its files. The caller's own further ones pass untouched."""
    fields = {name: value for name, value in request.params.items() if name not in _OURS}
    if _ALWAYS_BASE64.search(request.model):
        fields.pop("response_format", None)  # these refuse it: they know one format
    fields |= {"model": request.model, "prompt": request.prompt}
    if request.n != 1:
        fields["n"] = request.n
    if request.size is not None:
        fields["size"] = size_word(request.size)
    if request.seed is not None:
        fields["seed"] = request.seed
    return fields


def size_word(size: Size) -> str:
    """Pixels as asked, or the one of SIZES that comes nearest to a ratio."""
    if size.width and size.height:
        return f"{size.width}x{size.height}"
    across, _, down = size.ratio.partition(":")
    ratio = int(across) / int(down)
    width, height = min(SIZES, key=lambda side: max(ratio * side[1] / side[0], side[0] / side[1] / ratio))
    return f"{width}x{height}"


def images_by_url(request: ImageRequest) -> dict[str, Any]:
    """The files of an edit in its JSON form."""
    fields: dict[str, Any] = {"images": [{"image_url": found.url} for found in request.inputs if found.role != "mask"]}
    if mask := next((found.url for found in request.inputs if found.role == "mask"), None):
        fields["mask"] = {"image_url": mask}
    return fields


def form_value(value: Any) -> str:
    """A parameter as a form holds it: `true`, `2`, JSON for what has parts."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def form_name(found: Input, images: int) -> str:
    """The form's name for a file: `image[]` where there are several."""
    if found.role == "mask":
        return "mask"
    return "image" if images == 1 else "image[]"


def unpacked(found: Input) -> tuple[bytes, str, str]:
    """Bytes, type and a plain file name of an input given as a `data:` URL. Raises InvalidRequest for any other."""
    head, comma, payload = found.url.partition(",")
    if not head.startswith("data:") or not comma:
        raise InvalidRequest("this upstream takes images as files: send the image itself, not its URL", param="image")
    try:
        data = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidRequest("an image of the request is not valid base64", code="invalid_image") from exc
    mime = found.mime or head.removeprefix("data:").partition(";")[0] or "image/png"
    return data, mime, f"image.{_EXTENSIONS.get(mime, mime.rpartition('/')[2])}"


def media(image: Image, images: Images, asked_format: object) -> Media:
    """One image of an answer, its base64 not decoded."""
    named = images.output_format or (asked_format if isinstance(asked_format, str) else "")
    mime = f"image/{ {'jpg': 'jpeg', 'svg': 'svg+xml'}.get(named, named) }" if named else ""
    url, b64 = image.url, image.b64_json
    if url and url.startswith("data:"):
        head, _, b64 = url.partition(",")
        url, mime = None, head.removeprefix("data:").partition(";")[0]
    if not url and not b64:
        raise UpstreamGarbled("the upstream's answer has an image with nothing in it")
    width, height = _sides(images.size)
    return Media(
        "image",
        mime=mime or ("image/png" if b64 else ""),
        url=None if b64 else url,
        b64=b64,
        width=width,
        height=height,
        revised_prompt=image.revised_prompt,
    )


def _sides(size: str | None) -> tuple[int | None, int | None]:
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size or "")
    return (int(found[1]), int(found[2])) if found else (None, None)


# --- vectors ---


def embedding_body(request: EmbeddingRequest) -> dict[str, Any]:
    body: dict[str, Any] = {
        **request.params,
        "model": request.model,
        "input": list(request.texts),
        "encoding_format": "float",
    }
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if request.user is not None:
        body["user"] = request.user
    return body


def embeddings(vectors: Vectors, expected: int) -> Embeddings:
    """In the order of the texts. Raises UpstreamGarbled where there are not as many as texts."""
    ordered = sorted(vectors.data, key=lambda vector: vector.index)
    if len(ordered) != expected:
        raise UpstreamGarbled(f"the upstream answered {expected} texts with {len(ordered)} vectors")
    return Embeddings(tuple(_floats(vector.embedding) for vector in ordered), usage_of(vectors.usage))


def usage_of(told: Mapping[str, Any] | None) -> Usage:
    return openai_chat.usage(told or {})


def _floats(vector: list[float] | str) -> tuple[float, ...]:
    """Some servers send base64 whatever was asked: little-endian, four bytes each."""
    if not isinstance(vector, str):
        return tuple(vector)
    try:
        data = base64.b64decode(vector, validate=True)
        return struct.unpack(f"<{len(data) // 4}f", data)
    except (binascii.Error, struct.error) as exc:
        raise UpstreamGarbled("the upstream sent a vector that cannot be read") from exc
