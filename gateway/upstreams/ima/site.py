"""The vendor's API: where an account's calls go, with what headers, and its answers checked and read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from yarl import URL

from gateway import errors
from gateway.http import Outbound, Reply
from gateway.types import Account, Kind
from gateway.upstreams.ima import failures, uploads
from gateway.upstreams.ima.products import CATEGORY, Leaf, leaves
from gateway.upstreams.ima.records import Made, Record
from gateway.wire.openai_errors import scrubbed

T = TypeVar("T")

CALL_SECONDS: Final = 30.0
TOKEN_SECONDS: Final = 15.0
PUT_SECONDS: Final = 60.0
VERIFY_SECONDS: Final = 300.0
VERIFIED: Final = frozenset({"active", "success"})


class Verified(msgspec.Struct):
    """What the vendor found in a file that goes into a film."""

    status: str = ""
    error: dict[str, Any] | None = None


class Verification(msgspec.Struct):
    result: Verified | None = None


class Site:
    def __init__(self, http: Outbound, upload_url: str, language: str) -> None:
        self.http = http
        self.upload_url = upload_url
        self.language = language

    async def products(self, kind: Kind, account: Account) -> tuple[Leaf, ...]:
        query = {"app": "ima", "platform": "web", "category": CATEGORY[kind]}
        return leaves(await self._call("GET", "/open/v1/product/list", account, query=query), kind)

    async def create(self, body: Mapping[str, Any], account: Account) -> Made:
        """Ask for something that is paid for. What it raises says by `sent` whether it may have been made."""
        try:
            found = _read(await self._call("POST", "/open/v1/tasks/create", account, json=body), Made)
        except errors.UpstreamError as error:
            error.sent = "unknown" if error.sent == "yes" else error.sent
            raise
        if not found.id:
            raise errors.UpstreamGarbled("the upstream's answer names no task", sent="unknown")
        return found

    async def task(self, name: str, account: Account) -> Record:
        """How a task stands. A refusal says nothing about the task: it is the key's, or passes (wire sheet §7)."""
        try:
            found = await self._call("POST", "/open/v1/tasks/detail", account, json={"task_id": name})
        except (errors.CredentialRejected, errors.RateLimited, errors.UpstreamError):
            raise
        except errors.GatewayError as error:
            raise errors.UpstreamFailed("the upstream does not tell how its task stands", detail=error.detail) from None
        return _read(found, Record)

    async def verify(self, url: str, account: Account) -> None:
        """Raises ContentRefused for a file that the vendor does not let into a film. Nothing is made by it."""
        try:
            path = "/open/v1/assets/verify"
            found = await self._call("POST", path, account, json={"url": url}, silence=VERIFY_SECONDS)
            result = _read(found, Verification).result or Verified()
        except errors.UpstreamError as error:
            error.sent = "no"
            raise
        if result.status.lower() not in VERIFIED:
            why = str((result.error or {}).get("message") or "")
            words = scrubbed(why, account.credential) or "the upstream does not take this image"
            raise errors.ContentRefused(words, param="images", sent="no")

    async def laid_down(self, data: bytes, mime: str, account: Account) -> uploads.Placed:
        """A file at the vendor's storage. The key rides in the URL that asks for leave, so that no error that knows a
        URL gets out of here."""
        grant, origin = await self._granted(mime, account), URL(self.upload_url)
        where = uploads.address(grant, origin)
        try:
            headers = {"Content-Type": mime}
            reply = await self.http.call(
                "PUT", where, headers=headers, content=data, proxy=account.proxy, silence=PUT_SECONDS
            )
        except errors.GatewayError as error:
            raise _bare(error) from None
        if reply.status // 100 != 2:
            raise uploads.refused(reply.status, reply.body)
        return uploads.placed(grant, origin, data, time.time())

    async def _granted(self, mime: str, account: Account) -> uploads.Grant:
        query = uploads.question(mime, account.credential, time.time())
        url = URL(self.upload_url + uploads.PATH).with_query(query)
        try:
            reply = await self.http.call("GET", url, proxy=account.proxy, silence=TOKEN_SECONDS)
            return _read(_opened(reply, account), uploads.Grant)
        except errors.GatewayError as error:
            raise _bare(error) from None

    async def _call(
        self,
        method: str,
        path: str,
        account: Account,
        *,
        json: Any = None,
        query: Mapping[str, str] | None = None,
        silence: float = CALL_SECONDS,
    ) -> Any:
        url = URL(f"{account.base_url}{path}", encoded=True)
        reply = await self.http.call(
            method,
            url.with_query(query) if query else url,
            headers={
                "Authorization": f"Bearer {account.credential}",
                "x-app-source": "ima_skills",
                "x_app_language": self.language,
            },
            json=json,
            proxy=account.proxy,
            silence=silence,
        )
        return _opened(reply, account)


def _opened(reply: Reply, account: Account) -> Any:
    """What is in an envelope. Raises what its code says, whatever the status."""
    code, _ = failures.said(reply.body)
    if code not in failures.FINE or reply.status // 100 != 2:
        raise failures.refused(reply.status, reply.headers, reply.body, account.credential, now=time.time())
    return msgspec.json.decode(reply.body).get("data")


def _read(data: Any, shape: type[T]) -> T:
    try:
        return msgspec.convert(data, shape, strict=False)
    except msgspec.ValidationError as exc:
        raise errors.UpstreamGarbled("the upstream's answer does not have what was asked for") from exc


def _bare(error: errors.GatewayError) -> errors.GatewayError:
    """The error without those behind it, which may know a URL. Of what is paid for nothing was sent yet."""
    error.__cause__ = error.__context__ = None
    if isinstance(error, errors.UpstreamError):
        error.sent = "no"
    return error
