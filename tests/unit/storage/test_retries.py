"""A store that stumbles is asked again; one that falls is told so; what it kept is what it was sent."""

import hashlib
from datetime import timedelta
from typing import cast

import pytest

from gateway.errors import StorageUnavailable
from gateway.storage import PART_BYTES
from gateway.storage.stores import CLIENT, RETRY
from tests.ceph import Ceph
from tests.unit.storage.conftest import Opened
from tests.unit.storage.contents import KEY, all_of, stream
from tests.unit.storage.unruly import Fault, first, unruly

pytestmark = pytest.mark.anyio

DATA = b"0123456789abcdef" * (PART_BYTES // 16) * 2 + b"the third part"


@pytest.fixture
def fault(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Fault:
    """Where nothing answers, that is given up after two seconds, and tried less often."""
    if request.param is Fault.HANG:
        monkeypatch.setitem(CLIENT, "read_timeout", timedelta(seconds=2))
        monkeypatch.setitem(RETRY, "max_retries", 1)
    return cast("Fault", request.param)


def each(*faults: Fault) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fault", faults, ids=lambda fault: fault.name, indirect=True)


def times(fault: Fault) -> int:
    """How often it is met before all is well."""
    return 1 if fault is Fault.HANG else 2


@each(Fault.SLOW_DOWN, Fault.RESET, Fault.LOST, Fault.HANG)
async def test_a_whole_object_is_sent_again(ceph: Ceph, s3: Opened, fault: Fault) -> None:
    async with unruly(ceph.endpoint, first(times(fault), fault, "PUT")) as (address, way):
        storage = s3(endpoint=address)
        stored = await storage.put(KEY, b"hello", mime="text/plain")
        assert way.count("PUT") == times(fault) + 1
        assert await all_of(storage.get(KEY)) == b"hello"
        assert stored.sha256 == hashlib.sha256(b"hello").hexdigest()


@each(Fault.SLOW_DOWN, Fault.RESET, Fault.LOST, Fault.HANG)
async def test_a_part_is_sent_again(ceph: Ceph, s3: Opened, fault: Fault) -> None:
    bucket = ceph.bucket()
    async with unruly(ceph.endpoint, first(times(fault), fault, "PUT", "partNumber=2")) as (address, way):
        storage = s3(bucket, endpoint=address)
        await storage.put(KEY, stream(DATA), mime="text/plain")
        assert [way.count("PUT", f"partNumber={part}") for part in (1, 2, 3)] == [1, times(fault) + 1, 1]
        assert await all_of(storage.get(KEY)) == DATA
    assert ceph.uploads(bucket) == 0


@each(Fault.SLOW_DOWN, Fault.RESET, Fault.HANG)
async def test_an_upload_is_begun_read_and_looked_at_again(ceph: Ceph, s3: Opened, fault: Fault) -> None:
    rules = [first(1, fault, "HEAD"), first(1, fault, "GET"), first(1, fault, "POST", "uploadId=")]
    async with unruly(ceph.endpoint, lambda asked: next(filter(None, (rule(asked) for rule in rules)), None)) as (
        address,
        way,
    ):
        storage = s3(endpoint=address)
        await storage.put(KEY, stream(DATA), mime="text/plain")
        assert await all_of(storage.get(KEY)) == DATA
        assert (way.count("HEAD"), way.count("GET"), way.count("POST", "uploadId=")) == (2, 2, 2)


SAYS = {
    Fault.SLOW_DOWN: "is overloaded",
    Fault.RESET: "could not be reached",
    Fault.HANG: "did not answer in time|could not be reached",  # of a part it is not told why nothing came
}


@each(*SAYS)
@pytest.mark.parametrize("word", ["", "partNumber=2"], ids=["whole", "part"])
async def test_what_fails_every_time_is_told(ceph: Ceph, s3: Opened, fault: Fault, word: str) -> None:
    bucket = ceph.bucket()
    async with unruly(ceph.endpoint, first(100, fault, "PUT", word)) as (address, way):
        storage = s3(bucket, endpoint=address)
        with pytest.raises(StorageUnavailable, match=SAYS[fault]) as caught:
            await storage.put(KEY, stream(DATA) if word else b"hello", mime="text/plain")
        assert way.count("PUT", word) == 1 + RETRY["max_retries"]
    assert (caught.value.status, caught.value.code) == (503, "storage_unavailable")
    told = f"{caught.value.message} {caught.value.detail}"
    assert [secret for secret in (bucket, address[7:], ceph.user.key_id) if secret in told] == []
    assert ceph.keys(bucket) == []


@pytest.mark.parametrize("word", ["", "partNumber=2"], ids=["whole", "part"])
async def test_what_was_damaged_on_the_way_is_refused_by_the_store(ceph: Ceph, s3: Opened, word: str) -> None:
    """The signature covers every body: a store that checks it keeps nothing else than what was sent."""
    bucket = ceph.bucket()
    async with unruly(ceph.endpoint, first(100, Fault.DAMAGE, "PUT", word)) as (address, _):
        storage = s3(bucket, endpoint=address)
        with pytest.raises(StorageUnavailable) as caught:
            await storage.put(KEY, stream(DATA) if word else b"hello", mime="text/plain")
    assert "XAmzContentSHA256Mismatch" in (caught.value.detail or "")
    assert ceph.keys(bucket) == []


async def test_an_answer_that_nothing_stands_behind_is_noticed(ceph: Ceph, s3: Opened) -> None:
    async with unruly(ceph.endpoint, first(1, Fault.SWALLOW, "PUT")) as (address, _):
        with pytest.raises(StorageUnavailable, match="did not keep what it was sent"):
            await s3(endpoint=address).put(KEY, b"hello", mime="text/plain")


async def test_a_wrong_clock_is_told_from_wrong_credentials(ceph: Ceph, s3: Opened) -> None:
    async with unruly(ceph.endpoint, first(100, Fault.LATE, "PUT")) as (address, _):
        with pytest.raises(StorageUnavailable, match="the clock of the gateway's machine is wrong") as caught:
            await s3(endpoint=address).put(KEY, b"hello", mime="text/plain")
    assert caught.value.detail == "403 Forbidden, RequestTimeTooSkewed"
