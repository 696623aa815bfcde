"""What an upstream of the OpenAI dialect says when it does not do as asked, as an error of ours.

The body's code is looked at first and the status second: a spent quota, a slow-down and an overload all come as 429 or
503, and only the code tells them apart. When to come back stands in the headers, else in the body: as headers that
another upstream sent, as a point in time, or in the sentence. Sources: OpenAI's error guide and its Python SDK's types,
OpenRouter's, LiteLLM's and FastAPI's error shapes (wire sheet, 2026-11-20).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway.errors import (
    BalanceExhausted,
    Challenged,
    ContentRefused,
    CredentialRejected,
    GatewayError,
    InputUnreachable,
    ModelNotEnabled,
    ModelNotFound,
    QuotaExhausted,
    RateLimited,
    TooLarge,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamRefusedParameter,
    UpstreamTimeout,
)
from gateway.wire.retry import CEILING, FLOOR, QUOTA_CEILING, retry_after, told, until

MAX_SENTENCE = 1000

_CREDENTIAL = re.compile(
    r"\b(?:sk|pk|rk|key|org|proj|sess)[-_][\w*.-]{6,}"
    r"|\bBearer\s+\S+"
    r"|\b(?:api[_-]?key|token|secret)[\"']?\s*[:=]\s*[\"']?[\w*./+-]{6,}"
    r"|\beyJ[\w-]{8,}\.[\w.-]+",
    re.IGNORECASE,
)
_CONTENT = ("moderation", "content_filter", "_policy", "policy_violation")
_BALANCE = frozenset({"credit_balance_exhausted", "billing_not_active", "billing_hard_limit_reached"})
_QUOTA = frozenset({"insufficient_quota", "quota_exceeded", "budget_exceeded"})
_SPEND = ("_spend_limit_exceeded", "_usage_limit_exceeded")
_RATE = frozenset(
    {"rate_limit_exceeded", "rate_limit_error", "slow_down", "too_many_requests", "in_flight_budget_exhausted"}
)
_DAILY = re.compile(
    r"\b(?:limit|quota)\b.{0,60}\b(?:today|daily|per.day)\b|\b(?:today|daily)\b.{0,60}\b(?:limit|quota)\b"
)
_LONG = 3600.0
"""A day's limit that has room again in fewer seconds is a rate: it fills all the time."""
_CAPPED = re.compile(r"\b(?:limit|quota|budget)\b.{0,20}\bexceeded")
_KEY = frozenset({"invalid_api_key", "account_deactivated", "authentication_error", "invalid_authentication"})
_NO_MODEL = frozenset({"model_not_found", "invalid_model", "unknown_model"})
_INPUT = frozenset({"failed_to_download_image", "invalid_image_url", "image_download_failed"})
_BUSY = frozenset({"server_is_overloaded", "server_error", "service_unavailable", "overloaded_error"})
_CHALLENGE = re.compile(rb"captcha|challenge|just a moment|verify (?:that )?you are|cf-chl|punish", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Said:
    """The words of an error body; "" where it has none."""

    message: str = ""
    code: str = ""
    type: str = ""
    param: str | None = None
    status: int = 0
    """A status that stands in the body instead of a code."""
    structured: bool = False
    """Whether there was a JSON error at all: a web server's own page has none."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of the answer that somebody further on gave, where the body repeats them."""
    resets_at: object = None
    """When a limit ends, as it was told."""

    def among(self, words: frozenset[str]) -> bool:
        return self.code in words or self.type in words


def said(body: bytes, secret: str = "") -> Said:
    """Reads `{"error": {…}}`, `{"error": "…"}`, `{"message": …}` and FastAPI's `{"detail": …}`, all scrubbed."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return Said()
    if isinstance(found, list) and found:
        found = found[0]
    error = found.get("error", found) if isinstance(found, dict) else found
    if isinstance(error, str):
        return Said(scrubbed(error, secret), structured=True)
    if not isinstance(error, dict):
        return Said()
    sentence = _sentence(error)
    code = error.get("code")
    param = error.get("param")
    more = error.get("metadata")
    more = more if isinstance(more, dict) else {}
    return Said(
        message=scrubbed(sentence, secret),
        code=(code if isinstance(code, str) else str(more.get("error_type") or "")).lower(),
        type=str(error.get("type") or "").lower(),
        param=param if isinstance(param, str) and param else None,
        status=code if isinstance(code, int) else 0,
        structured="error" in found or bool(sentence),
        headers=_headers(more.get("headers")),
        resets_at=more.get("resets_at"),
    )


def scrubbed(text: str, secret: str = "") -> str:
    """Text without `secret` and without what looks like a credential, no longer than a caller needs."""
    if len(secret) >= 4:
        text = text.replace(secret, "***")
    return _CREDENTIAL.sub("***", text)[:MAX_SENTENCE]


def refusal(status: int, headers: Mapping[str, str], body: bytes, *, now: float, secret: str = "") -> GatewayError:
    """The error for an answer that is none. A status of 2xx is one whose body holds an error all the same.

    `now`: Unix seconds. `secret`: the credential used, so that no sentence of the upstream gives it away.
    """
    words = said(body, secret)
    wait = _wait(words, headers, now)
    if "text/html" in headers.get("Content-Type", "").lower() and not words.structured:
        error = _page(status, body, wait)
    else:
        status = _real_status(words, status)
        error = _by_code(words, status, wait) or _by_status(words, status, wait)
    if error.retry_after is not None and not isinstance(error, QuotaExhausted | BalanceExhausted):
        error.retry_after = min(error.retry_after, CEILING)
    error.detail = f"{status} {words.code or words.type} {words.message}".strip()
    return error


def _wait(words: Said, headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until another try is worth it, from the surest to the vaguest place that tells it."""
    for found in (headers, words.headers):
        if (wait := retry_after(found, now, QUOTA_CEILING)) is not None:
            return wait
    if (wait := until(words.resets_at, now)) is not None:
        return min(max(wait, FLOOR), QUOTA_CEILING)
    return told(words.message, now, QUOTA_CEILING)


def _real_status(words: Said, status: int) -> int:
    if status >= 300:
        return status
    if words.status >= 400:
        return words.status
    return 400 if words.type == "invalid_request_error" or words.code == "context_length_exceeded" else status


def _page(status: int, body: bytes, wait: float | None) -> GatewayError:
    """A web page where JSON was due. Any 403 page, and any page that says so, is somebody asking for a human."""
    if status == 403 or ((status < 300 or status == 503) and _CHALLENGE.search(body[:65536])):
        return Challenged(retry_after=wait)
    if status < 300:
        return UpstreamGarbled("the upstream sent a web page where an answer of its API was due")
    return _by_status(Said(), status, wait)


def _by_code(words: Said, status: int, wait: float | None) -> GatewayError | None:
    """What the body's own words settle, whatever the status."""
    if words.among(_KEY):
        return CredentialRejected()
    if words.code in _BALANCE:
        return BalanceExhausted(retry_after=wait)
    if words.among(_QUOTA) or words.code.endswith(_SPEND) or _is_daily(words, status, wait):
        return QuotaExhausted(retry_after=wait)
    if words.among(_RATE):
        return RateLimited(retry_after=wait)
    if words.code in _NO_MODEL:
        return _no_model(words, status)
    if words.code in _INPUT:
        return InputUnreachable(words.message or None, param=words.param)
    if status < 500 and any(mark in words.code for mark in _CONTENT):
        return ContentRefused(words.message or None, param=words.param)
    if words.among(_BUSY):
        return _failed(words, max(status, 500), wait)
    return None


def _by_status(words: Said, status: int, wait: float | None) -> GatewayError:
    match status:
        case 401 | 407:
            return CredentialRejected()
        case 402:
            return BalanceExhausted(retry_after=wait)
        case 403:
            return _forbidden(words, wait)
        case 404 if "model" in words.message.lower():
            return _no_model(words, status)
        case 404 | 405 if not words.structured or words.message.lower() in ("not found", "method not allowed"):
            return _no_such_path()
        case 408 | 504:
            return UpstreamTimeout(retry_after=wait, sent="yes")
        case 413:
            return TooLarge(words.message or "the upstream takes no request as large as this", param=words.param)
        case 429:
            return RateLimited(retry_after=wait)
        case _ if 400 <= status < 500 and status not in (409, 425, 499):
            return _parameter(words)
        case _:
            return _failed(words, status, wait)


def _is_daily(words: Said, status: int, wait: float | None) -> bool:
    """Whether what is used up comes back with the next day, going by the sentence: a code seldom says it."""
    limited = status < 300 or status in (403, 429)
    return limited and (wait is None or wait >= _LONG) and _DAILY.search(words.message.lower()) is not None


def _forbidden(words: Said, wait: float | None) -> GatewayError:
    message = words.message.lower()
    if "moderation" in message or "flagged" in message:
        return ContentRefused(words.message)
    if _CAPPED.search(message):
        return QuotaExhausted(retry_after=wait)
    if "model" in message or "model" in words.code:
        return ModelNotEnabled()
    return CredentialRejected()


def _no_model(words: Said, status: int) -> GatewayError:
    if status == 403:
        return ModelNotEnabled()
    return ModelNotFound(words.message or "the upstream does not know this model", param="model")


def _no_such_path() -> GatewayError:
    return UpstreamFailed("the upstream has nothing under this path: its 'base_url' may be wrong, or it cannot do this")


def _parameter(words: Said) -> GatewayError:
    if words.code == "context_length_exceeded":
        return UpstreamRefusedParameter(words.message or None, param=words.param or "messages", code=words.code)
    return UpstreamRefusedParameter(words.message or None, param=words.param)


def _failed(words: Said, status: int, wait: float | None) -> GatewayError:
    if 300 <= status < 400:
        return UpstreamFailed("the upstream redirects, which is not followed with a credential: check its 'base_url'")
    if status < 300 and not words.structured:
        return UpstreamGarbled("the upstream's answer does not have what was asked for")
    return UpstreamFailed(retry_after=wait)


def _sentence(error: Mapping[str, Any]) -> str:
    for name in ("message", "detail", "msg", "error_description"):
        value = error.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return _sentence(value[0])
    return ""


def _headers(repeated: Any) -> Mapping[str, str]:
    if not isinstance(repeated, dict):
        return {}
    return {str(name).lower(): value for name, value in repeated.items() if isinstance(value, str)}
