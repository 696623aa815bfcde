"""What every failure has to say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from gateway.types import Alternative

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
        self.alternatives: tuple[Alternative, ...] = ()
        """Other models that could do it."""

    @property
    def message(self) -> str:
        return str(self)
