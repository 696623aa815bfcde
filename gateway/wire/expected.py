"""What a request is expected to use, before it is sent: for limits that count tokens."""

from __future__ import annotations

from gateway.types import AnyRequest, ChatRequest, EmbeddingRequest
from gateway.wire import body as wire_body

BYTES_A_TOKEN = 4
"""English text; other scripts have more tokens a letter but more bytes a letter too."""


def expected_tokens(request: AnyRequest) -> int:
    """Input by its length, output by what the caller allows. Corrected by what was measured once it is over."""
    if isinstance(request, EmbeddingRequest):
        return sum(len(text.encode()) for text in request.texts) // BYTES_A_TOKEN + 1
    if not isinstance(request, ChatRequest):
        return 0
    most = None
    for name in ("max_completion_tokens", "max_tokens"):
        if name in request.body:
            most = most or wire_body.read(request.body, name, int)
    return len(bytes(request.body.get("messages", b""))) // BYTES_A_TOKEN + 1 + max(0, most or 0)
