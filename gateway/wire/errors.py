"""Errors as callers see them: the OpenAI object on /v1, a sentence with a code on /api. Never a 200.

English is an error's own sentence; what to do next is its own advice, else that of the words for its code. In another
language both are those of the words, and values stay what they are. What has no words there is told in English.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import msgspec

from gateway.errors import (
    Attempt,
    GatewayError,
    MethodNotAllowed,
    ModelNotFound,
    RefusedByUpstream,
    Unsupported,
)
from gateway.wire.attempts import attempts_json
from gateway.wire.language import ENGLISH, Entry, Words, filled, words_of
from gateway.wire.openai_errors import scrubbed

MOST_ALTERNATIVES = 2
MOST_VALUES = 12
"""Of those allowed, how many a sentence names; the member `allowed` has all."""

_QUOTED = re.compile(r"'([^']{1,140})'")
_TRACE = re.compile(r"\s*(?:Traceback \(most recent call last\)|\n\s*(?:File \"|at \S+[ (]|goroutine \d)).*", re.DOTALL)
_PLACE = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,20}://[^\s'\"<>)\]]+"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b"
    r"|\b[a-z0-9-]+(?:\.[a-z0-9-]+)+:\d{2,5}\b",
    re.IGNORECASE,
)
PLACE = "[…]"
"""What stands for an address that an upstream named."""


@dataclass(frozen=True, slots=True)
class Told:
    """An error in words."""

    language: str
    """Of these words: what is not known in the one that was asked for is told in English."""
    message: str
    """What happened and, where there is something to do, what."""
    advice: str
    """The latter alone; empty where there is nothing."""


def openai(error: GatewayError, *, attempts: Sequence[Attempt] = (), language: str = ENGLISH) -> bytes:
    """`{"error": {"message", "type", "param", "code", "task_id"?, "attempts"?}}`, inside of it what `members` adds.

    The message is enough by itself: SDKs show nothing else. `attempts` are for admins.
    """
    told = tell(error, language)
    body: dict[str, Any] = {"message": told.message, "type": error.type, "param": error.param, "code": error.code}
    body |= members(error, told)
    if error.task_id:
        body["task_id"] = error.task_id
    if attempts:
        body["attempts"] = attempts_json(attempts)
    return msgspec.json.encode({"error": body})


def native(
    error: GatewayError, *, admin: bool = False, attempts: Sequence[Attempt] = (), language: str = ENGLISH
) -> bytes:
    """`{"error", "code", "param"?, "detail"?, "task_id"?, "chatId"?, "status"?, "attempts"?}` and what `members` adds.

    `detail` and `attempts` are for admins.
    """
    told = tell(error, language)
    body: dict[str, Any] = {"error": told.message, "code": error.code}
    if error.param:
        body["param"] = error.param
    body |= members(error, told)
    if admin and error.detail:
        body["detail"] = error.detail
    if error.task_id:
        body["task_id"] = error.task_id
    if error.chat_id:
        body["chatId"] = error.chat_id
    if error.code == "timeout":
        body["status"] = "timeout"
    if attempts:
        body["attempts"] = attempts_json(attempts)
    return msgspec.json.encode(body)


def of_task(error: GatewayError, *, admin: bool = False, language: str = ENGLISH) -> dict[str, Any]:
    """`{"code", "message", "type", "param", "detail"?}` of a task or one of its outputs, with what `members` adds."""
    told = tell(error, language)
    shown = {"code": error.code, "message": told.message, "type": error.type, "param": error.param}
    shown |= members(error, told)
    if admin and error.detail:
        shown["detail"] = error.detail
    return shown


def members(error: GatewayError, told: Told) -> dict[str, Any]:
    """`{"advice"?, "alternatives"?: [{"model", "why", "price"}], "allowed"?, "nearest"?}`."""
    found: dict[str, Any] = {}
    if told.advice:
        found["advice"] = told.advice
    if error.alternatives:
        found["alternatives"] = [asdict(one) for one in error.alternatives[:MOST_ALTERNATIVES]]
    if isinstance(error, Unsupported):
        if error.allowed:
            found["allowed"] = list(error.allowed)
        if error.nearest:
            found["nearest"] = error.nearest
    return found


def headers(error: GatewayError, language: str = ENGLISH) -> list[tuple[bytes, bytes]]:
    """What clients act on: when to come back, and whether it makes sense; and what language it is in."""
    found = [(b"content-language", tell(error, language).language.encode()), (b"vary", b"Accept-Language")]
    if error.retry_after is not None or error.status in (429, 503):
        seconds = max(1, math.ceil(error.retry_after or 1))
        found.append((b"retry-after", str(seconds).encode()))
    if error.resend_helps is not None:
        found.append((b"x-should-retry", b"true" if error.resend_helps else b"false"))
    if error.status == 401:
        found.append((b"www-authenticate", b"Bearer"))
    return found


# --- in words ---


def sentence(error: GatewayError, language: str = ENGLISH) -> str:
    """What happened and, where there is something to do, what."""
    return tell(error, language).message


def tell(error: GatewayError, language: str = ENGLISH) -> Told:
    """An error in a spoken language, or in English where that has no words for it."""
    english = words_of(ENGLISH)
    if language != ENGLISH:
        words = words_of(language)
        entry = entry_of(error, words)
        if entry is not None and entry.sentence:
            known = _known(error, words)
            advice = filled(entry.advice, known) or error.advice or ""
            return Told(language, words.said(filled(entry.sentence, known), advice), advice)
    entry = entry_of(error, english)
    advice = error.advice or (filled(entry.advice, _known(error, english)) if entry else "")
    return Told(ENGLISH, english.said(own_words(error), advice), advice)


def entry_of(error: GatewayError, words: Words) -> Entry | None:
    """What a language says of an error: by code and class, by code, by class."""
    by_code = words.codes.get(f"{error.code}/{type(error).__name__}") or words.codes.get(error.code)
    if by_code is not None:
        return by_code
    return next((found for kind in type(error).__mro__ if (found := words.classes.get(kind.__name__))), None)


def own_words(error: GatewayError) -> str:
    """An error's own sentence. Where it is the upstream's: without credentials, addresses and stack traces."""
    if not isinstance(error, RefusedByUpstream | ModelNotFound):
        return error.message
    return _PLACE.sub(PLACE, _TRACE.sub("", scrubbed(error.message))).strip() or _default(type(error))


def _known(error: GatewayError, words: Words) -> dict[str, str]:
    """What templates may name, as far as the error knows it."""
    said = own_words(error)
    usual = said in _defaults()
    quoted = None if usual else _QUOTED.search(said)
    known = {
        "param": error.param,
        "said": None if usual else said.rstrip("."),
        "quoted": quoted[1] if quoted else None,
        "wait": None if error.retry_after is None else words.wait(error.retry_after),
        "allowed": words.comma.join(_allowed(error)),
        "nearest": error.nearest if isinstance(error, Unsupported) else None,
        "models": words.comma.join(one.model for one in error.alternatives[:MOST_ALTERNATIVES]),
        "task_id": error.task_id,
        "chat_id": error.chat_id,
    }
    return {name: value for name, value in known.items() if value}


def _allowed(error: GatewayError) -> Iterator[str]:
    if isinstance(error, MethodNotAllowed) and error.allowed:
        yield error.allowed
    elif isinstance(error, Unsupported):
        shown = error.allowed[:MOST_VALUES]
        yield from (f"{one:g}" if isinstance(one, float) else str(one) for one in shown)
        if len(shown) < len(error.allowed):
            yield "…"


@cache
def _defaults() -> frozenset[str]:
    """What errors say that were given no sentence: it knows nothing of the case."""
    kinds = [GatewayError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    return frozenset(_default(kind) for kind in kinds)


def _default(kind: type[GatewayError]) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]
