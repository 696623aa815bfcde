"""What goes wrong, as an error of ours: the vendor's code decides, then its words, then the HTTP status."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

import msgspec

from gateway import errors
from gateway.errors import GatewayError
from gateway.upstreams.ark.names import is_endpoint
from gateway.wire.openai_errors import Said, refusal, said, scrubbed
from gateway.wire.retry import CEILING, QUOTA_CEILING, retry_after, told

CODES: tuple[tuple[str, type[GatewayError]], ...] = (
    ("authenticationerror|invalidapikey|invalidaccountstatus", errors.CredentialRejected),
    ("accountoverdue|operationdenied.serviceoverdue|setlimitexceeded|invalidsubscription", errors.BalanceExhausted),
    (r"invalidendpointormodel(\.notfound)?:", errors.ModelNotFound),
    ("modelnotopen|unsupportedmodel|accessdenied|operationdenied|invalidendpoint", errors.ModelNotEnabled),
    ("(missing|invalid)parameter.*: .*download", errors.InputUnreachable),
    ("missingparameter|invalidparameter|invalidargument|invalidimageurl", errors.UpstreamRefusedParameter),
    (r"\w*(sensitivecontentdetected|riskdetection)", errors.ContentRefused),
    ("contentsecuritydetectionerror|serveroverloaded|modelloadingerror|internalserviceerror", errors.UpstreamFailed),
    ("inflightbatchsizeexceeded", errors.ConcurrencyLimited),
    (r"accountquotaexceeded|quotaexceeded(\.|: .*(free trial|usage quota))", errors.QuotaExhausted),
    ("quotaexceeded", errors.ConcurrencyLimited),
    (r"\w*ratelimitexceeded|requestbursttoofast", errors.RateLimited),
)
"""What `<code>: <words>`, in lower case, begins with; the first row that fits counts. The last word on quotas is the
limit of jobs that wait."""


class Trouble(msgspec.Struct):
    """Why a job failed, in its record; or an image of several, in its place."""

    code: str | None = None
    message: str | None = None


def refused(
    status: int, headers: Mapping[str, str], body: bytes, secret: str, *, of_job: bool = False, model: str = ""
) -> GatewayError:
    """The error for an answer that is none, and whether a create that got it made anything. `secret` is kept out of it.

    `of_job`: a job was asked about, so that what is not found is that. `model`: what was asked of; an endpoint that is
    not found may be another account's.
    """
    words = said(body, secret)
    if of_job and status == 404 and words.structured:
        error: GatewayError = errors.JobLost()
    else:
        error = _by_code(words, headers) or _by_status(words, status, headers, body, secret)
    if isinstance(error, errors.ModelNotFound) and is_endpoint(model):
        error = errors.ModelNotEnabled()
    error.detail = f"{status} {words.code or words.type} {words.message}".strip()
    error.sent = "no" if _made_nothing(words, status) else "unknown"
    return error


def of_job(trouble: Trouble | None, secret: str) -> GatewayError:
    """Why a job that was accepted came to nothing."""
    trouble = trouble or Trouble()
    words = Said(scrubbed(trouble.message or "", secret), (trouble.code or "").lower())
    error = _by_code(words, None)
    if error is None or isinstance(error, errors.UpstreamError):
        error = errors.GenerationFailed()
    error.detail = f"{words.code} {words.message}".strip()
    return error


def _by_code(words: Said, headers: Mapping[str, str] | None) -> GatewayError | None:
    text = f"{words.code}: {words.message}".lower()
    found = next((kind for pattern, kind in CODES if re.match(pattern, text)), None)
    if found is None:
        return None
    if found is errors.ContentRefused and words.code.startswith("output"):
        return found(words.message or None, advice="another try may come out differently")
    if issubclass(found, errors.RequestError):
        named = re.search(r"parameter `([^`]{1,80})`", words.message)
        param = "model" if found is errors.ModelNotFound else words.param or (named[1] if named else None)
        return found(words.message or None, param=param)
    return found(retry_after=None if headers is None else _wait(words, headers, found))


def _wait(words: Said, headers: Mapping[str, str], found: type[GatewayError]) -> float | None:
    """Seconds until another try is worth it: as the headers say or, of a plan's quota, the sentence."""
    longest = QUOTA_CEILING if issubclass(found, errors.QuotaExhausted | errors.BalanceExhausted) else CEILING
    now = time.time()
    return retry_after(headers, now, longest) or told(words.message, now, longest)


def _by_status(words: Said, status: int, headers: Mapping[str, str], body: bytes, secret: str) -> GatewayError:
    if status == 403 and words.structured:
        return errors.ModelNotEnabled()  # the key itself would have been refused by 401
    return refusal(status, headers, body, now=time.time(), secret=secret)


def _made_nothing(words: Said, status: int) -> bool:
    """Whether no job can have come of a create: it was refused in words, or never reached the API."""
    if words.structured and 400 <= status < 500:
        return status != 408
    return 300 <= status < 400 or status in (404, 405)
