"""What a request says, as one short value: two requests with the same one are the same request."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from python_multipart.multipart import parse_options_header

CONTENT_TYPE_BYTES = 1024
MOST_PIECES = 256
"""Delimiters of a form that are cut out. No form with more parts is taken."""


def fingerprint(method: str, path: str, body: bytes, content_type: str = "") -> str:
    """SHA-256 in hex over method, path and body, the boundary of a form left out: clients draw a new one every time.

    Each piece between delimiters goes in with its length, so that no two forms look the same but equal ones.
    """
    digest = hashlib.sha256(f"{method}\0{path}\0".encode("utf-8", "surrogatepass"))
    view = memoryview(body)
    for start, end in _pieces(body, _delimiter(content_type)):
        digest.update(b"%d:" % (end - start))
        digest.update(view[start:end])
    return digest.hexdigest()


def _delimiter(content_type: str) -> bytes | None:
    """What stands between the parts of a form; None for a body that is none."""
    if not content_type.strip().lower().startswith("multipart/form-data") or len(content_type) > CONTENT_TYPE_BYTES:
        return None
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    return b"--" + bytes(boundary) if boundary else None


def _pieces(body: bytes, delimiter: bytes | None) -> Iterator[tuple[int, int]]:
    start = 0
    for _ in range(MOST_PIECES if delimiter else 0):
        assert delimiter is not None
        end = body.find(delimiter, start)
        if end < 0:
            break
        yield start, end
        start = end + len(delimiter)
    yield start, len(body)
