"""AWS Signature Version 4 as servers check it and as clients make it, for `s3`.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True)
class Scope:
    """What a signature is good for."""

    date: str
    """`20260131`"""
    region: str

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/s3/aws4_request"


def signature(
    secret: str,
    scope: Scope,
    when: str,
    *,
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    signed: Collection[str],
    payload: str,
) -> str:
    """Of a request. `path` and `query` are as they travel, `headers` have lower names, `when` is `20260131T235959Z`."""
    lines = "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in sorted(signed))
    canonical = f"{method}\n{path}\n{canonical_query(query)}\n{lines}\n{';'.join(sorted(signed))}\n{payload}"
    text = f"{ALGORITHM}\n{when}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for part in (scope.date, scope.region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def canonical_query(query: str) -> str:
    pairs = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "X-Amz-Signature"]
    return "&".join(sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs))


def signed_headers(method: str, url: str, body: bytes, key_id: str, secret: str, region: str) -> dict[str, str]:
    """The headers that make a request one of `key_id`'s."""
    parts, now = urlsplit(url), datetime.now(UTC)
    when, scope, payload = f"{now:%Y%m%dT%H%M%SZ}", Scope(f"{now:%Y%m%d}", region), hashlib.sha256(body).hexdigest()
    headers = {"host": parts.netloc, "x-amz-content-sha256": payload, "x-amz-date": when}
    made = signature(
        secret,
        scope,
        when,
        method=method,
        path=parts.path or "/",
        query=parts.query,
        headers=headers,
        signed=headers,
        payload=payload,
    )
    named = ";".join(sorted(headers))
    authorization = f"{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={named}, Signature={made}"
    return headers | {"authorization": authorization}
