"""The models: what each takes and makes, by the families that the vendor's ids begin with (wire sheet, 2026-11-20).

Dated ids (`…-2026-06-12`) are of the family that they begin with. Of an unknown version of wan the words of the newest
known one are used, and none of its limits is held against a request. Sizes of wan 2.5 and older, and all that is said
of wan 3.0, are as others retell them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from gateway.types import Kind

SEED_MAX = 2**31 - 1
SECONDS = 5
"""How long a film is to be where nobody says: always sent, since it is paid for."""

# --- films ---

Lines = tuple[str, ...]

SIZES: Mapping[str, Mapping[str, str]] = {
    "480P": {"16:9": "832*480", "9:16": "480*832", "1:1": "624*624"},
    "720P": {"16:9": "1280*720", "9:16": "720*1280", "1:1": "960*960", "4:3": "1088*832", "3:4": "832*1088"},
    "1080P": {"16:9": "1920*1080", "9:16": "1080*1920", "1:1": "1440*1440", "4:3": "1632*1248", "3:4": "1248*1632"},
}
"""Pixels by resolution and ratio, for models that are told pixels."""
RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4")
PIXELS = {"480P": 832.0 * 480, "720P": 1280.0 * 720, "1080P": 1920.0 * 1080}
"""Resolutions by how many pixels a picture has, whatever its ratio."""
ALL_LINES, HD = ("480P", "720P", "1080P"), ("720P", "1080P")


@dataclass(frozen=True, slots=True)
class Film:
    """What a family of film models takes."""

    kinds: tuple[Kind, ...]
    wording: Literal["urls", "media"]
    """How images are named: a field for each use, or a list of them with their uses."""
    shape: Literal["pixels", "line", "line and ratio"]
    """How the picture is told to be; by `line` alone it has the ratio of the image."""
    lines: Lines
    seconds: tuple[int, ...]
    own: tuple[str, ...]
    estimate: float
    prompt: int = 1500
    """Characters."""
    references: int = 5
    usual: str = ""
    """The resolution where nobody says one; empty: the largest, as the vendor has it."""
    sure: bool = True
    """Whether these limits are known to be its own."""

    @property
    def line(self) -> str | None:
        """The resolution where nobody says one; None: the vendor's own choice."""
        return (self.usual or self.lines[-1]) if self.sure else None


_PLAIN = ("negative_prompt", "prompt_extend", "watermark")
_SOUND = (*_PLAIN, "audio", "audio_url")
_SHOTS = (*_SOUND, "shot_type")
_TO_15 = tuple(range(2, 16))
_FRAMES: tuple[Kind, ...] = ("i2v", "flf2v")

FILMS: Mapping[str, Film] = {
    "wan2.7-t2v": Film(("t2v",), "media", "line and ratio", HD, _TO_15, (*_PLAIN, "audio_url"), 180, 5000),
    "wan2.7-i2v": Film(_FRAMES, "media", "line", HD, _TO_15, (*_PLAIN, "driving_audio"), 180, 5000),
    "wan2.7-r2v": Film(
        ("ref2v",), "media", "line and ratio", HD, _TO_15, (*_PLAIN, "reference_video_urls"), 240, 5000
    ),
    "wan3.0-video": Film(
        ("t2v", "i2v", "flf2v", "ref2v"), "media", "line and ratio", ALL_LINES, tuple(range(2, 31)),
        (*_PLAIN, "audio"), 240, 5000, sure=False,
    ),
    "wan2.6-t2v": Film(("t2v",), "urls", "pixels", HD, (5, 10, 15), _SHOTS, 150),
    "wan2.6-i2v": Film(("i2v",), "urls", "line", HD, (5, 10, 15), _SHOTS, 150),
    "wan2.6-i2v-flash": Film(("i2v",), "urls", "line", HD, (5, 10, 15), _SHOTS, 60),
    "wan2.6-r2v": Film(("ref2v",), "urls", "pixels", HD, (5, 10), (*_PLAIN, "audio", "shot_type"), 180),
    "wan2.6-r2v-flash": Film(("ref2v",), "urls", "pixels", HD, (5, 10), (*_PLAIN, "audio", "shot_type"), 90),
    "wan2.5-t2v": Film(("t2v",), "urls", "pixels", ALL_LINES, (5, 10), _SOUND, 150),
    "wan2.5-i2v": Film(("i2v",), "urls", "line", ALL_LINES, (5, 10), _SOUND, 150),
    "wan2.2-t2v-plus": Film(("t2v",), "urls", "pixels", ("480P", "1080P"), (5,), _PLAIN, 120, 800),
    "wan2.2-i2v-plus": Film(("i2v",), "urls", "line", ("480P", "1080P"), (5,), _PLAIN, 120, 800),
    "wan2.2-i2v-flash": Film(("i2v",), "urls", "line", ("480P", "720P"), (5,), _PLAIN, 45, 800),
    "wan2.2-kf2v-flash": Film(
        ("flf2v",), "urls", "line", ALL_LINES, (5,), (*_PLAIN, "template"), 60, 800, usual="720P"
    ),
    "wanx2.1-t2v-turbo": Film(("t2v",), "urls", "pixels", ("480P", "720P"), (5,), _PLAIN, 90, 800),
    "wanx2.1-t2v-plus": Film(("t2v",), "urls", "pixels", ("720P",), (5,), _PLAIN, 240, 800),
    "wanx2.1-i2v-turbo": Film(("i2v",), "urls", "line", ("480P", "720P"), (5,), (*_PLAIN, "template"), 90, 800),
    "wanx2.1-i2v-plus": Film(("i2v",), "urls", "line", ("720P",), (5,), (*_PLAIN, "template"), 240, 800),
    "wanx2.1-kf2v-plus": Film(("flf2v",), "urls", "line", ("720P",), (5,), (*_PLAIN, "template"), 240, 800),
}  # fmt: skip

# --- stills ---


@dataclass(frozen=True, slots=True)
class Area:
    """Sizes by their pixels, each side squared: at least, at most, and how long against its breadth."""

    least: int
    most: int
    longest: float
    usual: int
    """The square that a ratio alone is made as large as."""


@dataclass(frozen=True, slots=True)
class Sides:
    """Sizes by the least and the most that a side may have."""

    least: int
    most: int
    usual: int


@dataclass(frozen=True, slots=True)
class Fixed:
    """These and no others; the first is the vendor's own choice."""

    sizes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Still:
    """What a family of image models takes."""

    kinds: tuple[Kind, ...]
    way: Literal["messages", "prompt", "images", "edit"]
    """How it is asked. `messages` answers at once, all others by tasks."""
    sizing: Area | Sides | Fixed | None
    most: int
    """Images of one call."""
    own: tuple[str, ...]
    estimate: float
    references: int = 0
    tasks: bool = False
    """Whether it can be asked by a task as well, where it answers at once."""
    sure: bool = True
    """Whether these limits are known to be its own."""


_WAN_NEW = Area(1280, 1440, 4, 1328)
_WIDE = Area(512, 2048, 8, 1328)
_FIVE = Fixed(("1664*928", "1472*1104", "1328*1328", "1104*1472", "928*1664"))
_BOTH: tuple[Kind, ...] = ("t2i", "i2i")

STILLS: Mapping[str, Still] = {
    "wan2.6-t2i": Still(("t2i",), "messages", _WAN_NEW, 4, _PLAIN, 20, tasks=True),
    "wan2.6-image": Still(("i2i",), "messages", Area(768, 1280, 4, 1280), 4, _PLAIN, 25, 4, tasks=True),
    "wan2.7-image": Still(_BOTH, "messages", Area(768, 2048, 8, 1536), 4, ("watermark",), 25, 9, tasks=True),
    "wan2.7-image-pro": Still(_BOTH, "messages", Area(768, 4096, 8, 2048), 4, ("watermark",), 40, 9, tasks=True),
    "qwen-image": Still(("t2i",), "messages", _FIVE, 1, _PLAIN, 20),
    "qwen-image-plus": Still(("t2i",), "messages", _FIVE, 1, _PLAIN, 20),
    "qwen-image-max": Still(("t2i",), "messages", _FIVE, 1, _PLAIN, 30),
    "qwen-image-2.0": Still(_BOTH, "messages", _WIDE, 6, _PLAIN, 20, 3),
    "qwen-image-2.0-pro": Still(_BOTH, "messages", _WIDE, 6, _PLAIN, 30, 3),
    "qwen-image-3.0": Still(_BOTH, "messages", _WIDE, 6, _PLAIN, 20, 3),
    "qwen-image-3.0-pro": Still(_BOTH, "messages", _WIDE, 6, _PLAIN, 30, 3),
    "qwen-image-edit": Still(("i2i",), "messages", None, 1, ("negative_prompt", "watermark"), 20, 3),
    "qwen-image-edit-plus": Still(("i2i",), "messages", Sides(512, 2048, 1328), 6, _PLAIN, 20, 3),
    "qwen-image-edit-max": Still(("i2i",), "messages", Sides(512, 2048, 1328), 6, _PLAIN, 30, 3),
    "wan2.5-t2i": Still(("t2i",), "prompt", Area(768, 1440, 4, 1280), 4, _PLAIN, 30),
    "wan2.2-t2i": Still(("t2i",), "prompt", Sides(512, 1440, 1024), 4, _PLAIN, 30),
    "wanx2.1-t2i": Still(("t2i",), "prompt", Sides(512, 1440, 1024), 4, _PLAIN, 30),
    "wan2.5-i2i": Still(("i2i",), "images", None, 4, ("watermark",), 40, 3),
    "wanx2.1-imageedit": Still(("i2i",), "edit", None, 4, ("watermark", "function"), 40, 1),
}

# --- speech ---


@dataclass(frozen=True, slots=True)
class Speech:
    """What a family of voices takes."""

    own: tuple[str, ...]
    estimate: float = 5
    voice: str = "Cherry"
    """Who speaks where nobody is named; empty: somebody must be."""


VOICES = ("Cherry", "Serena", "Ethan", "Chelsie", "Momo", "Vivian", "Moon", "Maia", "Kai", "Nofish", "Bella")
"""Those that are known; there are more."""
SPEECHES: Mapping[str, Speech] = {
    "qwen3-tts-flash": Speech(("language_type",)),
    "qwen3-tts-instruct-flash": Speech(("language_type", "instructions", "optimize_instructions")),
    "qwen3-tts-vd": Speech(("language_type",), voice=""),
    "qwen3-tts-vc": Speech(("language_type",), voice=""),
    "qwen-tts": Speech(("language_type",)),
}

# --- text ---

TEXTS = ("qwen-plus", "qwen3-max", "qwen-flash", "qwen-turbo", "qwen3-coder-plus", "qwen3-vl-plus", "qwq-plus")
_TEXT = re.compile(r"(qwen|qwq|qvq)(?!.*(image|tts|asr|realtime|embedding|rerank|livetranslate))[\w.:-]*")
_THINKS = re.compile(r"(qwq|qvq)\b.*|qwen3[\w.-]*-thinking.*")
_STREAMS_ONLY = re.compile(rf"{_THINKS.pattern}|qwen3-(?!.*instruct)\d+(\.\d+)?b.*")
"""What is open source thinks unless told not to, and tells what it thinks only in streams."""


def thinks(model: str) -> bool:
    return _THINKS.fullmatch(model) is not None


def streams_only(model: str) -> bool:
    return _STREAMS_ONLY.fullmatch(model) is not None


# --- by name ---

LISTED = (
    "wan2.7-t2v", "wan2.7-i2v", "wan2.7-r2v", "wan2.6-t2v", "wan2.6-i2v", "wan2.6-i2v-flash", "wan2.6-r2v",
    "wan2.6-r2v-flash", "wan2.5-t2v-preview", "wan2.5-i2v-preview", "wan2.2-t2v-plus", "wan2.2-i2v-plus",
    "wan2.2-i2v-flash", "wan2.2-kf2v-flash", "wanx2.1-t2v-turbo", "wanx2.1-t2v-plus", "wanx2.1-i2v-turbo",
    "wanx2.1-i2v-plus", "wanx2.1-kf2v-plus", "wan2.6-t2i", "wan2.7-image", "wan2.7-image-pro", "qwen-image-2.0",
    "qwen-image-2.0-pro", "qwen-image-3.0", "qwen-image-3.0-pro", "qwen-image", "qwen-image-plus", "qwen-image-max",
    "qwen-image-edit", "qwen-image-edit-plus", "qwen-image-edit-max", "wan2.6-image", "wan2.5-t2i-preview",
    "wan2.2-t2i-plus", "wan2.2-t2i-flash", "wanx2.1-t2i-turbo", "wanx2.1-t2i-plus", "wan2.5-i2i-preview",
    "wanx2.1-imageedit", "qwen3-tts-flash", "qwen3-tts-instruct-flash", "qwen-tts", *TEXTS,
)  # fmt: skip
"""Ids by which the families are on offer, the usual choice of each kind first."""

Facts = Film | Still | Speech
FAMILIES: Mapping[str, Facts] = {**FILMS, **STILLS, **SPEECHES}
NEWEST: Mapping[Kind, str] = {
    "t2v": "wan2.7-t2v", "i2v": "wan2.7-i2v", "flf2v": "wan2.7-i2v", "ref2v": "wan2.7-r2v", "t2i": "wan2.7-image",
    "i2i": "wan2.7-image", "tts": "qwen3-tts-flash",
}  # fmt: skip
_LONGEST_FIRST = sorted(FAMILIES, key=len, reverse=True)


def facts(model: str) -> Facts | None:
    """Of the family that the id begins with; None for texts and for strangers."""
    if is_live(model):
        return None
    if (known := _family(model)) is not None:
        return known
    guessed = _family(re.sub(r"^wan\d+\.\d+-", "wan2.7-", model))
    return replace(guessed, sure=False) if isinstance(guessed, Film | Still) else guessed


def newest(kind: Kind) -> Facts:
    """What stands for a model that only the operator knows: others' models are asked for as the newest are here."""
    found = FAMILIES[NEWEST[kind]]
    return replace(found, voice="") if isinstance(found, Speech) else replace(found, sure=False)


def _family(model: str) -> Facts | None:
    found = next((one for one in _LONGEST_FIRST if model == one or model.startswith(f"{one}-")), None)
    return FAMILIES[found] if found else None


def is_live(model: str) -> bool:
    """Whether it is talked to by a socket, and not here."""
    return "realtime" in model


def is_text(model: str) -> bool:
    return _TEXT.fullmatch(model) is not None
