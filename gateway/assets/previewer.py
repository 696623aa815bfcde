"""Makes the previews of what is in the library, beside everything else: newest first, one at a time."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import msgspec
import structlog
from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.assets.media import TYPES, MediaType, Source, known_by
from gateway.assets.previews import PREVIEW_WAIT, Previews, Unshowable, previewed, showable
from gateway.assets.references import References
from gateway.db.engine import Database
from gateway.db.tables import assets
from gateway.errors import DatabaseUnavailable, NotFound, StorageUnavailable
from gateway.storage import Storage, object_key

LOOK_SECONDS = 30.0
"""How often somebody looks who was not woken."""
AMONG = 50
"""One of so many newest is taken, at random: several processes then seldom take the same. One that loses drops its
work, so nothing is wrong if they do."""
REST_SECONDS = 2.0
"""After each one there is a rest as long as it took, at most so long: of an old library there may be very many."""
AGAIN_SECONDS, MOST_AGAIN_SECONDS = 60.0, 3600.0
"""How long an asset is left alone whose object could not be read, twice as long with each time."""
AWAY_SECONDS, MOST_AWAY_SECONDS = 1.0, 60.0
"""How long to wait for storage or database that are away, twice as long with each time."""
MOST_PUT_OFF = 1_000
"""Assets that are left alone; with so many it is the store that is wrong, and nothing is done until their time has
come."""
JPEG, WEBP = TYPES["image/jpeg"], TYPES["image/webp"]

_COLUMNS = ("id", "key", "mime", "size", "model")
_WAITING = (
    select(*(assets.c[name] for name in _COLUMNS))
    .where(assets.c.previewed_at.is_(None), assets.c.missing_since.is_(None))
    .order_by(assets.c.created_at.desc())
    .limit(bindparam("the_limit"))
)
_DONE = (
    update(assets)
    .where(assets.c.id == bindparam("the_id"), assets.c.key == bindparam("the_key"), assets.c.previewed_at.is_(None))
    .values({name: bindparam(f"the_{name}") for name in ("thumbnail_key", "poster_key", "waveform", "previewed_at")})
)
"""Built once: building a statement costs more than running it."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An asset whose previews are not made yet."""

    id: str
    key: str
    mime: str
    size: int
    model: str


@dataclass(frozen=True, slots=True)
class PutOff:
    """An asset that is left alone for a while."""

    times: int = 0
    until: float = 0.0
    """By the clock of the Previewer."""


@dataclass(slots=True)
class Shown:
    """Previews in storage, before any row names them."""

    thumbnail: str | None = None
    poster: str | None = None
    waveform: str | None = None
    """JSON."""
    keys: list[str] = field(default_factory=list)


class Previewer:
    def __init__(
        self, database: Database, storage: Storage, *, enabled: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.database = database
        self.storage = storage
        self.enabled = enabled
        self._references = References(database, storage)
        self._clock = clock
        self._woken = asyncio.Event()
        self._put_off: dict[str, PutOff] = {}

    def wake(self) -> None:
        """Something was entered in the library."""
        self._woken.set()

    async def run(self) -> None:
        """Make what is waiting, and what comes, until cancelled. Returns at once where no previews are wanted."""
        away = 0.0
        while self.enabled:
            self._woken.clear()
            began = self._clock()
            try:
                made = await self.step(1)
                away = 0.0
            except (StorageUnavailable, DatabaseUnavailable) as error:
                away = min(MOST_AWAY_SECONDS, max(AWAY_SECONDS, 2 * away))
                log.warning("previews have to wait", code=error.code, seconds=away)
                await asyncio.sleep(away)
                continue
            if made:
                await asyncio.sleep(min(REST_SECONDS, self._clock() - began))
            else:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), LOOK_SECONDS)

    async def step(self, limit: int) -> int:
        """Turn to up to so many assets; to how many it did. Zero: none is waiting now, or no previews are wanted.

        Raises StorageUnavailable, DatabaseUnavailable: not now. What was made until then is made.
        """
        for done in range(limit if self.enabled else 0):
            asset = await self._next()
            if asset is None:
                return done
            try:
                await self._preview(asset)
                self._put_off.pop(asset.id, None)
            except NotFound:  # whether an object is missing for good is for the collector to say
                self._leave_alone(asset.id)
            except StorageUnavailable:
                self._leave_alone(asset.id)
                raise
        return limit if self.enabled else 0

    async def _next(self) -> Waiting | None:
        now = self._clock()
        left_alone = {id for id, put_off in self._put_off.items() if put_off.until > now}
        if len(left_alone) >= MOST_PUT_OFF:
            return None
        async with self.database.read() as connection:
            rows = await connection.execute(_WAITING, {"the_limit": AMONG + len(left_alone)})
            found = [Waiting(*row) for row in rows if row.id not in left_alone]
        return random.choice(found[:AMONG]) if found else None

    def _leave_alone(self, asset_id: str) -> None:
        now, put_off = self._clock(), self._put_off.pop(asset_id, PutOff())
        if len(self._put_off) >= MOST_PUT_OFF:  # of those whose time has come some may be gone
            self._put_off = {id: other for id, other in self._put_off.items() if other.until > now}
        seconds = min(MOST_AGAIN_SECONDS, AGAIN_SECONDS * 2.0 ** min(put_off.times, 10))
        self._put_off[asset_id] = PutOff(put_off.times + 1, now + seconds)

    async def _preview(self, asset: Waiting) -> None:
        """Bytes first, the row after. What no row came to name is dropped."""
        shown = Shown()
        try:
            await self._store(asset, await self._made(asset), shown)
        except StorageUnavailable:
            await self._drop(shown)
            raise
        if not await self._enter(asset, shown):  # it is gone, or another process was first
            await self._drop(shown)

    async def _made(self, asset: Waiting) -> Previews:
        found = known_by(asset.mime)
        if found is None or not showable(found):
            return Previews()
        try:
            return await previewed(self._source(asset), found)
        except Unshowable as error:
            log.debug("nothing can be shown of an asset", asset=asset.id, mime=asset.mime, why=str(error))
            return Previews()

    def _source(self, asset: Waiting) -> Source:
        return partial(self.storage.reading, asset.key, asset.size, seconds=PREVIEW_WAIT)

    async def _store(self, asset: Waiting, made: Previews, shown: Shown) -> None:
        if made.poster is not None:
            shown.poster = await self._put(asset, made.poster, JPEG, shown)
        if made.thumbnail is not None:
            shown.thumbnail = await self._put(asset, made.thumbnail, WEBP, shown)
        if made.waveform is not None:
            shown.waveform = msgspec.json.encode(made.waveform).decode()

    async def _put(self, asset: Waiting, data: bytes, kind: MediaType, shown: Shown) -> str:
        key = object_key("previews", asset.model, self.database.now(), secrets.token_hex(16), kind.extension)
        shown.keys.append(key)
        await self.storage.put(key, data, mime=kind.mime)
        return key

    async def _enter(self, asset: Waiting, shown: Shown) -> bool:
        """Whether the asset still waited for them."""
        values = {
            "the_id": asset.id,
            "the_key": asset.key,
            "the_thumbnail_key": shown.thumbnail,
            "the_poster_key": shown.poster,
            "the_waveform": shown.waveform,
            "the_previewed_at": self.database.now(),
        }

        async def change(connection: AsyncConnection) -> bool:
            return bool((await connection.execute(_DONE, values)).rowcount)

        return await self.database.writes.commit(change)

    async def _drop(self, shown: Shown) -> None:
        await self._references.drop(shown.keys)
