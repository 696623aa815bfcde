"""Images that are too large to go inside a request: laid down at the vendor's storage for two days, for one model.

A policy is leave to store files under a path of its own; it is the account's and the model's, and so is what is stored.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Mapping

import aiohttp
import msgspec
from yarl import URL

from gateway import errors
from gateway.types import Input

SCHEME = "oss://"
RESOLVE = {"X-DashScope-OssResourceResolve": "enable"}
"""The header that opens such addresses."""
INSIDE_MAX = 8 * 1024 * 1024
"""Characters of images that a request carries within itself."""
_EXTENSIONS = {"image/jpeg": "jpg", "image/svg+xml": "svg"}


class Policy(msgspec.Struct, frozen=True):
    """Leave to store files."""

    policy: str
    signature: str
    upload_dir: str
    upload_host: str
    oss_access_key_id: str
    x_oss_object_acl: str = "private"
    x_oss_forbid_overwrite: str = "true"
    max_file_size_mb: float = 100


class Granted(msgspec.Struct):
    data: Policy | None = None
    output: Policy | None = None
    """The same, where it is told as everything else is."""
    code: str | None = None


def too_large(inputs: tuple[Input, ...]) -> bool:
    return sum(len(image.url) for image in inputs if image.url.startswith("data:")) > INSIDE_MAX


def unpacked(image: Input) -> tuple[bytes, str]:
    """Bytes and type of a `data:` URL. Slow for large ones. Raises InvalidRequest."""
    head, _, payload = image.url.partition(",")
    try:
        return base64.b64decode(payload, validate=True), head.removeprefix("data:").partition(";")[0]
    except (binascii.Error, ValueError) as exc:
        raise errors.InvalidRequest("an image of the request is not valid base64", code="invalid_image") from exc


def address(policy: Policy, base_url: str) -> URL:
    """Where files go. Raises UpstreamGarbled where a policy would send them to somebody else's host."""
    try:
        url = URL(policy.upload_host)
        own = url.origin() == URL(base_url).origin() or (
            url.scheme == "https" and re.fullmatch(r"([a-z0-9-]+\.)+aliyuncs\.com", url.host or "") is not None
        )
    except ValueError:
        own = False
    if not own or not re.fullmatch(r"[\w./=-]+", policy.upload_dir):
        raise errors.UpstreamGarbled("the upstream names storage that is not its own", detail=policy.upload_host[:100])
    return url


def named(policy: Policy, mime: str) -> str:
    """A key in storage that nobody has had before."""
    extension = _EXTENSIONS.get(mime, re.sub(r"[^a-z0-9]", "", mime.rpartition("/")[2]) or "bin")
    return f"{policy.upload_dir}/{secrets.token_hex(16)}.{extension}"


def form(policy: Policy, key: str, data: bytes, mime: str) -> aiohttp.MultipartWriter:
    """The file with its policy; the storage reads nothing that comes after the file. Raises TooLarge."""
    if len(data) > policy.max_file_size_mb * 2**20:
        raise errors.TooLarge(f"a file may have {policy.max_file_size_mb:g} MB at the upstream", param="files")
    fields: Mapping[str, str] = {
        "OSSAccessKeyId": policy.oss_access_key_id,
        "Signature": policy.signature,
        "policy": policy.policy,
        "key": key,
        "x-oss-object-acl": policy.x_oss_object_acl,
        "x-oss-forbid-overwrite": policy.x_oss_forbid_overwrite,
        "x-oss-content-type": mime,
        "success_action_status": "200",
    }
    written = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        written.add_field(name, value)
    written.add_field("file", data, filename=key.rpartition("/")[2], content_type=mime)
    found = written()
    assert isinstance(found, aiohttp.MultipartWriter)
    return found


def refused(status: int, body: bytes) -> errors.UpstreamFailed:
    """The storage's refusal, of which only the code is told: the rest repeats the policy. Nothing was asked for yet."""
    code = re.search(rb"<Code>(\w{1,60})</Code>", body)
    detail = f"HTTP {status} {code[1].decode() if code else ''}".strip()
    return errors.UpstreamFailed("the upstream's storage refused an image", detail=detail, sent="no")
