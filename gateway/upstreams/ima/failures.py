"""What goes wrong, as an error of ours: the code in the body decides, then its words, then the HTTP status.

An HTTP 500 whose body has no code is a broken way to the vendor, not the vendor's own 500 (wire sheet §1 and §10,
2026-11-21). No code is known for content that is refused: words tell it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway import errors
from gateway.errors import GatewayError
from gateway.wire.openai_errors import refusal, scrubbed

FINE: Final = frozenset({"0", "200"})
STALE: Final = frozenset({"6006", "6009", "6010"})
"""Codes for a price or a choice of parameters that is no longer the vendor's."""

_STALE_WORDS: Final = re.compile(r"invalid product attribute|attribute id does not match", re.IGNORECASE)
_CONTENT: Final = re.compile(
    r"content.?policy|moderat|sensitive|inappropriate|violat|prohibited|safety|nsfw|risk control|审核|敏感|违规",
    re.IGNORECASE,
)
_KEY: Final = re.compile(r"unauthorized|invalid (?:api.?)?key|invalid token", re.IGNORECASE)
_POINTS: Final = re.compile(r"insufficient (?:points|credits?|balance)|points? (?:is|are) not enough", re.IGNORECASE)
_PLAN: Final = re.compile(r"requires? (?:a|an active) subscription|upgrade your plan", re.IGNORECASE)
_RATE: Final = re.compile(r"rate.?limit|too many requests|too frequent", re.IGNORECASE)
_PARAMETER: Final = re.compile(
    r"lyrics|too long|(?:prompt|text) length|invalid (?:param|value)|minimum pixels|must be", re.IGNORECASE
)
_AWAY: Final = re.compile(r"(?:model|service).{0,20}unavailable", re.IGNORECASE)
_FETCH: Final = re.compile(r"(?:download|fetch|access).{0,30}(?:image|media|file|url)", re.IGNORECASE)
_NAMED: Final = re.compile(r"(?:value for|param(?:eter)?)\s*[:'\"`]?\s*([a-z_]{2,40})", re.IGNORECASE)


class Stale(errors.AdapterContract):
    """The upstream's list of products has changed; nothing was made."""


def refused(status: int, headers: Mapping[str, str], body: bytes, secret: str, *, now: float) -> GatewayError:
    """The error for an answer that is none. `secret` is kept out of it; its `sent` says whether a create that got it
    may have made something."""
    code, message = said(body, secret)
    if not code:
        error = refusal(status, headers, body, now=now, secret=secret)
        if isinstance(error, errors.UpstreamError):
            error.sent = "no" if status in (404, 405) or 300 <= status < 400 else "unknown"
        return error
    error = by_code(code, message)
    error.detail = f"{status} {code} {message}".strip()
    # What the vendor refuses in words was not made. Its own failure may come after the making began.
    error.sent = "unknown" if type(error) is errors.UpstreamFailed and not _is_away(code, message) else "no"
    return error


def said(body: bytes, secret: str = "") -> tuple[str, str]:
    """Code and words of an envelope; no code where there is none."""
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", ""
    if not isinstance(found, dict) or not isinstance(found.get("code"), int | str) or found["code"] is True:
        return "", ""
    words = found.get("message") or found.get("msg") or ""
    return str(found["code"]).strip(), scrubbed(words if isinstance(words, str) else "", secret)


def by_code(code: str, message: str) -> GatewayError:
    """What code and words settle."""
    told = message or None
    match code:
        case "401":
            return errors.CredentialRejected()
        case "4008":
            return errors.BalanceExhausted()
        case "4014":
            return errors.ModelNotEnabled()
        case _ if code in STALE or _STALE_WORDS.search(message):
            return Stale("the upstream's prices or parameters are no longer those that were sent")
        case "400017":
            return errors.AdapterContract()
        case "429":
            return errors.RateLimited()
        case "500" | "503" if not _CONTENT.search(message):
            return errors.UpstreamFailed()
        case _:
            return by_words(message) or _by_number(code, told)


def by_words(message: str) -> GatewayError | None:
    """What words settle; None where they settle nothing."""
    table: tuple[tuple[re.Pattern[str], type[GatewayError]], ...] = (
        (_KEY, errors.CredentialRejected),
        (_POINTS, errors.BalanceExhausted),
        (_PLAN, errors.ModelNotEnabled),
        (_RATE, errors.RateLimited),
        (_AWAY, errors.UpstreamFailed),
    )
    for pattern, made in table:
        if pattern.search(message):
            return made()
    if _CONTENT.search(message):
        return errors.ContentRefused(message, param="prompt")
    if _FETCH.search(message):
        return errors.InputUnreachable(message, param="files")
    if _PARAMETER.search(message):
        named = _NAMED.search(message)
        return errors.UpstreamRefusedParameter(message, param=named[1].lower() if named else None)
    return None


def _by_number(code: str, told: str | None) -> GatewayError:
    """400 and its like are the request's fault; a code that nobody knows is the vendor's."""
    if re.fullmatch(r"4\d\d|400\d+", code):
        return errors.UpstreamRefusedParameter(told)
    return errors.UpstreamFailed()


def _is_away(code: str, message: str) -> bool:
    return code == "503" or _AWAY.search(message) is not None


def of_media(message: str, secret: str, *, ready: int, count: int) -> GatewayError:
    """Why a task came to nothing. `ready`: of `count` outputs those that were made all the same."""
    words = scrubbed(message, secret)
    found = by_words(words)
    beside = f"; {ready} of {count} outputs were ready" if ready else ""
    if isinstance(found, errors.ContentRefused):
        error: GatewayError = errors.ContentRefused(words + beside)
    elif isinstance(found, errors.RefusedByUpstream):
        error = type(found)(words + beside, param=found.param)
    else:
        error = errors.GenerationFailed(f"the upstream accepted the job but could not finish it{beside}")
    error.detail = words
    return error
