"""Faults of accounts, for which another account is tried; and of upstreams, for which another upstream is tried before
commit, paid creates only where they certainly were not made."""

from __future__ import annotations

from gateway.errors.base import Fault, GatewayError

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
