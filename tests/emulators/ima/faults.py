"""How the site says no, and what else can go wrong."""

from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

SAYS = {
    401: "unauthorized",
    4008: "Insufficient points",
    4014: "This model requires a subscription",
    6006: "Credit does not match",
    6009: "No rule matches the attributes",
    6010: "Attribute ID does not match the calculated rule",
    400017: "Invalid value for model",
    429: "Too many requests",
    500: "Internal server error",
    503: "Model is unavailable",
}
"""Codes of bodies with what they say."""


class Refusal(Exception):
    """The site's no: a code in a body, mostly with a 200."""

    def __init__(self, code: int, message: str = "", *, status: int = 200) -> None:
        self.code, self.status = code, status
        self.message = message or SAYS.get(code, "")

    def response(self) -> Response:
        return JSONResponse({"code": self.code, "message": self.message, "data": None}, self.status)


@dataclass(frozen=True)
class Cut:
    """An RST. `done`: what was asked for is done first, and only the reply is lost."""

    done: bool = False


@dataclass(frozen=True)
class Raw:
    """This, and nothing is done."""

    status: int = 502
    body: bytes = b"<html><body>Bad gateway</body></html>"
    mime: str = "text/html"


Fault = Refusal | Cut | Raw
