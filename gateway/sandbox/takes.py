"""What may be asked of the sandbox's models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from gateway.sandbox.names import IMAGE, VIDEO
from gateway.sandbox.sound import FASTEST, FORMATS, LONGEST_PIECE, SLOWEST
from gateway.types import Kind, Parameter

LENGTHS: Final = (1, 30)
"""Seconds of a video."""
VIDEO_SECONDS: Final = 5.0
MUSIC_SECONDS: Final = 20.0
"""Where nobody says how long."""
MAX_IMAGES: Final = 10
MUSIC: Final[frozenset[Kind]] = frozenset({"t2m"})
SPEECH: Final[frozenset[Kind]] = frozenset({"tts"})


def parameters(kinds: frozenset[Kind]) -> Mapping[str, Parameter]:
    """Those of a model that does such kinds of work. Others are taken as well, and change nothing."""
    lasting = kinds & (VIDEO | MUSIC)
    only_music = bool(kinds & MUSIC and not kinds & VIDEO)
    least, most = (None, LONGEST_PIECE) if kinds & MUSIC else LENGTHS
    usual = MUSIC_SECONDS if only_music else None if kinds & MUSIC else VIDEO_SECONDS
    found = {
        "size": (Parameter("size"), kinds & (IMAGE | VIDEO)),
        "n": (Parameter("integer", least=1, most=MAX_IMAGES, default=1), kinds & IMAGE),
        "seconds": (Parameter("number", least=least, most=most, default=usual, unit="s"), lasting),
        "seed": (Parameter("integer", least=0), kinds & (IMAGE | VIDEO | MUSIC)),
        "format": (Parameter("string", tuple(FORMATS), default="mp3"), kinds & (MUSIC | SPEECH)),
        "voice": (Parameter("string"), kinds & SPEECH),
        "speed": (Parameter("number", least=SLOWEST, most=FASTEST, default=1.0), kinds & SPEECH),
    }
    return {name: replace(parameter, kinds=of) for name, (parameter, of) in found.items() if of}
