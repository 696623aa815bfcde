"""What callers bring: looked at by its bytes, stored once an owner and content, a row for each time it was brought."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, and_, bindparam, delete, insert, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.assets import documents
from gateway.assets.media import Dimensions, MediaType, measured, sniff
from gateway.assets.references import References
from gateway.db.engine import Database
from gateway.db.tables import files
from gateway.errors import InvalidRequest, NotFound, UnsupportedMedia
from gateway.storage import Storage, object_key
from gateway.wire.multipart import safe_filename

UPLOAD: Final = "upload"
INPUT: Final = "input"
"""The purpose of what came inside of a request: it can be asked for by its id, and no list has it."""
SWEEP_ROWS: Final = 500
"""Rows that one transaction of a sweep takes."""

_ID = re.compile(r"file[-_][0-9a-f]{32}")
_FIELD = "file"

PROMISES = {
    **dict.fromkeys(("png", "jpg", "jpeg", "webp", "gif", "bmp", "heic", "avif"), "image"),
    **dict.fromkeys(("mp4", "webm", "mov"), "video"),
    **dict.fromkeys(("mp3", "wav", "m4a", "flac", "ogg", "opus", "aac"), "audio"),
    "pdf": "document",
    "docx": "document",
}
"""What the ending of a name promises its bytes to be."""


@dataclass(frozen=True, slots=True)
class File:
    """A row of what was brought. Times are Unix seconds."""

    id: str
    owner: str
    key: str
    """Its name in object storage, which other files of the same owner and content may share."""
    name: str
    """As its owner called it, made fit to be shown and saved."""
    mime: str
    size: int
    sha256: str
    created_at: float
    purpose: str
    expires_at: float | None
    width: int | None
    height: int | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Examined:
    """Bytes that can be kept: what they are was found by looking at them."""

    name: str
    data: bytes = field(repr=False)
    type: MediaType
    size: Dimensions
    sha256: str


_COLUMNS = tuple(files.c[name] for name in File.__dataclass_fields__)
_MINE = select(*_COLUMNS).where(files.c.id == bindparam("the_id"), files.c.owner == bindparam("the_owner"))
_LIVING = or_(files.c.expires_at.is_(None), files.c.expires_at > bindparam("the_time"))
_TWIN = (
    select(files.c.id, files.c.key)
    .where(
        files.c.owner == bindparam("the_owner"),
        files.c.sha256 == bindparam("the_hash"),
        files.c.mime == bindparam("the_mime"),
        files.c.missing_since.is_(None),
        _LIVING,
    )
    .order_by(files.c.created_at.desc())
    .limit(1)
)
_KEY_HELD = select(files.c.key).where(files.c.id == bindparam("the_id")).with_for_update()
_NEW = insert(files)
"""Built once: building a statement costs more than running it."""


def is_file_id(text: str) -> bool:
    """Whether it is written as the id of a file: `file-` and 32 hexadecimal digits; earlier ones had `_` for `-`."""
    return _ID.fullmatch(text) is not None


def new_id(seed: bytes = b"") -> str:
    """An id that nobody can guess; the same one for the same seed."""
    return f"file-{hashlib.sha256(seed).hexdigest()[:32] if seed else secrets.token_hex(16)}"


class Files:
    def __init__(self, database: Database, storage: Storage, references: References) -> None:
        self.database = database
        self.storage = storage
        self.references = references

    # --- in ---

    async def examined(self, name: str, data: bytes) -> Examined:
        """Look at bytes, and store nothing.

        InvalidRequest `empty_file`, `invalid_media`, `image_too_large`, `document_too_large`; UnsupportedMedia for what
        is of no known type, or not of the kind that its name promises.
        """
        if not data:
            raise InvalidRequest("the file is empty", param=_FIELD, code="empty_file")
        name = safe_filename(name)
        found, digest = await asyncio.to_thread(_looked_at, data, name)
        return Examined(name, data, found, await measured(data, found), digest)

    async def keep(
        self,
        owner: str,
        name: str,
        data: bytes,
        *,
        purpose: str = UPLOAD,
        created_at: float | None = None,
        expires_at: float | None = None,
        file_id: str | None = None,
    ) -> File:
        """Examine a file, store it and give it a row. Raises what `examined` does, and what `enter` does."""
        examined = await self.examined(name, data)
        return await self.enter(
            owner, examined, purpose=purpose, created_at=created_at, expires_at=expires_at, file_id=file_id
        )

    async def enter(
        self,
        owner: str,
        examined: Examined,
        *,
        purpose: str = UPLOAD,
        created_at: float | None = None,
        expires_at: float | None = None,
        file_id: str | None = None,
    ) -> File:
        """Store what was examined, unless its owner has it stored already, and give it a row.

        `file_id`: an id that was promised; where a file has it by now, that one is returned and nothing is stored.
        Raises StorageUnavailable, DatabaseUnavailable.
        """
        if file_id is not None and (before := await self.find(file_id, owner)) is not None:
            return before
        row = _row(owner, examined, purpose, self.database.now() if created_at is None else created_at, expires_at)
        row["id"] = file_id or new_id()
        try:
            key = await self._shared(row) or await self._stored(row, examined)
        except IntegrityError:  # the same promise was kept at the same time
            return await self.get(row["id"], owner)
        return File(**{**row, "key": key})

    async def _shared(self, row: dict[str, Any]) -> str | None:
        """The key of an object with these bytes that the owner has, now with another row; None where there is none.

        The row that it is known by is held meanwhile: it cannot be the last one that goes before ours is there.
        """
        asked = {"the_owner": row["owner"], "the_hash": row["sha256"], "the_mime": row["mime"]}
        async with self.database.read() as connection:
            twin = (await connection.execute(_TWIN, asked | {"the_time": self.database.now()})).one_or_none()
        if twin is None:
            return None
        info = await self.storage.head(twin.key)
        if info is None or info.size != row["size"]:
            return None

        async def change(connection: AsyncConnection) -> str | None:
            key: str | None = (await connection.execute(_KEY_HELD, {"the_id": twin.id})).scalar_one_or_none()
            if key is not None:
                await connection.execute(_NEW, {**row, "key": key})
            return key

        return await self.database.writes.commit(change)

    async def _stored(self, row: dict[str, Any], examined: Examined) -> str:
        """Put the bytes under a key of their own, then enter the row. Returns the key."""
        what, extension = INPUT if row["purpose"] == INPUT else UPLOAD, examined.type.extension
        key = object_key("uploads", what, row["created_at"], secrets.token_hex(16), extension)
        await self.storage.put(key, examined.data, mime=examined.type.mime)

        async def change(connection: AsyncConnection) -> None:
            await connection.execute(_NEW, {**row, "key": key})

        try:
            await self.database.writes.commit(change)
        except IntegrityError:
            await self.references.drop([key])
            raise
        return key

    # --- out ---

    async def find(self, file_id: str, owner: str) -> File | None:
        """The file, if it is this owner's and its time is not over."""
        if not is_file_id(file_id):
            return None
        async with self.database.read() as connection:
            row = (await connection.execute(_MINE, {"the_id": file_id, "the_owner": owner})).one_or_none()
        if row is None or (row.expires_at is not None and row.expires_at <= self.database.now()):
            return None
        return _file(row)

    async def get(self, file_id: str, owner: str, *, param: str = "file_id") -> File:
        """The same. Raises NotFound, for another owner's as for one that never was."""
        found = await self.find(file_id, owner)
        if found is None:
            raise NotFound(f"no file {file_id[:80]!r}", param=param, code="file_not_found")
        return found

    async def list(
        self,
        owner: str,
        *,
        purposes: Collection[str] = (),
        after: str | None = None,
        limit: int = 20,
        ascending: bool = False,
    ) -> tuple[Sequence[File], bool]:
        """A page, newest first unless `ascending`, and whether there are more. Raises NotFound for a strange `after`.

        `purposes`: only these; none means all but what came inside of requests.
        """
        where = [files.c.owner == owner, _LIVING]
        where += [files.c.purpose.in_(purposes)] if purposes else [files.c.purpose != INPUT]
        if after is not None:
            where.append(_beyond(await self.get(after, owner, param="after"), ascending))
        keys = (files.c.created_at, files.c.id)
        order = keys if ascending else tuple(key.desc() for key in keys)
        query = select(*_COLUMNS).where(*where).order_by(*order).limit(limit + 1)
        async with self.database.read() as connection:
            rows = (await connection.execute(query, {"the_time": self.database.now()})).all()
        return [_file(row) for row in rows[:limit]], len(rows) > limit

    # --- away ---

    async def remove(self, file_id: str, owner: str) -> None:
        """Take a file out, and its bytes with the last file that has them. Raises NotFound."""
        found = await self.get(file_id, owner)
        async with self.database.write() as connection:
            gone = (await connection.execute(delete(files).where(files.c.id == found.id))).rowcount
        if not gone:
            raise NotFound(f"no file {file_id[:80]!r}", param="file_id", code="file_not_found")
        await self.references.drop([found.key])

    async def sweep(self) -> int:
        """Take out files whose time is over; how many."""
        swept, now = 0, self.database.now()
        over = select(files.c.id, files.c.key).where(files.c.expires_at <= now).limit(SWEEP_ROWS)
        while True:
            async with self.database.write() as connection:
                rows = (await connection.execute(over)).all()
                await connection.execute(delete(files).where(files.c.id.in_([row.id for row in rows])))
            await self.references.drop({row.key for row in rows})
            swept += len(rows)
            if len(rows) < SWEEP_ROWS:
                return swept


def _looked_at(data: bytes, name: str) -> tuple[MediaType, str]:
    """What the bytes are, and their hash. It takes a while: for a thread."""
    found = documents.document(data) or sniff(data, name)
    if found is None:
        raise UnsupportedMedia("the file is of no known type", param=_FIELD, code="unsupported_file_type")
    ending = name.rpartition(".")[2].lower()
    promised = PROMISES.get(ending)
    if promised is not None and promised != found.family:
        raise UnsupportedMedia(
            f"the file is named '.{ending}' but holds {found.mime}", param=_FIELD, code="unsupported_file_type"
        )
    return found, hashlib.sha256(data).hexdigest()


def _row(owner: str, examined: Examined, purpose: str, created_at: float, expires_at: float | None) -> dict[str, Any]:
    return {
        "owner": owner,
        "name": examined.name,
        "mime": examined.type.mime,
        "size": len(examined.data),
        "sha256": examined.sha256,
        "created_at": created_at,
        "purpose": purpose,
        "expires_at": expires_at,
        "width": examined.size.width,
        "height": examined.size.height,
        "seconds": examined.size.seconds,
    }


def _file(row: Row[Any]) -> File:
    return File(**row._mapping)


def _beyond(last: File, ascending: bool) -> ColumnElement[bool]:
    """What comes after a file in the order of a list."""
    moment, same = files.c.created_at, files.c.created_at == last.created_at
    if ascending:
        return or_(moment > last.created_at, and_(same, files.c.id > last.id))
    return or_(moment < last.created_at, and_(same, files.c.id < last.id))
