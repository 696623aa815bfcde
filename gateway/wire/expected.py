"""What a request is expected to use, before it is sent: for limits that count tokens."""

from __future__ import annotations

import re

from gateway.types import AnyRequest, ChatRequest, EmbeddingRequest
from gateway.wire import body as wire_body

BYTES_A_TOKEN = 4
"""English text; other scripts have more tokens a letter but more bytes a letter too."""

_INLINE = re.compile(rb"data:[\w/+.;=-]{0,100};base64,[A-Za-z0-9+/=_-]*")


def expected_tokens(request: AnyRequest) -> int:
    """Input by its length, output by what the caller allows. Corrected by what was measured once it is over."""
    if isinstance(request, EmbeddingRequest):
        return sum(len(text.encode()) for text in request.texts) // BYTES_A_TOKEN + 1
    if not isinstance(request, ChatRequest):
        return 0
    return len(bytes(request.body.get("messages", b""))) // BYTES_A_TOKEN + 1 + (most_tokens(request) or 0)


def most_tokens(request: ChatRequest) -> int | None:
    """How much the caller lets the answer have; None where it does not say."""
    most = None
    for name in ("max_completion_tokens", "max_tokens"):
        if name in request.body:
            most = most or wire_body.read(request.body, name, int)
    return None if most is None else max(0, most)


def input_tokens(request: ChatRequest | EmbeddingRequest) -> int:
    """What there is to read, once the answer says nothing of it: words, and no images that stand among them."""
    if isinstance(request, EmbeddingRequest):
        return expected_tokens(request)
    size = sum(
        len(said) - sum(len(image) for image in _INLINE.findall(said))
        for said in (bytes(request.body.get(name, b"")) for name in ("messages", "tools"))
    )
    return size // BYTES_A_TOKEN + 1
