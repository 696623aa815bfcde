"""What goes wrong: the site's own account of it, as an error of ours.

Almost every failure wears HTTP 200. The site's words decide where they say more than its code, then the code, then the
HTTP status.
"""

from __future__ import annotations

import base64
import math
import re
import time
from typing import Any, Literal

import msgspec

from gateway import errors

MEANINGS = (
    ("chat is in progress", "busy"),
    ("allocated quota exceeded", "throttled"),
    ("^ratelimited|upper limit for today", "quota"),
    ("^unauthorized|token (has|is) expired", "credential"),
    ("data.?inspection|content.?security|inappropriate content|内容安全", "content"),
    ("internal.error", "upstream"),
    ("^invalid_input", "file"),
    ("^(chat_)?not_found", "gone"),
    ("^bad_request", "payload"),
)
"""What `<code>: <words>` of a failure means; the first row that fits counts."""
STATUSES = {400: "payload", 401: "credential", 403: "credential", 404: "gone", 413: "large", 429: "throttled"}
"""What the HTTP status means where no row fits."""
CHOSEN = (
    (r"model\b.*(not|un)|(unknown|invalid|unsupported) model", "model", "model_not_found"),
    (r"too long|length|characters", "messages", "context_length_exceeded"),
    (r"parent", "parentId", None),
    (r"\b(file|image|url)", "files", None),
)
"""What a refused payload's words say of values that the caller chose: parameter and code."""

DAY = 86_400.0

Of = Literal["task", "chat", ""]
"""What a failure would be about that knows no such thing: a job, a conversation that the caller names, or neither."""


class Failure(msgspec.Struct, frozen=True):
    """The site's own account of what went wrong."""

    code: str = ""
    details: str = ""
    num: Any = None
    """Hours to wait, where a quota is used up."""

    @property
    def seconds(self) -> float | None:
        """How long to wait, where it is told."""
        try:
            hours = float(self.num)
        except (TypeError, ValueError, OverflowError):
            return None
        return hours * 3600 if hours > 0 and math.isfinite(hours) else None


class Envelope(msgspec.Struct):
    """What every answer, and every line of a stream, may tell of its success."""

    success: bool | None = None
    data: Any = None
    error: Any = None


class Claims(msgspec.Struct):
    """What a token says of itself."""

    exp: float


def failure_in(told: Envelope) -> Failure | None:
    """The failure that an answer tells of: as `data`, as `error` or as a text."""
    if told.success is not False and not told.error:
        return None
    held = told.error or told.data
    try:
        return msgspec.convert(held, Failure, strict=False)
    except msgspec.ValidationError:
        return Failure(details=str(held or ""))


def error(
    failure: Failure, status: int, secret: str, *, of: Of = "", wait: float | None = None, now: float
) -> errors.GatewayError:
    """A failure as an error of ours, told to admins without the account's token.

    `wait`: seconds that the headers ask for. `now`: unix seconds; the site's days are those of UTC.
    """
    detail = scrubbed(f"{failure.code or f'HTTP {status}'}: {failure.details}", secret)
    match _meaning(failure, status):
        case "busy":
            message = "another turn of this conversation is being answered"
            return errors.ConcurrencyLimited(message, retry_after=wait, detail=detail)
        case "throttled":
            return errors.RateLimited(retry_after=wait, detail=detail)
        case "quota":
            rest = failure.seconds or DAY - now % DAY
            return errors.QuotaExhausted("the account's quota for today is used up", retry_after=rest, detail=detail)
        case "credential":
            return errors.CredentialRejected(detail=detail)
        case "content":
            return errors.ContentRefused(detail=detail)
        case "file":
            return errors.UpstreamRefusedParameter("the upstream cannot use a file", param="files", detail=detail)
        case "large":
            return errors.TooLarge("the upstream takes no request as large as this", detail=detail)
        case "payload":
            return _refused(failure.details.lower(), detail)
        case "gone":
            return _gone(of, detail)
        case _:
            return errors.UpstreamFailed(retry_after=wait, detail=detail, sent="yes" if failure.code else "unknown")


def of_job(message: str, secret: str) -> errors.GatewayError:
    """Why a job that was accepted came to nothing."""
    refused = _meaning(Failure(details=message), 200) == "content"
    return (errors.ContentRefused if refused else errors.GenerationFailed)(detail=scrubbed(message, secret))


def expired(token: str, now: float) -> errors.CredentialRejected | None:
    """The rejection of a token that has ended by its own word; None for one that says otherwise or nothing."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        ends = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=Claims).exp
    except (ValueError, msgspec.DecodeError):
        return None
    if ends > now:
        return None
    day = time.strftime("%Y-%m-%d", time.gmtime(ends))
    return errors.CredentialRejected(f"the account's token ended on {day}: bring a new one", sent="no")


def scrubbed(text: str, secret: str) -> str:
    """The site's words without the account's token, or anything that looks like one."""
    text = text.replace(secret, "[token]") if secret else text
    return re.sub(r"eyJ[\w-]{5,}(\.[\w-]*)*", "[token]", text)[:300]


def _meaning(failure: Failure, status: int) -> str:
    text = f"{failure.code}: {failure.details}".lower()
    by_status = STATUSES.get(status, "upstream")
    return next((meaning for words, meaning in MEANINGS if re.search(words, text)), by_status)


def _refused(text: str, detail: str) -> errors.GatewayError:
    """Whose fault a refused payload is: the caller's where it names what the caller chose, else the adapter's."""
    for words, param, code in CHOSEN:
        if re.search(words, text):
            message = f"the upstream does not accept this {param.removesuffix('s')}"
            return errors.UpstreamRefusedParameter(message, param=param, code=code, detail=detail)
    return errors.AdapterContract(detail=detail)


def _gone(of: Of, detail: str) -> errors.GatewayError:
    match of:
        case "task":
            return errors.JobLost(detail=detail)
        case "chat":
            message = "the conversation does not exist any more at the account that held it"
            return errors.Conflict(message, code="conversation_unavailable", detail=detail)
        case "":
            return errors.UpstreamFailed("the upstream does not know what it was just asked for", detail=detail)
