import asyncio
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import NotFound, StorageUnavailable, UpstreamTimeout
from gateway.storage import LEFTOVER_SECONDS, PART_BYTES, Storage, disk
from tests.unit.storage.contents import KEY, all_of, files_below

pytestmark = pytest.mark.anyio


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


FILLS = """
import asyncio, json, subprocess, sys
from pathlib import Path
from gateway.errors import StorageUnavailable
from gateway.storage import Storage

async def tried(what):
    try:
        await what
    except StorageUnavailable as error:
        return [error.status, error.code, error.message, error.detail]
    return "stored"

async def pieces():
    for _ in range(64):
        yield bytes(1 << 14)

async def main():
    place = Path(sys.argv[1])
    storage = Storage.open(f"file://{place}/objects")
    told = [await tried(storage.put("a/whole", bytes(1 << 20), mime="video/mp4"))]
    told.append(await tried(storage.put("a/pieces", pieces(), mime="video/mp4")))
    told.append(sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()))
    told.append(await tried(storage.put("a/small", b"x", mime="text/plain")))
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    told.append(await tried(storage.put("a/other", b"x", mime="text/plain")))
    told.append(b"".join([chunk async for chunk in storage.get("a/small")]).decode())
    print(json.dumps(told))

asyncio.run(main())
"""


def test_a_full_disk_and_one_that_became_read_only_are_told_and_leave_nothing_torn(tmp_path: Path) -> None:
    """On a disk of 256 kB in memory, in a namespace of its own where the system lets us have one."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = f"mount -t tmpfs -o size=256k none {place}"
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "sh", "-c", mounted]).returncode:
        pytest.skip("nothing can be mounted here")
    script = f"{mounted} && exec {sys.executable} -c '{FILLS}' {place}"
    told = json.loads(subprocess.check_output(["unshare", "-rm", "sh", "-c", script], cwd=Path.cwd()))
    full = [503, "storage_full", "The object storage is full.", "No space left on device"]
    read_only = [
        503,
        "storage_unavailable",
        "The object storage is read-only: it does not let the gateway write.",
        "Read-only file system",
    ]
    assert told == [full, full, [], "stored", read_only, "x"]


async def test_a_disk_that_fails_when_it_is_asked_to_keep_is_told_and_nothing_stays(
    local: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as context:
        context.setattr(disk.os, "fsync", fsync)
        with pytest.raises(StorageUnavailable, match="failed") as caught:
            await local.put(KEY, b"x", mime="text/plain")
    assert caught.value.detail == "Input/output error"
    assert files_below(tmp_path) == []
    await local.put(KEY, b"x", mime="text/plain")


async def test_a_file_its_name_and_every_new_folder_are_on_the_disk(
    local: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, fsync = [], os.fsync

    def noting(descriptor: int) -> None:
        kept.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(disk.os, "fsync", noting)
    await local.put("a/b/c.png", b"x", mime="image/png")
    objects = (tmp_path / "objects").resolve()
    assert kept == [str(objects / name) for name in ("a/b/c.png", "a/b", "a", ".")]
