"""What the name of a model that nobody told us of says of the work it does."""

from __future__ import annotations

import re
from typing import get_args

from gateway.types import Kind

VIDEO: frozenset[Kind] = frozenset({"t2v", "i2v", "flf2v", "ref2v"})
IMAGE: frozenset[Kind] = frozenset({"t2i", "i2i"})
ANY: frozenset[Kind] = frozenset(get_args(Kind))

OWN: dict[str, frozenset[Kind]] = {
    "chat": frozenset({"t2t"}),
    "image": IMAGE,
    "video": VIDEO,
    "speech": frozenset({"tts"}),
    "music": frozenset({"t2m"}),
    "embedding": frozenset({"embedding"}),
    "transcription": frozenset({"transcription"}),
}
"""The sandbox's own models: what follows `sandbox-` in their names, and what they do."""

KINDS_BY_NAME: tuple[tuple[str, frozenset[Kind]], ...] = (
    (r"t2i|i2i|text-?to-?image", IMAGE),
    (r"t2v|i2v|flf2v|r2v|ref2v|s2v|video", VIDEO),
    (r"embed|\bbge-|\bgte-|\be5-", frozenset({"embedding"})),
    (r"whisper|transcri|\basr\b|speech-?to-?text|scribe", frozenset({"transcription"})),
    (r"tts|speech|\bvoice", frozenset({"tts"})),
    (r"music|suno|lyria|\budio|song", frozenset({"t2m"})),
    (r"imag(e|in)|dall-e|flux|seedream|seededit|jimeng|midjourney|ideogram|recraft|diffusion|sdxl|banana", IMAGE),
    (r"sora|\bveo|\bwan(x|\d|\b)|kling|seedance|hailuo|vidu|pixverse|runway|\bgen-?[34]|\bray-?\d|pika", VIDEO),
)
"""A pattern in the lower-case name, and the kinds it tells; the first that is found decides."""


def kinds(model: str) -> frozenset[Kind] | None:
    """The kinds of work that the name tells; None where it tells nothing, as those of chat models do."""
    return next((told for pattern, told in KINDS_BY_NAME if re.search(pattern, model.lower())), None)
