"""Where the store's errors become ours, and where each step at it has a limit in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Literal

from obstore.exceptions import BaseError

from gateway.errors import NotFound, StorageUnavailable
from gateway.storage.troubles import Trouble, bucket_is_missing, reason, trouble_of

WAIT = 60.0
"""Seconds one step (a part sent, a chunk read, a question asked) may take."""

Doing = Literal["read", "write", "list", "delete", "sign"]


@asynccontextmanager
async def border(doing: Doing, seconds: float = WAIT) -> AsyncIterator[None]:
    """One step at the store, limited in time; its errors become ours."""
    with translated(doing):
        async with asyncio.timeout(seconds):
            yield


@contextmanager
def translated(doing: Doing) -> Iterator[None]:
    """StorageUnavailable for all that fails, and NotFound where an object is read or deleted that is not there."""
    try:
        yield
    except FileNotFoundError as exc:
        if doing in ("read", "delete") and not bucket_is_missing(exc):
            raise NotFound("There is no such file.") from exc
        raise unavailable(exc, doing) from exc
    except (BaseError, OSError) as exc:
        raise unavailable(exc, doing) from exc


def unavailable(exc: BaseException, doing: Doing) -> StorageUnavailable:
    """Said so that neither bucket nor host nor key is told. The advice is for who runs the gateway: see `check`."""
    trouble = trouble_of(exc)
    code = "storage_full" if trouble is Trouble.FULL else None
    return StorageUnavailable(trouble.sentence.format(doing=doing), code=code, detail=reason(exc))
