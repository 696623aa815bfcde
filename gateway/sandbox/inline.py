"""Images that come inside a request, as `data:` URLs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from gateway.sandbox import picture
from gateway.types import Input, Kind


def images(inputs: Sequence[Input]) -> list[bytes]:
    """Those of the inputs that came with the request itself. Raises ValueError for one that cannot be read."""
    return [data for given in inputs if (data := image(given.url))]


def ends(kind: Kind, inputs: Sequence[Input]) -> tuple[bytes | None, bytes | None]:
    """What a film begins and ends with, by the roles of its inputs, else by their order. Raises ValueError."""
    last = [given for given in inputs if given.role == "last_frame"]
    rest = [given for given in inputs if given.role != "last_frame"]
    if kind == "flf2v" and not last:
        rest, last = rest[:1], rest[1:2]
    return next(iter(images(rest)), None), next(iter(images(last)), None)


def image(url: str) -> bytes | None:
    """The bytes of an image in a `data:` URL; None for any other URL. Raises ValueError for what is no image.

    Decodes the image to be sure: not for the event loop.
    """
    if url[:5].lower() != "data:":
        return None
    head, _, body = url[5:].partition(",")
    data = unquote_to_bytes(body)
    if head.lower().endswith(";base64"):
        try:
            data = base64.b64decode(data, validate=True)
        except binascii.Error as error:
            raise ValueError(f"the data: URL is not valid base64: {error}") from error
    picture.opened(data)
    return data
