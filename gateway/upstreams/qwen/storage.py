"""Where uploads go: a ticket from the site, and a PUT to its object storage that the ticket signs."""

from __future__ import annotations

import base64
import hmac
import re
from urllib.parse import parse_qs, quote, urlsplit

import msgspec

from gateway import errors
from gateway.upstreams.qwen import payload

FILE_SECONDS = 300.0
"""How long an uploaded file's URL lives where it does not say."""


class Ticket(msgspec.Struct, frozen=True):
    """Leave to store one file."""

    access_key_id: str
    access_key_secret: str
    security_token: str
    file_url: str
    file_path: str
    file_id: str
    bucketname: str
    region: str | None = None
    endpoint: str | None = None


class Reading(msgspec.Struct):
    """How far the site is with reading a document."""

    status: str


def wanted(name: str, mime: str, size: int) -> dict[str, object]:
    """What a ticket is asked for with."""
    family = payload.family(mime)
    return {"filename": name, "filesize": size, "filetype": "document" if family == "file" else family}


def address(template: str, ticket: Ticket) -> str:
    """Where the file goes: `template` with `{bucket}` and `{endpoint}` filled in, and the file's path.

    Raises UpstreamGarbled where the ticket would send the file to somebody else's host.
    """
    region = "oss-" + (ticket.region or "").removeprefix("oss-")
    endpoint = ticket.endpoint or f"{region}.aliyuncs.com"
    own = re.fullmatch(r"[a-z0-9.-]+\.aliyuncs\.com", endpoint) or "{endpoint}" not in template
    if not own or not re.fullmatch(r"[a-z0-9-]+", ticket.bucketname):
        told = f"{ticket.bucketname} {endpoint}"[:100]
        raise errors.UpstreamGarbled("the upstream names storage that is not its own", detail=told)
    host = template.replace("{bucket}", ticket.bucketname).replace("{endpoint}", endpoint)
    return f"{host}/{quote(ticket.file_path)}"


def signed(ticket: Ticket, mime: str, date: str) -> dict[str, str]:
    """The headers of the PUT, with the storage's signature of version 1. `date` is in HTTP's format."""
    place = f"/{ticket.bucketname}/{ticket.file_path}"
    text = f"PUT\n\n{mime}\n{date}\nx-oss-security-token:{ticket.security_token}\n{place}"
    signature = base64.b64encode(hmac.digest(ticket.access_key_secret.encode(), text.encode(), "sha1")).decode()
    return {
        "Authorization": f"OSS {ticket.access_key_id}:{signature}",
        "Content-Type": mime,
        "Date": date,
        "x-oss-security-token": ticket.security_token,
    }


def refused(status: int, body: bytes) -> errors.UpstreamFailed:
    """The storage's refusal, of which only the code is told: the rest repeats the ticket."""
    code = re.search(rb"<Code>(\w{1,60})</Code>", body)
    detail = f"HTTP {status} {code[1].decode() if code else ''}"
    return errors.UpstreamFailed("the upstream's storage refused the file", detail=detail)


def reference(ticket: Ticket, name: str, mime: str, size: int, now: float) -> dict[str, object]:
    """The stored file as messages name it, and until when its URL serves (`expires_at`, unix seconds)."""
    ends = parse_qs(urlsplit(ticket.file_url).query).get("Expires", [""])[0]
    lasts = float(ends) if ends.isdigit() else now + FILE_SECONDS
    found = {"id": ticket.file_id, "url": ticket.file_url, "size": size, "expires_at": lasts}
    return {**payload.named_file(name, mime), **found}
