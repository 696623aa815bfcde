"""The object storage behind the site: signatures, and leave to store."""

import base64
import email.utils
import hashlib
import hmac
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tests.emulators.qwen.replies import xml

BUCKET = "qwen-webui-prod"
ENDPOINT = "oss-accelerate.aliyuncs.com"


def refused(request: Request, key: str, data: bytes, tickets: dict[str, dict[str, Any]]) -> Response | None:
    """The refusal of a PUT that is not signed, by version 1, with a ticket's secret and token; None for a good one."""
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    key_id, _, signature = rest.partition(":")
    ticket = tickets.get(key_id)
    if scheme != "OSS" or ticket is None:
        return xml(403, "InvalidAccessKeyId")
    if request.headers.get("x-oss-security-token") != ticket["security_token"]:
        return xml(403, "InvalidSecurityToken")
    if abs(time.time() - email.utils.parsedate_to_datetime(request.headers["date"]).timestamp()) > 900:
        return xml(403, "RequestTimeTooSkewed")
    signed = string_to_sign(request, f"/{BUCKET}/{key}")
    wanted = hmac.new(ticket["access_key_secret"].encode(), signed.encode(), hashlib.sha1).digest()
    if not hmac.compare_digest(base64.b64encode(wanted).decode(), signature):
        return xml(403, "SignatureDoesNotMatch", signed)
    if key != ticket["path"] or len(data) != ticket["size"]:
        return xml(403, "AccessDenied")
    return None


def string_to_sign(request: Request, resource: str) -> str:
    headers = sorted((name, value) for name, value in request.headers.items() if name.startswith("x-oss-"))
    canonical = "".join(f"{name}:{value}\n" for name, value in headers)
    of = request.headers.get
    date = of("x-oss-date") or of("date", "")
    return f"{request.method}\n{of('content-md5', '')}\n{of('content-type', '')}\n{date}\n{canonical}{resource}"
