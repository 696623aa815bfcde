"""`oss://`: what the gateway writes the vendor's SDK reads, and the other way round; and what has to be set for it."""

import asyncio
import os
import urllib.request
from collections.abc import AsyncIterator, Callable
from typing import Any

import oss2
import oss2.models
import pytest

from gateway.errors import ConfigError, StorageUnavailable
from gateway.storage import PART_BYTES, Storage
from gateway.storage.oss import settings
from tests.emulators.oss import ENDPOINT, Oss
from tests.emulators.oss_access import Key
from tests.emulators.serving import serve
from tests.unit.storage.contents import KEY, all_of, stream

pytestmark = pytest.mark.anyio

KEYS = {"OSS_ACCESS_KEY_ID": "LTAI5t", "OSS_ACCESS_KEY_SECRET": "s"}
ELSEWHERE = {
    "AWS_ENDPOINT": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "AKIAOTHER",
    "AWS_SESSION_TOKEN": "other",
    "AWS_REGION": "eu-west-1",
    "AWS_SKIP_SIGNATURE": "true",
    "AWS_UNSIGNED_PAYLOAD": "true",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
}
"""Another store's, which are not to be looked at."""

Opened = Callable[..., Storage]


@pytest.fixture
async def oss() -> Oss:
    return Oss("media")


@pytest.fixture
async def address(oss: Oss) -> AsyncIterator[str]:
    async with serve(oss.app) as address:
        yield address


@pytest.fixture
def opened(oss: Oss, address: str, monkeypatch: pytest.MonkeyPatch) -> Opened:
    def opened(url: str = "oss://media", **changed: str) -> Storage:
        for name, value in {**ELSEWHERE, **oss.env(address), **changed}.items():
            monkeypatch.setenv(name, value)
        return Storage.open(url)

    return opened


@pytest.fixture
def vendors(oss: Oss, address: str) -> Any:
    auth = oss2.Auth(oss.key_id, oss.keys[oss.key_id].secret)
    return oss2.Bucket(auth, f"http://{ENDPOINT}", "media", proxies={"http": address})


async def test_what_the_gateway_writes_the_vendor_s_sdk_reads(oss: Oss, opened: Opened, vendors: Any) -> None:
    storage, large = opened("oss://media/deep/er"), os.urandom(2 * PART_BYTES + 7)

    def read(key: str) -> tuple[bytes, str]:
        found = vendors.get_object(key)
        return found.read(), found.content_type

    await storage.put(KEY, b"whole", mime="image/png")
    await storage.put("videos/v.mp4", stream(large), mime="video/mp4")
    assert all(line.split()[1].startswith(f"media.{ENDPOINT}/deep/er/") for line in oss.asked)
    for key, data, mime in ((KEY, b"whole", "image/png"), ("videos/v.mp4", large, "video/mp4")):
        assert await asyncio.to_thread(read, f"deep/er/{key}") == (data, mime)
    assert oss.buckets["media"].uploads == {}
    assert sum("partNumber" in line for line in oss.asked) == 3


async def test_what_the_vendor_s_sdk_writes_the_gateway_reads(opened: Opened, vendors: Any) -> None:
    large = os.urandom(300_000)

    def write() -> None:
        vendors.put_object(KEY, b"0123456789", headers={"Content-Type": "image/png"})
        upload_id = vendors.init_multipart_upload("videos/v.mp4", headers={"Content-Type": "video/mp4"}).upload_id
        parts = [
            oss2.models.PartInfo(number, vendors.upload_part("videos/v.mp4", upload_id, number, data).etag)
            for number, data in ((1, large[:200_000]), (2, large[200_000:]))
        ]
        vendors.complete_multipart_upload("videos/v.mp4", upload_id, parts)

    await asyncio.to_thread(write)
    storage = opened()
    assert await all_of(storage.get(KEY, start=2, end=5)) == b"234"
    assert await all_of(storage.get("videos/v.mp4")) == large
    for key, size, mime in ((KEY, 10, "image/png"), ("videos/v.mp4", 300_000, "video/mp4")):
        info = await storage.head(key)
        assert info is not None
        assert (info.size, info.mime) == (size, mime)
    assert [info.key async for page in storage.list() for info in page] == [KEY, "videos/v.mp4"]
    assert [info.key async for page in storage.list("videos", after="a") for info in page] == ["videos/v.mp4"]
    await storage.delete(KEY)
    await storage.delete(KEY)
    assert not await asyncio.to_thread(vendors.object_exists, KEY)


async def test_all_that_is_asked_of_a_store_is_answered(oss: Oss, opened: Opened) -> None:
    storage = opened()
    report = await storage.check()
    assert report.presigns
    await storage.ping()
    assert list(oss.buckets["media"].objects) == ["health/ping"]


async def test_links_of_the_store_s_own_are_good(oss: Oss, opened: Opened, address: str) -> None:
    storage = opened()
    await storage.put(KEY, b"mine", mime="image/png")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": address}))

    def ask(method: str, url: str | None, data: bytes | None = None) -> bytes:
        assert url is not None
        with opener.open(urllib.request.Request(url, data, method=method)) as answer:
            return bytes(answer.read())

    assert await asyncio.to_thread(ask, "GET", await storage.presigned(KEY, "GET", 60)) == b"mine"
    await asyncio.to_thread(ask, "PUT", await storage.presigned("uploads/a", "PUT", 60), b"theirs")
    assert oss.buckets["media"].objects["uploads/a"].data == b"theirs"


async def test_a_temporary_key_comes_with_its_token(oss: Oss, opened: Opened) -> None:
    oss.keys = {"STS.1": Key("secret", "token")}
    ours = {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "STS.1",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret",
        "OSS_ACCESS_KEY_ID": "",
    }
    oss.key_id = "STS.1"
    await opened(**ours, ALIBABA_CLOUD_SECURITY_TOKEN="token", OSS_SESSION_TOKEN="other").put(
        KEY, b"x", mime="text/plain"
    )
    await opened(OSS_SESSION_TOKEN="token", OSS_ACCESS_KEY_ID="STS.1").put(KEY, b"x", mime="text/plain")
    oss.keys = {"STS.1": Key("secret", "token", expired=True)}
    with pytest.raises(StorageUnavailable, match="credentials for the object storage have expired"):
        await opened(OSS_SESSION_TOKEN="token").put(KEY, b"x", mime="text/plain")


async def test_what_is_refused_is_told_apart(oss: Oss, opened: Opened) -> None:
    for changed, url, says in (
        ({"OSS_ACCESS_KEY_SECRET": "wrong"}, "oss://media", "refused the gateway's credentials"),
        (
            {"OSS_ACCESS_KEY_SECRET": "oss-secret", "OSS_ACCESS_KEY_ID": "nobody"},
            "oss://media",
            "refused the gateway's",
        ),
        ({}, "oss://missing", "no such bucket"),
    ):
        with pytest.raises(StorageUnavailable, match=says):
            await opened(url, **changed).put(KEY, b"x", mime="text/plain")
    oss.ahead = 1000
    with pytest.raises(StorageUnavailable, match="clock") as caught:
        await opened().put(KEY, b"x", mime="text/plain")
    assert caught.value.detail == "403 Forbidden, RequestTimeTooSkewed"


@pytest.mark.parametrize(
    ("missing", "names"),
    [
        ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_ID is not set"),
        ("OSS_ACCESS_KEY_SECRET", "OSS_ACCESS_KEY_SECRET is not set"),
        ("OSS_REGION", "OSS_REGION is not set"),
    ],
)
async def test_what_is_not_set_is_named(missing: str, names: str) -> None:
    env = {**KEYS, "OSS_REGION": "cn-hangzhou", missing: " "}
    with pytest.raises(ConfigError, match=names):
        settings("oss://media", env)


async def test_half_a_key_of_the_vendor_s_names_is_named() -> None:
    with pytest.raises(ConfigError, match="ALIBABA_CLOUD_ACCESS_KEY_SECRET is not set"):
        settings("oss://media", {"ALIBABA_CLOUD_ACCESS_KEY_ID": "a", "OSS_REGION": "cn-beijing"})


@pytest.mark.parametrize(
    ("env", "endpoint", "region"),
    [
        ({"OSS_REGION": "cn-hangzhou"}, "https://media.oss-cn-hangzhou.aliyuncs.com", "cn-hangzhou"),
        ({"OSS_REGION": "oss-ap-southeast-1"}, "https://media.oss-ap-southeast-1.aliyuncs.com", "ap-southeast-1"),
        ({"ALIBABA_CLOUD_REGION_ID": "cn-beijing"}, "https://media.oss-cn-beijing.aliyuncs.com", "cn-beijing"),
        (
            {"OSS_ENDPOINT": "oss-cn-hangzhou-internal.aliyuncs.com"},
            "https://media.oss-cn-hangzhou-internal.aliyuncs.com",
            "cn-hangzhou",
        ),
        (
            {"OSS_ENDPOINT": "https://media.s3.oss-cn-hangzhou.aliyuncs.com/"},
            "https://media.s3.oss-cn-hangzhou.aliyuncs.com",
            "cn-hangzhou",
        ),
        (
            {"OSS_ENDPOINT": "http://oss-accelerate.aliyuncs.com", "OSS_REGION": "cn-hangzhou"},
            "http://media.oss-accelerate.aliyuncs.com",
            "cn-hangzhou",
        ),
        (
            {"OSS_ENDPOINT": "https://files.example.com", "OSS_CNAME": "true", "OSS_REGION": "cn-hangzhou"},
            "https://files.example.com",
            "cn-hangzhou",
        ),
    ],
)
async def test_where_a_bucket_is(env: dict[str, str], endpoint: str, region: str) -> None:
    bucket, prefix, config, credentials = settings("oss://media/a%20b/c/", {**KEYS, **env})
    assert (bucket, prefix) == ("media", "a b/c")
    assert (config["endpoint"], config["aws_endpoint_url_s3"], config["region"]) == (endpoint, endpoint, region)
    assert credentials() == {"access_key_id": "LTAI5t", "secret_access_key": "s", "token": None, "expires_at": None}


@pytest.mark.parametrize(
    "env",
    [
        {"OSS_REGION": "Hangzhou"},
        {"OSS_REGION": "cn-hangzhou.example.com"},
        {"OSS_ENDPOINT": "https://oss-accelerate.aliyuncs.com"},
        {"OSS_REGION": "cn-hangzhou", "OSS_ENDPOINT": "ftp://oss-cn-hangzhou.aliyuncs.com"},
        {"OSS_REGION": "cn-hangzhou", "OSS_ENDPOINT": "https://oss-cn-hangzhou.aliyuncs.com/media"},
    ],
)
async def test_what_is_set_wrong_is_named(env: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="OSS_REGION" if env.keys() == {"OSS_ENDPOINT"} else list(env)[-1]):
        settings("oss://media", {**KEYS, **env})
