import asyncio
import hashlib
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.exceptions import GenericError, PermissionDeniedError

from gateway.errors import ConfigError, NotFound, StorageUnavailable, UpstreamTimeout
from gateway.storage import (
    KEY_BYTES,
    LEFTOVER_SECONDS,
    PART_BYTES,
    READ_BYTES,
    Storage,
    _unavailable,
    object_key,
    valid_key,
)

pytestmark = pytest.mark.anyio

KEY = "images/2026-01/a_20260105_101010_0a1b2c3d.png"


@pytest.fixture(params=["file", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage.open("memory://" if request.param == "memory" else f"file://{tmp_path}/objects")


@pytest.fixture
def local(tmp_path: Path) -> Storage:
    return Storage.open(f"file://{tmp_path}/objects")


async def all_of(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def files_below(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


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


async def test_an_object_under_way_cannot_be_seen_and_a_broken_one_never_is(local: Storage, tmp_path: Path) -> None:
    seen_midway = []

    async def breaks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * PART_BYTES
        seen_midway.append(await local.head(KEY))
        raise UpstreamTimeout

    with pytest.raises(UpstreamTimeout):
        await local.put(KEY, breaks(), mime="video/mp4")
    assert seen_midway == [None]
    assert await local.head(KEY) is None
    assert files_below(tmp_path) == []


async def test_an_error_of_the_source_is_not_taken_for_one_of_the_store(storage: Storage) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"x"
        raise FileNotFoundError("mine")

    with pytest.raises(FileNotFoundError, match="mine"):
        await storage.put(KEY, breaks(), mime="video/mp4")
    assert await storage.head(KEY) is None


async def test_a_cancelled_put_leaves_nothing_behind(local: Storage, tmp_path: Path) -> None:
    started = asyncio.Event()

    async def hangs() -> AsyncIterator[bytes]:
        yield b"x" * (2 * PART_BYTES)
        started.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(local.put(KEY, hangs(), mime="video/mp4"))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files_below(tmp_path) == []


# --- objects as files ---


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


async def test_only_what_is_ours_can_be_read_as_a_file(local: Storage, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "objects" / "file.txt").symlink_to(tmp_path / "secret.txt")
    for key in ("file.txt", "../secret.txt"):
        with pytest.raises(NotFound), local.reading(key, 6):
            pass


async def test_what_a_killed_upload_left_is_swept_away_once_it_is_surely_dead(local: Storage, tmp_path: Path) -> None:
    async def dies() -> AsyncIterator[bytes]:
        yield b"x" * (2 * PART_BYTES)
        [under_way] = files_below(tmp_path)
        shutil.copy(tmp_path / under_way, tmp_path / (under_way.replace("#1", "#7")))  # as if its process were killed
        assert await local.sweep() == 0
        long_ago = time.time() - LEFTOVER_SECONDS - 1
        os.utime(tmp_path / under_way.replace("#1", "#7"), (long_ago, long_ago))
        assert await local.sweep() == 1

    await local.put(KEY, dies(), mime="video/mp4")
    os.utime(tmp_path / "objects" / KEY, (0, 0))
    assert await local.sweep() == 0
    assert files_below(tmp_path) == [f"objects/{KEY}"]
    assert await Storage.open("memory://").sweep() == 0


# --- S3 ---


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an S3 server with an empty bucket, where a server is installed."""
    program = shutil.which("moto_server")
    if program is None or subprocess.run([program, "--help"], capture_output=True).returncode:
        pytest.skip("no moto_server to test S3 with")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    server = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdout=-3, stderr=-3)
    try:
        url = f"http://127.0.0.1:{port}"
        made(urllib.request.Request(f"{url}/bucket", method="PUT"))
        for name, value in (("ENDPOINT", url), ("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("REGION", "r")):
            monkeypatch.setenv(f"AWS_{name}", value)
        yield url
    finally:
        server.terminate()
        server.wait(10)


def made(request: urllib.request.Request) -> None:
    for _ in range(100):
        try:
            urllib.request.urlopen(request).close()
            return
        except urllib.error.URLError:
            time.sleep(0.1)  # it starts
    raise AssertionError("the S3 server does not start")


async def test_a_bucket_holds_whole_objects_and_gives_back_parts(bucket: str) -> None:
    storage = Storage.open("s3://bucket/prefix")
    data = os.urandom(2 * PART_BYTES + 7)
    stored = await storage.put(KEY, stream(data[:PART_BYTES], data[PART_BYTES:]), mime="image/png")
    assert stored.sha256 == hashlib.sha256(data).hexdigest()

    def tail() -> bytes:
        with storage.reading(KEY, len(data)) as file:
            file.seek(-9, os.SEEK_END)
            return file.read()

    assert await asyncio.to_thread(tail) == data[-9:]

    async def breaks() -> AsyncIterator[bytes]:
        yield data
        raise UpstreamTimeout

    with pytest.raises(UpstreamTimeout):
        await storage.put("images/broken.png", breaks(), mime="image/png")
    assert await storage.head("images/broken.png") is None


ODD_KEYS = [
    *("", "/etc/passwd", "../x", "a/../b", "a/./b", "a//b", "a/", ".hidden", "a/.b", "a..b"),
    *("a\\b", "a\0b", "a b", "é.png", "a%2e", "a\n", "a#1", "x" * (KEY_BYTES + 1)),
]


@pytest.mark.parametrize("key", ODD_KEYS, ids=range(len(ODD_KEYS)))
async def test_a_key_is_a_plain_relative_path(storage: Storage, key: str) -> None:
    assert not valid_key(key)
    with pytest.raises(ValueError, match="not a storage key"):
        await storage.put(key, b"x", mime="text/plain")
    with pytest.raises(NotFound):
        await all_of(storage.get(key))
    assert await storage.head(key) is None
    await storage.delete(key)


async def test_links_in_the_directory_are_not_followed(local: Storage, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    objects = tmp_path / "objects"
    (objects / "file.txt").symlink_to(secret)
    (objects / "folder").symlink_to(tmp_path)
    for key in ("file.txt", "folder/secret.txt"):
        assert await local.head(key) is None
        with pytest.raises(NotFound):
            await all_of(local.get(key))
        with pytest.raises(StorageUnavailable):
            await local.put(key, b"changed", mime="text/plain")
        await local.delete(key)
    assert secret.read_text() == "secret"


async def test_a_store_below_a_link_works(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    storage = Storage.open(f"file://{tmp_path}/link/objects")
    await storage.put(KEY, b"x", mime="text/plain")
    assert files_below(tmp_path / "disk") == [f"objects/{KEY}"]


async def test_a_healthy_store_passes_its_check(storage: Storage) -> None:
    await storage.check()
    await storage.check()


async def test_a_store_that_cannot_be_written_says_so(local: Storage, tmp_path: Path) -> None:
    (tmp_path / "objects" / "health").write_text("a file where a directory belongs")
    with pytest.raises(StorageUnavailable) as caught:
        await local.check()
    assert caught.value.status == 503
    assert caught.value.code == "storage_unavailable"
    assert str(tmp_path) not in f"{caught.value.message}{caught.value.detail}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_read_only_directory_is_named_as_such(local: Storage, tmp_path: Path) -> None:
    (tmp_path / "objects").chmod(0o500)
    with pytest.raises(StorageUnavailable, match="does not let the gateway write"):
        await local.check()


async def test_an_unreachable_bucket_is_told_without_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    storage = Storage.open("s3://my-bucket/prefix")
    with pytest.raises(StorageUnavailable, match="could not be reached") as caught:
        await storage.put(KEY, b"x", mime="text/plain")
    told = f"{caught.value.message} {caught.value.detail}"
    assert not [secret for secret in ("my-bucket", "127.0.0.1", "AKIAEXAMPLE") if secret in told]


async def test_what_the_store_does_not_show_back_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgets(key: str) -> None:
        return None

    storage = Storage.open("memory://")
    monkeypatch.setattr(storage, "head", forgets)
    with pytest.raises(StorageUnavailable, match="did not keep"):
        await storage.put(KEY, b"x", mime="text/plain")


@pytest.mark.parametrize(
    ("failure", "code", "says"),
    [
        (GenericError("Unable to copy: No space left on device (os error 28)"), "storage_full", "is full"),
        (OSError(30, "Read-only file system"), "storage_unavailable", "does not let the gateway write"),
        (
            PermissionDeniedError("… 403 Forbidden: <Code>InvalidAccessKeyId</Code>"),
            "storage_unavailable",
            "credentials",
        ),
        (OSError("Server returned non-2xx status code: 403 Forbidden: x"), "storage_unavailable", "credentials"),
        (GenericError("Error performing PUT http://h/b: error sending request"), "storage_unavailable", "reached"),
        (GenericError("status code: 503 Service Unavailable: <Code>SlowDown</Code>"), "storage_unavailable", "failed"),
    ],
)
def test_each_failure_has_its_sentence(failure: Exception, code: str, says: str) -> None:
    error = _unavailable(failure)
    assert (error.code, error.status) == (code, 503)
    assert says in error.message


def test_the_detail_holds_status_and_code_and_no_more() -> None:
    error = _unavailable(
        GenericError(
            "Generic S3 error: Error performing PUT https://bucket.host/key in 2s - "
            "Server returned non-2xx status code: 403 Forbidden: "
            "<Error><Code>InvalidAccessKeyId</Code><AWSAccessKeyId>AKIA1</AWSAccessKeyId></Error>"
        )
    )
    assert error.detail == "403 Forbidden, InvalidAccessKeyId"


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://host/x", "http://host/x", "az://container", "s3://"])
def test_a_url_that_is_no_store_is_a_config_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(ConfigError, match="storage url"):
        Storage.open(url)


def test_a_file_url_may_be_escaped_or_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Storage.open(f"file://{tmp_path}/with%20space")
    Storage.open("file://./var/objects")
    assert (tmp_path / "with space").is_dir()
    assert (tmp_path / "var" / "objects").is_dir()


def test_a_directory_that_cannot_be_made_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        Storage.open(f"file://{tmp_path}/taken/objects")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("wan2.6-t2v", "wan2.6-t2v"),
        ("openrouter/foo:free", "openrouter-foo-free"),
        ("../../etc", "etc"),
        ("a..b", "a.b"),
        ("模型", "unknown"),
        ("", "unknown"),
    ],
)
def test_object_names_say_model_time_and_hash(model: str, name: str) -> None:
    key = object_key("videos", model, 1_767_607_810.9, "0a1b2c3d4e5f", "MP4")
    assert key == f"videos/2026-01/{name}_20260105_101010_0a1b2c3d.mp4"


@given(st.text(max_size=200), st.text(max_size=20))
def test_every_object_name_is_a_valid_key(model: str, extension: str) -> None:
    assert valid_key(object_key("images", model, 1_767_607_810, "0a1b2c3d", extension))
