"""A model list of the OpenAI dialect to cards, and what a model makes where only its id tells.

Sources: OpenAI's and OpenRouter's `GET /models`, the further members of vLLM's and Groq's (wire sheet, 2026-11-20).
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

import msgspec

from gateway.errors import UpstreamGarbled
from gateway.types import Kind, ModelCard

_IMAGES: frozenset[Kind] = frozenset({"t2i", "i2i"})

KINDS_BY_NAME: tuple[tuple[str, frozenset[Kind]], ...] = (
    (r"moderation|realtime|\bsora|\bveo\b|rerank", frozenset()),
    (r"embed|\bbge\b|\be5\b", frozenset({"embedding"})),
    (r"whisper|transcribe|\basr\b", frozenset({"transcription"})),
    (r"\btts\b", frozenset({"tts"})),
    (r"image|dall-e|flux|stable-?diffusion|sdxl|seedream|recraft|ideogram", _IMAGES),
)
"""What a model makes by its id, first match; any other makes text. Empty: nothing that this dialect serves."""

KINDS_BY_MODALITY: Mapping[str, frozenset[Kind]] = {
    "text": frozenset({"t2t"}),
    "image": _IMAGES,
    "audio": frozenset({"tts"}),
    "speech": frozenset({"tts"}),
    "embeddings": frozenset({"embedding"}),
    "transcription": frozenset({"transcription"}),
}
"""The same by `architecture.output_modalities`, where a list has it."""

_BY_NAME = tuple((re.compile(pattern, re.IGNORECASE), kinds) for pattern, kinds in KINDS_BY_NAME)
_TEXT: frozenset[Kind] = frozenset({"t2t"})


class _Architecture(msgspec.Struct):
    input_modalities: list[str] = []
    output_modalities: list[str] = []


class _Model(msgspec.Struct):
    id: str
    name: str | None = None
    created: float | None = None
    owned_by: str | None = None
    shutdown_date: str | None = None
    context_length: int | None = None
    context_window: int | None = None
    max_model_len: int | None = None
    architecture: _Architecture | None = None
    supported_parameters: list[str] | None = None


class _List(msgspec.Struct):
    data: list[msgspec.Raw]


def kinds_of(model: str) -> frozenset[Kind]:
    """What a model of this name makes, going by KINDS_BY_NAME."""
    return next((kinds for pattern, kinds in _BY_NAME if pattern.search(model)), _TEXT)


def cards(body: bytes, now: float) -> list[ModelCard]:
    """The models that can be served. One that is shut down by `now` (Unix seconds) or malformed is passed over.

    Raises UpstreamGarbled where there is no list.
    """
    try:
        listed = msgspec.json.decode(body, type=_List)
    except msgspec.DecodeError as exc:
        raise UpstreamGarbled("the upstream's model list cannot be understood", detail=str(exc)) from exc
    today = time.strftime("%Y-%m-%d", time.gmtime(now))
    found = (_card(raw, today) for raw in listed.data)
    return [card for card in found if card is not None]


def _card(raw: msgspec.Raw, today: str) -> ModelCard | None:
    try:
        model = msgspec.json.decode(raw, type=_Model)
    except msgspec.DecodeError:
        return None
    kinds = _kinds(model)
    if not kinds or (model.shutdown_date and model.shutdown_date <= today):
        return None
    shape = model.architecture or _Architecture()
    return ModelCard(
        id=model.id,
        kinds=kinds,
        name=model.name or "",
        context_length=model.context_length or model.context_window or model.max_model_len,
        vision="image" in shape.input_modalities,
        reasoning="reasoning" in (model.supported_parameters or ()),
        max_n=10 if "t2i" in kinds else 1,
        created=int(model.created or 0),
        extra={"owned_by": model.owned_by} if model.owned_by else {},
    )


def _kinds(model: _Model) -> frozenset[Kind]:
    if model.architecture is None or not model.architecture.output_modalities:
        return kinds_of(model.id)
    none: frozenset[Kind] = frozenset()
    return none.union(*(KINDS_BY_MODALITY.get(word, none) for word in model.architecture.output_modalities))
