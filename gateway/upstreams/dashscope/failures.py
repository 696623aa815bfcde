"""What goes wrong, as an error of ours: the vendor's code decides, then its words, then the HTTP status.

The same codes come in the vendor's own shape, in that of the OpenAI dialect, and in a task that failed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from gateway import errors
from gateway.errors import GatewayError
from gateway.wire.openai_errors import Said, refusal, said, scrubbed
from gateway.wire.retry import CEILING, QUOTA_CEILING, retry_after, told

_BY_TASKS_ONLY = re.compile(r"does not support (?:a?synchronous|http) call")
_AT_ONCE = re.compile(r"concurren|task.?queue|too many (?:running|pending|queued) tasks|queue (?:is )?full")
_DOWNLOAD = re.compile(r"download|fetch the (?:image|media|file|url)|unreachable url", re.IGNORECASE)
_NAMED = re.compile(r"\b(?:input|parameters?)\.([a-z_]{2,40})|[`'\"]([a-z_]{2,40})[`'\"]")


def refused(
    status: int, headers: Mapping[str, str], body: bytes, secret: str, *, of_task: bool = False
) -> GatewayError:
    """The error for an answer that is none, a 200 that holds a code among them. `secret` is kept out of it.

    Its `sent` says whether a create that got it made something. `of_task`: a task was asked about.
    """
    words, now = said(body, secret), time.time()
    structured = words.structured or bool(words.code)
    if of_task and status == 404 and structured:
        error: GatewayError = errors.JobLost()
    else:
        error = by_code(words, status) or refusal(status, headers, body, now=now, secret=secret)
    if error.retry_after is None and not isinstance(error, errors.RequestError):
        spent = isinstance(error, errors.QuotaExhausted | errors.BalanceExhausted)
        longest = QUOTA_CEILING if spent else CEILING
        error.retry_after = retry_after(headers, now, longest) or told(words.message, now, longest)
    error.detail = f"{status} {words.code or words.type} {words.message}".strip()
    error.sent = "no" if _made_nothing(error, status, structured) else "unknown"
    return error


def of_task(code: str | None, message: str | None, secret: str) -> GatewayError:
    """Why a task that was accepted, or one of its parts, came to nothing."""
    words = Said(scrubbed(message or "", secret), (code or "").lower())
    error = by_code(words, 0)
    if error is None or isinstance(error, errors.UpstreamError):
        error = errors.GenerationFailed()
    error.detail = f"{words.code} {words.message}".strip()
    return error


def by_code(words: Said, status: int) -> GatewayError | None:  # noqa: C901 - a table, read from the top
    """What code and words settle; None where only the status is left."""
    head, _, tail = words.code.partition(".")
    message = words.message.lower()
    match head, tail:
        case (("accessdenied" | "access_denied" | "invalidparameter"), _) if _BY_TASKS_ONLY.search(message):
            return errors.AdapterContract()
        case (("invalidapikey" | "invalid_api_key"), _):
            return errors.CredentialRejected()
        case ("arrearage", _) | (_, "arrearage"):
            return errors.BalanceExhausted()
        case ("insufficient_quota", _) | ("allocationquota", _) | (_, "freetieronly"):
            return errors.QuotaExhausted()
        case (("accessdenied" | "access_denied" | "model_access_denied"), _):
            return errors.ModelNotEnabled()
        case "model", "accessdenied":
            return errors.ModelNotEnabled()
        case ("modelnotfound" | "model_not_found", _) | ("model", "notexist"):
            return errors.ModelNotFound(words.message or None, param="model")
        case (("datainspectionfailed" | "data_inspection_failed" | "ipinfringementsuspect"), _):
            return _content(words)
        case ("invalidurl", _) | ("invalidparameter", "datainspection"):
            return errors.InputUnreachable(words.message or None, param="files")
        case (("throttling" | "limit_requests"), _) if _AT_ONCE.search(message):
            return errors.ConcurrencyLimited()
        case (("throttling" | "limit_requests"), _):
            return errors.RateLimited()
        case ("requesttimeout" | "responsetimeout" | "gatewaytimeout", _) | ("internalerror", "timeout"):
            return errors.UpstreamTimeout()
        case "internalerror", _ if "invalidparameter" in tail:
            return _parameter(words)
        case (("internalerror" | "internal_error" | "serviceunavailable" | "modelunavailable" | "systemerror"), _):
            return errors.UpstreamFailed()
        case (("invalidparameter" | "badrequest" | "unsupportedoperation"), _) if status != 413:
            return _parameter(words)
        case (("invalid_parameter_error" | "invalid_request_error"), _) if status != 413:
            return _parameter(words)
        case _ if status == 429 and _AT_ONCE.search(message):
            return errors.ConcurrencyLimited()
        case _:
            return None


def _content(words: Said) -> GatewayError:
    """What was shown to the model, or what it made: the words tell which."""
    if words.code.startswith("ip") or "output" in words.message.lower():
        return errors.ContentRefused(words.message or None, advice="another try may come out differently")
    return errors.ContentRefused(words.message or None, param="prompt")


def _parameter(words: Said) -> GatewayError:
    if _DOWNLOAD.search(words.message):
        return errors.InputUnreachable(words.message, param="files")
    named = _NAMED.search(words.message)
    param = words.param or (named and (named[1] or named[2])) or None
    return errors.UpstreamRefusedParameter(words.message or None, param=param)


def _made_nothing(error: GatewayError, status: int, structured: bool) -> bool:
    """Whether nothing can have come of a create: it was refused in words, or never reached the API."""
    if structured and isinstance(error, errors.UpstreamError) and not isinstance(error, errors.AdapterContract):
        return 400 <= status < 500 and status != 408
    return structured or 300 <= status < 400 or status in (404, 405)
