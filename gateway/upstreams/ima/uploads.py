"""Files for a generation: the vendor takes no bytes, only public URLs, and lends storage for them (wire sheet §9)."""

from __future__ import annotations

import hashlib
import io
import re
import secrets
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from PIL import Image
from yarl import URL

from gateway import errors

PATH: Final = "/api/rest/oss/getuploadtoken"
APP_ID: Final = "webAgent"
APP_KEY: Final = "32jdskjdk320eew"
"""The id of the vendor's own public client, the same for everybody: no secret."""
KEPT_SECONDS: Final = 24 * 3600.0
"""How long a file is used again where the vendor does not say how long it is there."""
_SUFFIXES: Final = {"image/jpeg": "jpg", "image/svg+xml": "svg", "audio/mpeg": "mp3", "video/quicktime": "mov"}
_OWN: Final = re.compile(r"([a-z0-9-]+\.)+aliyuncs\.com")


class Grant(msgspec.Struct):
    """Leave to put one file."""

    ful: str
    """Where it is put; whoever knows it may."""
    fdl: str
    """Where anybody can read it then."""
    fdl_expire: int | float | str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A file that is there."""

    url: str
    expires_at: float
    width: int | None
    height: int | None

    def ref(self) -> dict[str, object]:
        return {"url": self.url, "expires_at": self.expires_at, "width": self.width, "height": self.height}


def question(mime: str, key: str, now: float) -> dict[str, str]:
    """The eleven parameters that ask for leave. The account's key is among them, twice."""
    stamp, nonce = str(int(now)), secrets.token_hex(10)
    signed = hashlib.sha1(f"{APP_ID}|{APP_KEY}|{stamp}|{nonce}".encode(), usedforsecurity=False).hexdigest().upper()
    family = {"video": "video", "audio": "audio"}.get(mime.partition("/")[0], "picture")
    return {
        "appUid": key,
        "appId": APP_ID,
        "appKey": APP_KEY,
        "cmimToken": key,
        "sign": signed,
        "timestamp": stamp,
        "nonce": nonce,
        "fService": "privite",
        "fType": family,
        "fSuffix": _SUFFIXES.get(mime, re.sub(r"[^a-z0-9]", "", mime.rpartition("/")[2]) or "bin"),
        "fContentType": mime,
    }


def address(grant: Grant, origin: URL) -> URL:
    """Where a file is put. Raises UpstreamGarbled where that is somebody else's host."""
    try:
        url = URL(grant.ful, encoded=True)
        own = url.origin() == origin.origin() or (url.scheme == "https" and _OWN.fullmatch(url.host or "") is not None)
    except ValueError:
        own = False
    if not own:
        raise errors.UpstreamGarbled("the upstream names storage that is not its own", sent="no")
    return url


def placed(grant: Grant, origin: URL, data: bytes, now: float) -> Placed:
    """Raises UpstreamGarbled where the file can be read by no URL that the vendor takes."""
    if not grant.fdl.startswith("https://") and not grant.fdl.startswith(str(origin.origin())):
        raise errors.UpstreamGarbled("the upstream's storage names no public URL", sent="no")
    width, height = _sides(data)
    return Placed(grant.fdl, _until(grant.fdl_expire, now), width, height)


def _until(told: Any, now: float) -> float:
    """Told in seconds or milliseconds, as a point in time or as a while."""
    try:
        found = float(told)
    except (TypeError, ValueError):
        return now + KEPT_SECONDS
    if found > 1e12:
        return found / 1000
    if found > 1e9:
        return found
    return now + (found if found > 0 else KEPT_SECONDS)


def _sides(data: bytes) -> tuple[int | None, int | None]:
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return picture.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return None, None


def refused(status: int, body: bytes) -> errors.UpstreamFailed:
    """The storage's refusal, of which only the code is told: the rest repeats what opens it."""
    code = re.search(rb"<Code>(\w{1,60})</Code>", body)
    detail = f"HTTP {status} {code[1].decode() if code else ''}".strip()
    return errors.UpstreamFailed("the upstream's storage refused a file", detail=detail, sent="no")
