"""The site's models: those seen in its list, and its live list, as cards."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import msgspec

from gateway.types import Kind, ModelCard

RATIOS = ("1:1", "3:4", "4:3", "16:9", "9:16")
ALL: frozenset[Kind] = frozenset({"t2t", "t2i", "i2i", "t2v", "i2v"})
KIND_OF: dict[str, Kind] = {"t2i": "t2i", "image_edit": "i2i", "t2v": "t2v", "i2v": "i2v"}
ALWAYS_THINK = ("qwen3.8-max", "qwen3.8-max-preview", "qwq-32b")
SEE = ("qwen3-vl-plus", "qwen3-omni-flash", "qwen-vl-max-latest")
PLAIN = ("qwen3-max", "qwen3.7-plus", "qwen3.6-plus", "qwen3.5-plus", "qwen3.5-flash", "qwen3.5-397b-a17b")
SEEN = (*PLAIN, "qwen3-coder-plus", "qwen-max-latest", *SEE, *ALWAYS_THINK)
"""Ids seen in the site's list up to 2026-11-20; it is asked live."""


class Abilities(msgspec.Struct):
    thinking: Any = None
    """True or a number, as is `vision`."""
    vision: Any = None


class Meta(msgspec.Struct):
    chat_type: list[str] | None = None
    capabilities: Abilities | None = None
    abilities: Abilities | None = None
    """The same as `capabilities`, under the list's other name for it."""
    max_context_length: int | None = None


class Info(msgspec.Struct):
    meta: Meta | None = None


class Row(msgspec.Struct):
    """A model as the site lists it."""

    id: str
    name: str | None = None
    info: Info | None = None


class Listed(msgspec.Struct):
    data: list[Row]


def card(model: str) -> ModelCard:
    """What is known of a model by its name."""
    thinks = model in ALWAYS_THINK or model.endswith("-thinking")
    return ModelCard(model, ALL, vision=model in SEE, reasoning=thinks, ratios=RATIOS, seconds=(5.0,))


def adopted(model: str, kind: Kind | None) -> ModelCard | None:
    """A card for a model that no list names, where its name says that it is one of these."""
    ours = re.match(r"(qwen|qwq)(?!.*(image|tts|asr|embedding|rerank))", model.lower())
    return card(model) if ours and (kind is None or kind in ALL) else None


def listed_card(row: Row) -> ModelCard:
    """What the list tells of a model."""
    meta = (row.info and row.info.meta) or Meta()
    able = [found for found in (meta.abilities, meta.capabilities) if found]
    made = {KIND_OF[name] for name in meta.chat_type or () if name in KIND_OF}
    return replace(
        card(row.id),
        kinds=frozenset({"t2t", *made}),
        name=row.name or "",
        context_length=meta.max_context_length,
        vision=any(found.vision for found in able),
        reasoning=row.id in ALWAYS_THINK or any(found.thinking for found in able),
    )
