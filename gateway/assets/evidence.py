"""Whether a result is what it should be, by its bytes alone.

Evidence: magic bytes of the right family, a size above zero, dimensions or duration as read from the bytes.
"""

from __future__ import annotations

from gateway.assets.media import Dimensions, MediaType, Source, measured, sniff
from gateway.errors import GatewayError, NotFound, ResultUnavailable, StorageUnavailable
from gateway.types import Media

RAW_SAMPLES = MediaType("audio/pcm", "pcm", "audio")
"""Samples without a header show nothing and are believed, where they were asked for as such."""


def known_as(head: bytes, media: Media) -> MediaType:
    """The type of what begins so. Raises ResultUnavailable where that is not of the family it should be."""
    if not head:
        raise ResultUnavailable("the upstream's result is empty")
    if media.family == "audio" and media.mime == RAW_SAMPLES.mime:
        return RAW_SAMPLES
    found = sniff(head)
    if found is None or found.family != media.family:
        raise ResultUnavailable(f"the upstream's result is not {_an(media.family)}")
    return found


async def evidence(source: Source, found: MediaType, media: Media) -> Dimensions:
    """What the bytes show of themselves. Raises ResultUnavailable; StorageUnavailable where they cannot be read now."""
    if found is RAW_SAMPLES:
        return Dimensions()
    try:
        size = await measured(source, found)
    except StorageUnavailable:
        raise
    except NotFound as exc:
        raise StorageUnavailable("The object storage did not keep what it was sent.") from exc
    except GatewayError as exc:
        raise ResultUnavailable(f"the upstream's {media.family} cannot be read", detail=exc.message) from exc
    if media.family in ("video", "audio") and not size.seconds:
        raise ResultUnavailable(f"the upstream's {media.family} has no length")
    return size


def _an(family: str) -> str:
    return f"{'an' if family[0] in 'aeiou' else 'a'} {family}"
