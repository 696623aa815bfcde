"""/v1/embeddings."""

from __future__ import annotations

import base64
import struct
from typing import Any

import msgspec
from starlette.requests import Request

from gateway.errors import InvalidRequest
from gateway.routes.answers import served_by, work
from gateway.routes.house import Answer, connected, hints_of, house_of, read_body
from gateway.routes.once import making
from gateway.types import EmbeddingRequest, Embeddings
from gateway.wire import body as wire_body

MOST_TEXTS = 2048
_READ_HERE = frozenset({"model", "input", "dimensions", "encoding_format", "user"})


async def create(request: Request) -> Answer:
    """POST /v1/embeddings"""
    body = wire_body.decode(await read_body(request))
    model = wire_body.text(body, "model") or ""
    encoding = wire_body.read(body, "encoding_format", str) or "float"
    if encoding not in ("float", "base64"):
        raise InvalidRequest("'encoding_format' must be 'float' or 'base64'", param="encoding_format")
    what = EmbeddingRequest(
        model=model,
        texts=_texts(body),
        dimensions=wire_body.whole_number(body, "dimensions", 1, 65_536),
        user=wire_body.text(body, "user"),
        params=wire_body.decoded(body, _READ_HERE),
        hints=hints_of(request),
    )
    resolved = house_of(request).catalog.resolve(model, "embedding")
    with connected(request):
        async with making(request):
            served = await house_of(request).relay.ask(work(request, "embedding", what, resolved.candidates))
    headers = served_by(request, served.candidate.upstream, served.account.id)
    return Answer(_answer(served.value, model or served.candidate.card.id, encoding), headers=headers)


def _texts(body: Any) -> tuple[str, ...]:
    found = wire_body.read_any(body, "input", str | list[str]) or ()
    texts = (found,) if isinstance(found, str) else tuple(found)
    if not texts or not all(texts):
        raise InvalidRequest("'input' must be a text or a list of texts, none of them empty", param="input")
    if len(texts) > MOST_TEXTS:
        raise InvalidRequest(f"'input' may hold at most {MOST_TEXTS} texts, not {len(texts)}", param="input")
    return texts


def _answer(found: Embeddings, model: str, encoding: str) -> bytes:
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": _vector(vector, encoding)}
                for index, vector in enumerate(found.vectors)
            ],
            "model": model,
            "usage": {"prompt_tokens": found.usage.input_tokens, "total_tokens": found.usage.input_tokens},
        }
    )


def _vector(vector: tuple[float, ...], encoding: str) -> Any:
    """Floats, or what the official clients ask for by default: base64 of little-endian float32."""
    if encoding == "float":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
