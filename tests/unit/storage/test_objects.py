import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.errors import NotFound, StorageUnavailable
from gateway.storage import KEY_BYTES, PART_BYTES, READ_BYTES, ObjectInfo, Storage, valid_key
from tests.unit.storage.contents import KEY, all_of, stream

pytestmark = pytest.mark.anyio


ODD_KEYS = [
    *("", "/etc/passwd", "../x", "a/../b", "a/./b", "a//b", "a/", ".hidden", "a/.b", "a..b"),
    *("a\\b", "a\0b", "a b", "é.png", "a%2e", "a\n", "a#1", "x" * (KEY_BYTES + 1)),
]


@pytest.mark.parametrize("data", [b"", b"hello", b"x" * (2 * PART_BYTES + 1)], ids=["empty", "small", "large"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_is_put_comes_back_counted_and_hashed(storage: Storage, data: bytes, streamed: bool) -> None:
    half = len(data) // 2
    stored = await storage.put(KEY, stream(data[:half], b"", data[half:]) if streamed else data, mime="image/png")
    assert (stored.key, stored.size, stored.sha256) == (KEY, len(data), hashlib.sha256(data).hexdigest())
    assert await all_of(storage.get(KEY)) == data
    info = await storage.head(KEY)
    assert info is not None
    assert (info.key, info.size) == (KEY, len(data))
    assert info.etag.startswith('"')
    assert info.modified.tzinfo is not None


async def test_the_type_is_kept_where_the_store_keeps_one(local: Storage) -> None:
    memory = Storage.open("memory://")
    for storage, mime in ((memory, "image/png"), (local, None)):
        await storage.put(KEY, stream(b"x"), mime="image/png")
        info = await storage.head(KEY)
        assert info is not None
        assert info.mime == mime


async def test_a_part_of_an_object_can_be_read(storage: Storage) -> None:
    await storage.put(KEY, b"0123456789", mime="text/plain")
    assert await all_of(storage.get(KEY, start=2, end=5)) == b"234"
    assert await all_of(storage.get(KEY, start=7)) == b"789"
    assert await all_of(storage.get(KEY, start=8, end=100)) == b"89"
    assert await all_of(storage.get(KEY, start=5, end=5)) == b""


async def test_a_put_replaces_and_changes_the_etag(storage: Storage) -> None:
    await storage.put(KEY, b"one", mime="text/plain")
    before = await storage.head(KEY)
    await storage.put(KEY, b"three", mime="text/plain")
    after = await storage.head(KEY)
    assert await all_of(storage.get(KEY)) == b"three"
    assert before is not None
    assert after is not None
    assert before.etag != after.etag


async def test_what_is_not_there_is_not_found(storage: Storage) -> None:
    assert await storage.head(KEY) is None
    with pytest.raises(NotFound):
        await all_of(storage.get(KEY))


async def test_deleting_twice_is_no_error(storage: Storage) -> None:
    await storage.put(KEY, b"x", mime="text/plain")
    await storage.delete(KEY)
    await storage.delete(KEY)
    assert await storage.head(KEY) is None


async def test_an_error_of_the_source_is_not_taken_for_one_of_the_store(storage: Storage) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"x"
        raise FileNotFoundError("mine")

    with pytest.raises(FileNotFoundError, match="mine"):
        await storage.put(KEY, breaks(), mime="video/mp4")
    assert await storage.head(KEY) is None


async def test_an_object_can_be_read_as_a_file_wherever_in_it(storage: Storage) -> None:
    data = os.urandom(3 * READ_BYTES + 5)
    await storage.put(KEY, data, mime="image/png")
    with storage.reading(KEY, len(data)) as file:
        assert file.read(10) == data[:10]
        assert (file.seek(-5, os.SEEK_END), file.read()) == (len(data) - 5, data[-5:])
        assert (file.seek(READ_BYTES - 3), file.read(6)) == (READ_BYTES - 3, data[READ_BYTES - 3 : READ_BYTES + 3])
        assert (file.seek(-6, os.SEEK_CUR), file.tell()) == (READ_BYTES - 3, READ_BYTES - 3)
        assert (file.seek(len(data) + 100), file.read(1)) == (len(data) + 100, b"")
        file.seek(0)
        assert file.read() == data


async def test_a_file_that_cannot_be_read_on_is_at_its_end_and_the_block_ends_in_the_reason(storage: Storage) -> None:
    await storage.put(KEY, b"x" * 10, mime="image/png")
    with pytest.raises(NotFound), storage.reading(KEY, 10) as file:
        await storage.delete(KEY)
        assert file.read(4) == b""
    with pytest.raises(StorageUnavailable, match="in time"), storage.reading(KEY, 10, seconds=-1) as file:
        assert file.read(4) == b""


async def test_the_store_s_failure_comes_before_what_the_reader_made_of_it(storage: Storage) -> None:
    with pytest.raises(NotFound) as told, storage.reading(KEY, 10) as file:
        assert file.read(4) == b""
        raise ValueError("damaged")
    assert isinstance(told.value.__cause__, ValueError)
    await storage.put(KEY, b"x" * 10, mime="image/png")
    with pytest.raises(ValueError, match="damaged"), storage.reading(KEY, 10):
        raise ValueError("damaged")


@pytest.mark.parametrize("key", ODD_KEYS, ids=range(len(ODD_KEYS)))
async def test_a_key_is_a_plain_relative_path(storage: Storage, key: str) -> None:
    assert not valid_key(key)
    with pytest.raises(ValueError, match="not a storage key"):
        await storage.put(key, b"x", mime="text/plain")
    with pytest.raises(NotFound):
        await all_of(storage.get(key))
    assert await storage.head(key) is None
    await storage.delete(key)


async def test_what_the_store_does_not_show_back_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgets(key: str) -> None:
        return None

    storage = Storage.open("memory://")
    monkeypatch.setattr(storage, "head", forgets)
    with pytest.raises(StorageUnavailable, match="did not keep"):
        await storage.put(KEY, b"x", mime="text/plain")


async def test_an_object_that_is_kept_with_another_size_is_not_stored(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = storage.head

    async def shorter(key: str) -> ObjectInfo | None:
        info = await head(key)
        return info and replace(info, size=info.size - 1)

    with monkeypatch.context() as context:
        context.setattr(storage, "head", shorter)
        with pytest.raises(StorageUnavailable, match="did not keep"):
            await storage.put(KEY, b"0123456789", mime="text/plain")
    assert await storage.head(KEY) is None  # and nothing of it stays
