"""Who asks an OSS bucket: AWS's version 4 (in headers or in the URL) and OSS's own version 1, verified as OSS does.

https://www.alibabacloud.com/help/en/oss/developer-reference/compatibility-with-amazon-s3
https://www.alibabacloud.com/help/en/oss/developer-reference/include-signatures-in-the-authorization-header
"""

import base64
import email.utils
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote

from starlette.requests import Request

from tests.emulators.aws_v4 import ALGORITHM, UNSIGNED, Scope, signature
from tests.emulators.qwen.storage import string_to_sign

SKEW = 900
SUBRESOURCES = frozenset({"acl", "delete", "objectMeta", "partNumber", "uploadId", "uploads", "continuation-token"})
"""Parameters that version 1 signs."""
CREDENTIAL = re.compile(
    ALGORITHM + r" Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?SignedHeaders=([^,]+), ?Signature=(\w+)"
)


class Refused(Exception):
    def __init__(self, status: int, code: str, message: str = "", **told: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.told = told
        """What else the answer says, by element."""


@dataclass(frozen=True)
class Key:
    secret: str
    token: str = ""
    expired: bool = False


def admit(request: Request, bucket: str, body: bytes, keys: Mapping[str, Key], now: float | None = None) -> None:
    """Raises Refused for a request that no key has signed."""
    now = time.time() if now is None else now
    said = request.headers.get("authorization", "")
    if "X-Amz-Signature" in request.query_params:
        _presigned(request, keys, now)
    elif said.startswith(ALGORITHM):
        _version_4(request, said, body, keys, now)
    elif said.startswith("OSS "):
        _version_1(request, said, bucket, body, keys, now)
    else:
        raise Refused(403, "AccessDenied", "You have no right to access this object because of bucket acl.")


def _version_4(request: Request, said: str, body: bytes, keys: Mapping[str, Key], now: float) -> None:
    found = CREDENTIAL.fullmatch(said)
    if found is None:
        raise Refused(400, "InvalidArgument", "Authorization is malformed.")
    key_id, date, region, signed, given = found.groups()
    payload = request.headers.get("x-amz-content-sha256", "")
    _body_as_announced(request, payload, body)
    key = _key(keys, key_id, request.headers.get("x-amz-security-token", ""))
    when = _in_time(request.headers.get("x-amz-date", ""), date, now)
    names = signed.split(";")
    if "host" not in names or any(name.startswith("x-amz-") and name not in names for name in request.headers):
        raise Refused(403, "AccessDenied", "There were headers present in the request which were not signed.")
    _same(_made(request, key, Scope(date, region), when, names, payload), given, key_id)


def _presigned(request: Request, keys: Mapping[str, Key], now: float) -> None:
    of = request.query_params
    key_id, date, region, *rest = of.get("X-Amz-Credential", "").split("/")
    if of.get("X-Amz-Algorithm") != ALGORITHM or rest != ["s3", "aws4_request"]:
        raise Refused(400, "AuthorizationQueryParametersError", "X-Amz-Credential or X-Amz-Algorithm is wrong.")
    key = _key(keys, key_id, of.get("X-Amz-Security-Token", ""))
    begun, seconds = _moment(of.get("X-Amz-Date", "")), int(of.get("X-Amz-Expires", "0"))
    if not 1 <= seconds <= 604800:
        raise Refused(400, "AuthorizationQueryParametersError", "X-Amz-Expires must be less than a week.")
    if now > begun + seconds:
        raise Refused(403, "AccessDenied", "Request has expired.")
    signed = of.get("X-Amz-SignedHeaders", "").split(";")
    made = _made(request, key, Scope(date, region), of["X-Amz-Date"], signed, UNSIGNED)
    _same(made, of["X-Amz-Signature"], key_id)


def _version_1(request: Request, said: str, bucket: str, body: bytes, keys: Mapping[str, Key], now: float) -> None:
    key_id, _, given = said.removeprefix("OSS ").partition(":")
    key = _key(keys, key_id, request.headers.get("x-oss-security-token", ""))
    sent = email.utils.parsedate_to_datetime(request.headers.get("date", "")).timestamp()
    if abs(now - sent) > SKEW:
        raise Refused(403, "RequestTimeTooSkewed", "The difference between the request time and now is too large.")
    digest = request.headers.get("content-md5")
    if digest and digest != base64.b64encode(hashlib.md5(body).digest()).decode():
        raise Refused(400, "InvalidDigest", "The Content-MD5 you specified is not valid.")
    parameters = sorted((name, value) for name, value in request.query_params.items() if name in SUBRESOURCES)
    query = "&".join(f"{name}={value}" if value else name for name, value in parameters)
    text = string_to_sign(request, f"/{bucket}{unquote(_raw_path(request))}" + (f"?{query}" if query else ""))
    made = base64.b64encode(hmac.digest(key.secret.encode(), text.encode(), "sha1")).decode()
    _same(made, given, key_id)


def _body_as_announced(request: Request, payload: str, body: bytes) -> None:
    if "aws-chunked" in request.headers.get("content-encoding", "") or payload.startswith("STREAMING-"):
        message = "aws-chunked encoding is not supported with the specified x-amz-content-sha256 value."
        raise Refused(400, "InvalidArgument", message, ArgumentName="Content-Encoding", ArgumentValue="aws-chunked")
    if payload != UNSIGNED and payload != hashlib.sha256(body).hexdigest():
        raise Refused(400, "XAmzContentSHA256Mismatch", "The provided x-amz-content-sha256 is not that of the body.")


def _key(keys: Mapping[str, Key], key_id: str, token: str) -> Key:
    if key_id not in keys:
        told = {"OSSAccessKeyId": key_id}
        raise Refused(403, "InvalidAccessKeyId", "The OSS Access Key Id you provided does not exist.", **told)
    if token != keys[key_id].token:
        raise Refused(403, "InvalidSecurityToken", "The security token you provided is invalid.")
    if keys[key_id].expired:
        raise Refused(403, "SecurityTokenExpired", "The security token you provided has expired.")
    return keys[key_id]


def _in_time(when: str, date: str, now: float) -> str:
    if abs(now - _moment(when)) > SKEW:
        raise Refused(403, "RequestTimeTooSkewed", "The difference between the request time and now is too large.")
    if not when.startswith(date):
        raise Refused(403, "AccessDenied", "The date of the credential is not that of the request.")
    return when


def _moment(when: str) -> float:
    try:
        return datetime.strptime(when, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError as exc:
        raise Refused(403, "AccessDenied", "A date is missing, or is none.") from exc


def _made(request: Request, key: Key, scope: Scope, when: str, signed: list[str], payload: str) -> str:
    return signature(
        key.secret,
        scope,
        when,
        method=request.method,
        path=_raw_path(request),
        query=request.url.query,
        headers=request.headers,
        signed=signed,
        payload=payload,
    )


def _raw_path(request: Request) -> str:
    return bytes(request.scope["raw_path"]).decode().partition("?")[0]


def _same(made: str, given: str, key_id: str) -> None:
    if not hmac.compare_digest(made, given):
        message = "The request signature we calculated does not match the signature you provided."
        raise Refused(403, "SignatureDoesNotMatch", message, OSSAccessKeyId=key_id, SignatureProvided=given)
