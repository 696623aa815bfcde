"""The vendor's own API: where an account's calls go, with what headers, and its answers checked and read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from pydantic import Field
from yarl import URL

from gateway import errors
from gateway.http import Outbound, Reply
from gateway.types import Account, Input
from gateway.upstreams.base import Options
from gateway.upstreams.dashscope import failures, uploads
from gateway.upstreams.dashscope.asked import Asked
from gateway.upstreams.dashscope.records import Answer

T = TypeVar("T")

API = "/api/v1"
SUFFIXES = (API, "/compatible-mode/v1")
"""What base URLs are often written with."""
BY_TASK = {"X-DashScope-Async": "enable"}
SOUND_TRIES = 2
SOUND_MAX = 64 * 1024 * 1024
"""Bytes of a WAV."""


class AccountOptions(Options):
    workspace: str = Field(default="", pattern=r"^[\w-]*$", description="The workspace that requests are made in.")


def root(base_url: str) -> str:
    """The vendor's host, however much of a path the base URL has."""
    for suffix in SUFFIXES:
        base_url = base_url.removesuffix(suffix)
    return base_url


def headers(account: Account) -> dict[str, str]:
    """What an account is known by besides its key."""
    workspace = getattr(account.options, "workspace", "")
    return {"X-DashScope-WorkSpace": workspace} if workspace else {}


class Site:
    def __init__(self, http: Outbound) -> None:
        self.http = http

    async def create(self, asked: Asked, account: Account, *, task: bool, images: tuple[Input, ...] = ()) -> Answer:
        """Ask for something that is paid for. What it raises says by `sent` whether it may have been made.

        `images`: those that are shown, to be opened where they were laid down.
        """
        more = BY_TASK if task else {}
        if any(image.url.startswith(uploads.SCHEME) for image in images):
            more = more | uploads.RESOLVE
        try:
            found = await self._call(
                "POST", f"/services/{asked.path}", account, Answer, json=asked.body, more=more, patient=not task
            )
        except errors.UpstreamError as error:
            error.sent = "unknown" if error.sent == "yes" else error.sent
            raise
        if found.output is None or (task and not found.output.task_id):
            raise errors.UpstreamGarbled("the upstream's answer names nothing that it made", sent="unknown")
        return found

    async def task(self, name: str, account: Account) -> Answer:
        """Raises JobLost for one that the vendor does not know."""
        found = await self._call("GET", f"/tasks/{quote(name, safe='')}", account, Answer, of_task=True)
        if found.output is None or not found.output.task_status:
            raise errors.UpstreamGarbled("the upstream's answer does not tell how its task stands")
        if found.output.task_status == "UNKNOWN":
            raise errors.JobLost()
        return found

    async def stop(self, name: str, account: Account) -> bool:
        """Whether the vendor stops a task: only one that waits."""
        try:
            await self._call("POST", f"/tasks/{quote(name, safe='')}/cancel", account, Answer, of_task=True)
        except errors.UpstreamRefusedParameter:
            return False
        return True

    async def ask(self, path: str, account: Account, shape: type[T], query: Mapping[str, str | int]) -> T:
        return await self._call("GET", path, account, shape, query=query)

    async def laid_down(self, images: tuple[Input, ...], model: str, account: Account) -> tuple[Input, ...]:
        """The same images, each by its address at the vendor's storage."""
        query = {"action": "getPolicy", "model": model}
        try:
            granted = await self.ask("/uploads", account, uploads.Granted, query)
            policy = granted.data or granted.output
            if policy is None:
                raise errors.UpstreamGarbled("the upstream grants no upload")
            return tuple([await self._stored(image, policy, account) for image in images])
        except errors.UpstreamError as error:
            error.sent = "no"  # of what is paid for nothing was sent
            raise

    async def heard(self, url: str, account: Account) -> bytes:
        """The WAV behind an address. Raises ResultUnavailable: what was made is paid for and not asked for again."""
        problem = ""
        for _ in range(SOUND_TRIES):
            try:
                answer = await self.http.download(url, trusted=account.base_url)
                try:
                    if answer.status == 200:
                        return await answer.read(SOUND_MAX)
                    problem = f"status {answer.status}"
                finally:
                    answer.close()
            except errors.GatewayError as error:
                problem = error.message
        raise errors.ResultUnavailable("the upstream's speech could not be fetched", detail=problem)

    async def _stored(self, image: Input, policy: uploads.Policy, account: Account) -> Input:
        if not image.url.startswith("data:"):
            return image
        data, mime = await asyncio.to_thread(uploads.unpacked, image)
        key, where = uploads.named(policy, mime), uploads.address(policy, root(account.base_url))
        reply = await self.http.call("POST", where, content=uploads.form(policy, key, data, mime), proxy=account.proxy)
        if reply.status != 200:
            raise uploads.refused(reply.status, reply.body)
        return msgspec.structs.replace(image, url=uploads.SCHEME + key)

    async def _call(
        self,
        method: str,
        path: str,
        account: Account,
        shape: type[T],
        *,
        json: Any = None,
        query: Mapping[str, str | int] | None = None,
        more: Mapping[str, str] | None = None,
        patient: bool = False,
        of_task: bool = False,
    ) -> T:
        """`patient`: silence before the answer is no fault, since something is being made."""
        url = URL(f"{root(account.base_url)}{API}{path}", encoded=True)
        reply = await self.http.call(
            method,
            url.with_query(query) if query else url,
            headers={"Authorization": f"Bearer {account.credential}", **headers(account), **(more or {})},
            json=json,
            proxy=account.proxy,
            silence=self.http.timeouts.total if patient else None,
        )
        return _decoded(reply, account, shape, of_task)


def _decoded(reply: Reply, account: Account, shape: type[T], of_task: bool) -> T:
    """What was answered. A refusal may wear a 200: then it has a code, and nothing was made."""
    if 200 <= reply.status < 300:
        try:
            found = msgspec.json.decode(reply.body, type=shape, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise failures.refused(reply.status, reply.headers, reply.body, account.credential) from exc
        if not getattr(found, "code", None):
            return found
    raise failures.refused(reply.status, reply.headers, reply.body, account.credential, of_task=of_task)
