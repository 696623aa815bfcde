"""Whether a store can do all that the gateway asks of it, and if not, what to do."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import GatewayError, NotFound, StorageUnavailable
from gateway.storage.troubles import trouble_of

if TYPE_CHECKING:
    from gateway.storage.objects import Storage

FOLDER = "health"
PING_KEY = f"{FOLDER}/ping"
STEPS = ("write", "read", "list", "delete")


@dataclass(frozen=True, slots=True)
class Report:
    """What a check that passed has tried."""

    steps: tuple[str, ...]
    presigns: bool
    """Whether the store makes links of its own."""


async def checked(storage: Storage) -> Report:
    """Write a small object, read it back and compare, list it, delete it.

    Its name is its own, so that several may check at once. StorageUnavailable says which step failed and why, with
    advice for who runs the gateway.
    """
    key, data = f"{FOLDER}/{secrets.token_hex(16)}", secrets.token_bytes(64)
    step = "write"
    try:
        await storage.put(key, data, mime="application/octet-stream")
        step = "read"
        if b"".join([chunk async for chunk in storage.get(key)]) != data:
            raise StorageUnavailable("The object storage does not give back what it was sent.")
        step = "list"
        if not await _listed(storage, key):
            raise StorageUnavailable("The object storage does not list what it holds.")
        step = "delete"
        await storage.delete(key)
        if await storage.head(key) is not None:
            raise StorageUnavailable("The object storage does not delete what it is told to.")
    except (StorageUnavailable, NotFound) as error:
        if step in ("read", "list"):
            with suppress(GatewayError):
                await storage.delete(key)
        raise _told(error, step) from error
    return Report(STEPS, storage.presigns)


async def _listed(storage: Storage, key: str) -> bool:
    """The key before ours is where the list begins: what others leave in the folder is not gone through."""
    async for page in storage.list(FOLDER, after=key[:-1]):
        return any(found.key == key for found in page)
    return False


def _told(error: GatewayError, step: str) -> StorageUnavailable:
    """The same failure with the step it failed at, and what to do."""
    sentence = error.message if isinstance(error, StorageUnavailable) else "What was written is not there."
    cause = error.__cause__
    return StorageUnavailable(
        f"{sentence.rstrip('.')} (at the step: {step}).",
        code=error.code if isinstance(error, StorageUnavailable) else None,
        detail=error.detail,
        advice=None if cause is None else trouble_of(cause).advice,
    )
