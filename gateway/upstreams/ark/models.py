"""The models by kind of work, and under which names the two sites have them; the tables are in the chapters that use
them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.types import Kind, ModelCard
from gateway.upstreams.ark import films, stills
from gateway.upstreams.ark.names import FILM_KINDS, STILL_KINDS, is_endpoint

TEXTS = {
    "seed-2-0-pro-260328": 256_000,
    "seed-2-0-lite-260228": 256_000,
    "seed-2-0-mini-260215": 256_000,
    "seed-1-8-251228": 256_000,
}
"""Text models that BytePlus lists, with how many tokens each takes. Those of Volcengine are taken by name."""
TEXT_NAME = re.compile(r"doubao-(?!seed(ance|ream|edit))[\w.-]+|(seed|skylark|deepseek|glm|kimi|gpt-oss)-[\w.-]*-\d{6}")
"""Ids of text models: with the vendor's own word before them, or its date behind."""
ENDPOINT_KINDS: tuple[Kind, ...] = ("t2t", *STILL_KINDS, *FILM_KINDS)


def cards() -> Iterator[ModelCard]:
    """Every model of the tables under both of its names."""
    yield from (films.card(model) for model in films.MODELS)
    yield from (stills.card(model) for model in stills.MODELS)
    for model, tokens in TEXTS.items():
        yield ModelCard(model, frozenset({"t2t"}), context_length=tokens, vision=True, reasoning=True)


def adopted(model: str, kind: Kind | None) -> ModelCard | None:
    """A card for a model that is not known here but by its name, or for an endpoint, behind which may be any."""
    kinds = _kinds(model)
    if not kinds or (kind is not None and kind not in kinds):
        return None
    if set(kinds) <= set(FILM_KINDS):
        return films.card(model)
    return stills.card(model) if set(kinds) <= set(STILL_KINDS) else ModelCard(model, frozenset(kinds), vision=True)


def _kinds(model: str) -> tuple[Kind, ...]:
    if is_endpoint(model):
        return ENDPOINT_KINDS if re.fullmatch(r"ep-[\w-]+", model) else ()
    if re.fullmatch(r"(doubao-|dreamina-)?seedance-[\w.-]+", model):
        return FILM_KINDS
    if re.fullmatch(r"(doubao-|dola-)?seedream-[\w.-]+", model):
        return STILL_KINDS
    return ("t2t",) if TEXT_NAME.fullmatch(model) else ()
