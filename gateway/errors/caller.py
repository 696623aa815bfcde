"""The caller's fault: answered, never retried, no account is blamed."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors.base import Fault, GatewayError


class RequestError(GatewayError):
    """The request cannot be served as asked."""

    status, code, type, fault = 400, "invalid_request", "invalid_request_error", Fault.CALLER
    resend_helps: bool | None = False


class InvalidRequest(RequestError):
    """A value in the request is not one that can be used."""

    code = "invalid_value"


class Unsupported(InvalidRequest):
    """The model does not take this value."""

    code = "unsupported_value"

    def __init__(
        self,
        message: str | None = None,
        *,
        param: str | None = None,
        code: str | None = None,
        allowed: Sequence[str | float | bool] = (),
        nearest: str = "",
    ) -> None:
        """`allowed`: all that it takes there, where that is a list; `nearest`: of those, "" where none is near."""
        super().__init__(message, param=param, code=code)
        self.allowed = tuple(allowed)
        self.nearest = nearest


class PriceChanged(RequestError):
    """The price is another one now; nothing was made."""

    status, code, type = 409, "price_changed", "conflict_error"


class TooDear(InvalidRequest):
    """It would cost more than the request allows."""

    code = "price_exceeds_max"


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
