"""A bucket of a real S3 server: parts, rights, links of its own, and the server going away in the middle."""

import asyncio
import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from gateway.errors import NotFound, StorageUnavailable, UpstreamTimeout
from gateway.storage import PART_BYTES, Storage
from gateway.storage.stores import CLIENT, RETRY
from tests.ceph import Ceph, User
from tests.unit.storage.conftest import Opened
from tests.unit.storage.contents import KEY, all_of, stream

pytestmark = pytest.mark.anyio


async def test_an_object_of_several_parts_is_one_object(ceph: Ceph, s3: Opened) -> None:
    bucket, data = ceph.bucket(), os.urandom(3 * PART_BYTES + 7)
    storage = s3(bucket, prefix="/deep/er")
    stored = await storage.put(
        KEY, stream(data[:10], data[10 : PART_BYTES + 1], data[PART_BYTES + 1 :]), mime="video/mp4"
    )
    assert (stored.size, stored.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    info = await storage.head(KEY)
    assert info is not None
    assert (info.key, info.size, info.mime) == (KEY, len(data), "video/mp4")
    assert info.etag.strip('"').endswith("-4")  # as S3 marks an object of four parts
    assert await all_of(storage.get(KEY)) == data
    assert (
        await all_of(storage.get(KEY, start=PART_BYTES - 1, end=PART_BYTES + 2))
        == data[PART_BYTES - 1 : PART_BYTES + 2]
    )
    assert (ceph.keys(bucket), ceph.uploads(bucket)) == ([f"deep/er/{KEY}"], 0)
    await storage.delete(KEY)
    assert ceph.keys(bucket) == []


async def test_an_upload_is_seen_when_it_is_whole_and_a_broken_one_never(ceph: Ceph, s3: Opened) -> None:
    bucket = ceph.bucket()
    storage = s3(bucket)

    async def breaks() -> AsyncIterator[bytes]:
        yield bytes(3 * PART_BYTES)
        assert await storage.head(KEY) is None
        raise UpstreamTimeout

    with pytest.raises(UpstreamTimeout):
        await storage.put(KEY, breaks(), mime="video/mp4")
    assert ceph.keys(bucket) == []
    assert ceph.uploads(bucket) == 1  # hidden, and taken away by a rule of the bucket


async def test_a_cancelled_upload_leaves_nothing_to_see(ceph: Ceph, s3: Opened) -> None:
    bucket, under_way = ceph.bucket(), asyncio.Event()

    async def hangs() -> AsyncIterator[bytes]:
        yield bytes(3 * PART_BYTES)
        under_way.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(s3(bucket).put(KEY, hangs(), mime="video/mp4"))
    await under_way.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ceph.keys(bucket) == []


def fetched(url: str, data: bytes | None = None, method: str = "GET") -> bytes:
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "image/png"})
    with urllib.request.urlopen(request) as answer:
        return bytes(answer.read())


async def test_links_of_the_store_s_own_need_no_key(s3: Opened) -> None:
    storage = s3(prefix="/within")
    assert storage.presigns
    there = await storage.presigned(KEY, "PUT", 60)
    back = await storage.presigned(KEY, "GET", 60)
    assert there is not None
    assert back is not None
    assert await asyncio.to_thread(fetched, there, b"mine", "PUT") == b""
    assert await all_of(storage.get(KEY)) == b"mine"
    info = await storage.head(KEY)
    assert info is not None
    assert info.mime == "image/png"
    assert await asyncio.to_thread(fetched, back) == b"mine"
    for url, data, method in (
        (back, b"other", "PUT"),
        (there, None, "GET"),
        (back.replace("X-Amz-Expires=60", "X-Amz-Expires=61"), None, "GET"),
    ):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            await asyncio.to_thread(fetched, url, data, method)
    for odd in ("", "../x", "a b"):
        with pytest.raises(ValueError, match="not a storage key"):
            await storage.presigned(odd, "GET", 60)


async def test_a_link_lasts_at_most_a_week(s3: Opened) -> None:
    url = await s3().presigned(KEY, "GET", 1e9)
    assert url is not None
    assert "X-Amz-Expires=604800&" in url


async def told(storage: Storage) -> list[str]:
    """What is said of each thing that is tried."""
    said = []
    for trying in (
        storage.put(KEY, b"x", mime="text/plain"),
        storage.put(KEY, stream(bytes(PART_BYTES + 1)), mime="text/plain"),
        all_of(storage.get(KEY)),
        all_of_pages(storage),
        storage.delete(KEY),
    ):
        with pytest.raises(StorageUnavailable) as caught:
            await trying
        assert (caught.value.status, caught.value.code) == (503, "storage_unavailable")
        said.append(f"{caught.value.message} {caught.value.detail}")
    return said


async def all_of_pages(storage: Storage) -> list[str]:
    return [info.key async for page in storage.list() for info in page]


async def test_wrong_credentials_are_told_and_not_shown(ceph: Ceph, s3: Opened) -> None:
    bucket = ceph.bucket()
    for user, code in (
        (User("NOBODY", ceph.user.secret), "InvalidAccessKeyId"),
        (User(ceph.user.key_id, "wrong" * 8), "SignatureDoesNotMatch"),
    ):
        for said in await told(s3(bucket, user=user)):
            assert said == f"The object storage refused the gateway's credentials. 403 Forbidden, {code}"


async def test_a_right_that_is_missing_is_told(ceph: Ceph, s3: Opened) -> None:
    said = await told(s3(user=ceph.new_user()))
    does_not = "The object storage does not let the gateway {} 403 Forbidden, AccessDenied"
    assert said == [does_not.format(f"{doing}.") for doing in ("write", "write", "read", "list", "delete")]


async def test_a_bucket_that_is_not_there_is_no_missing_object(s3: Opened) -> None:
    said = await told(s3("not-there"))
    assert said[:4] == ["The object storage has no such bucket or directory. 404 Not Found, NoSuchBucket"] * 4


async def test_a_full_bucket_is_called_full(ceph: Ceph, s3: Opened) -> None:
    bucket = ceph.bucket()
    ceph.full(bucket)
    with pytest.raises(StorageUnavailable, match="is full") as caught:
        await s3(bucket).put(KEY, b"x", mime="text/plain")
    assert caught.value.code == "storage_full"


async def test_a_server_that_dies_under_an_upload_leaves_nothing_and_is_used_again(ceph: Ceph, s3: Opened) -> None:
    bucket = ceph.bucket()
    storage = s3(bucket)

    async def dies() -> AsyncIterator[bytes]:
        yield bytes(2 * PART_BYTES)
        await asyncio.to_thread(ceph.stop)
        yield bytes(2 * PART_BYTES)

    try:
        with pytest.raises(StorageUnavailable, match="could not be reached"):
            await storage.put(KEY, dies(), mime="video/mp4")
        with pytest.raises(StorageUnavailable, match="could not be reached"):
            await storage.head(KEY)
    finally:
        await asyncio.to_thread(ceph.start)
    assert ceph.keys(bucket) == []
    await storage.put(KEY, b"again", mime="text/plain")
    assert await all_of(storage.get(KEY)) == b"again"


async def test_a_server_that_stands_still_is_given_up(ceph: Ceph, s3: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CLIENT, "read_timeout", timedelta(seconds=1))
    monkeypatch.setitem(RETRY, "max_retries", 0)
    storage = s3()
    with ceph.frozen(), pytest.raises(StorageUnavailable, match="did not answer in time"):
        await storage.put(KEY, b"x", mime="text/plain")
    with pytest.raises(NotFound):
        await all_of(storage.get("images/other.png"))


async def test_what_others_keep_in_the_bucket_under_names_of_their_own_is_not_listed(ceph: Ceph, s3: Opened) -> None:
    bucket = ceph.bucket()
    for key in ("mine/ours.png", "mine/.hidden", "mine/with%20space", "mine2/other.png"):
        ceph.ask("PUT", f"{bucket}/{key}", b"x")
    assert await all_of_pages(s3(bucket, prefix="/mine")) == ["ours.png"]
