"""The emulator of OSS, driven by the vendor's own SDK, and by requests that a real bucket refuses."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from typing import Any

import oss2
import oss2.exceptions
import oss2.models
import pytest

from tests.emulators.aws_v4 import signed_headers
from tests.emulators.oss import ENDPOINT, REGION, SMALLEST_PART, Oss
from tests.emulators.oss_access import Key
from tests.emulators.serving import serve

pytestmark = pytest.mark.anyio

HOST = f"media.{ENDPOINT}"


@pytest.fixture
async def oss() -> Oss:
    return Oss("media")


@pytest.fixture
async def address(oss: Oss) -> AsyncIterator[str]:
    async with serve(oss.app) as address:
        yield address


@pytest.fixture
def bucket(oss: Oss, address: str) -> Any:
    auth = oss2.Auth(oss.key_id, oss.keys[oss.key_id].secret)
    return oss2.Bucket(auth, f"http://{ENDPOINT}", "media", proxies={"http": address})


def raised(kind: type[Exception], call: Callable[..., Any], *words: Any) -> Any:
    with pytest.raises(kind) as caught:
        call(*words)
    return caught.value


async def test_the_vendor_s_sdk_puts_reads_lists_and_deletes(oss: Oss, bucket: Any) -> None:
    def run() -> None:
        put = bucket.put_object("images/a b+c.png", b"0123456789", headers={"Content-Type": "image/png"})
        assert put.etag == "781E5E245D69B566979B86E28D23F2C7"
        bucket.put_object("images/b.png", b"b")
        bucket.put_object("other", b"o")
        assert bucket.get_object("images/a b+c.png").read() == b"0123456789"
        assert bucket.get_object("images/a b+c.png", byte_range=(2, 4)).read() == b"234"
        head = bucket.head_object("images/a b+c.png")
        assert (head.content_length, head.content_type) == (10, "image/png")
        listed = bucket.list_objects_v2("images/", max_keys=1)
        assert ([found.key for found in listed.object_list], listed.is_truncated) == (["images/a b+c.png"], True)
        assert [found.key for found in oss2.ObjectIterator(bucket)] == ["images/a b+c.png", "images/b.png", "other"]
        bucket.delete_object("other")
        assert not bucket.object_exists("other")
        assert raised(oss2.exceptions.NoSuchKey, bucket.get_object, "other").code == "NoSuchKey"

    await asyncio.to_thread(run)
    assert sorted(oss.buckets["media"].objects) == ["images/a b+c.png", "images/b.png"]
    assert all(line.split()[1].startswith(HOST) for line in oss.asked)


async def test_the_vendor_s_sdk_uploads_in_parts(oss: Oss, bucket: Any) -> None:
    def run() -> None:
        upload_id = bucket.init_multipart_upload("v.mp4", headers={"Content-Type": "video/mp4"}).upload_id
        parts = []
        for number, size in ((1, SMALLEST_PART), (2, SMALLEST_PART), (3, 7)):
            etag = bucket.upload_part("v.mp4", upload_id, number, bytes([number]) * size).etag
            parts.append(oss2.models.PartInfo(number, etag))
        wrong = [oss2.models.PartInfo(1, "0" * 32), *parts[1:]]
        assert (
            raised(oss2.exceptions.OssError, bucket.complete_multipart_upload, "v.mp4", upload_id, wrong).code
            == "InvalidPart"
        )
        assert not bucket.object_exists("v.mp4")
        bucket.complete_multipart_upload("v.mp4", upload_id, parts)
        assert len(bucket.get_object("v.mp4").read()) == 2 * SMALLEST_PART + 7
        small = bucket.init_multipart_upload("s").upload_id
        parts = [oss2.models.PartInfo(n, bucket.upload_part("s", small, n, b"x").etag) for n in (1, 2)]
        assert (
            raised(oss2.exceptions.OssError, bucket.complete_multipart_upload, "s", small, parts).code
            == "EntityTooSmall"
        )
        bucket.abort_multipart_upload("s", small)
        assert raised(oss2.exceptions.OssError, bucket.upload_part, "s", small, 1, b"x").code == "NoSuchUpload"

    await asyncio.to_thread(run)
    assert oss.buckets["media"].uploads == {}


@pytest.mark.parametrize(
    ("key_id", "secret", "code"),
    [("LTAI5tEmulator", "wrong", "SignatureDoesNotMatch"), ("nobody", "oss-secret", "InvalidAccessKeyId")],
)
async def test_who_has_not_the_secret_is_refused(address: str, key_id: str, secret: str, code: str) -> None:
    bucket = oss2.Bucket(oss2.Auth(key_id, secret), f"http://{ENDPOINT}", "media", proxies={"http": address})
    refused = await asyncio.to_thread(raised, oss2.exceptions.OssError, bucket.put_object, "a", b"x")
    assert (refused.status, refused.code) == (403, code)
    assert refused.request_id


async def test_clocks_and_tokens_are_looked_at(oss: Oss, bucket: Any, address: str) -> None:
    oss.ahead = 1000
    assert (
        await asyncio.to_thread(raised, oss2.exceptions.OssError, bucket.put_object, "a", b"x")
    ).code == "RequestTimeTooSkewed"
    oss.ahead = 0
    oss.keys["STS.1"] = Key("s", token="right")
    for token, code in (("right", ""), ("wrong", "InvalidSecurityToken")):
        sts = oss2.Bucket(oss2.StsAuth("STS.1", "s", token), f"http://{ENDPOINT}", "media", proxies={"http": address})
        if code:
            assert (await asyncio.to_thread(raised, oss2.exceptions.OssError, sts.put_object, "a", b"x")).code == code
        else:
            await asyncio.to_thread(sts.put_object, "a", b"x")


def ask(address: str, method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> str:
    """The code of the refusal, or the body."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": address}))
    try:
        with opener.open(urllib.request.Request(url, body, headers, method=method)) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode()).partition("<Code>")[2].partition("</Code>")[0]


async def test_the_protocol_of_s3_is_spoken_as_oss_speaks_it(oss: Oss, address: str) -> None:
    url, secret = f"http://{HOST}/a%20b", oss.keys[oss.key_id].secret

    def put(url: str, body: bytes = b"x", sent: bytes = b"x", **more: str) -> str:
        headers = signed_headers("PUT", url, body, oss.key_id, secret, REGION)
        return ask(address, "PUT", url, {**headers, **more}, sent)

    assert await asyncio.to_thread(put, url) == ""
    assert oss.buckets["media"].objects["a b"].data == b"x"
    for call, code in (
        (lambda: put(f"http://{ENDPOINT}/media/a"), "SecondLevelDomainForbidden"),
        (lambda: put(f"http://missing.{ENDPOINT}/a"), "NoSuchBucket"),
        (lambda: put(url, sent=b"y"), "XAmzContentSHA256Mismatch"),
        (lambda: put(url, **{"Content-Encoding": "aws-chunked"}), "InvalidArgument"),
        (lambda: put(url, **{"X-Amz-Acl": "public-read"}), "AccessDenied"),
        (lambda: put(url, **{"X-Amz-Date": "20200101T000000Z"}), "RequestTimeTooSkewed"),
        (
            lambda: ask(address, "PUT", url, signed_headers("GET", url, b"x", oss.key_id, secret, REGION), b"x"),
            "SignatureDoesNotMatch",
        ),
        (lambda: ask(address, "PUT", url, {}, b"x"), "AccessDenied"),
    ):
        assert await asyncio.to_thread(call) == code
