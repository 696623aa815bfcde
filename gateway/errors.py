"""Every failure has a class, and the class answers every question.

| branch | HTTP | whose fault | tried elsewhere |
|---|---|---|---|
| RequestError: InvalidRequest, Unauthorized, Forbidden, NotFound, TooLarge … | 4xx | caller | no |
| RefusedByUpstream: ContentRefused, InputUnreachable, UpstreamRefusedParameter | 400 | caller | no |
| AccountError: RateLimited, QuotaExhausted, CredentialRejected, Challenged … | 429 402 502 503 | account | yes |
| UpstreamError: UpstreamUnreachable, UpstreamTimeout, UpstreamFailed, … | 502 504 | upstream | before commit |
| GenerationFailed, TaskExpired | 502 | upstream | no |
| Unavailable: NoAccount, AllResting, QueueFull, Draining, Overloaded, …Unavailable | 503 429 | gateway | – |

Foreign errors are translated once, at the border where they come in, with `raise … from exc`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

Sent = Literal["no", "yes", "unknown"]
"""Whether the upstream got the request: a dial failure is `no`, a cut before the answer is `unknown`."""


class Fault(Enum):
    """Who has to change something for the next try to succeed."""

    CALLER = "caller"
    ACCOUNT = "account"
    UPSTREAM = "upstream"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one account, as told to admins and kept with the usage record."""

    upstream: str
    account: str
    outcome: str
    """`ok` or the code of the error."""
    seconds: float
    reason: str = ""
    """Why it failed, in words and scrubbed."""


class GatewayError(Exception):
    """Something went wrong inside the gateway."""

    status = 500
    code = "internal_error"
    type = "server_error"
    fault = Fault.GATEWAY
    elsewhere = False
    """Whether another account or candidate may be tried before commit."""
    resend_helps: bool | None = None
    """Rendered as `x-should-retry`; None leaves it to the client's own rules."""
    acted = False
    """Acted out because the caller asked to see it: nobody's standing changes."""

    def __init__(
        self,
        message: str | None = None,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        advice: str | None = None,
        detail: str | None = None,
        sent: Sent = "yes",
        task_id: str | None = None,
        chat_id: str | None = None,
    ) -> None:
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])
        self.param = param
        if code is not None:
            self.code = code
        self.retry_after = retry_after
        """Seconds."""
        self.advice = advice
        """What the caller can do next, one sentence."""
        self.detail = detail
        """The upstream's own words, scrubbed: for logs and admins."""
        self.sent: Sent = sent
        self.task_id = task_id
        self.chat_id = chat_id
        self.upstream: str | None = None
        self.account: str | None = None
        self.attempts: tuple[Attempt, ...] = ()

    @property
    def message(self) -> str:
        return str(self)


# --- the caller's fault: answered, never retried, no account is blamed ---


class RequestError(GatewayError):
    """The request cannot be served as asked."""

    status, code, type, fault = 400, "invalid_request", "invalid_request_error", Fault.CALLER
    resend_helps: bool | None = False


class InvalidRequest(RequestError):
    """A value in the request is not one that can be used."""

    code = "invalid_value"


class InvalidJson(RequestError):
    """The body is not valid JSON."""

    code = "invalid_json"


class UnknownParameter(RequestError):
    """The request names a parameter that does not exist."""

    code = "unknown_parameter"


class ModelNotFound(RequestError):
    """No configured upstream serves this model."""

    status, code = 404, "model_not_found"


class NotFound(RequestError):
    """There is nothing here by that name."""

    status, code = 404, "not_found"


class MethodNotAllowed(RequestError):
    """This path does not take that method."""

    status, code = 405, "method_not_allowed"

    def __init__(self, message: str | None = None, *, allowed: str = "") -> None:
        super().__init__(message)
        self.allowed = allowed


class Conflict(RequestError):
    """The request does not fit the present state."""

    status, code, type = 409, "conflict", "conflict_error"


class TooLarge(RequestError):
    """The request is larger than the limit."""

    status, code = 413, "request_too_large"


class UnsupportedMedia(RequestError):
    """The content is of a type that cannot be used here."""

    status, code = 415, "unsupported_media_type"


class Unauthorized(RequestError):
    """A valid API key is needed: send it as 'Authorization: Bearer <key>'."""

    status, code = 401, "invalid_api_key"


class Forbidden(RequestError):
    """This key may not do that."""

    status, code, type = 403, "insufficient_permissions", "permission_error"


class LimitExceeded(RequestError):
    """This key sends requests faster than its limit."""

    status, code, type = 429, "rate_limit_exceeded", "rate_limit_error"
    resend_helps = None


class ClientLeft(RequestError):
    """The client closed the connection before the answer was ready."""

    status, code = 499, "client_closed_request"


class RefusedByUpstream(RequestError):
    """The upstream refused the request; sending it again cannot help."""

    code = "upstream_refused"


class ContentRefused(RefusedByUpstream):
    """The content policy of the upstream refused this request."""

    code = "content_policy_violation"


class InputUnreachable(RefusedByUpstream):
    """The upstream could not fetch a file that the request names."""

    code = "input_unreachable"


class UpstreamRefusedParameter(RefusedByUpstream):
    """The upstream does not accept a parameter of this request."""

    code = "invalid_parameter"


# --- an account's fault: another account is tried ---


class AccountError(GatewayError):
    """An account of the upstream cannot serve this now."""

    status, code, type, fault, elsewhere = 502, "account_error", "upstream_error", Fault.ACCOUNT, True


class RateLimited(AccountError):
    """The upstream limits the rate of the account that was used."""

    status, code, type = 429, "upstream_rate_limited", "rate_limit_error"


class ConcurrencyLimited(RateLimited):
    """The account that was used already does as much at once as its upstream allows."""

    code = "upstream_concurrency_limited"


class QuotaExhausted(AccountError):
    """The account that was used has spent its quota. `retry_after` tells when it comes back."""

    status, code, type = 429, "insufficient_quota", "insufficient_quota"
    resend_helps = False


class BalanceExhausted(AccountError):
    """The account that was used must be topped up."""

    status, code, type = 402, "upstream_balance_exhausted", "insufficient_quota"
    resend_helps = False


class CredentialRejected(AccountError):
    """The upstream rejected the credential of the account that was used."""

    code = "upstream_credential_rejected"


class ModelNotEnabled(AccountError):
    """The account that was used may not use this model."""

    code = "upstream_model_not_enabled"


class Challenged(AccountError):
    """The upstream answered with a web page instead of its API; the account is parked until an operator looks."""

    status, code = 503, "upstream_challenge"


# --- the upstream's fault: another is tried before commit, paid creates only if certainly not made ---


class UpstreamError(GatewayError):
    """The upstream did not answer as it should."""

    status, code, type, fault, elsewhere = 502, "bad_upstream_response", "upstream_error", Fault.UPSTREAM, True


class UpstreamUnreachable(UpstreamError):
    """The upstream could not be reached; nothing was sent."""

    code = "upstream_unreachable"


class UpstreamTimeout(UpstreamError):
    """The upstream did not answer in time."""

    status, code = 504, "upstream_timeout"


class UpstreamFailed(UpstreamError):
    """The upstream failed."""

    code = "upstream_failed"


class UpstreamGarbled(UpstreamError):
    """The upstream's answer could not be understood."""

    code = "bad_upstream_response"


class StreamInterrupted(UpstreamError):
    """The upstream's stream broke off before its end."""

    code, elsewhere = "stream_interrupted", False


class StreamTruncated(UpstreamError):
    """The upstream's stream ended without saying that it was finished."""

    code, elsewhere = "stream_truncated", False


class AdapterContract(UpstreamError):
    """The upstream no longer takes what the gateway sends it; the gateway needs an update."""

    code, fault, elsewhere = "adapter_contract", Fault.GATEWAY, False


class GenerationFailed(UpstreamError):
    """The upstream accepted the job but could not finish it."""

    code, elsewhere = "generation_failed", False
    resend_helps = False


class ResultUnavailable(GenerationFailed):
    """The job was finished but its result could not be brought in."""

    code = "result_unavailable"


class ResultExpired(ResultUnavailable):
    """The URL of the upstream's result no longer works; asked again, the upstream may name one that does."""


class JobLost(UpstreamError):
    """The upstream no longer knows the job."""

    code, elsewhere = "task_lost_upstream", False


class TaskExpired(UpstreamError):
    """The task did not finish before its deadline."""

    code, elsewhere = "expired", False
    resend_helps = False


class SubmitOutcomeUnknown(UpstreamError):
    """The upstream may or may not have made the job; it was not sent again, so that nothing is paid twice."""

    code, elsewhere = "submit_outcome_unknown", False
    resend_helps = False


class WaitTimeout(GatewayError):
    """The wait for the result is over; the task goes on."""

    status, code, type = 504, "timeout", "timeout_error"
    resend_helps = False


# --- the gateway has nothing to try with ---


class Unavailable(GatewayError):
    """The gateway cannot serve this now."""

    status, code = 503, "unavailable"

    def __init__(self, message: str | None = None, *, retry_after: float | None = 1.0, **fields: str | None) -> None:
        super().__init__(message, retry_after=retry_after, sent="no", **fields)


class NoAccount(Unavailable):
    """No account is configured that could serve this."""

    code = "no_account_available"


class AllResting(Unavailable):
    """Every account that could serve this rests or is busy."""

    code = "no_account_available"


class Draining(Unavailable):
    """The gateway is shutting down."""

    code = "shutting_down"


class Overloaded(Unavailable):
    """The gateway is too busy."""

    code = "overloaded"


class StorageUnavailable(Unavailable):
    """The object storage cannot be used now."""

    code = "storage_unavailable"


class DatabaseUnavailable(Unavailable):
    """The database cannot be used now."""

    code = "database_unavailable"


class ConfigError(Exception):
    """The configuration cannot be used. The message names the key's path and what would be right."""


class SealBroken(ConfigError):
    """What is sealed opens with none of the master keys that are set."""


class NoMasterKey(ConfigError):
    """There is no master key to seal with."""
