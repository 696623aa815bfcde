"""Buckets of Alibaba Cloud OSS, as strict as the real ones: addressed by host only, signed, parts not too small.

    oss = Oss("media")
    async with serve(oss.app) as address:
        environment = oss.env(address)

The buckets have the hosts that real ones have; clients come to them by the proxy that `env` names, which is this
server. What it holds and was asked is in `oss.buckets` and `oss.asked`.
"""

import base64
import hashlib
import secrets
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import unquote
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.emulators.oss_access import Key, Refused, admit

REGION = "cn-hangzhou"
ENDPOINT = f"oss-{REGION}.aliyuncs.com"
SMALLEST_PART = 100 * 1024


@dataclass
class Held:
    data: bytes
    mime: str
    etag: str
    modified: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))


@dataclass
class Upload:
    key: str
    mime: str
    parts: dict[int, Held] = field(default_factory=dict)


@dataclass
class Bucket:
    objects: dict[str, Held] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)


class Oss:
    def __init__(self, *buckets: str, key_id: str = "LTAI5tEmulator", key: Key | None = None) -> None:
        self.buckets = {name: Bucket() for name in buckets}
        self.key_id = key_id
        self.keys = {key_id: key or Key("oss-secret")}
        self.ahead = 0.0
        """Seconds that its clock is ahead of ours."""
        self.asked: list[str] = []
        """Method, host and target of every request, then the code of its refusal."""

    def env(self, address: str) -> dict[str, str]:
        """What a process needs in its environment to use `oss://<bucket>`; HTTP to other hosts comes here as well."""
        key = self.keys[self.key_id]
        token = {"OSS_SESSION_TOKEN": key.token} if key.token else {}
        return {
            "OSS_ENDPOINT": f"http://{ENDPOINT}",
            "OSS_REGION": REGION,
            "OSS_ACCESS_KEY_ID": self.key_id,
            "OSS_ACCESS_KEY_SECRET": key.secret,
            "http_proxy": address,
            "no_proxy": "",
        } | token

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except Refused as refused:
            self.asked[-1] += f" {refused.code}"
            answer = _refusal(request, refused)
        answer.headers["x-oss-request-id"] = secrets.token_hex(12).upper()
        answer.headers["server"] = "AliyunOSS"
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        host, raw = request.headers["host"], bytes(request.scope["raw_path"]).decode().partition("?")[0]
        self.asked.append(f"{request.method} {host}{raw}?{request.url.query}".rstrip("?"))
        name = host.partition(":")[0].removesuffix(ENDPOINT).rstrip(".")
        if not name:
            raise Refused(403, "SecondLevelDomainForbidden", "Please use virtual hosted style to access.")
        body = await request.body()
        if name not in self.buckets:
            raise Refused(404, "NoSuchBucket", "The specified bucket does not exist.", BucketName=name)
        admit(request, name, body, self.keys, time.time() + self.ahead)
        return _routed(request, self.buckets[name], unquote(raw.removeprefix("/")), body)


def _routed(request: Request, bucket: Bucket, key: str, body: bytes) -> Response:
    of = request.query_params
    routes: dict[tuple[str, bool, bool], Callable[[], Response]] = {
        ("GET", False, False): lambda: _read(request, bucket, key) if key else _listed(request, bucket),
        ("HEAD", False, False): lambda: _read(request, bucket, key),
        ("PUT", False, False): lambda: _put(request, bucket, key, body),
        ("DELETE", False, False): lambda: _deleted(bucket, key),
        ("POST", True, False): lambda: _begun(request, bucket, key),
        ("PUT", False, True): lambda: _part(request, bucket, key, body),
        ("POST", False, True): lambda: _completed(request, bucket, key, body),
        ("DELETE", False, True): lambda: _given_up(request, bucket, key),
    }
    route = routes.get((request.method, "uploads" in of, "uploadId" in of))
    if route is None:
        raise Refused(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
    return route()


def _put(request: Request, bucket: Bucket, key: str, body: bytes) -> Response:
    bucket.objects[key] = held = Held(body, _mime(request), _etag(body))
    return Response(headers={"etag": held.etag})


def _read(request: Request, bucket: Bucket, key: str) -> Response:
    if key not in bucket.objects:
        raise Refused(404, "NoSuchKey", "The specified key does not exist.", Key=key)
    held = bucket.objects[key]
    headers = {
        "content-type": held.mime,
        "etag": held.etag,
        "last-modified": format_datetime(held.modified, usegmt=True),
        "accept-ranges": "bytes",
        "x-oss-object-type": "Normal",
    }
    data, status = held.data, 200
    if wanted := request.headers.get("range", "").removeprefix("bytes="):
        first, _, last = wanted.partition("-")
        begin, end = int(first), min(int(last or len(data)) + 1, len(data))
        if begin >= len(data):
            raise Refused(416, "InvalidRange", "The requested range cannot be satisfied.")
        headers["content-range"] = f"bytes {begin}-{end - 1}/{len(data)}"
        data, status = data[begin:end], 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers | {"content-length": str(len(data))})
    return Response(data, status, headers)


def _listed(request: Request, bucket: Bucket) -> Response:
    of = request.query_params
    prefix, most = of.get("prefix", ""), int(of.get("max-keys", "100"))
    after = max(of.get("start-after", ""), of.get("marker", ""), of.get("continuation-token", ""))
    found = sorted(key for key in bucket.objects if key.startswith(prefix) and key > after)
    page, more = found[:most], len(found) > most
    rows = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>{held.modified:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
        f"<ETag>{escape(held.etag)}</ETag><Type>Normal</Type><Size>{len(held.data)}</Size>"
        "<StorageClass>Standard</StorageClass></Contents>"
        for key in page
        for held in (bucket.objects[key],)
    )
    further = f"<NextContinuationToken>{page[-1]}</NextContinuationToken><NextMarker>{page[-1]}</NextMarker>"
    return _xml(
        f"<ListBucketResult><Prefix>{escape(prefix)}</Prefix><MaxKeys>{most}</MaxKeys><KeyCount>{len(page)}</KeyCount>"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{further if more else ''}{rows}</ListBucketResult>"
    )


def _deleted(bucket: Bucket, key: str) -> Response:
    bucket.objects.pop(key, None)
    return Response(status_code=204)


def _begun(request: Request, bucket: Bucket, key: str) -> Response:
    upload_id = secrets.token_hex(16).upper()
    bucket.uploads[upload_id] = Upload(key, _mime(request))
    named = f"<Key>{escape(key)}</Key><UploadId>{upload_id}</UploadId>"
    return _xml(f"<InitiateMultipartUploadResult>{named}</InitiateMultipartUploadResult>")


def _part(request: Request, bucket: Bucket, key: str, body: bytes) -> Response:
    upload, number = _upload(request, bucket, key), int(request.query_params.get("partNumber", "0"))
    if not 1 <= number <= 10000:
        raise Refused(400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive.")
    upload.parts[number] = held = Held(body, "", _etag(body))
    return Response(headers={"etag": held.etag})


def _completed(request: Request, bucket: Bucket, key: str, body: bytes) -> Response:
    upload = _upload(request, bucket, key)
    parts = [
        (int(_text(part, "PartNumber")), _text(part, "ETag")) for part in ET.fromstring(body) if "Part" in part.tag
    ]
    numbers = [number for number, _ in parts]
    if not parts or numbers != sorted(set(numbers)):
        raise Refused(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
    for number, etag in parts:
        if number not in upload.parts or upload.parts[number].etag.strip('"') != etag.strip('"'):
            raise Refused(400, "InvalidPart", "One or more of the specified parts could not be found.")
        if number != numbers[-1] and len(upload.parts[number].data) < SMALLEST_PART:
            raise Refused(400, "EntityTooSmall", "Your proposed upload smaller than the minimum allowed size.")
    data = b"".join(upload.parts[number].data for number in numbers)
    etag = f'{_etag(data)[:-1]}-{len(parts)}"'
    bucket.objects[key] = Held(data, upload.mime, etag)
    del bucket.uploads[request.query_params["uploadId"]]
    named = f"<Key>{escape(key)}</Key><ETag>{escape(etag)}</ETag>"
    return _xml(f"<CompleteMultipartUploadResult>{named}</CompleteMultipartUploadResult>")


def _given_up(request: Request, bucket: Bucket, key: str) -> Response:
    _upload(request, bucket, key)
    del bucket.uploads[request.query_params["uploadId"]]
    return Response(status_code=204)


def _upload(request: Request, bucket: Bucket, key: str) -> Upload:
    upload = bucket.uploads.get(request.query_params["uploadId"])
    if upload is None or upload.key != key:
        raise Refused(404, "NoSuchUpload", "The specified upload does not exist.")
    return upload


def _text(element: ET.Element, name: str) -> str:
    return next((child.text or "" for child in element if child.tag.rpartition("}")[2] == name), "")


def _mime(request: Request) -> str:
    return request.headers.get("content-type", "application/octet-stream")


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest().upper()}"'


def _refusal(request: Request, refused: Refused) -> Response:
    told = {"Code": refused.code, "Message": refused.message, "HostId": request.headers["host"], **refused.told}
    elements = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in told.items())
    answer = _xml(f"<Error>{elements}</Error>", refused.status)
    if request.method == "HEAD":  # which has no body
        answer.headers["x-oss-err"] = base64.b64encode(answer.body).decode()
    return answer


def _xml(text: str, status: int = 200) -> Response:
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}', status, media_type="application/xml")
