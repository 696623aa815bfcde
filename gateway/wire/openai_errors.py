"""What an upstream of the OpenAI dialect says when it does not do as asked, as an error of ours.

The body's code is looked at first and the status second: a spent quota, a slow-down and an overload all come as 429 or
503, and only the code tells them apart. Sources: OpenAI's error guide and its Python SDK's types, OpenRouter's and
FastAPI's error shapes (wire sheet, 2026-11-20).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
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
from gateway.wire.retry import retry_after

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
_QUOTA = frozenset({"insufficient_quota", "quota_exceeded"})
_SPEND = ("_spend_limit_exceeded", "_usage_limit_exceeded")
_RATE = frozenset({"rate_limit_exceeded", "rate_limit_error", "slow_down", "too_many_requests"})
_KEY = frozenset({"invalid_api_key", "account_deactivated", "authentication_error", "invalid_authentication"})
_NO_MODEL = frozenset({"model_not_found", "invalid_model", "unknown_model"})
_INPUT = frozenset({"failed_to_download_image", "invalid_image_url"})
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
    return Said(
        message=scrubbed(sentence, secret),
        code=code.lower() if isinstance(code, str) else "",
        type=str(error.get("type") or "").lower(),
        param=param if isinstance(param, str) and param else None,
        status=code if isinstance(code, int) else 0,
        structured="error" in found or bool(sentence),
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
    wait = retry_after(headers, now)
    if "text/html" in headers.get("Content-Type", "").lower() and not words.structured:
        error = _page(status, body, wait)
    else:
        status = _real_status(words, status)
        error = _by_code(words, status, wait) or _by_status(words, status, wait)
    error.detail = f"{status} {words.code or words.type} {words.message}".strip()
    return error


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
        return BalanceExhausted()
    if words.among(_QUOTA) or words.code.endswith(_SPEND):
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
            return BalanceExhausted()
        case 403:
            return _forbidden(words)
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


def _forbidden(words: Said) -> GatewayError:
    message = words.message.lower()
    if "moderation" in message or "flagged" in message:
        return ContentRefused(words.message)
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
