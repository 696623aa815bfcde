"""What single models need besides the tree, or instead of what it says (wire sheet §8, 2026-11-21)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.errors import Unsupported
from gateway.upstreams.ima.choice import Choice
from gateway.upstreams.ima.products import Leaf

ALIASES: Final[Mapping[str, str]] = {
    "seedance 2.0": "ima-pro",
    "seedance 2.0-fast": "ima-pro-fast",
    "seedance 2.0 fast": "ima-pro-fast",
}
"""The only friendly names that stand for ids."""
SUNO, SUNO_VERSION = "sonic", "sonic-v5"
SEEDANCE: Final = frozenset({"ima-pro", "ima-pro-fast"})
SPEECH: Final = re.compile(r"seed-tts", re.IGNORECASE)
SPEAKER: Final = "_uranus_bigtts"
"""What the ids of voices end with."""
OF_CUSTOM_MODE: Final = ("lyrics", "vocal_gender", "tags")
"""What Suno heeds only in its custom mode."""
_PIXVERSE: Final = re.compile(r"V(\d+(?:\.\d+)?)", re.IGNORECASE)

_SUNO: Final = (
    Choice("custom_mode", "custom_mode", "boolean"),
    Choice("vocal_gender", "vocal_gender", "string", ("male", "female", "mixed")),
    Choice("lyrics", "lyrics", "string"),
    Choice("make_instrumental", "make_instrumental", "boolean"),
    Choice("auto_lyrics", "auto_lyrics", "boolean"),
    Choice("tags", "tags", "string"),
    Choice("negative_tags", "negative_tags", "string"),
    Choice("title", "title", "string"),
    Choice("gpt_description_prompt", "gpt_description_prompt", "string"),
)
_SPEECH: Final = (
    Choice("voice", "speaker", "string"),
    Choice("variant", "model", "string", ("seed-tts-2.0-expressive", "seed-tts-2.0-standard"),
           "seed-tts-2.0-expressive"),
    Choice("speed", "audio_params.speech_rate", "number", least=0.5, most=2.0,
           encode=lambda speed: round((speed - 1) * 100) if 0.5 <= speed <= 2 else None,
           decode=lambda rate: round(1 + rate / 100, 2)),
    Choice("loudness_rate", "audio_params.loudness_rate", "integer", least=-50, most=100),
    Choice("emotion", "audio_params.emotion", "string"),
    Choice("language", "additions.explicit_language", "string"),
    Choice("instructions", "additions.context_texts", "string",
           encode=lambda words: [words], decode=lambda words: words[0] if words else None),
)  # fmt: skip
_SQUARE: Final = Choice("size", "", "size", ("1:1",), "1:1")
_LENGTH: Final = Choice("seconds", "duration", "integer", default=5, least=4, most=15)


def choices(leaf: Leaf) -> Iterator[Choice]:
    """What may be chosen of a model besides what its form and rules say."""
    known = {field.name for field in leaf.fields} | {key for rule in leaf.rules for key in rule.attributes}
    found: tuple[Choice, ...] = ()
    if leaf.model_id == SUNO:
        found = _SUNO
    elif SPEECH.match(leaf.model_id):
        found = _SPEECH
    elif is_midjourney(leaf.model_id):
        found = (_SQUARE,)
    elif leaf.model_id in SEEDANCE:
        found = (_LENGTH,)
    yield from (choice for choice in found if choice.key not in known)


def is_midjourney(model: str) -> bool:
    return "midjourney" in model.lower()


def check(leaf: Leaf, sent: Mapping[str, Any]) -> None:
    """Raises Unsupported for what a model would not heed or not take. `sent`: by the vendor's names."""
    if SPEECH.match(leaf.model_id) and not str(sent.get("speaker", SPEAKER)).endswith(SPEAKER):
        raise Unsupported(
            f"'voice' must be one of the voices of {leaf.model_id}: their ids end with {SPEAKER}", param="voice"
        )
    if leaf.model_id == SUNO and sent.get("custom_mode") is False:
        for name in OF_CUSTOM_MODE:
            if sent.get(name):
                raise Unsupported(f"'{name}' goes with 'custom_mode' only", param=name)


def inner_name(leaf: Leaf, key: str) -> str:
    """What a parameter is called where it is sent, if not as in the form."""
    return "audio" if leaf.model_id in SEEDANCE and key == "generate_audio" else key


def completed(leaf: Leaf, inner: dict[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """The inner parameters with what a model insists on. `sent`: what the caller chose."""
    inner = dict(inner)
    if leaf.model_id == "pixverse" and not inner.get("model") and (found := _PIXVERSE.search(leaf.name)):
        inner["model"] = f"v{found[1]}"
    if leaf.model_id == SUNO:
        inner.setdefault("model_version", SUNO_VERSION)
        if any(sent.get(name) for name in OF_CUSTOM_MODE) and "custom_mode" not in sent:
            inner["custom_mode"] = True
    if leaf.model_id in SEEDANCE:
        inner = {inner_name(leaf, key): value for key, value in inner.items()}
        inner.setdefault("duration", _LENGTH.default)
    if SPEECH.match(leaf.model_id):
        inner.setdefault("model", "seed-tts-2.0-expressive")
    return inner
