"""An object as a file that can be sought in."""

from __future__ import annotations

import io
import os
import time
from typing import TYPE_CHECKING

import obstore

from gateway.errors import GatewayError, StorageUnavailable
from gateway.storage.border import translated

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from obstore.store import ObjectStore


class Ranges(io.RawIOBase):
    """An object by ranges. After a failure it is at its end, and `failure` says why."""

    def __init__(self, store: ObjectStore, key: str, size: int, over: float) -> None:
        self._store = store
        self._key = key
        self._size = size
        self._over = over
        """On the monotonic clock."""
        self._at = 0
        self.failure: GatewayError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        length = min(len(view), self._size - self._at)
        if length <= 0 or self.failure is not None:
            return 0
        try:
            found = self._range(length)
        except GatewayError as error:
            self.failure = error
            return 0
        view[: len(found)] = found
        self._at += len(found)
        return len(found)

    def _range(self, length: int) -> memoryview:
        if time.monotonic() > self._over:
            raise StorageUnavailable("The object storage did not give an object back in time.")
        with translated("read"):
            return memoryview(obstore.get_range(self._store, self._key, start=self._at, length=length))
