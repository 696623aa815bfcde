"""The object store, by URL: `file:///path`, `memory://`, `s3://`, `gs://`, `az://`.

Credentials of cloud stores come from the environment variables their own tools use (`AWS_ACCESS_KEY_ID`,
`AWS_ENDPOINT`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME`, …). An object is seen whole or not at all:
a local one is written beside its name and renamed, a cloud one appears when its upload is completed. A cloud upload
that was cut leaves hidden parts behind: give the bucket a lifecycle rule that drops them.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import os
import re
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import HTTPStore, LocalStore, from_url

from gateway.errors import ConfigError, GatewayError, NotFound, StorageUnavailable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from obstore.store import ObjectStore

KEY_BYTES = 512
PART_BYTES = 5 * 1024 * 1024
"""Held in memory for each of at most two parts of an upload under way. Cloud stores take no smaller ones."""
READ_BYTES = 256 * 1024
WAIT = 60.0
"""Seconds one step (a part sent, a chunk read, a question asked) may take."""
WHOLE_WAIT = 300.0
"""Seconds an object that is already in memory may take to be stored."""
LEFTOVER_SECONDS = 3600.0
"""An upload to a local store that nobody wrote to for so long is dead: each of its steps may take `WAIT` only."""

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_STATUS = re.compile(r"status code: (\d{3}(?: [A-Z][a-z]+)*)")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_OS_ERROR = re.compile(r"os error (\d+)")
_UNDER_WAY = re.compile(r".+#\d+")
"""How a local store names a file that it has not renamed yet."""
_FULL = {errno.ENOSPC, errno.EDQUOT}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_CHECK_KEY, _CHECK_BYTES = "health/check", b"ok"
_SCHEMES = "use file:///path, memory://, s3://bucket, gs://bucket or az://container"
_CLOUD = {
    # The endpoint's own scheme decides: a plain one is only ever named on purpose.
    "client_options": {
        "allow_http": True,
        "connect_timeout": timedelta(seconds=5),
        "read_timeout": timedelta(seconds=30),
        "timeout": timedelta(minutes=30),
    },
    "retry_config": {"max_retries": 3, "retry_timeout": timedelta(seconds=15)},
}

Folder = Literal["images", "videos", "audio", "text", "uploads"]


@dataclass(frozen=True, slots=True)
class Stored:
    """What was written."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the store knows of an object."""

    key: str
    size: int
    mime: str | None
    """None where the store keeps none: a local one never does."""
    etag: str
    """Quoted, as HTTP wants it."""
    modified: datetime


class Storage:
    """Objects by key. Every failure of the store is a StorageUnavailable."""

    def __init__(self, store: ObjectStore, root: Path | None = None) -> None:
        self._store = store
        self._root = root
        """The real path of a local store."""

    @staticmethod
    def open(url: str) -> Storage:
        """Open the store at `url`; a local directory is made if missing. ConfigError if the URL is no store's."""
        parts = urlsplit(url)
        if parts.scheme == "file":
            return Storage._local(Path(unquote(parts.netloc + parts.path)))
        try:
            store = from_url(url) if parts.scheme == "memory" else from_url(url, **_CLOUD)  # type: ignore[call-overload]
        except (BaseError, ValueError) as exc:
            raise ConfigError(f"storage url {parts.scheme}://…: {_reason(exc)}; {_SCHEMES}") from exc
        if isinstance(store, HTTPStore):
            raise ConfigError(f"storage url {parts.scheme}://…: not an object store; {_SCHEMES}")
        return Storage(store)

    @staticmethod
    def _local(path: Path) -> Storage:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            root = path.resolve(strict=True)
            return Storage(LocalStore(root), root)
        except (BaseError, OSError) as exc:
            raise ConfigError(f"storage url file://{path}: the directory cannot be made or opened: {exc}") from exc

    async def put(self, key: str, data: bytes | AsyncIterable[bytes], *, mime: str) -> Stored:
        """Store an object, counting and hashing on the way; what was there by that key is replaced at once.

        An iterable is never held whole. If it fails or is cancelled nothing is stored, and its own error comes through.
        ValueError for a key that is none of ours, StorageUnavailable otherwise.
        """
        if not valid_key(key):
            raise ValueError(f"not a storage key: {key!r}")
        if not await self._plain(key):
            raise StorageUnavailable("The object storage has a link where a file belongs.")
        attributes = {"Content-Type": mime} if self._root is None else None
        if isinstance(data, bytes):
            stored = await self._put_whole(key, data, attributes)
        else:
            stored = await self._put_stream(key, data, attributes)
        await self._settle(stored)
        return stored

    async def _put_whole(self, key: str, data: bytes, attributes: dict[str, str] | None) -> Stored:
        digest = await asyncio.to_thread(hashlib.sha256, data)
        async with _border(WHOLE_WAIT, writing=True):
            await obstore.put_async(
                self._store, key, data, attributes=attributes, chunk_size=PART_BYTES, max_concurrency=2
            )
        return Stored(key, len(data), digest.hexdigest())

    async def _put_stream(self, key: str, chunks: AsyncIterable[bytes], attributes: dict[str, str] | None) -> Stored:
        size, digest = 0, hashlib.sha256()
        writer = obstore.open_writer_async(
            self._store, key, attributes=attributes, buffer_size=PART_BYTES, max_concurrency=2
        )
        try:
            async for chunk in chunks:
                size += len(chunk)
                if len(chunk) > READ_BYTES:
                    await asyncio.to_thread(digest.update, chunk)
                else:
                    digest.update(chunk)
                async with _border(WAIT, writing=True):
                    await writer.write(chunk)
            async with _border(WHOLE_WAIT, writing=True):
                await writer.close()
        finally:
            del writer  # a writer dropped before it is closed takes what it wrote with it
        return Stored(key, size, digest.hexdigest())

    async def _settle(self, stored: Stored) -> None:
        """Only what the store shows back, whole, and (on a local disk) beyond the reach of a power cut is stored."""
        if self._root is not None:
            async with _border(WAIT, writing=True):
                await asyncio.to_thread(_sync, self._root / stored.key)
        info = await self.head(stored.key)
        if info is None or info.size != stored.size:
            raise StorageUnavailable("The object storage did not keep what it was sent.")

    async def get(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes]:
        """The object's bytes from `start` to before `end`, in chunks. NotFound if it is not there."""
        if end is not None and start >= end:
            return
        await self._must_be_plain(key)
        async with _border(WAIT):
            if end is not None:
                found = await obstore.get_async(self._store, key, options={"range": (start, end)})
            elif start:
                found = await obstore.get_async(self._store, key, options={"range": {"offset": start}})
            else:
                found = await obstore.get_async(self._store, key)
        chunks = found.stream(READ_BYTES)
        while True:
            async with _border(WAIT):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            yield chunk

    @contextmanager
    def reading(self, key: str, size: int, *, seconds: float = WAIT) -> Iterator[BinaryIO]:
        """The object as a file that can be sought in, read by ranges. It blocks: for a thread, `seconds` in all.

        Who reads it sees an end where the store fails, since readers of media print what they are thrown or take it
        for damage; the failure itself (NotFound, StorageUnavailable) comes when the block ends.
        """
        if not valid_key(key) or not self._is_plain(key):
            raise NotFound("There is no such file.")
        ranges = _Ranges(self._store, key, size, time.monotonic() + seconds)
        try:
            yield cast("BinaryIO", io.BufferedReader(ranges, READ_BYTES))
        except Exception as exc:
            if ranges.failure is None:
                raise
            raise ranges.failure from exc
        if ranges.failure is not None:
            raise ranges.failure

    async def head(self, key: str) -> ObjectInfo | None:
        """What the store knows of the object, or None if it is not there."""
        if not valid_key(key) or not await self._plain(key):
            return None
        try:
            async with _border(WAIT):
                found = await obstore.get_async(self._store, key, options={"head": True})
        except NotFound:
            return None
        meta = found.meta
        etag = meta["e_tag"] or f'"{meta["size"]:x}-{meta["last_modified"].timestamp():.0f}"'
        return ObjectInfo(key, meta["size"], found.attributes.get("Content-Type"), etag, meta["last_modified"])

    async def delete(self, key: str) -> None:
        """Delete the object; that it is already gone is no error."""
        if not valid_key(key) or not await self._plain(key):
            return
        try:
            async with _border(WAIT):
                await obstore.delete_async(self._store, key)
        except NotFound:
            return

    async def sweep(self) -> int:
        """Remove what uploads left on a local disk whose process was killed; how many. A cloud has rules for that."""
        return 0 if self._root is None else await asyncio.to_thread(_swept, self._root)

    async def check(self) -> None:
        """Write, read back and compare a few bytes. StorageUnavailable says what is wrong."""
        await self.put(_CHECK_KEY, _CHECK_BYTES, mime="text/plain")
        if b"".join([chunk async for chunk in self.get(_CHECK_KEY)]) != _CHECK_BYTES:
            raise StorageUnavailable("The object storage does not give back what it was sent.")

    async def _must_be_plain(self, key: str) -> None:
        if not valid_key(key) or not await self._plain(key):
            raise NotFound("There is no such file.")

    async def _plain(self, key: str) -> bool:
        """Whether no link leads from the key to another place: a local store follows links."""
        return self._root is None or await asyncio.to_thread(self._is_plain, key)

    def _is_plain(self, key: str) -> bool:
        if self._root is None:
            return True
        path = os.path.join(self._root, key)  # noqa: PTH118 (compared as text)
        return os.path.realpath(path) == path


def object_key(folder: Folder, model: str, when: float, digest: str, extension: str) -> str:
    """`videos/2026-01/{model}_{YYYYMMDD_HHMMSS}_{hash8}.{ext}`, in UTC.

    `when` is in Unix seconds. `digest` is hexadecimal and should differ for every asset, even of equal bytes made in
    the same second: who shares a key shares its deletion.
    """
    at = datetime.fromtimestamp(when, UTC)
    name = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._-]+", "-", model)).strip("._-")[:64].rstrip("._-") or "unknown"
    suffix = re.sub(r"[^a-z0-9]", "", extension.lower())[:8] or "bin"
    return f"{folder}/{at:%Y-%m}/{name}_{at:%Y%m%d_%H%M%S}_{digest[:8]}.{suffix}"


def valid_key(key: str) -> bool:
    """Whether `key` is a relative path of plain names: no dots in front, no backslash, no control, no emptiness."""
    return len(key) <= KEY_BYTES and ".." not in key and _KEY.fullmatch(key) is not None


class _Ranges(io.RawIOBase):
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
        with _translated():
            return memoryview(obstore.get_range(self._store, self._key, start=self._at, length=length))


@asynccontextmanager
async def _border(seconds: float, *, writing: bool = False) -> AsyncIterator[None]:
    """One step at the store, limited in time; its errors become ours."""
    with _translated(writing=writing):
        async with asyncio.timeout(seconds):
            yield


@contextmanager
def _translated(*, writing: bool = False) -> Iterator[None]:
    try:
        yield
    except TimeoutError as exc:
        raise StorageUnavailable("The object storage did not answer in time.") from exc
    except FileNotFoundError as exc:
        if writing:
            raise StorageUnavailable("The object storage has no such bucket or directory.") from exc
        raise NotFound("There is no such file.") from exc
    except (BaseError, OSError) as exc:
        raise _unavailable(exc) from exc


def _unavailable(exc: Exception) -> StorageUnavailable:
    detail = _reason(exc)
    if _os_error(exc) in _FULL:
        return StorageUnavailable("The object storage is full.", code="storage_full", detail=detail)
    if _os_error(exc) in _READ_ONLY:
        return StorageUnavailable("The object storage does not let the gateway write.", detail=detail)
    if isinstance(exc, PermissionDeniedError | UnauthenticatedError) or re.search(r"status code: 40[13]\b", str(exc)):
        return StorageUnavailable("The object storage refused the gateway's credentials.", detail=detail)
    if "error sending request" in str(exc):
        return StorageUnavailable("The object storage could not be reached.", detail=detail)
    return StorageUnavailable("The object storage failed.", detail=detail)


def _os_error(exc: Exception) -> int | None:
    if isinstance(exc, OSError) and exc.errno is not None:
        return exc.errno
    named = _OS_ERROR.search(str(exc))
    return int(named[1]) if named else None


def _reason(exc: Exception) -> str:
    """What can be told of a failure: status, code, system error. The text itself holds buckets, hosts and key ids."""
    told = [found[1] for pattern in (_STATUS, _CODE) if (found := pattern.search(str(exc)))]
    number = _os_error(exc)
    return ", ".join(told + ([os.strerror(number)] if number is not None else [])) or type(exc).__name__


def _swept(root: Path) -> int:
    over, removed = time.time() - LEFTOVER_SECONDS, 0
    for path in root.rglob("*#*"):
        with suppress(FileNotFoundError):
            if _UNDER_WAY.fullmatch(path.name) and path.is_file() and path.lstat().st_mtime < over:
                path.unlink()
                removed += 1
    return removed


def _sync(path: Path) -> None:
    """Have the file and its name in its directory on the disk, not only in the system's memory."""
    for place in (path, path.parent):
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
